"""Lines that a strict CSV reader chokes on: found in every block, repaired and counted, or rejected with their number.

endpoint_pfile breaks the promise of its README: some values hold double quotes (facts: nppes sections 0.2, 1.2, 1.4). A
good line has exactly two quotes per value, so one count per line, at memory speed, says which lines must be looked at.
The same pass finds the lines' borders, so that of npidata only the wanted lines are ever parsed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dualstream_assets.registry.columns import Layout
from dualstream_assets.registry.mending import BOM, LineCounts, mend

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

_CHUNK_BYTES = 1 << 20
_CHUNK_LINES = 1024
_LAST = "last column"
_NPI_DIGITS = 10


@dataclass(frozen=True)
class Rows:
    """Rows of a block.

    Attributes:
        frame: the columns asked for, as text.
        numbers: the line that each row begins on; the header is line 1.
        lines: how many lines of the member the block had.
    """

    frame: pl.DataFrame
    numbers: NDArray[np.int64]
    lines: int


def without_bom(block: bytes) -> bytes:
    """The block without a UTF-8 byte order mark."""
    return block.removeprefix(BOM)


def read_rows(
    block: bytes,
    layout: Layout,
    columns: Sequence[str],
    first_line: int,
    counts: LineCounts,
    wanted: NDArray[np.int64] | None = None,
) -> Rows:
    """Rows of a block as text columns, empty values as `""`. Repairs what needs it and counts in `counts`.

    Args:
        block: whole lines without the header.
        first_line: number of its first line in the member.
        wanted: a sorted array of NPIs; only their rows are parsed, and those whose NPI is not ten digits. The first
            column must be the NPI.
    """
    import numpy as np

    ends, bad = _scan(block, layout.quotes_per_line)
    total = len(ends)
    sound, numbers, found = block, np.arange(first_line, first_line + total), LineCounts(rows=total)
    if len(bad):
        found = LineCounts()
        sound, numbers = _mended(block, ends, bad, layout, first_line, found)
        ends = None
    rows = _wanted_rows(sound, ends, numbers, layout, columns, wanted)
    if rows is None:  # the quotes are right in number and wrong in place: look at each line
        found = LineCounts()
        sound, numbers = mend(block, layout, first_line, found)
        rows = _wanted_rows(sound, None, numbers, layout, columns, wanted)
    if rows is None:  # our own writing: cannot be wrong unless this module is
        raise AssertionError(f"{layout.prefix}: lines mended from line {first_line:,} on cannot be read")
    counts.add(found)
    return Rows(*rows, total)


def _wanted_rows(
    block: bytes,
    ends: NDArray[np.int64] | None,
    numbers: NDArray[np.int64],
    layout: Layout,
    columns: Sequence[str],
    wanted: NDArray[np.int64] | None,
) -> tuple[pl.DataFrame, NDArray[np.int64]] | None:
    """The wanted lines parsed, and their numbers; None where the parser refuses them or sees others than there are."""
    import polars as pl

    kept = block
    if wanted is not None:
        ends = _scan(block, layout.quotes_per_line)[0] if ends is None else ends
        kept, hits = _of(block, ends, wanted)
        numbers = numbers[hits]
    if not kept:
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.String)), numbers[:0]
    schema = dict.fromkeys(layout.columns, pl.String)
    last = pl.col(layout.columns[-1]).alias(_LAST)
    try:
        frame = pl.scan_csv(kept, has_header=False, schema=schema).select(*columns, last).collect()
    except pl.exceptions.PolarsError:
        return None
    is_whole = frame.height == len(numbers) and not sum(frame.null_count().row(0))
    return (frame.drop(_LAST), numbers) if is_whole else None


def _mended(
    block: bytes,
    ends: NDArray[np.int64],
    bad: NDArray[np.int64],
    layout: Layout,
    first_line: int,
    counts: LineCounts,
) -> tuple[bytes, NDArray[np.int64]]:
    """The block with its bad lines mended, and the rows' numbers; neighbours together, for they may be one record."""
    import numpy as np

    counts.rows += len(ends) - len(bad)
    pieces: list[bytes] = []
    numbers: list[NDArray[np.int64]] = []
    done, line = 0, 0
    for run in np.split(bad, np.flatnonzero(np.diff(bad) > 1) + 1):
        first, last = int(run[0]), int(run[-1])
        start, end = (int(ends[first - 1]) if first else 0), int(ends[last])
        mended, kept = mend(block[start:end], layout, first_line + first, counts)
        pieces += [block[done:start], mended]
        numbers += [np.arange(first_line + line, first_line + first), kept]
        done, line = end, last + 1
    pieces.append(block[done:])
    numbers.append(np.arange(first_line + line, first_line + len(ends)))
    return b"".join(pieces), np.concatenate(numbers)


def _scan(block: bytes, quotes_per_line: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each line ends (behind its line break), and which lines have other quotes than due or are no UTF-8.

    Quotes are counted modulo 256, at a tenth of the cost: no line is wrong by that many.
    """
    import numpy as np

    data = np.frombuffer(block, np.uint8)
    breaks = [
        np.flatnonzero(data[start : start + _CHUNK_BYTES] == ord("\n")) + (start + 1)
        for start in range(0, len(data), _CHUNK_BYTES)
    ]
    if block and not block.endswith(b"\n"):
        breaks.append(np.array([len(block)]))
    ends = np.concatenate(breaks) if breaks else np.array([], np.int64)
    starts = np.concatenate(([0], ends[:-1]))
    bad = [np.array([], np.int64)]
    for first in range(0, len(ends), _CHUNK_LINES):
        begins = starts[first : first + _CHUNK_LINES]
        is_quote = data[begins[0] : ends[first + len(begins) - 1]] == ord('"')
        quotes = np.add.reduceat(is_quote.view(np.uint8), begins - begins[0], dtype=np.uint8)
        bad.append(np.flatnonzero(quotes != quotes_per_line % 256) + first)
    if len(ends):
        bad.append(np.flatnonzero(data[starts] != ord('"')))
    if not _is_utf8(block):
        bad.append(np.searchsorted(ends, np.flatnonzero(data >= 128), side="right"))  # noqa: PLR2004
    return ends, np.unique(np.concatenate(bad))


def _of(block: bytes, ends: NDArray[np.int64], wanted: NDArray[np.int64]) -> tuple[bytes, NDArray[np.int64]]:
    """The lines whose NPI is wanted, and which they are: `"1234567893",…` has its digits at a fixed place.

    A line that has none there (`" 1234567893"`) is given too: the reader looks at its NPI.
    """
    import numpy as np

    if not len(ends) or not len(wanted):
        return b"", np.array([], np.int64)
    data = np.frombuffer(block, np.uint8)
    starts = np.concatenate(([0], ends[:-1]))
    places = np.minimum(starts[:, None] + np.arange(1, _NPI_DIGITS + 2), len(data) - 1)
    digits = data[places].astype(np.int64) - ord("0")
    in_place = ((digits[:, :-1] >= 0) & (digits[:, :-1] <= 9)).all(1) & (  # noqa: PLR2004
        digits[:, -1] == ord('"') - ord("0")
    )
    npis = digits[:, :-1] @ (10 ** np.arange(_NPI_DIGITS - 1, -1, -1))
    at = np.minimum(np.searchsorted(wanted, npis), len(wanted) - 1)
    hits = np.flatnonzero((wanted[at] == npis) | ~in_place)
    return b"".join(block[starts[i] : ends[i]] for i in hits), hits


def _is_utf8(block: bytes) -> bool:
    if block.isascii():
        return True
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True
