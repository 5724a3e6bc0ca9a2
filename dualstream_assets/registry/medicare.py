"""The CMS and OIG lists: who must revalidate, who is deactivated, excluded, revoked or opted out (facts: nppes 2).

Each reader gives one frame with an `npi` column, one row per NPI or finding, and how many rows and dates were not
understood. Nothing is decided here: whether a row drops anybody depends on the day, in `audience/`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

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
_NO_NPI = "0000000000"


@dataclass(frozen=True)
class ListTable:
    """One list as read: `frame`, rows in the file, and values that were not understood."""

    frame: pl.DataFrame
    rows: int
    unparsed_dates: int
    bad_npis: int


def read_list(kind: ListKind, path: Path) -> ListTable:
    """Read one list.

    Raises:
        ListUnreadable: it is not in the form we know; names the column or part that is missing.
    """
    readers = {
        ListKind.REVALIDATION: read_revalidation,
        ListKind.DEACTIVATED: read_deactivated,
        ListKind.LEIE: read_leie,
        ListKind.REVOKED: read_revoked,
        ListKind.OPT_OUT: read_opt_out,
    }
    return readers[kind](path)


def read_revalidation(path: Path) -> ListTable:
    """The Medicare Revalidation Due Date List, folded to one row per NPI: a row per enrolment would fan out by 13 %."""
    import polars as pl

    text = _csv(path, ("National Provider Identifier", "Revalidation Due Date", "Adjusted Due Date"))
    rows = text.select(
        _npi("National Provider Identifier"),
        _day("Revalidation Due Date").alias("due_date"),
        _day("Adjusted Due Date").alias("adjusted_date"),
    ).with_columns(pl.coalesce("adjusted_date", "due_date").alias("effective_date"))
    frame = (
        rows.drop_nulls("npi")
        .sort("npi", "effective_date", nulls_last=True, maintain_order=True)
        .group_by("npi", maintain_order=True)
        .agg(
            pl.col("effective_date", "due_date", "adjusted_date").first(),
            pl.len().cast(pl.Int64).alias("enrolments"),
            pl.col("effective_date").count().cast(pl.Int64).alias("dated"),
        )
    )
    unparsed = sum(
        _unparsed(text, column, rows[name])
        for column, name in (("Revalidation Due Date", "due_date"), ("Adjusted Due Date", "adjusted_date"))
    )
    return ListTable(frame, text.height, unparsed, rows["npi"].null_count())


def read_leie(path: Path) -> ListTable:
    """OIG's LEIE (`UPDATED.csv`): dates YYYYMMDD, 00000000 for none; most rows have no NPI and match by name only."""
    import polars as pl

    text = _csv(path, ("LASTNAME", "FIRSTNAME", "NPI", "STATE", "EXCLDATE", "REINDATE"))
    rows = text.select(
        pl.lit(ListKind.LEIE.value).alias("list"),
        _npi("NPI"),
        _compact_day("EXCLDATE").alias("since"),
        _compact_day("REINDATE").alias("until"),
        _upper("LASTNAME").alias("last_name"),
        _upper("FIRSTNAME").alias("first_name"),
        _upper("STATE").alias("state"),
    )
    named = pl.col("npi").is_null() & pl.col("last_name").is_not_null() & pl.col("first_name").is_not_null()
    frame = rows.filter(pl.col("npi").is_not_null() | named).with_columns(
        pl.when(pl.col("npi").is_null()).then(pl.col(name)).alias(name)
        for name in ("last_name", "first_name", "state")
    )
    none = text["NPI"].fill_null("").str.strip_chars().is_in(["", _NO_NPI])
    bad = int((rows["npi"].is_null() & ~none).sum())
    return ListTable(frame, text.height, rows["since"].null_count(), bad)


def read_revoked(path: Path) -> ListTable:
    """Revoked Medicare Providers and Suppliers: barred until the re-enrolment bar ends."""
    return _dated_list(path, ListKind.REVOKED, "REVOCATION_EFCTV_DT", "REENROLLMENT_BAR_EXPRTN_DT")


def read_opt_out(path: Path) -> ListTable:
    """Opt-out affidavits: revalidation is moot until the end date."""
    return _dated_list(path, ListKind.OPT_OUT, "Optout Effective Date", "Optout End Date")


