"""The CMS and OIG lists: who must revalidate, who is deactivated, excluded, revoked or opted out (facts: nppes 2).

Each reader gives one frame with an `npi` column, one row per NPI or finding, and how many rows and dates were not
understood. Nothing is decided here: whether a row drops anybody depends on the day, in `audience/`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from dualstream_assets.estate.model import Limits
from dualstream_assets.registry import csvlist
from dualstream_assets.registry.csvlist import compact_day, day, npi, unparsed, upper
from dualstream_assets.registry.errors import ListUnreadable
from dualstream_assets.registry.workbook import sheet_rows

if TYPE_CHECKING:
    import polars as pl


class ListKind(StrEnum):
    """The lists beside the release."""

    REVALIDATION = "revalidation"
    DEACTIVATED = "deactivated"
    LEIE = "leie"
    REVOKED = "revoked"
    OPT_OUT = "opt_out"
    PPEF = "ppef"


OPTIONAL = frozenset({ListKind.PPEF})
"""Lists that may be left out: their absence is not an unknown."""
_NPI = re.compile(r"[0-9]{10}")
_ROWS_AT_ONCE = 20_000
EXCLUSIONS = (ListKind.DEACTIVATED, ListKind.LEIE, ListKind.REVOKED, ListKind.OPT_OUT)

REVALIDATION_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("npi", "string", "one row per NPI"),
    (
        "effective_date",
        "date",
        "earliest of its enrolments; adjusted due date where there is one, else due date",
    ),
    ("due_date", "date", "Revalidation Due Date of that enrolment"),
    ("adjusted_date", "date", "Adjusted Due Date of that enrolment"),
    ("enrolments", "int", "enrolments on the list"),
    ("dated", "int", "of these, with a date (the others are TBD: CMS has not set one)"),
    ("enrolled", "bool", "on the PPEF enrolment list; null where that list was not given"),
)
EXCLUSION_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("list", "string", "deactivated, leie, revoked or opt_out"),
    ("npi", "string", "null for a LEIE row without NPI: its name is only a flag"),
    ("since", "date", "first day"),
    ("until", "date", "last day, null where it is open or not stated"),
    ("last_name", "string", "LEIE rows without NPI only, upper case"),
    ("first_name", "string", "LEIE rows without NPI only, upper case"),
    ("state", "string", "LEIE rows without NPI only"),
)


@dataclass(frozen=True)
class ListTable:
    """One list as read: `frame`, rows in the file, and values that were not understood.

    Attributes:
        npis: rows that state an NPI, or ought to: only LEIE has rows that need none (most of them).
        bad_npis: of these, without an NPI of ten digits.
        dates: dates that are stated.
        unparsed_dates: of these, not understood.
        ragged: rows with more or fewer fields than the header: a comma too many shifts what stands behind it.
        newest: the newest day that the list itself states, None where it states none that tells its age.
        oldest: its oldest first day.
    """

    frame: pl.DataFrame
    rows: int
    npis: int
    bad_npis: int
    dates: int = 0
    unparsed_dates: int = 0
    newest: date | None = None
    oldest: date | None = None
    ragged: int = 0


def read_list(kind: ListKind, path: Path, limits: Limits | None = None) -> ListTable:
    """Read one list; `limits` bound what an archive may unpack to.

    Raises:
        ListUnreadable: it is not in the form we know; names the column or part that is missing.
    """
    if kind is ListKind.DEACTIVATED:
        return read_deactivated(path, limits)
    readers: dict[ListKind, Callable[[Path], ListTable]] = {
        ListKind.REVALIDATION: read_revalidation,
        ListKind.LEIE: read_leie,
        ListKind.REVOKED: read_revoked,
        ListKind.OPT_OUT: read_opt_out,
        ListKind.PPEF: read_ppef,
    }
    return readers[kind](path)


def read_revalidation(path: Path) -> ListTable:
    """The Medicare Revalidation Due Date List, folded to one row per NPI: a row per enrolment would fan out by 13 %."""
    import polars as pl

    columns = {"due_date": "Revalidation Due Date", "adjusted_date": "Adjusted Due Date"}

    def shape(text: pl.DataFrame) -> pl.DataFrame:
        numbers = text.select(
            npi("National Provider Identifier").cast(pl.Int64)
        )  # a third of the memory of text
        return numbers.hstack(
            [series for name, column in columns.items() for series in csvlist.days_of(text, column, name)]
        )

    rows, ragged = csvlist.read(path, ("National Provider Identifier", *columns.values()), shape=shape)
    strange = sum(int(rows[f"strange_{name}"].sum()) for name in columns)
    dates = strange + sum(rows[name].count() for name in columns)
    total, bad = rows.height, rows["npi"].null_count()
    rows = rows.select("npi", *columns).drop_nulls("npi")
    effective = pl.coalesce("adjusted_date", "due_date").alias("effective_date")
    dated = (  # nine of ten enrolments are TBD: only the others need to be looked at by date
        rows.with_columns(effective)
        .drop_nulls("effective_date")
        .sort("npi", "effective_date", maintain_order=True)
        .group_by("npi", maintain_order=True)
        .agg(
            pl.col("effective_date", "due_date", "adjusted_date").first(),
            pl.len().cast(pl.UInt32).alias("dated"),
        )
    )
    npis = rows["npi"]
    del rows
    npis = npis.sort()
    frame = (
        npis.rle()
        .struct.unnest()
        .select(pl.col("value").alias("npi"), pl.col("len").cast(pl.UInt32).alias("enrolments"))
        .join(dated, on="npi", how="left", maintain_order="left")
        .select(
            pl.col("npi").cast(pl.String).str.zfill(10),
            "effective_date",
            "due_date",
            "adjusted_date",
            "enrolments",
            pl.col("dated").fill_null(0),
            pl.lit(None, pl.Boolean).alias("enrolled"),
        )
    )
    return ListTable(frame, total, total, bad, dates, strange, ragged=ragged)


def read_ppef(path: Path) -> ListTable:
    """PECOS public provider enrolment (PPEF, ISO-8859-1, about 309 MB): every enrolled NPI once, sorted, as a number.

    Only the column NPI is read, block by block.
    """
    import polars as pl

    rows, ragged = csvlist.read(path, ("NPI",), shape=lambda text: text.select(npi("NPI").cast(pl.Int64)))
    sorted_npis = rows["npi"].drop_nulls().sort()
    frame = sorted_npis.filter(sorted_npis.ne_missing(sorted_npis.shift())).to_frame()
    if frame.is_empty():
        raise ListUnreadable(
            f"{path.name}: no row has an NPI; give PPEF_Enrollment_Extract_….csv as published"
        )
    return ListTable(frame, rows.height, rows.height, rows["npi"].null_count(), ragged=ragged)


def mark_enrolled(revalidation: pl.DataFrame, ppef: pl.DataFrame) -> pl.DataFrame:
    """The revalidation list with `enrolled` filled in: overdue and no longer enrolled means already gone.

    Args:
        ppef: the frame of `read_ppef`.
    """
    import polars as pl

    asked, enrolled = revalidation["npi"].cast(pl.Int64), ppef["npi"]
    places = enrolled.search_sorted(asked).clip(upper_bound=len(enrolled) - 1)
    return revalidation.with_columns((enrolled.gather(places) == asked).alias("enrolled"))


def read_leie(path: Path) -> ListTable:
    """OIG's LEIE (`UPDATED.csv`): dates YYYYMMDD, 00000000 for none; most rows have no NPI and match by name only."""
    import polars as pl

    text, ragged = csvlist.read(path, ("LASTNAME", "FIRSTNAME", "NPI", "STATE", "EXCLDATE", "REINDATE"))
    rows = text.select(
        pl.lit(ListKind.LEIE.value).alias("list"),
        npi("NPI"),
        compact_day("EXCLDATE").alias("since"),
        compact_day("REINDATE").alias("until"),
        upper("LASTNAME").alias("last_name"),
        upper("FIRSTNAME").alias("first_name"),
        upper("STATE").alias("state"),
    )
    named = pl.col("npi").is_null() & pl.col("last_name").is_not_null() & pl.col("first_name").is_not_null()
    frame = rows.filter(pl.col("npi").is_not_null() | named).with_columns(
        pl.when(pl.col("npi").is_null()).then(pl.col(name)).alias(name)
        for name in ("last_name", "first_name", "state")
    )
    none = text["NPI"].fill_null("").str.strip_chars().is_in(["", csvlist.NO_NPI])
    strange = unparsed(text, "EXCLDATE", compact_day("EXCLDATE"))
    strange += unparsed(text, "REINDATE", compact_day("REINDATE"), ends=True)
    return replace(_table(rows, frame, int((~none).sum()), strange), ragged=ragged)


