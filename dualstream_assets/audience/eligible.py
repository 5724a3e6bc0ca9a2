"""Which providers may be written to at all: known, active, not excluded or barred, practising in the United States.

What is not known is not allowed: an NPI without a row in the release is out. Lists that are missing leave their reason
unused; the manifest says so, and the room's checks are not green.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import TYPE_CHECKING

from dualstream_assets.registry.medicare import EXCLUSIONS
from dualstream_assets.registry.npi import is_valid
from dualstream_assets.registry.shelf import ListTables

if TYPE_CHECKING:
    import polars as pl

_STATES = (
    "AL ALABAMA,AK ALASKA,AZ ARIZONA,AR ARKANSAS,CA CALIFORNIA,CO COLORADO,CT CONNECTICUT,DE DELAWARE,"
    "DC DISTRICT OF COLUMBIA,FL FLORIDA,GA GEORGIA,HI HAWAII,ID IDAHO,IL ILLINOIS,IN INDIANA,IA IOWA,"
    "KS KANSAS,KY KENTUCKY,LA LOUISIANA,ME MAINE,MD MARYLAND,MA MASSACHUSETTS,MI MICHIGAN,MN MINNESOTA,"
    "MS MISSISSIPPI,MO MISSOURI,MT MONTANA,NE NEBRASKA,NV NEVADA,NH NEW HAMPSHIRE,NJ NEW JERSEY,"
    "NM NEW MEXICO,NY NEW YORK,NC NORTH CAROLINA,ND NORTH DAKOTA,OH OHIO,OK OKLAHOMA,OR OREGON,"
    "PA PENNSYLVANIA,RI RHODE ISLAND,SC SOUTH CAROLINA,SD SOUTH DAKOTA,TN TENNESSEE,TX TEXAS,UT UTAH,"
    "VT VERMONT,VA VIRGINIA,WA WASHINGTON,WV WEST VIRGINIA,WI WISCONSIN,WY WYOMING,AS AMERICAN SAMOA,"
    "GU GUAM,MP NORTHERN MARIANA ISLANDS,PR PUERTO RICO,VI VIRGIN ISLANDS,"
    "UM UNITED STATES MINOR OUTLYING ISLANDS,AA ARMED FORCES AMERICAS,AE ARMED FORCES EUROPE,"
    "AP ARMED FORCES PACIFIC"
)
US_STATES: dict[str, str] = {entry[:2]: entry[3:] for entry in _STATES.split(",")}
"""States, territories and military post (USPS Publication 28): code -> name; NPPES writes codes, people also names."""
US_COUNTRIES = frozenset({"US", "AS", "GU", "MP", "PR", "VI", "UM"})

BLOCKS: dict[str, str] = {
    "npi-check-digit": "no NPI: its form or its check digit is wrong",
    "npi-unknown": "the release has no row for this NPI",
    "deactivated": "deactivated and not reactivated since (npidata or the deactivation report)",
    "blanked": "the release gives no entity type: the provider's data were withdrawn",
    "excluded": "on OIG's exclusion list (LEIE) by NPI",
    "revoked": "Medicare billing revoked, the re-enrolment bar is open",
    "foreign-practice": "the practice address is outside the United States and its territories",
    "practice-unknown": "no country and no state of the practice address, or the US with no state of theirs",
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
    """One row for each of `npis` (each once), in their order: what a file shows of it, and whether it may get mail.

    `block` and `block_evidence` are null where it may; `opted_out` lowers the rank; `name_flag` says that a LEIE row
    without NPI has the same name and state (a person looks).
    """
    import polars as pl

    frame = _keyed(npis.alias("npi").to_frame())
    known = _keyed(providers).drop("npi")
    listed = _standing(lists.exclusions, frame["key"], today)
    frame = frame.join(known, on="key", how="left", maintain_order="left").join(
        listed, on="key", how="left", maintain_order="left"
    )
    frame = frame.join(_stopped(frame), on="npi", how="left", maintain_order="left")
    named = _named(lists.exclusions)
    flagged = frame.select("npi", pl.col("last_name", "first_name", "state").cast(pl.String)).join(
        named, on=["last_name", "first_name", "state"], how="semi", nulls_equal=False
    )
    return frame.select(
        *_SHOWN,
        "block",
        "block_evidence",
        pl.col("on_opt_out").fill_null(value=False).alias("opted_out"),
        pl.col("npi").is_in(flagged["npi"].implode()).alias("name_flag"),
    )


def _keyed(frame: pl.DataFrame) -> pl.DataFrame:
    """With the NPI as a number beside it, to join by: half the time of text; null where it is no number."""
    import polars as pl

    return frame.with_columns(pl.col("npi").cast(pl.Int64, strict=False).alias("key"))


def _stopped(frame: pl.DataFrame) -> pl.DataFrame:
    """Who may not be written to: `npi`, `block` and `block_evidence`, the first reason of `BLOCKS` that holds."""
    import polars as pl

    reported = pl.col("deactivated_since")
    back = (pl.col("reactivated_on") >= reported).fill_null(value=False)
    country = pl.col("country")
    abroad = country.is_in(_others(frame["country"], US_COUNTRIES))
    no_state = pl.col("state").is_in(_others(frame["state"], {*US_STATES, *US_STATES.values()}))
    no_territory = country.is_in(_others(frame["country"], US_COUNTRIES - {"US"}))
    nowhere = (country.is_null() & pl.col("state").is_null()) | (no_territory & no_state)
    where = pl.format("country {}, state {}", _stated("country"), _stated("state"))
    reasons = [
        (~is_valid("npi"), "npi-check-digit", pl.lit("not an NPI")),
        (pl.col("deactivated").is_null(), "npi-unknown", pl.lit("no row in npidata")),
        (pl.col("deactivated"), "deactivated", pl.format("npidata, {}", _or_unknown("deactivated_on"))),
        (
            pl.col("on_deactivated").fill_null(value=False) & ~back,
            "deactivated",
            pl.format("deactivation report, {}", _or_unknown("deactivated_since")),
        ),
        (pl.col("entity_type").is_null(), "blanked", pl.lit("no entity type")),
        (pl.col("on_leie"), "excluded", pl.format("LEIE, since {}", _or_unknown("leie_since"))),
        (pl.col("on_revoked"), "revoked", pl.format("bar until {}", _or_unknown("revoked_until"))),
        (abroad | (country.is_null() & no_state), "foreign-practice", where),
        (nowhere, "practice-unknown", where),
    ]
    holds = [(when.fill_null(value=False), name, said) for when, name, said in reasons]
    return frame.filter(pl.any_horizontal(when for when, _, _ in holds)).select(
        "npi",
        pl.coalesce(pl.when(when).then(pl.lit(name)) for when, name, _ in holds).alias("block"),
        pl.coalesce(pl.when(when).then(said) for when, _, said in holds).alias("block_evidence"),
    )


def _others(stated: pl.Series, ours: Collection[str]) -> pl.Series:
    """The values of a column that are not ours, whatever their case, as one list to look in."""
    import polars as pl

    values = [v for v in stated.unique().to_list() if v is not None and v.strip().upper() not in ours]
    return pl.Series(values, dtype=stated.dtype).implode()


def _standing(exclusions: pl.LazyFrame, wanted: pl.Series, today: date) -> pl.DataFrame:
    """Who of the wanted stands on which list today: `key`, and per list `on_…`, `…_since`, `…_until`, of the latest."""
    import polars as pl

    open_still = pl.col("until").is_null() | (pl.col("until") >= today)
    key = pl.col("npi").cast(pl.Int64, strict=False).alias("key")
    entries = (
        exclusions.filter(pl.col("npi").is_not_null() & open_still)
        .select(key, "list", "since", "until")
        .join(wanted.to_frame().lazy(), on="key", how="semi")
        .collect()
    )
    found = entries.select("key").unique()
    for kind in EXCLUSIONS:
        name = kind.value
        latest = (
            entries.filter(pl.col("list") == name)
            .group_by("key")
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
        found = found.join(latest, on="key", how="left")
    return found


def _named(exclusions: pl.LazyFrame) -> pl.DataFrame:
    import polars as pl

    return (
        exclusions.filter(pl.col("npi").is_null())
        .select("last_name", "first_name", "state")
        .unique()
        .collect()
    )


def _stated(column: str) -> pl.Expr:
    import polars as pl

    return pl.col(column).cast(pl.String).fill_null("not stated")


def _or_unknown(column: str) -> pl.Expr:
    import polars as pl

    return pl.col(column).cast(pl.String).fill_null("an unknown day")
