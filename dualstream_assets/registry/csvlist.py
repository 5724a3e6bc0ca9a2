"""A CMS or OIG list as CSV: columns by name whatever their order and case, days, NPIs, and what was not understood."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dualstream_assets.registry.errors import ListUnreadable

if TYPE_CHECKING:
    import polars as pl

NO_NPI = "0000000000"
NO_DAY = ("", "0", "00000000", "TBD")
YEARS = (1950, 2200)
"""A date outside is a typing error or a shifted column: not understood."""
_DAY = r"^\s*(\d{4}-\d{1,2}-\d{1,2}|\d{1,2}/\d{1,2}/\d{4})(?:[T\s].*)?$"
BLOCK_BYTES = 8 << 20
RECORD_BYTES = 16 << 20
_EDGE_BYTES = 1 << 16


def read(
    path: Path,
    needed: Sequence[str],
    optional: Sequence[str] = (),
    shape: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows,
) -> pl.DataFrame:
    """The needed columns (and those of the optional ones that there are) as text, under these names.

    A column is found by its letters and digits: case, spaces and underscores do not matter. Bytes that are not UTF-8
    (ISO-8859-1 extracts) only touch names of people. Polars would hold the whole file: it is given blocks.

    Args:
        shape: makes of each block what is kept of it, where that takes less memory than the text.

    Raises:
        ListUnreadable: empty, an HTML page, a ZIP, cut off, no CSV, or without a needed column.
    """
    import polars as pl

    _refuse_other(path)
    frames: list[pl.DataFrame] = []
    try:
        for block in _blocks(path):
            rows = pl.read_csv(
                block,
                infer_schema=False,
                encoding="utf8-lossy",
                columns=_positions(path, block, needed, optional),
            )
            rows.columns = [_named(name, (*needed, *optional)) for name in rows.columns]
            frames.append(shape(rows))
        return pl.concat(frames)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ListUnreadable(
            f"{path.name}: not readable as CSV ({str(error).splitlines()[0][:120]}); download it again"
        ) from error


def _blocks(path: Path) -> Iterator[bytes]:
    """Whole records, each time behind the header row; at least one block.

    Raises:
        ListUnreadable: a record that does not end, for want of a line end or of a closing quote.
    """
    with path.open("rb") as file:
        header = file.readline(RECORD_BYTES).removeprefix(b"\xef\xbb\xbf")
        held, lines, first = b"", 1, True
        while more := file.read(BLOCK_BYTES):
            held += more
            end = _records_end(held)
            if end:
                yield header + held[:end]
                lines += held.count(b"\n", 0, end)
                held, first = held[end:], False
            if len(held) > RECORD_BYTES:
                raise ListUnreadable(
                    f"{path.name}: the record on line {lines + 1:,} does not end within {RECORD_BYTES:,} bytes"
                    " (a double quote without its pair?); download it again, or put that line right"
                )
        if held or first:
            yield header + held


def _records_end(held: bytes) -> int:
    """Where the last whole record ends: behind the last line break that stands outside quotes."""
    end = held.rfind(b"\n") + 1
    odd = held.count(b'"', 0, end) % 2
    while end and odd:
        before = held.rfind(b"\n", 0, end - 1) + 1
        odd ^= held.count(b'"', before, end) % 2
        end = before
    return end


def _positions(path: Path, block: bytes, needed: Sequence[str], optional: Sequence[str]) -> list[int]:
    header = next(csv.reader([block.partition(b"\n")[0].decode("latin-1").strip("\r")]))
    actual = {_plain(name): number for number, name in enumerate(header)}
    for column in needed:
        if _plain(column) not in actual:
            raise ListUnreadable(
                f"{path.name}: no column {column!r} (it has {', '.join(header[:6])}, …); give the file as published"
            )
    return sorted(actual[_plain(column)] for column in (*needed, *optional) if _plain(column) in actual)


def _named(name: str, known: Sequence[str]) -> str:
    return next(column for column in known if _plain(column) == _plain(name))


def npi(column: str) -> pl.Expr:
    """Ten digits, or null; 0000000000 is OIG's word for none."""
    import polars as pl

    text = pl.col(column).str.strip_chars()
    return pl.when(text.str.contains(r"^\d{10}$") & (text != NO_NPI)).then(text).alias("npi")


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

    text = pl.col(column).str.extract(r"^\s*(\d{8})\s*$")
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


def unparsed(text: pl.DataFrame, column: str, parsed: pl.Expr) -> int:
    """How many values are so."""
    return int(text.select(is_unparsed(column, parsed).sum()).item())


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
    if last.strip() and _fields(last) < _fields(header):
        raise ListUnreadable(
            f"{path.name}: cut off, the last line has {_fields(last)} of {_fields(header)} columns; download it again"
        )


def _fields(line: bytes) -> int:
    return len(next(csv.reader([line.decode("latin-1").strip("\r")])))
