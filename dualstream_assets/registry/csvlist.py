"""A CMS or OIG list as CSV: columns by name whatever their order and case, days, NPIs, and what was not understood."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from dualstream_assets.registry.errors import ListUnreadable

if TYPE_CHECKING:
    import polars as pl

NO_NPI = "0000000000"
NO_DAY = ("", "0", "00000000", "TBD")
YEARS = (1950, 2200)
"""A date outside is a typing error or a shifted column: not understood."""
_DAY = r"^\s*([0-9]{4}-[0-9]{1,2}-[0-9]{1,2}|[0-9]{1,2}/[0-9]{1,2}/[0-9]{4})(?:[T\s].*)?$"
_OPEN_END = r"^(?:12/31/9999|9999-12-31|99991231)(?:[T\s].*)?$"
BLOCK_BYTES = 8 << 20
RECORD_BYTES = 16 << 20
_EDGE_BYTES = 1 << 16
_END, _END_MARK = "end", "\x1e"
_BLANK_LINES = re.compile(rb"\n(?:[ \t]*\n)+")


def read(
    path: Path,
    needed: Sequence[str],
    optional: Sequence[str] = (),
    shape: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows,
) -> tuple[pl.DataFrame, int]:
    """The needed columns (and those of the optional ones that there are) as text, under these names; and ragged rows.

    A column is found by its letters and digits: case, spaces and underscores do not matter. Bytes that are not UTF-8
    (ISO-8859-1 extracts) only touch names of people. Polars would hold the whole file: it is given blocks. A ragged row
    has more or fewer fields than the header: an unquoted comma shifts what stands behind it. It is kept and counted.

    Args:
        shape: makes of each block what is kept of it, where that takes less memory than the text.

    Raises:
        ListUnreadable: empty, an HTML page, a ZIP, cut off, no CSV, without a needed column (or with two of the name),
            or a value that runs over several lines: these lists have none, so it is a double quote without its pair.
    """
    import polars as pl

    _refuse_other(path)
    frames: list[pl.DataFrame] = []
    ragged = 0
    with path.open("rb") as file:
        header = _split(file.readline(_EDGE_BYTES).removeprefix(b"\xef\xbb\xbf"))
        places = _places(path, header, (*needed, *optional), needed)
        for body, line in _blocks(path, file):
            text = _parsed(path, body, line, len(header), places)
            ragged += int((text[_END] != _END_MARK).sum())
            frames.append(shape(text.drop(_END)))
    return pl.concat(frames), ragged


def _blocks(path: Path, file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Whole lines behind the header and the number of the first; at least one block.

    Raises:
        ListUnreadable: a line that does not end.
    """
    held, line, first = b"", 2, True
    while more := file.read(BLOCK_BYTES):
        held += more
        end = held.rfind(b"\n") + 1
        if end:
            yield held[:end], line
            line += held.count(b"\n", 0, end)
            held, first = held[end:], False
        if len(held) > RECORD_BYTES:
            raise ListUnreadable(
                f"{path.name}: line {line:,} does not end within {RECORD_BYTES:,} bytes;"
                " download it again, or put that line right"
            )
    if held or first:
        yield held, line


def _parsed(path: Path, body: bytes, line: int, width: int, places: Mapping[int, str]) -> pl.DataFrame:
    """The columns at `places`, and `_END`: what stands behind the last column, the mark where a row is not ragged."""
    import polars as pl

    plain = body.replace(b"\r\n", b"\n")
    plain = _BLANK_LINES.sub(b"\n", b"\n" + plain + b"\n")[1:]
    names = ",".join([*map(str, range(width)), _END])
    try:
        rows = pl.read_csv(
            names.encode() + b"\n" + plain.replace(b"\n", b"," + _END_MARK.encode() + b"\n"),
            infer_schema=False,
            encoding="utf8-lossy",
            columns=[*sorted(places), width],
            truncate_ragged_lines=True,
            empty_string_is_null=False,
        )
    except pl.exceptions.PolarsError:
        rows = None  # its message holds what the row says of a person
    if rows is None or rows.height != plain.count(b"\n") or body.count(b'"') % 2:
        odd = (n for n, text in enumerate(body.split(b"\n"), line) if text.count(b'"') % 2)
        raise ListUnreadable(
            f"{path.name}: not readable as CSV from line {next(odd, line):,} on (a double quote without its pair?);"
            " download it again, or put that line right"
        )
    return rows.rename({str(place): name for place, name in places.items()})


