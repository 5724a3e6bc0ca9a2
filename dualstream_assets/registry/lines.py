"""Lines that a strict CSV reader chokes on: found in every block, repaired and counted, or rejected with their number.

endpoint_pfile breaks the promise of its README: some values hold double quotes (facts: nppes sections 0.2, 1.2, 1.4). A
good line has exactly two quotes per value, so one count over a block says whether it must be looked at.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dualstream_assets.registry.columns import Layout

if TYPE_CHECKING:
    import polars as pl

_JOIN_AT_MOST = 8
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Unreadable:
    """A line that could not be repaired; `line` counts from 1, the header being line 1."""

    line: int
    why: str


@dataclass
class LineCounts:
    """What was met in one member.

    Attributes:
        rows: rows read, without the header and the unreadable ones.
        stray_quotes: lines with inner double quotes, made single as the README promises.
        line_breaks: records with a line break inside a value, joined by a space.
        unquoted: lines that were not quoted throughout, read by the rules of RFC 4180.
        cp1252: lines that were not UTF-8 and were read as Windows-1252.
    """

    rows: int = 0
    stray_quotes: int = 0
    line_breaks: int = 0
    unquoted: int = 0
    cp1252: int = 0
    unreadable: list[Unreadable] = field(default_factory=list)

    def repairs(self) -> dict[str, int]:
        """Repairs by kind."""
        return {
            "stray_quotes": self.stray_quotes,
            "line_breaks": self.line_breaks,
            "unquoted": self.unquoted,
            "cp1252": self.cp1252,
        }


def without_bom(block: bytes) -> bytes:
    """The block without a UTF-8 byte order mark."""
    return block.removeprefix(_BOM)


def read_rows(
    block: bytes, layout: Layout, columns: Sequence[str], first_line: int, counts: LineCounts
) -> pl.DataFrame:
    """Rows of a block as text columns, empty values as `""`. Repairs what needs it and counts in `counts`.

    Args:
        block: whole lines without the header.
        first_line: number of its first line in the member.
    """
    import polars as pl

    lines = count_lines(block)
    try:
        frame = _parsed(block, layout, columns) if _looks_sound(block, lines, layout) else None
    except pl.exceptions.PolarsError:
        frame = None
    if frame is None or frame.height != lines:
        mended, rows = mend(block, layout, first_line, counts)
        frame = _parsed(mended, layout, columns)
        if frame.height != rows:  # our own writing: cannot differ unless this module is wrong
            raise AssertionError(f"{layout.prefix}: {rows} lines mended, {frame.height} read")
    counts.rows += frame.height
    return frame


def count_lines(block: bytes) -> int:
    """Lines of a block, a last one without line break included."""
    return block.count(b"\n") + (not block.endswith(b"\n"))


def mend(block: bytes, layout: Layout, first_line: int, counts: LineCounts) -> tuple[bytes, int]:
    """The block with every line made sound, or left out and listed in `counts.unreadable`; and how many are left."""
    lines = block.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    good: list[bytes] = []
    at = 0
    while at < len(lines):
        line = _as_utf8(lines[at].removesuffix(b"\r"), counts)
        used = 1
        if _is_sound(line, layout):
            good.append(line)
        elif (fixed := _single_quoted(line, layout)) is not None:
            counts.stray_quotes += 1
            good.append(fixed)
        elif (joined := _joined(lines, at, layout)) is not None:
            fixed, used = joined
            counts.line_breaks += 1
            good.append(fixed)
        elif (fixed := _requoted(line, layout)) is not None:
            counts.unquoted += 1
            good.append(fixed)
        else:
            values = line.count(b'","') + 1
            counts.unreadable.append(
                Unreadable(first_line + at, f"{values} values, expected {len(layout.columns)}")
            )
        at += used
    return b"".join(line + b"\n" for line in good), len(good)


def _parsed(block: bytes, layout: Layout, columns: Sequence[str]) -> pl.DataFrame:
    import polars as pl

    if not block:
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    schema = dict.fromkeys(layout.columns, pl.String)
    return pl.scan_csv(block, has_header=False, schema=schema).select(columns).collect()


def _looks_sound(block: bytes, lines: int, layout: Layout) -> bool:
    import numpy as np

    quotes = int(np.count_nonzero(np.frombuffer(block, np.uint8) == ord('"')))
    if quotes != lines * layout.quotes_per_line:
        return False
    if block.isascii():
        return True
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


def _as_utf8(line: bytes, counts: LineCounts) -> bytes:
    if line.isascii():
        return line
    try:
        line.decode()
    except UnicodeDecodeError:
        counts.cp1252 += 1
        return line.decode("cp1252", errors="replace").encode()
    return line


def _is_sound(line: bytes, layout: Layout) -> bool:
    return (
        line.count(b'"') == layout.quotes_per_line
        and line.startswith(b'"')
        and line.endswith(b'"')
        and line.count(b'","') == len(layout.columns) - 1
    )


def _single_quoted(line: bytes, layout: Layout) -> bytes | None:
    """Inner double quotes made single, where the borders between the values are clear."""
    if len(line) < 2 or not (line.startswith(b'"') and line.endswith(b'"')):  # noqa: PLR2004
        return None
    values = line[1:-1].split(b'","')
    if len(values) != len(layout.columns):
        return None
    return b'"' + b'","'.join(value.replace(b'"', b"'") for value in values) + b'"'


def _joined(lines: Sequence[bytes], at: int, layout: Layout) -> tuple[bytes, int] | None:
    """A record broken over several lines, and how many; a sound line is never taken into it."""
    joined = lines[at].removesuffix(b"\r")
    for used in range(2, _JOIN_AT_MOST + 1):
        if at + used > len(lines) or joined.count(b'"') >= layout.quotes_per_line:
            return None
        following = lines[at + used - 1].removesuffix(b"\r")
        if _is_sound(following, layout):
            return None
        joined += b" " + following
        if _is_sound(joined, layout):
            return joined.decode("utf-8", errors="replace").encode(), used
    return None


def _requoted(line: bytes, layout: Layout) -> bytes | None:
    """A line that is not quoted throughout, if RFC 4180 makes exactly the right number of values of it."""
    if line.count(b'"') >= layout.quotes_per_line:
        return None
    try:
        values = next(csv.reader([line.decode()], strict=True), [])
    except csv.Error:
        return None
    if len(values) != len(layout.columns):
        return None
    return ('"' + '","'.join(value.replace('"', "'") for value in values) + '"').encode()
