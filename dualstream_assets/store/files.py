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


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it replaces `path`, on an error nothing changes.

    Raises:
        DiskFull: the disk has no room; says how much is free.
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
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(path.parent).free
            raise DiskFull(
                f"no room for {path.name}: {free / 1e6:.0f} MB free in {path.parent}; the old file is untouched."
                " Free some space and run again"
            ) from error
        raise
    finally:
        part.unlink(missing_ok=True)


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
