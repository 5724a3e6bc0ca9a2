"""What becomes of each candidate: one row of one file, decided on narrow columns only.

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
BARRED = "shared-with-excluded"
BARRING = ("excluded", "revoked")
"""Blocks that reach everybody who shares the mailbox: whoever reads it, the excluded provider may."""


class ConservationError(AssertionError):
    """Candidates in and rows out differ: nothing was published. A bug of ours, never of the data."""


def codes_of(candidates: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """NPIs and addresses as numbers from 0 (columns `person`, `mailbox`, null where none is); and NPIs by number."""
    import polars as pl

    npis = candidates["npi"].drop_nulls()
    if npis.str.contains(r"^[0-9]{10}$").all():  # as numbers, in a third of the time
        number = pl.col("npi").cast(pl.Int64)
        persons = candidates.select(number.rank("dense").cast(pl.UInt32).alias("person") - 1).to_series()
        npis = npis.cast(pl.Int64).unique().sort().cast(pl.String).str.zfill(10)
    else:
        npis = npis.unique(maintain_order=True)
        numbered = npis.to_frame().with_row_index("person")
        persons = candidates.select("npi").join(numbered, on="npi", how="left", maintain_order="left")[
            "person"
        ]
    mailboxes = candidates.select(pl.col("address").rank("dense").cast(pl.UInt32).alias("mailbox") - 1)
    return mailboxes.insert_column(0, persons), npis


def decide(
    candidates: pl.DataFrame,
    codes: pl.DataFrame,
    ruled: pl.DataFrame,
    people: pl.DataFrame,
    classifier: Classifier,
    order: RankOrder,
) -> pl.DataFrame:
    """One row per candidate, in the order in which the files are written.

    Args:
        candidates: columns `reason` (why a text is no address), `text`.
        codes: row by row beside `candidates`, as `codes_of` gives it.
        ruled: row by row beside `candidates`, columns of `rulings.rulings`.
        people: one row per NPI of `candidates`, by its number: columns `npi`, `block`, `block_evidence`, `opted_out`
            and those of `rank.revalidation_of`.

    Returns:
        Columns `id` (row of `candidates`, from 0), `person` (row of `people`, null without NPI), `file` (a segment or
        `rejects`), `why` and `why_evidence` (of a reject), `rank` (from 1, per file; null in rejects), `npis` (null
        unless several eligible NPIs share the address) and `npi_count`.

    Raises:
        ConservationError: the parts do not add up to the candidates.
    """
    import polars as pl

    if codes["person"].drop_nulls().n_unique() != people.height:
        raise ConservationError("the people are not those of the candidates: not published")
    places = people.with_row_index("person").sort(*sort_keys(order))["person"].arg_sort()
    out = _reasons(candidates, codes, ruled, people, classifier)
    judged = pl.DataFrame(
        [
            pl.int_range(candidates.height, dtype=pl.UInt32, eager=True).alias("id"),
            *codes,
            places.gather(codes["person"]).cast(pl.UInt32).alias("place"),
            ruled["segment"].alias("file"),
        ]
    ).join(out, on="id", how="left", maintain_order="left")
    judged = _barred(judged)
    kept = (
        judged.filter(pl.col("why").is_null())
        .drop("why", "why_evidence")
        .sort("place", "id")
        .with_columns(
            (pl.col("mailbox").cast(pl.UInt64) * 2**32 + pl.col("place"))
            .is_first_distinct()
            .alias("is_first_of_pair")
        )
    )
    pairs = kept.filter("is_first_of_pair").with_columns(pl.col("mailbox").is_first_distinct().alias("wins"))
    pairs = pairs.join(_together(pairs, people), on="mailbox", how="left", maintain_order="left")
    winners = pairs.filter("wins")
    repeated = kept.filter(~pl.col("is_first_of_pair"))
    rejects = [
        _reject(judged.filter(pl.col("why").is_not_null()), pl.col("why"), pl.col("why_evidence")),
        _reject(
            pairs.filter(~pl.col("wins")), pl.lit(SHARED), pl.format("its row stands under NPI {}", "under")
        ),
        _reject(repeated, pl.lit(REPEATED), pl.lit("the same NPI and address, filed before")),
    ]
    fates = pl.concat([_rows_of(winners), pl.concat(rejects).sort("id")])
    _conserved(candidates, fates, winners)
    return fates


def _barred(judged: pl.DataFrame) -> pl.DataFrame:
    """Also out: who shares a mailbox with an excluded or revoked provider."""
    import polars as pl

    boxes = judged.filter(pl.col("why").is_in(BARRING))["mailbox"].drop_nulls().unique()
    also = pl.col("why").is_null() & pl.col("mailbox").is_in(boxes.implode())
    evidence = pl.lit("an excluded or revoked provider filed it too")
    return judged.with_columns(
        pl.when(also).then(pl.lit(BARRED)).otherwise("why").alias("why"),
        pl.when(also).then(evidence).otherwise("why_evidence").alias("why_evidence"),
    )


def _reasons(
    candidates: pl.DataFrame,
    codes: pl.DataFrame,
    ruled: pl.DataFrame,
    people: pl.DataFrame,
    classifier: Classifier,
) -> pl.DataFrame:
    """The candidates that are out: `id`, `why`, `why_evidence`."""
    import polars as pl

    foreign = [d for d in ruled["domain"].drop_nulls().unique().to_list() if classifier.is_foreign(d)]
    is_foreign = pl.col("domain").is_in(pl.Series(foreign, dtype=pl.Categorical).implode())
    text = {name: pl.col(name).cast(pl.String) for name in ("domain", "rule", "evidence", "reason", "text")}
    reasons: list[tuple[pl.Expr, pl.Expr, pl.Expr]] = [
        (
            pl.col("reason").is_not_null(),
            pl.format("refused-{}", text["reason"].str.replace_all("_", "-", literal=True)),
            text["text"],
        ),
        (pl.col("segment") == "dropped", text["rule"], text["evidence"]),
        (pl.col("block").is_not_null(), pl.col("block"), pl.col("block_evidence")),
        (is_foreign & (pl.col("segment") != "direct"), pl.lit("foreign-tld"), text["domain"]),
    ]
    beside = [
        candidates.select("reason", "text"),
        ruled.select("domain", "segment", "rule", "evidence"),
        people.select(pl.col("block", "block_evidence").gather(codes["person"])),
    ]
    return (
        pl.concat(beside, how="horizontal")
        .with_row_index("id")
        .filter(pl.any_horizontal(when.fill_null(value=False) for when, _, _ in reasons))
        .select(
            "id",
            pl.coalesce(pl.when(when).then(why) for when, why, _ in reasons).alias("why"),
            pl.coalesce(pl.when(when).then(said) for when, _, said in reasons).alias("why_evidence"),
        )
    )


def _together(pairs: pl.DataFrame, people: pl.DataFrame) -> pl.DataFrame:
    """Mailboxes that several people share: `mailbox`, `under` (the first one's NPI), `npis`, `npi_count`."""
    import polars as pl

    several = pairs.filter(pl.col("mailbox").is_duplicated()).select("mailbox", "person")
    return (
        several.with_columns(people["npi"].gather(several["person"]))
        .group_by("mailbox", maintain_order=True)
        .agg(
            pl.col("npi").first().alias("under"),
            pl.col("npi").sort().str.join(";").alias("npis"),
            pl.len().cast(pl.UInt32).alias("npi_count"),
        )
    )


def _rows_of(winners: pl.DataFrame) -> pl.DataFrame:
    """The rows of the four segment files, ranked."""
    import polars as pl

    nothing = pl.lit(None, pl.String)
    return winners.select(
        "id",
        "person",
        "file",
        nothing.alias("why"),
        nothing.alias("why_evidence"),
        pl.col("id").cum_count().over("file").cast(pl.UInt32).alias("rank"),
        "npis",
        pl.col("npi_count").fill_null(1),
    )


def _reject(rows: pl.DataFrame, why: pl.Expr, evidence: pl.Expr) -> pl.DataFrame:
    import polars as pl

    return rows.select(
        "id",
        "person",
        pl.lit(REJECTS, pl.Categorical).alias("file"),
        why.alias("why"),
        evidence.alias("why_evidence"),
        pl.lit(None, pl.UInt32).alias("rank"),
        pl.lit(None, pl.String).alias("npis"),
        pl.col("person").is_not_null().cast(pl.UInt32).alias("npi_count"),
    )


def _conserved(candidates: pl.DataFrame, fates: pl.DataFrame, winners: pl.DataFrame) -> None:
    different = fates["id"].n_unique()
    if not candidates.height == fates.height == different:
        raise ConservationError(
            f"{candidates.height:,} candidates in, {fates.height:,} rows out, {different:,} of them different:"
            " not published"
        )
    if winners["mailbox"].n_unique() != winners.height:
        raise ConservationError("an address has two rows: not published")
    if not set(fates["file"].unique()) <= {*SEGMENTS, REJECTS}:
        raise ConservationError("a candidate belongs to no file: not published")
