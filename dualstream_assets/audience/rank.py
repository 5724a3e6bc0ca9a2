"""In which order people are written to: by when their enrolment must be revalidated (facts: nppes section 2.1).

Overdue does not mean deactivated: most dated enrolments are past due, some for years. So *how long* overdue decides
inside a band, the freshest first. Who is overdue and no longer enrolled (PPEF) is gone and comes last but for those who
opted out: they owe Medicare nothing.
"""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from dualstream_assets.estate.model import Audience

if TYPE_CHECKING:
    import polars as pl

DUE_SOON_DAYS = 90
FRESH_OVERDUE_DAYS = 183
OLD_OVERDUE_DAYS = 730


class RankOrder(StrEnum):
    """The two orders.

    OVERDUE_FIRST: overdue, due within 90 days, due later, TBD, none.
    BANDED: overdue up to 6 months, due within 90 days, overdue up to 24 months, longer, due later, TBD, none.
    """

    OVERDUE_FIRST = "overdue_first"
    BANDED = "banded"


def order_of(declared: Audience) -> RankOrder:
    """The order that the estate declares."""
    return RankOrder.OVERDUE_FIRST if declared.overdue_first else RankOrder.BANDED


def revalidation_of(npis: pl.DataFrame, revalidation: pl.LazyFrame | None, today: date) -> pl.DataFrame:
    """For each NPI its `revalidation_status`, `due_date` and `days_overdue` (null unless the date has passed).

    Args:
        npis: frame with a column `npi`, one row each.
        revalidation: columns of `registry.medicare.REVALIDATION_COLUMNS`; None gives the status `unknown`.
        today: the day that overdue is counted from: due today is not overdue.
    """
    import polars as pl

    if revalidation is None:
        return npis.select(
            "npi",
            pl.lit("unknown").alias("revalidation_status"),
            pl.lit(None, pl.Date).alias("due_date"),
            pl.lit(None, pl.Int64).alias("days_overdue"),
        )
    due = pl.col("effective_date")
    status = (
        pl.when(pl.col("enrolments").is_null())
        .then(pl.lit("none"))
        .when(due.is_null())
        .then(pl.lit("tbd"))
        .when((due < today) & ~pl.col("enrolled").fill_null(value=True))
        .then(pl.lit("gone"))
        .when(due < today)
        .then(pl.lit("overdue"))
        .when(due <= today + timedelta(days=DUE_SOON_DAYS))
        .then(pl.lit("due_soon"))
        .otherwise(pl.lit("due_later"))
    )
    wanted = npis.select("npi")
    known = revalidation.join(wanted.lazy(), on="npi", how="semi")
    known = known.select("npi", "effective_date", "enrolments", "enrolled").collect(engine="streaming")
    return wanted.join(known, on="npi", how="left", maintain_order="left").select(
        "npi",
        status.alias("revalidation_status"),
        due.alias("due_date"),
        pl.when(due < today).then((pl.lit(today) - due).dt.total_days()).alias("days_overdue"),
    )


def sort_keys(order: RankOrder) -> list[pl.Expr]:
    """What to sort by, first wins: band, then nearness of the due date, then NPI.

    Needs the columns `revalidation_status`, `due_date`, `days_overdue`, `opted_out`, `npi`.
    """
    import polars as pl

    status, overdue = pl.col("revalidation_status"), pl.col("days_overdue")
    if order is RankOrder.OVERDUE_FIRST:
        bands = {"overdue": 0, "due_soon": 1, "due_later": 2, "tbd": 3}
        band = status.replace_strict(bands, default=4, return_dtype=pl.Int64)
    else:
        band = (
            pl.when(overdue <= FRESH_OVERDUE_DAYS)
            .then(0)
            .when(status == "due_soon")
            .then(1)
            .when(overdue <= OLD_OVERDUE_DAYS)
            .then(2)
            .when(status == "overdue")
            .then(3)
            .otherwise(status.replace_strict({"due_later": 4, "tbd": 5}, default=6, return_dtype=pl.Int64))
        )
    last = pl.when(pl.col("opted_out")).then(8).when(status == "gone").then(7).otherwise(band)
    return [last, overdue.fill_null(0), pl.col("due_date").fill_null(date.max), pl.col("npi")]
