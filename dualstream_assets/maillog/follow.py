"""Which bytes of a growing, rotating log file are new, and whether any were lost.

A place in the log is (inode, offset). Rotation keeps the inode under another name: the rest is read there first.
Truncation, replacement and a vanished rotated file are gaps, and are said to be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

CHUNK = 4_000_000
"""Bytes read and committed at a time."""


@dataclass(frozen=True)
class Place:
    """How far a log was read: a row of `log_source`."""

    inode: int
    offset: int
    first_line_at: datetime | None


@dataclass(frozen=True)
class Segment:
    """A file to read from an offset on; `ended` says that nothing will be appended to it any more."""

    path: Path
    inode: int
    offset: int
    ended: bool


@dataclass(frozen=True)
class Course:
    """What to read, in order, and what was lost (a sentence) on the way."""

    segments: tuple[Segment, ...]
    gap: str | None = None


def course(path: Path, place: Place | None, first_stamp: datetime | None) -> Course:
    """Plan a read.

    Args:
        path: the log file.
        place: how far it was read before, None for the first time.
        first_stamp: time of the first line that `path` has now (a replaced file starts with another).

    Raises:
        FileNotFoundError: the file was read before and is gone.
    """
    try:
        now = path.stat()
    except FileNotFoundError:
        if place is None:
            return Course(())
        raise
    if place is None:
        return Course((Segment(path, now.st_ino, 0, ended=False),))
    if now.st_ino == place.inode:
        replaced = place.first_line_at is not None and first_stamp != place.first_line_at and place.offset > 0
        if now.st_size < place.offset or replaced:
            return Course(
                (Segment(path, now.st_ino, 0, ended=False),),
                f"{path.name} was truncated after {place.offset} bytes",
            )
        return Course((Segment(path, now.st_ino, place.offset, ended=False),))
    fresh = Segment(path, now.st_ino, 0, ended=False)
    rotated = _rotated(path, place, now.st_ino)
    if rotated is None:
        return Course(
            (fresh,), f"{path.name} was replaced and its former file is gone (rotated and compressed?)"
        )
    return Course((*rotated, fresh))


def _rotated(path: Path, place: Place, current: int) -> tuple[Segment, ...] | None:
    """The rest of the file last read, then every file rotated after it, oldest first; None if it is gone."""
    found = []
    for sibling in path.parent.glob(f"{path.name}*"):
        try:
            stat = sibling.stat()
        except FileNotFoundError:
            continue
        if stat.st_ino != current and sibling.suffix not in (".gz", ".xz", ".zst", ".bz2"):
            found.append((stat.st_mtime_ns, sibling, stat.st_ino, stat.st_size))
    found.sort(key=lambda entry: (entry[0], entry[2] != place.inode))
    at = next((i for i, entry in enumerate(found) if entry[2] == place.inode), None)
    if at is None or found[at][3] < place.offset:
        return None
    return tuple(
        Segment(sibling, inode, place.offset if inode == place.inode else 0, ended=True)
        for _, sibling, inode, _ in found[at:]
    )


def chunks(segment: Segment) -> Iterator[tuple[list[bytes], int]]:
    """Whole lines of a segment with the offset behind them; a half line at the end waits for its rest.

    An ended file has no rest: its last half line is a line.
    """
    offset = segment.offset
    with segment.path.open("rb") as file:
        file.seek(offset)
        while True:
            block = _whole_lines(file, ended=segment.ended)
            if not block:
                return
            offset += len(block)
            yield block.rstrip(b"\n").split(b"\n"), offset
            file.seek(offset)


def _whole_lines(file: BinaryIO, *, ended: bool) -> bytes:
    block = file.read(CHUNK)
    end = block.rfind(b"\n") + 1
    while not end and len(block) and len(block) % CHUNK == 0:  # a line longer than a chunk
        more = file.read(CHUNK)
        if not more:
            break
        block += more
        end = block.rfind(b"\n") + 1
    last = len(block) < CHUNK
    return block if ended and last else block[:end]