def read_deactivated(path: Path) -> ListTable:
    """The NPPES deactivation report: an .xlsx, alone or in its ZIP; the full list, reactivated NPIs included.

    Title and header rows are told by their content, not by their position: a row counts if its first cell is an NPI.
    """
    import polars as pl

    pairs = [(row[0].strip(), row[1].strip() if len(row) > 1 else "") for row in sheet_rows(path) if row]
    text = pl.DataFrame(
        [pair for pair in pairs if re.fullmatch(r"\d{10}", pair[0])],
        schema={"NPI": pl.String, "day": pl.String},
        orient="row",
    )
    if text.is_empty():
        raise ListUnreadable(
            f"{path.name}: no row begins with an NPI; give NPPES_Deactivated_NPI_Report_…_V2.zip as published"
        )
    rows = text.select(
        pl.lit(ListKind.DEACTIVATED.value).alias("list"),
        pl.col("NPI").alias("npi"),
        _day("day").alias("since"),
        pl.lit(None, pl.Date).alias("until"),
        *_no_name(),
    )
    return ListTable(rows, text.height, _unparsed(text, "day", rows["since"]), 0)


def newest_day(table: ListTable) -> date | None:
    """The newest first day on the list: how old a list without a date in its name is at most."""
    newest = table.frame["since"].max() if "since" in table.frame.columns else None
    return newest if isinstance(newest, date) else None


def _dated_list(path: Path, kind: ListKind, since: str, until: str) -> ListTable:
    import polars as pl

    text = _csv(path, ("NPI", since, until))
    rows = text.select(
        pl.lit(kind.value).alias("list"),
        _npi("NPI"),
        _day(since).alias("since"),
        _day(until).alias("until"),
        *_no_name(),
    )
    unparsed = _unparsed(text, since, rows["since"]) + _unparsed(text, until, rows["until"])
    return ListTable(rows.drop_nulls("npi"), text.height, unparsed, rows["npi"].null_count())


def _csv(path: Path, needed: Sequence[str]) -> pl.DataFrame:
    """The needed columns of a list as text. Bytes that are not UTF-8 (ISO-8859-1 extracts) only touch names."""
    import polars as pl

    try:
        scan = pl.scan_csv(path, infer_schema=False, encoding="utf8-lossy")
        actual = {name.strip(): name for name in scan.collect_schema().names()}
        for column in needed:
            if column not in actual:
                raise ListUnreadable(
                    f"{path.name}: no column {column!r} (it has {', '.join(list(actual)[:6])}, …);"
                    " give the file as published"
                )
        return scan.select(pl.col(actual[column]).alias(column) for column in needed).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ListUnreadable(
            f"{path.name}: not readable as CSV ({str(error).splitlines()[0][:120]})"
        ) from error


def _npi(column: str) -> pl.Expr:
    import polars as pl

    text = pl.col(column).str.strip_chars()
    return pl.when(text.str.contains(r"^\d{10}$") & (text != _NO_NPI)).then(text).alias("npi")


def _day(column: str) -> pl.Expr:
    """ISO or MM/DD/YYYY, also M/D/YYYY; everything else (TBD, empty) is null."""
    import polars as pl

    text = pl.col(column).str.strip_chars().str.slice(0, 10)
    return pl.coalesce(text.str.to_date("%Y-%m-%d", strict=False), text.str.to_date("%m/%d/%Y", strict=False))


def _compact_day(column: str) -> pl.Expr:
    import polars as pl

    return pl.col(column).str.strip_chars().str.to_date("%Y%m%d", strict=False)


def _upper(column: str) -> pl.Expr:
    import polars as pl

    return pl.col(column).str.strip_chars().str.to_uppercase().replace("", None)


def _no_name() -> list[pl.Expr]:
    import polars as pl

    return [pl.lit(None, pl.String).alias(name) for name in ("last_name", "first_name", "state")]


def _unparsed(text: pl.DataFrame, column: str, parsed: pl.Series) -> int:
    """Values that are neither empty nor TBD and gave no date."""
    stated = text[column].fill_null("").str.strip_chars().str.to_uppercase()
    return int((~stated.is_in(["", "TBD"]) & parsed.is_null()).sum())
