"""Files that others read: written beside their place, flushed to disk, then renamed. The old file stays until then."""

from __future__ import annotations

import csv
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class DiskFull(OSError):
    """There was no room for a file; the old one is untouched."""

    def __str__(self) -> str:
        """The message for people, without the number."""
        return str(self.strerror)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it replaces `path`, on an error nothing changes.

    Raises:
        DiskFull: the disk has no room; says how much was needed so far and how much is free.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
        _fsync_folder(path.parent)
    except Exception as error:
        if _is_disk_full(error):
            raise DiskFull(errno.ENOSPC, _no_room(path, part)) from error
        raise
    finally:
        part.unlink(missing_ok=True)


def _is_disk_full(error: BaseException) -> bool:
    """By number; polars says it in words only."""
    number = getattr(error, "errno", None)
    return number in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error)


def _no_room(path: Path, part: Path) -> str:
    free = shutil.disk_usage(path.parent).free
    written = part.stat().st_size if part.exists() else 0
    before = path.stat().st_size if path.exists() else 0
    missing = f" (about {_size(before - written)} short, going by the old file)" if before > written else ""
    return (
        f"no room for {path.name}: the disk under {path.parent} was full after {_size(written)}{missing}, with"
        f" {_size(free)} left; the old file is untouched. Free some space and run again"
    )


def _size(count: int) -> str:
    for unit, per in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= per:
            return f"{count / per:.1f} {unit}"
    return f"{count} byte" + ("s" if count != 1 else "")


def _fsync_folder(folder: Path) -> None:
    """The rename itself reaches the disk only with its folder."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text_atomic(path: Path, text: str) -> None:
    """Write UTF-8 text."""
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8", newline="")


def write_parquet_atomic(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame as zstd Parquet."""
    with atomic(path) as part:
        frame.write_parquet(part, compression="zstd")


def write_csv_atomic(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> int:
    """Write rows (mappings) as CSV: header, every cell quoted, `\\n` ends, UTF-8; returns the number of rows."""
    count = 0
    with atomic(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([row[column] for column in columns])
            count += 1
    return count


def read_csv(path: Path) -> list[dict[str, str]]:
    """Every row of a CSV of ours, as mappings of column to text."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def neutralised(text: str) -> str:
    """Free text that a spreadsheet would run as a formula, made harmless by a leading apostrophe.

    For names and organisations only: never for addresses, phones or keys (OWASP, CSV injection).
    """
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
