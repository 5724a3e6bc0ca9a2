"""npidata_pfile: who the wanted NPIs are. 42 of 330 columns, and only their rows are parsed (5 % of all).

Primary taxonomy is the slot whose switch is Y, any of 15 (facts: nppes section 0.9). Deactivated means deactivated and
not reactivated on or after that date (section 0.6).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dualstream_assets.registry.archive import Archive
from dualstream_assets.registry.columns import (
    NPIDATA_LAYOUT,
    PRIMARY_SWITCHES,
    PROVIDER_PROJECTION,
    TAXONOMY_CODES,
)
from dualstream_assets.registry.endpoints import row_blocks
from dualstream_assets.registry.mending import LineCounts

if TYPE_CHECKING:
    import polars as pl

COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("npi", "string", "National Provider Identifier"),
    ("entity_type", "string", "person, organisation; null for a blanked (deactivated) row"),
    ("first_name", "string", "persons only, as filed"),
    ("last_name", "string", "persons only, as filed"),
    ("credential", "string", "as filed"),
    ("organization", "string", "legal business name, organisations only"),
    ("taxonomy_code", "string", "primary taxonomy: the slot whose switch is Y, else slot 1"),
    ("primary_by_switch", "bool", "false: no slot says Y, slot 1 was taken"),
    ("state", "string", "of the practice address"),
    ("country", "string", "of the practice address"),
    ("phone", "string", "of the practice address"),
    ("updated_on", "date", "Last Update Date"),
    ("deactivated", "bool", "deactivated and not reactivated since"),
    ("deactivated_on", "date", "NPI Deactivation Date"),
    ("reactivated_on", "date", "NPI Reactivation Date"),
)
_DATES = {
    "updated_on": "Last Update Date",
    "deactivated_on": "NPI Deactivation Date",
    "reactivated_on": "NPI Reactivation Date",
}
_REPEATING = (
    *("entity_type", "first_name", "last_name", "credential", "organization"),
    *("taxonomy_code", "state", "country"),
)
"""Held as codes (`pl.Categorical`): a quarter of the memory, and a pass over npidata keeps nothing of its blocks."""
_YEARS = (1990, 2100)
_ENTITY = {"1": "person", "2": "organisation"}


@dataclass
class ProviderCounts:
    """What npidata_pfile held of the wanted NPIs.

    Attributes:
        missing: wanted NPIs without a row.
        duplicates: rows beyond the first of an NPI; the newest by its dates is kept, of two alike the deactivated.
        unparsed_dates: date values that are neither empty nor MM/DD/YYYY.
    """

    lines: LineCounts = field(default_factory=LineCounts)
    wanted: int = 0
    found: int = 0
    missing: int = 0
    duplicates: int = 0
    persons: int = 0
    organisations: int = 0
    deactivated: int = 0
    reactivated: int = 0
    primary_by_switch: int = 0
    primary_by_first_slot: int = 0
    unparsed_dates: Counter[str] = field(default_factory=Counter)


def read_providers(archive: Archive, wanted: pl.Series) -> tuple[pl.DataFrame, ProviderCounts]:
    """One row for each NPI of `wanted` that the release has; columns as in `COLUMNS`, sorted by NPI.

    Raises:
        RegistryError: damaged member, wrong header.
    """
    import polars as pl

    counts = ProviderCounts()
    npis = wanted.drop_nulls().unique().cast(pl.Int64, strict=False).drop_nulls().sort().to_numpy()
    blocks = row_blocks(archive, NPIDATA_LAYOUT, PROVIDER_PROJECTION, counts.lines, wanted=npis)
    frames = [_compact(block.frame, counts) for block in blocks]
    rows = pl.concat(frames) if frames else _compact(_nothing(), counts)
    rows = rows.filter(pl.col("npi").cast(pl.Int64, strict=False).is_in(npis))
    newest = pl.max_horizontal("updated_on", "deactivated_on", "reactivated_on")
    frame = (
        rows.with_columns(newest.alias("newest"))
        .sort(
            "npi",
            "newest",
            "deactivated",
            descending=[False, True, True],
            nulls_last=True,
            maintain_order=True,
        )
        .unique("npi", keep="first", maintain_order=True)
        .drop("newest")
        .rechunk()
    )
    counts.wanted, counts.found = len(npis), frame.height
    counts.missing = len(npis) - frame.height
    counts.duplicates = rows.height - frame.height
    counts.persons = int((frame["entity_type"] == "person").sum())
    counts.organisations = int((frame["entity_type"] == "organisation").sum())
    counts.deactivated = int(frame["deactivated"].sum())
    counts.reactivated = frame.filter(pl.col("deactivated_on").is_not_null() & ~pl.col("deactivated")).height
    counts.primary_by_switch = int(frame["primary_by_switch"].sum())
    counts.primary_by_first_slot = frame.filter(
        pl.col("taxonomy_code").is_not_null() & ~pl.col("primary_by_switch")
    ).height
    return frame, counts


def _day(column: str) -> pl.Expr:
    """MM/DD/YYYY of a year that NPPES can mean; all else is null."""
    import polars as pl

    day = pl.col(column).str.to_date("%m/%d/%Y", strict=False)
    return pl.when(day.dt.year().is_between(*_YEARS)).then(day)


def _nothing() -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(schema=dict.fromkeys(PROVIDER_PROJECTION, pl.String))


def _compact(rows: pl.DataFrame, counts: ProviderCounts) -> pl.DataFrame:
    """The wide text rows of a block as our 15 columns."""
    import polars as pl

    rows = rows.select(pl.col(pl.String).replace("", None))
    by_switch = pl.coalesce(
        pl.when(pl.col(switch) == "Y").then(pl.col(code))
        for code, switch in zip(TAXONOMY_CODES, PRIMARY_SWITCHES, strict=True)
    )
    dates = {name: _day(column) for name, column in _DATES.items()}
    since = dates["reactivated_on"] >= dates["deactivated_on"]
    made = rows.select(
        pl.col("NPI").str.strip_chars().alias("npi"),
        pl.col("Entity Type Code")
        .replace_strict(_ENTITY, default=None, return_dtype=pl.String)
        .alias("entity_type"),
        pl.col("Provider First Name").alias("first_name"),
        pl.col("Provider Last Name (Legal Name)").alias("last_name"),
        pl.col("Provider Credential Text").alias("credential"),
        pl.col("Provider Organization Name (Legal Business Name)").alias("organization"),
        pl.coalesce(by_switch, pl.col(TAXONOMY_CODES[0])).alias("taxonomy_code"),
        by_switch.is_not_null().alias("primary_by_switch"),
        pl.col("Provider Business Practice Location Address State Name").alias("state"),
        pl.col("Provider Business Practice Location Address Country Code (If outside U.S.)").alias("country"),
        pl.col("Provider Business Practice Location Address Telephone Number").alias("phone"),
        dates["updated_on"].alias("updated_on"),
        # A date that cannot be read still says that the NPI was deactivated: unknown is not active.
        (pl.col("NPI Deactivation Date").is_not_null() & ~since.fill_null(value=False)).alias("deactivated"),
        dates["deactivated_on"].alias("deactivated_on"),
        dates["reactivated_on"].alias("reactivated_on"),
    )
    made = made.with_columns(pl.col(_REPEATING).cast(pl.Categorical))
    for name, column in _DATES.items():
        unparsed = rows[column].drop_nulls().len() - made[name].drop_nulls().len()
        if unparsed:
            counts.unparsed_dates[name] += unparsed
    return made
