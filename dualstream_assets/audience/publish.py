"""The five files and their manifest, published together or not at all.

They are written and flushed beside their places first; only then, under a lock, the manifest is taken away, the files
are renamed into place and the new manifest is put last. An error puts the old ones back; a folder whose manifest is
missing or does not fit its files is not published (the room's check says so). The rows that drift is measured against
come before the manifest goes: a build that is killed in between is not taken for a first one later.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualstream_assets import keys
from dualstream_assets.ahead import one_ahead
from dualstream_assets.audience.manifest import MANIFEST, PREVIOUS_ROWS, FileFacts, Manifest, read_manifest
from dualstream_assets.store.files import DiskFull, sha256_of

if TYPE_CHECKING:
    import polars as pl

FILES: Mapping[str, str] = {
    "institutional": keys.INSTITUTIONAL_CSV,
    "consumer": keys.CONSUMER_CSV,
    "direct": keys.DIRECT_CSV,
    "review": keys.REVIEW_CSV,
    "rejects": keys.REJECTS_CSV,
}
"""Segment (and rejects) -> file name."""
_TALLIED = ("rule", "revalidation_status", "role_account")
LEFT_BEHIND = (".new-*", ".previous-*", "..previous-*")
"""What a build that was killed leaves; the next one after an hour removes it."""
_AN_HOUR = 3600


def publish(
    out: Path,
    parts: Mapping[str, Iterable[pl.DataFrame]],
    *,
    release: Mapping[str, Any],
    lists: Mapping[str, Mapping[str, Any] | None],
    today: date,
    order: str,
    tables_version: str,
    repairs: Mapping[str, Any],
    plan: Mapping[str, float],
    decisions: Mapping[str, Any],
    previous: Path | None = None,
) -> Manifest:
    """Write the parts (keys of `FILES` -> slices of text rows, at least one each) and the manifest into `out`.

    `previous` is what `drift.set_aside` gave: it becomes what drift is measured against, with the same swap.

    Raises:
        DiskFull: no room; the old files are untouched.
    """
    out.mkdir(parents=True, exist_ok=True)
    beside: Path | None = None
    try:
        with _alone(out):
            _sweep(out)
        beside = Path(tempfile.mkdtemp(prefix=".new-", dir=out))
        facts: dict[str, FileFacts] = {}
        tallies: dict[str, dict[str, Counter[str]]] = {}
        for part, name in FILES.items():
            facts[name], tallies[part] = _write(parts[part], beside / name)
        manifest = Manifest(
            files=facts,
            release=dict(release),
            lists=dict(lists),
            today=today.isoformat(),
            order=str(order),
            tables=tables_version,
            counts=_counts(facts, tallies),
            repairs=repairs,
            plan=plan,
            decisions=decisions,
        )
        (beside / MANIFEST).write_text(manifest.text(), encoding="utf-8", newline="")
        names = [*FILES.values(), MANIFEST]
        if previous:
            previous.rename(beside / PREVIOUS_ROWS)
            names.insert(0, PREVIOUS_ROWS)
        with _alone(out):
            _swap(beside, out, names)
    except Exception as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        if full or "No space left on device" in str(error):  # polars says it in words only
            raise no_room(out, _bytes_in(beside)) from error
        raise
    finally:
        if beside:
            shutil.rmtree(beside, ignore_errors=True)
        if previous:
            previous.unlink(missing_ok=True)
    return manifest


def no_room(out: Path, written: int) -> DiskFull:
    """What to raise when the disk is full: how much is free and how much is missing, going by the old files.

    Args:
        written: bytes of this build, which go away again.
    """
    manifest, rows = read_manifest(out), out / PREVIOUS_ROWS
    needed = sum(facts.bytes for facts in manifest.files.values()) if manifest else 0
    needed += rows.stat().st_size if rows.exists() else 0
    free = shutil.disk_usage(out).free + written
    missing = (
        f"{(needed - free) / 1e6:.1f} MB missing (going by the old files, {needed / 1e6:.1f} MB)"
        if needed > free
        else f"more is needed ({written / 1e6:.1f} MB were written when it was full)"
    )
    return DiskFull(
        errno.ENOSPC,
        f"no room for the audience: {free / 1e6:.1f} MB free in {out}, {missing}; the old files are untouched."
        " Free some space and run again",
    )


def unfit(folder: Path) -> list[str]:
    """What keeps a folder from being a published audience; empty when the files are those of the manifest."""
    manifest = read_manifest(folder)
    if manifest is None:
        return [f"no {MANIFEST}: nothing published, or a build was interrupted; build again"]
    found = []
    for name, facts in manifest.files.items():
        path = folder / name
        if not path.exists():
            found.append(f"{name} is missing")
        elif path.stat().st_size != facts.bytes or sha256_of(path) != facts.sha256:
            found.append(f"{name} is not the file of the manifest")
    return found


def _write(slices: Iterable[pl.DataFrame], path: Path) -> tuple[FileFacts, dict[str, Counter[str]]]:
    """Write one file; also counts the values of the columns that the manifest shows."""
    rows = 0
    tallies: dict[str, Counter[str]] = {column: Counter() for column in _TALLIED}
    with path.open("wb") as file:
        for number, part in enumerate(one_ahead(slices, "slices")):
            part.write_csv(file, include_header=number == 0, quote_style="always", line_terminator="\n")
            rows += part.height
            for column, tally in tallies.items():
                counted = part.group_by(column).len()
                tally.update(dict(zip(counted[column].to_list(), counted["len"].to_list(), strict=True)))
        file.flush()
        os.fsync(file.fileno())
    return FileFacts(rows=rows, bytes=path.stat().st_size, sha256=sha256_of(path)), tallies


def _counts(
    facts: Mapping[str, FileFacts], tallies: Mapping[str, Mapping[str, Counter[str]]]
) -> dict[str, Any]:
    segments = {part: facts[name].rows for part, name in FILES.items()}
    return {
        "candidates": sum(segments.values()),
        "segments": segments,
        "rules": {part: dict(tallies[part]["rule"]) for part in FILES if part != "rejects"},
        "rejects": dict(tallies["rejects"]["rule"]),
        "revalidation": {
            part: dict(tallies[part]["revalidation_status"]) for part in ("institutional", "consumer")
        },
        "role_accounts": {part: tallies[part]["role_account"]["Y"] for part in FILES},
    }


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sweep(out: Path) -> None:
    for path in (found for pattern in LEFT_BEHIND for found in out.glob(pattern)):
        with suppress(FileNotFoundError):  # of a build that ends at this moment
            if time.time() - path.stat().st_mtime > _AN_HOUR:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _bytes_in(folder: Path | None) -> int:
    return sum(path.stat().st_size for path in folder.iterdir()) if folder else 0


def _swap(beside: Path, out: Path, names: Sequence[str]) -> None:
    """Rename all into place, in this order, the manifest last; on an error the old ones come back."""
    old = beside / "old"
    old.mkdir()
    for name in reversed(names):
        if (out / name).exists():
            os.link(out / name, old / name)
    try:
        for name in names:
            if name != PREVIOUS_ROWS:
                (out / MANIFEST).unlink(missing_ok=True)
            (beside / name).replace(out / name)
    except BaseException:
        for name in names:
            if (old / name).exists():
                (old / name).replace(out / name)
            else:
                (out / name).unlink(missing_ok=True)
        raise
