"""What becomes of each candidate: one row of one file, decided on narrow columns only (ids, not texts).

An address becomes one row, under the NPI of the best rank; every other candidate is a reject with its reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualstream_assets.audience.classify import Classifier
from dualstream_assets.audience.rank import RankOrder, sort_keys

if TYPE_CHECKING:
    import polars as pl

SEGMENTS = ("institutional", "consumer", "direct", "review")
REJECTS = "rejects"
REPEATED = "repeated-row"
SHARED = "shared-address"


class ConservationError(AssertionError):
    """Candidates in and rows out differ: nothing was published. A bug of ours, never of the data."""


def decide(
    candidates: pl.DataFrame,
    ruled: pl.DataFrame,
    people: pl.DataFrame,
    classifier: Classifier,
    order: RankOrder,
) -> pl.DataFrame:
    """One row per candidate, in the order in which the files are written.

    Args:
        candidates: columns `id`, `npi`, `address`, `reason` (why a text is no address), `text`.
        ruled: per address, columns of `rulings.rulings`.
        people: per NPI, columns `block`, `block_evidence`, `opted_out` and those of `rank.revalidation_of`.

    Returns:
        Columns `id`, `file` (a segment or `rejects`), `why` and `why_evidence` (of a reject), `rank` (from 1, per file;
        null in rejects), `npis` and `npi_count` (eligible NPIs of the address; in rejects its own).

    Raises:
        ConservationError: the parts do not add up to the candidates.
    """
    import polars as pl

    foreign = [d for d in ruled["domain"].unique() if classifier.is_foreign(d)]
    reasons: list[tuple[pl.Expr, pl.Expr, pl.Expr]] = [
        (
            pl.col("reason").is_not_null(),
            pl.format("refused-{}", pl.col("reason").str.replace_all("_", "-")),
            pl.col("text"),
        ),
        (pl.col("segment") == "dropped", pl.col("rule"), pl.col("evidence")),
        (pl.col("block").is_not_null(), pl.col("block"), pl.col("block_evidence")),
        (
            pl.col("domain").is_in(foreign) & (pl.col("segment") != "direct"),
            pl.lit("foreign-tld"),
            pl.col("domain"),
        ),
    ]
    sorting = ["revalidation_status", "due_date", "days_overdue", "opted_out"]
    joined = (
        candidates.select("id", "npi", "address", "reason", "text")
        .join(ruled.drop("role_account"), on="address", how="left", maintain_order="left")
        .join(
            people.select("npi", "block", "block_evidence", *sorting),
            on="npi",
            how="left",
            maintain_order="left",
        )
        .select(
            "id",
            "npi",
            "address",
            pl.col("segment").alias("file"),
            pl.coalesce(pl.when(when).then(why) for when, why, _ in reasons).alias("why"),
            pl.coalesce(pl.when(when).then(said) for when, _, said in reasons).alias("why_evidence"),
            *sorting,
        )
    )
    out = joined.filter(pl.col("why").is_not_null())
    kept = (
        joined.filter(pl.col("why").is_null())
        .drop("why", "why_evidence")
        .sort(*sort_keys(order), "address", "id")
    )
    first_of_pair = kept.sort("id").unique(["address", "npi"], keep="first", maintain_order=True).select("id")
    pairs = kept.join(first_of_pair, on="id", how="semi", maintain_order="left")
    winners = pairs.group_by("address", maintain_order=True).agg(
        pl.col("id", "npi", "file").first(),
        pl.col("npi").sort().str.join(";").alias("npis"),
        pl.len().cast(pl.Int64).alias("npi_count"),
    )
    shared = (
        pairs.join(winners.select("id"), on="id", how="anti")
        .join(winners.select("address", pl.col("npi").alias("under")), on="address", how="left")
        .select(
            "id",
            "npi",
            pl.lit(SHARED).alias("why"),
            pl.format("its row stands under NPI {}", "under").alias("why_evidence"),
        )
    )
    repeated = kept.join(first_of_pair, on="id", how="anti").select(
        "id",
        "npi",
        pl.lit(REPEATED).alias("why"),
        pl.lit("the same NPI and address, filed before").alias("why_evidence"),
    )
    rejects = (
        pl.concat([out.select("id", "npi", "why", "why_evidence"), shared, repeated])
        .sort("id")
        .select(
            "id",
            pl.lit(REJECTS).alias("file"),
            "why",
            "why_evidence",
            pl.lit(None, pl.UInt32).alias("rank"),
            pl.col("npi").alias("npis"),
            pl.col("npi").is_not_null().cast(pl.Int64).alias("npi_count"),
        )
    )
    rows = winners.select(
        "id",
        "file",
        pl.lit(None, pl.String).alias("why"),
        pl.lit(None, pl.String).alias("why_evidence"),
        pl.col("id").cum_count().over("file").cast(pl.UInt32).alias("rank"),
        "npis",
        "npi_count",
    )
    fates = pl.concat([rows, rejects])
    _conserved(candidates, fates, winners)
    return fates


def _conserved(candidates: pl.DataFrame, fates: pl.DataFrame, winners: pl.DataFrame) -> None:
    different = fates["id"].n_unique()
    if not candidates.height == fates.height == different:
        raise ConservationError(
            f"{candidates.height:,} candidates in, {fates.height:,} rows out, {different:,} of them different:"
            " not published"
        )
    if winners["address"].n_unique() != winners.height:
        raise ConservationError("an address has two rows: not published")
    if not set(fates["file"].unique()) <= {*SEGMENTS, REJECTS}:
        raise ConservationError("a candidate belongs to no file: not published")