def read_revoked(path: Path) -> ListTable:
    """Revoked Medicare Providers and Suppliers: barred until the re-enrolment bar ends."""
    return _dated_list(path, ListKind.REVOKED, "REVOCATION_EFCTV_DT", "REENROLLMENT_BAR_EXPRTN_DT")


def read_opt_out(path: Path) -> ListTable:
    """Opt-out affidavits: revalidation is moot until the end date. They may begin in the future: not a list's age."""
    return _dated_list(
        path, ListKind.OPT_OUT, "Optout Effective Date", "Optout End Date", updated="Last updated"
    )


def read_deactivated(path: Path, limits: Limits | None = None) -> ListTable:
    """The NPPES deactivation report: an .xlsx, alone or in its ZIP; the full list, reactivated NPIs included.

    Title and header rows are told by their content, not by their position: a row counts if its first cell is an NPI.
    """
    import polars as pl

    rows = (
        (row[0].strip(), row[1].strip() if len(row) > 1 else "")
        for row in sheet_rows(path, limits)
        if row and _NPI.fullmatch(row[0].strip())
    )
    schema = {"NPI": pl.String, "day": pl.String}
    parts = [pl.DataFrame(schema=schema)]
    while part := list(islice(rows, _ROWS_AT_ONCE)):  # as Python's texts all of them would take 100 MB
        parts.append(pl.DataFrame(part, schema=schema, orient="row"))
    text = pl.concat(parts)
    if text.is_empty():
        raise ListUnreadable(
            f"{path.name}: no row begins with an NPI; give NPPES_Deactivated_NPI_Report_…_V2.zip as published"
        )
    frame = text.select(
        pl.lit(ListKind.DEACTIVATED.value).alias("list"),
        pl.col("NPI").alias("npi"),
        day("day").alias("since"),
        pl.lit(None, pl.Date).alias("until"),
        *_no_name(),
    )
    return _table(frame, frame, frame.height, unparsed(text, "day", day("day")))


