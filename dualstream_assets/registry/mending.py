"""Bad lines made sound, or left out and listed: each kind of repair is counted, nothing is guessed.

A good line is `"value","value",…` with no double quote inside a value (README of the dissemination file).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dualstream_assets.registry.columns import Layout

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_JOIN_AT_MOST = 8
BOM = b"\xef\xbb\xbf"
_BEFORE = b" \t\xc2\xa0" + BOM
"""What may stand before a line's first quote and means nothing."""


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

    def add(self, other: LineCounts) -> None:
        """Add what was met in another part of the member."""
        for name in ("rows", "stray_quotes", "line_breaks", "unquoted", "cp1252"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.unreadable += other.unreadable

    def repairs(self) -> dict[str, int]:
        """Repairs by kind."""
        return {
            "stray_quotes": self.stray_quotes,
            "line_breaks": self.line_breaks,
            "unquoted": self.unquoted,
            "cp1252": self.cp1252,
        }


def mend(
    block: bytes, layout: Layout, first_line: int, counts: LineCounts
) -> tuple[bytes, NDArray[np.int64]]:
    """The block with every line made sound, or left out and listed in `counts.unreadable`; and its rows' numbers.

    The number of a row is that of the line it begins on.
    """
    import numpy as np

    lines = block.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    good: list[bytes] = []
    numbers: list[int] = []
    at = 0
    while at < len(lines):
        whole = _as_utf8(lines[at].removesuffix(b"\r"), alone := LineCounts())
        line = whole.lstrip(_BEFORE)
        used = 1
        if not line.strip():
            at += 1
            continue
        if _is_sound(line, layout):
            counts.unquoted += line is not whole and line != whole
            good.append(line)
        elif (fixed := _single_quoted(line, layout)) is not None:
            counts.stray_quotes += 1
            good.append(fixed)
        elif (joined := _joined(lines, at, layout, counts)) is not None:
            fixed, used = joined
            counts.line_breaks += 1
            alone.cp1252 = 0  # counted with the whole record
            good.append(fixed)
        elif (fixed := _requoted(line, layout)) is not None:
            counts.unquoted += 1
            good.append(fixed)
        else:
            values = line.count(b'","') + 1
            counts.unreadable.append(
                Unreadable(first_line + at, f"{values} values, expected {len(layout.columns)}")
            )
        counts.cp1252 += alone.cp1252
        if len(good) > len(numbers):
            numbers.append(first_line + at)
        at += used
    counts.rows += len(good)
    return b"".join(line + b"\n" for line in good), np.array(numbers, np.int64)


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
        and line[1:-1].count(b'","') == len(layout.columns) - 1
    )


def _single_quoted(line: bytes, layout: Layout) -> bytes | None:
    """Inner double quotes made single, where the borders between the values are clear."""
    if len(line) < 2 or not (line.startswith(b'"') and line.endswith(b'"')):  # noqa: PLR2004
        return None
    values = line[1:-1].split(b'","')
    if len(values) != len(layout.columns):
        return None
    return b'"' + b'","'.join(value.replace(b'"', b"'") for value in values) + b'"'


def _joined(lines: Sequence[bytes], at: int, layout: Layout, counts: LineCounts) -> tuple[bytes, int] | None:
    """A record broken over several lines, and how many. A sound line is never taken in: it alone has all the quotes."""
    joined = lines[at].removesuffix(b"\r")
    for used in range(2, _JOIN_AT_MOST + 1):
        if at + used > len(lines) or joined.count(b'"') >= layout.quotes_per_line:
            return None
        following = lines[at + used - 1].removesuffix(b"\r")
        joined += b" " + following
        if _is_sound(joined, layout):
            return _as_utf8(joined, counts), used
    return None


def _requoted(line: bytes, layout: Layout) -> bytes | None:
    """A line that is not quoted throughout, if RFC 4180 makes exactly the right number of values of it."""
    try:
        values = next(csv.reader([line.decode()], strict=True), [])
    except csv.Error:
        return None
    if len(values) != len(layout.columns):
        return None
    return ('"' + '","'.join(value.replace('"', "'") for value in values) + '"').encode()
