"""Weekly increments applied on the tables of a base release. What each one changed is counted, and nothing is lost.

What CMS states in a weekly is the whole record of an NPI as it is now, so rows replace rows:

- Provider: the weekly's row replaces the former one, also a blank one (a deactivation). It does not where the former
  row is newer by its own dates (`updated_on`, `deactivated_on`, `reactivated_on`, none taken as later than its file):
  then the NPI is *outdated* in this weekly, and neither its row nor its endpoints are used. A row without a date is
  not outdated.
- Endpoints: an NPI that the endpoint member names, with any row, an address in it or not, has its former candidates
  replaced. An NPI in npidata that the endpoint member does not name keeps them: a weekly repeats endpoints where they
  are given, and silence is not a withdrawal. How many were kept is counted (`kept_npis`), so it can be seen.
- Lines that could not be read have no NPI: they stay, and new ones are added.

`row` of a candidate of the n-th increment is its line plus n × `ROWS_A_FILE`: it sorts behind the base and says where
it is from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from dualstream_assets.registry.archive import Archive
from dualstream_assets.registry.columns import ENDPOINT_LAYOUT, NPIDATA_LAYOUT, Layout
from dualstream_assets.registry.endpoints import EndpointCounts, read_endpoints, row_blocks
from dualstream_assets.registry.mending import LineCounts
from dualstream_assets.registry.providers import ProviderCounts, read_providers

if TYPE_CHECKING:
    import polars as pl

ROWS_A_FILE = 1_000_000_000
"""More lines than an endpoint member has: `divmod(row, ROWS_A_FILE)` is (number of the increment, its line)."""
_DATES = ("updated_on", "deactivated_on", "reactivated_on")


@dataclass(frozen=True)
class Increment:
    """One weekly file as read.

    Attributes:
        endpoints: its candidates, columns of `endpoints.COLUMNS`.
        named: every NPI in its endpoint member, also those without an address.
        providers: every NPI of its npidata, columns of `providers.COLUMNS`.
    """

    name: str
    day: date | None
    endpoints: pl.DataFrame
    named: pl.Series
    providers: pl.DataFrame
    endpoint_counts: EndpointCounts
    provider_counts: ProviderCounts


@dataclass(frozen=True)
class EndpointChange:
    """What an increment did to the candidates: after it there are `used` more and `replaced` fewer.

    Attributes:
        candidates: in its endpoint member.
        used: of these, not of an outdated NPI.
        outdated: of these, not used because the former data of their NPI are newer.
        replaced: former candidates of the NPIs that its endpoint member names.
        kept_npis: NPIs of its npidata that its endpoint member does not name; their former candidates stay.
    """

    name: str
    candidates: int
    used: int
    outdated: int
    replaced: int
    replaced_npis: int
    kept_npis: int
    counts: EndpointCounts


@dataclass(frozen=True)
class ProviderChange:
    """What an increment did to the provider rows.

    Attributes:
        npis: in its npidata.
        replaced, added: wanted NPIs that it changed, and that the former files did not have.
        outdated: wanted NPIs whose former row is newer, kept.
        deactivated: wanted NPIs that are deactivated by it and were not before.
    """

    name: str
    npis: int
    replaced: int
    added: int
    outdated: int
    deactivated: int
    counts: ProviderCounts


def read_increment(archive: Archive) -> Increment:
    """Read all of a weekly file (6–8 MB): its candidates, the NPIs its endpoint member names, and all its providers.

    Raises:
        RegistryError: damaged member, wrong header.
    """
    endpoints, endpoint_counts = read_endpoints(archive)
    providers, provider_counts = read_providers(archive, _npis(archive, NPIDATA_LAYOUT))
    return Increment(
        name=archive.path.name,
        day=archive.day,
        endpoints=endpoints,
        named=_npis(archive, ENDPOINT_LAYOUT),
        providers=providers,
        endpoint_counts=endpoint_counts,
        provider_counts=provider_counts,
    )


def doubtful(increments: Sequence[Increment], base_day: date | None) -> pl.Series:
    """NPIs whose endpoints an increment names and whose row in it may be older than the base's.

    Only for these must the base's provider rows be known before endpoints can be merged; as a rule there are none.
    """
    import polars as pl

    found = [pl.Series("npi", [], pl.String)]
    for one in increments:
        old = one.providers.filter(pl.col("updated_on") <= base_day)["npi"]
        found.append(old.filter(old.is_in(one.named.implode())))
    return pl.concat(found).unique()


def outdated(
    providers: pl.DataFrame, base_day: date | None, increments: Sequence[Increment]
) -> list[pl.Series]:
    """For each increment the NPIs whose former row (in `providers` or an earlier increment) is newer than its own."""
    import polars as pl

    former = _dated(providers, base_day)
    found = []
    for one in increments:
        older = (
            one.providers.select("npi", "updated_on")
            .join(former, on="npi")
            .filter(pl.col("known_on") > pl.col("updated_on"))["npi"]
        )
        newer = _without(one.providers, older)
        former = pl.concat([_without(former, newer["npi"]), _dated(newer, one.day)])
        found.append(older)
    return found


def merge_endpoints(
    base: pl.DataFrame, increments: Sequence[Increment], older: Sequence[pl.Series]
) -> tuple[pl.DataFrame, list[EndpointChange]]:
    """The candidates after all increments, in the order of their files; `older` as `outdated` gives it."""
    import polars as pl

    merged = base
    changes = []
    for number, (one, old) in enumerate(zip(increments, older, strict=True), start=1):
        named = one.named.filter(~one.named.is_in(old.implode()))
        new = _without(one.endpoints, old).with_columns(pl.col("row") + number * ROWS_A_FILE)
        stay = _without(merged, named)
        changed = one.providers["npi"]
        silent = changed.filter(~changed.is_in(one.named.implode()))
        changes.append(
            EndpointChange(
                name=one.name,
                candidates=one.endpoints.height,
                used=new.height,
                outdated=one.endpoints.height - new.height,
                replaced=merged.height - stay.height,
                replaced_npis=merged["npi"].n_unique() - stay["npi"].n_unique(),
                kept_npis=stay.join(silent.to_frame("npi"), on="npi", how="semi")["npi"].n_unique(),
                counts=one.endpoint_counts,
            )
        )
        merged = pl.concat([stay, new])
    return merged, changes


def merge_providers(
    base: pl.DataFrame, increments: Sequence[Increment], older: Sequence[pl.Series], wanted: pl.Series
) -> tuple[pl.DataFrame, list[ProviderChange]]:
    """The provider rows of the NPIs in `wanted` after all increments, sorted by NPI; `older` as `outdated` gives it."""
    import polars as pl

    npis = wanted.drop_nulls().unique().to_frame("npi")
    merged = base.join(npis, on="npi", how="semi")
    changes = []
    for one, old in zip(increments, older, strict=True):
        new = _without(one.providers, old).join(npis, on="npi", how="semi")
        stay = _without(merged, new["npi"])
        active = merged.filter(~pl.col("deactivated"))["npi"]
        off = new.filter(pl.col("deactivated") & pl.col("npi").is_in(active.implode()))
        replaced = merged.height - stay.height
        changes.append(
            ProviderChange(
                name=one.name,
                npis=one.providers.height,
                replaced=replaced,
                added=new.height - replaced,
                outdated=old.to_frame("npi").join(npis, on="npi", how="semi").height,
                deactivated=off.height,
                counts=one.provider_counts,
            )
        )
        merged = pl.concat([stay, new])
    return merged.sort("npi").rechunk(), changes


def candidates_of(counts: Mapping[str, Any]) -> int:
    """How many candidates the counts of the endpoint table (plain data) account for; it must have as many rows.

    What the base held, and of every increment what was used less what it replaced.
    """
    base = counts.get("addresses", 0) + sum(counts.get("refusals", {}).values())
    return base + sum(one["used"] - one["replaced"] for one in counts.get("increments", []))


def _npis(archive: Archive, layout: Layout) -> pl.Series:
    """Every NPI of a member, once."""
    import polars as pl

    blocks = row_blocks(archive, layout, ("NPI",), LineCounts())
    npis = pl.concat(
        [pl.Series("npi", [], pl.String), *(b.frame["NPI"].alias("npi") for b in blocks)]
    ).unique()
    return npis.filter(npis != "")


def _dated(providers: pl.DataFrame, day: date | None) -> pl.DataFrame:
    """NPI and the newest date that its row states, at most the last day of its file: a later one is a slip."""
    import polars as pl

    known = pl.max_horizontal(_DATES)
    capped = pl.when(known > pl.lit(day, pl.Date)).then(pl.lit(day, pl.Date)).otherwise(known)
    return providers.select("npi", capped.alias("known_on"))


def _without(frame: pl.DataFrame, npis: pl.Series) -> pl.DataFrame:
    """Rows of other NPIs, in their order; rows without an NPI stay."""
    return frame.join(npis.to_frame("npi"), on="npi", how="anti", maintain_order="left")
