"""The classifier over a whole release: each domain ruled once, only doubtful addresses looked at one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dualstream_assets.audience.classify import Classifier

if TYPE_CHECKING:
    import polars as pl

_RULED = ("segment", "rule", "evidence")


def count_rules(candidates: pl.DataFrame, classifier: Classifier) -> Mapping[str, int]:
    """Rule -> distinct addresses, before any list is looked at."""
    ruled = rulings(candidates, classifier).drop_nulls("address").unique("address")
    counted = ruled.group_by("segment", "rule").len().sort("segment", "rule")
    return {f"{segment} {rule}": count for segment, rule, count in counted.iter_rows()}


def rulings(candidates: pl.DataFrame, classifier: Classifier) -> pl.DataFrame:
    """One row per candidate, in the same order: `address`, `domain`, `segment`, `rule`, `evidence`, `role_account`.

    Text that repeats is held as codes (`pl.Categorical`); all is null where there is no address. Domains are ruled once
    each. Only institutional addresses that say "direct" need a second look, with every description they were filed
    under: if one row gives reason to review, the address is reviewed in all.
    """
    import polars as pl

    at = pl.col("address").str.splitn("@", 2)
    ruled = candidates.select(
        "address",
        at.struct.field("field_1").cast(pl.Categorical).alias("domain"),
        at.struct.field("field_0").is_in(list(classifier.tables.roles)).alias("role_account"),
    )
    names = ruled["domain"].drop_nulls().unique()
    by_domain = _ruling_frame(
        [(r.segment, r.rule, r.evidence) for r in map(classifier.classify_domain, names.to_list())]
    ).with_columns(names)
    ruled = ruled.join(by_domain, on="domain", how="left", maintain_order="left")
    closer = _looked_at_closer(ruled, candidates["description"], classifier)
    if not closer.is_empty():
        ruled = (
            ruled.join(closer, on="address", how="left", maintain_order="left", suffix="_closer")
            .with_columns(pl.coalesce(f"{name}_closer", name).alias(name) for name in _RULED)
            .drop(f"{name}_closer" for name in _RULED)
        )
    return ruled.select("address", "domain", *_RULED, "role_account")


def _looked_at_closer(ruled: pl.DataFrame, descriptions: pl.Series, classifier: Classifier) -> pl.DataFrame:
    """Addresses that a person should look at, with their ruling, one row each."""
    import polars as pl

    doubtful = ruled.select("address", descriptions.cast(pl.String).alias("description")).filter(
        ruled["segment"] == "institutional", pl.col("address").str.contains("direct", literal=True)
    )
    found: dict[str, tuple[str, str, str]] = {}
    for address, description in doubtful.unique(maintain_order=True).iter_rows():
        r = classifier.classify_address(address, description=description)
        if r.segment == "review":
            found.setdefault(address, (r.segment, r.rule, r.evidence))
    return _ruling_frame(list(found.values())).with_columns(pl.Series("address", list(found), pl.String))


def _ruling_frame(rulings: list[tuple[str, str, str]]) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(rulings, schema=dict.fromkeys(_RULED, pl.String), orient="row").cast(pl.Categorical)