def newest_day(table: ListTable) -> date | None:
    """The newest day that a list states: how old a list without a date in its name is at most."""
    return table.newest


def _dated_list(path: Path, kind: ListKind, since: str, until: str, updated: str | None = None) -> ListTable:
    import polars as pl

    text, ragged = csvlist.read(path, ("NPI", since, until), (updated,) if updated else ())
    rows = text.select(
        pl.lit(kind.value).alias("list"),
        npi("NPI"),
        day(since).alias("since"),
        day(until).alias("until"),
        *_no_name(),
    )
    strange = unparsed(text, since, day(since)) + unparsed(text, until, day(until), ends=True)
    table = replace(_table(rows, rows.drop_nulls("npi"), rows.height, strange), ragged=ragged)
    if updated is None:
        return table
    stated = text.select(day(updated).max()).item() if updated in text.columns else None
    return replace(table, newest=stated)


def _table(rows: pl.DataFrame, kept: pl.DataFrame, npis: int, strange: int) -> ListTable:
    """An exclusion list: all its rows and those of use, how many rows state an NPI, dates not understood."""
    oldest, newest = kept["since"].min(), kept["since"].max()
    return ListTable(
        kept,
        rows.height,
        npis,
        npis - rows["npi"].count(),
        strange + rows["since"].count() + rows["until"].count(),
        strange,
        newest if isinstance(newest, date) else None,
        oldest if isinstance(oldest, date) else None,
    )


def _no_name() -> list[pl.Expr]:
    import polars as pl

    return [pl.lit(None, pl.String).alias(name) for name in ("last_name", "first_name", "state")]
