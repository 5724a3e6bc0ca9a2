"""Which providers may be written to at all: known, active, not excluded or barred, practising in the United States.

What is not known is not allowed: an NPI without a row in the release is out. Lists that are missing leave their reason
unused; the manifest says so, and the room's checks are not green.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from dualstream_assets.registry.medicare import ListKind
from dualstream_assets.registry.shelf import ListTables

if TYPE_CHECKING:
    import polars as pl

US_STATES = frozenset(
    {
        "AL",
        "AK",
        "AZ",
        "AR",
        "CA",
        "CO",
        "CT",
        "DE",
        "DC",
        "FL",
        "GA",
        "HI",
        "ID",
        "IL",
        "IN",
        "IA",
        "KS",
        "KY",
        "LA",
    }
    | {
        "ME",
        "MD",
        "MA",
        "MI",
        "MN",
        "MS",
        "MO",
        "MT",
        "NE",
        "NV",
        "NH",
        "NJ",
        "NM",
        "NY",
        "NC",
        "ND",
        "OH",
        "OK",
        "OR",
    }
    | {"PA", "RI", "SC", "SD", "TN", "TX", "UT", "VT", "VA", "WA", "WV", "WI", "WY"}
    | {"AS", "GU", "MP", "PR", "VI", "UM"}
    | {"AA", "AE", "AP"}
)
"""States, territories and military post (USPS Publication 28)."""
US_COUNTRIES = frozenset({"US", "AS", "GU", "MP", "PR", "VI", "UM"})

BLOCKS: dict[str, str] = {
    "npi-unknown": "the release has no row for this NPI",
    "deactivated": "deactivated and not reactivated since (npidata or the deactivation report)",
    "blanked": "the release gives no entity type: the provider's data were withdrawn",
    "excluded": "on OIG's exclusion list (LEIE) by NPI",
    "revoked": "Medicare billing revoked, the re-enrolment bar is open",
    "foreign-practice": "the practice address is outside the United States and its territories",
}
"""Reasons that keep a provider out, in the order they are looked at."""
_SHOWN = (
    "npi",
    "entity_type",
    "first_name",
    "last_name",
    "credential",
    "organization",
    "taxonomy_code",
    "state",
    "phone",
)


def eligibility(providers: pl.DataFrame, npis: pl.Series, lists: ListTables, today: date) -> pl.DataFrame:
    """One row for each NPI: what a row of a file shows of it, and whether it may be written to.

    `block` and `block_evidence` are null where it may; `opted_out` lowers the rank; `name_flag` says that a LEIE row
    without NPI has the same name and state (a person looks).
    """
    import polars as pl

    frame = npis.drop_nulls().unique().sort().alias("npi").to_frame().join(providers, on="npi", how="left")
    for kind in ListKind:
        if kind is not ListKind.REVALIDATION:
            frame = frame.join(_standing(lists.exclusions, kind, today), on="npi", how="left")
    reported = pl.col("deactivated_since")
    back = (pl.col("reactivated_on") >= reported).fill_null(value=False)
    off_by_report = pl.col("on_deactivated").fill_null(value=False) & ~back
    country, state = pl.col("country").str.to_uppercase(), pl.col("state").str.to_uppercase()
    foreign = (country.is_not_null() & ~country.is_in(list(US_COUNTRIES))) | (
        country.is_null() & state.is_not_null() & ~state.is_in(list(US_STATES))
    )
    known = pl.col("deactivated").is_not_null()
    off = pl.col("deactivated")
    reasons = [
        (~known, "npi-unknown", pl.lit("no row in npidata")),
        (off, "deactivated", pl.format("npidata, {}", _or_unknown("deactivated_on"))),
        (
            off_by_report,
            "deactivated",
            pl.format("deactivation report, {}", _or_unknown("deactivated_since")),
        ),
        (pl.col("entity_type").is_null(), "blanked", pl.lit("no entity type")),
        (pl.col("on_leie"), "excluded", pl.format("LEIE, since {}", _or_unknown("leie_since"))),
        (pl.col("on_revoked"), "revoked", pl.format("bar until {}", _or_unknown("revoked_until"))),
        (foreign, "foreign-practice", pl.format("country {}", pl.col("country").fill_null("not stated"))),
    ]
    block = pl.coalesce(pl.when(when.fill_null(value=False)).then(pl.lit(name)) for when, name, _ in reasons)
    evidence = pl.coalesce(pl.when(when.fill_null(value=False)).then(said) for when, _, said in reasons)
    return (
        frame.with_columns(
            block.alias("block"),
            evidence.alias("block_evidence"),
            pl.col("on_opt_out").fill_null(value=False).alias("opted_out"),
        )
        .join(
            _named(lists.exclusions), on=["last_name", "first_name", "state"], how="left", nulls_equal=False
        )
        .with_columns(pl.col("name_flag").fill_null(value=False))
        .select(*_SHOWN, "block", "block_evidence", "opted_out", "name_flag")
        .sort("npi")
    )


def _standing(exclusions: pl.DataFrame, kind: ListKind, today: date) -> pl.DataFrame:
    """NPIs that stand on a list today, with the latest of their entries."""
    import polars as pl

    name = kind.value
    open_still = pl.col("until").is_null() | (pl.col("until") >= today)
    return (
        exclusions.filter((pl.col("list") == name) & pl.col("npi").is_not_null() & open_still)
        .group_by("npi")
        .agg(
            pl.lit(value=True).alias(f"on_{name}"),
            pl.col("since").max().alias(f"{name}_since"),
            # An entry without an end outlasts every other.
            pl.when(pl.col("until").is_null().any())
            .then(None)
            .otherwise(pl.col("until").max())
            .alias(f"{name}_until"),
        )
    )


def _named(exclusions: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return (
        exclusions.filter(pl.col("npi").is_null())
        .select("last_name", "first_name", "state")
        .unique()
        .with_columns(pl.lit(value=True).alias("name_flag"))
    )


def _or_unknown(column: str) -> pl.Expr:
    import polars as pl

    return pl.col(column).cast(pl.String).fill_null("an unknown day")