def _places(path: Path, header: Sequence[str], known: Sequence[str], needed: Sequence[str]) -> dict[int, str]:
    """Position -> the name that we give the column."""
    actual = [_plain(name) for name in header]
    for column in known:
        count = actual.count(_plain(column))
        if count > 1 or (count == 0 and column in needed):
            raise ListUnreadable(
                f"{path.name}: {count or 'no'} column{'s' if count else ''} {column!r} among its {len(header)} columns;"
                " give the file as published, with its header row"
            )
    return {actual.index(_plain(column)): column for column in known if _plain(column) in actual}


def npi(column: str) -> pl.Expr:
    """Ten digits, or null; 0000000000 is OIG's word for none."""
    import polars as pl

    text = pl.col(column).str.strip_chars()
    return pl.when(text.str.contains(r"^[0-9]{10}$") & (text != NO_NPI)).then(text).alias("npi")


def day(column: str) -> pl.Expr:
    """ISO, MM/DD/YYYY or M/D/YYYY, with or without a time of day; everything else (TBD, empty) is null.

    So is a year of two digits, which would be read as the year 26, and one outside `YEARS`.
    """
    import polars as pl

    text = pl.col(column).str.extract(_DAY)
    return _in_our_time(
        pl.coalesce(text.str.to_date("%Y-%m-%d", strict=False), text.str.to_date("%m/%d/%Y", strict=False))
    )


def days_of(rows: pl.DataFrame, column: str, name: str) -> pl.DataFrame:
    """`day` of a column and whether it was not understood (`strange_…`), worked out once per distinct value."""
    import polars as pl

    stated = rows.select(pl.col(column).fill_null(""))
    known = stated.unique().with_columns(
        day(column).alias(name), is_unparsed(column, day(column)).alias(f"strange_{name}")
    )
    return stated.join(known, on=column, how="left", maintain_order="left").drop(column)


def compact_day(column: str) -> pl.Expr:
    """YYYYMMDD; 00000000 is null, and so is a year outside `YEARS`."""
    import polars as pl

    text = pl.col(column).str.extract(r"^\s*([0-9]{8})\s*$")
    return _in_our_time(text.str.to_date("%Y%m%d", strict=False))


def _in_our_time(parsed: pl.Expr) -> pl.Expr:
    import polars as pl

    return pl.when(parsed.dt.year().is_between(*YEARS)).then(parsed)


def upper(column: str) -> pl.Expr:
    """Text in upper case, empty as null."""
    import polars as pl

    return pl.col(column).str.strip_chars().str.to_uppercase().replace("", None)


def is_unparsed(column: str, parsed: pl.Expr) -> pl.Expr:
    """Whether a value states something other than "no day" and gave no date."""
    import polars as pl

    stated = pl.col(column).fill_null("").str.strip_chars().str.to_uppercase()
    return ~stated.is_in(list(NO_DAY)) & parsed.is_null()


def unparsed(text: pl.DataFrame, column: str, parsed: pl.Expr, *, ends: bool = False) -> int:
    """How many values are so; of the ends of a time, 12/31/9999 says that it is open."""
    import polars as pl

    strange = is_unparsed(column, parsed)
    if ends:
        strange &= ~pl.col(column).fill_null("").str.strip_chars().str.contains(_OPEN_END)
    return int(text.select(strange.sum()).item())


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def _refuse_other(path: Path) -> None:
    """What polars would read without a word: an error page, an archive, a file whose end is missing."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(_EDGE_BYTES)
        file.seek(max(0, size - _EDGE_BYTES))
        end = file.read()
    if not start.strip():
        raise ListUnreadable(f"{path.name}: empty; download it again")
    if start.startswith(b"PK\x03\x04"):
        raise ListUnreadable(f"{path.name}: a ZIP archive; unpack it and give the CSV inside")
    if start.lstrip(b"\xef\xbb\xbf \t\r\n")[:5].lower() in (b"<!doc", b"<html"):
        raise ListUnreadable(f"{path.name}: an HTML page, not the list; download it again")
    header, last = start.partition(b"\n")[0], end.rpartition(b"\n")[2]
    if b"\r" in header.rstrip(b"\r") or len(header) == _EDGE_BYTES:
        raise ListUnreadable(
            f"{path.name}: its header row has no line end (LF or CRLF); give the file as published"
        )
    has, needs = len(_split(last)), len(_split(header))
    if last.strip() and has < needs:
        raise ListUnreadable(
            f"{path.name}: cut off, the last line has {has} of {needs} columns; download it again"
        )


def _split(line: bytes) -> list[str]:
    return next(csv.reader([line.decode("latin-1").replace("\r", "").rstrip("\n")]), [])
