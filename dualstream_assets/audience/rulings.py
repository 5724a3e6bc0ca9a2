"""The classifier over a whole release: each domain ruled once, only doubtful addresses looked at one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dualstream_assets.audience.classify import Classifier

if TYPE_CHECKING:
    import polars as pl


def count_rules(candidates: pl.DataFrame, classifier: Classifier) -> Mapping[str, int]:
    """Rule -> distinct addresses, before any list is looked at."""
    counted = rulings(candidates, classifier).group_by("segment", "rule").len().sort("segment", "rule")
    return {f"{segment} {rule}": count for segment, rule, count in counted.iter_rows()}


def rulings(candidates: pl.DataFrame, classifier: Classifier) -> pl.DataFrame:
    """One row per distinct address: `address`, `domain`, `segment`, `rule`, `evidence`, `role_account`.

    Domains are ruled once each. Only institutional addresses that say "direct" need a second look, with every
    description they were filed under: if one row gives reason to review, the address is reviewed.
    """
    import polars as pl

    filed = candidates.filter(pl.col("address").is_not_null()).select("address", "description")
    addresses = filed.select(pl.col("address").unique()).with_columns(
        pl.col("address").str.extract(r"@(.+)$").alias("domain")
    )
    ruled = [(name, classifier.classify_domain(name)) for name in addresses["domain"].unique().to_list()]
    fields = ["segment", "rule", "evidence"]
    by_domain = pl.DataFrame(
        [(name, r.segment, r.rule, r.evidence) for name, r in ruled],
        schema=dict.fromkeys(["domain", *fields], pl.String),
        orient="row",
    )
    addresses = addresses.join(by_domain, on="domain", how="left")
    doubtful = addresses.filter(
        pl.col("address").str.contains("direct", literal=True) & (pl.col("segment") == "institutional")
    )
    closer: dict[str, tuple[str, str, str]] = {}
    for address, description in filed.join(doubtful, on="address", how="semi").unique().iter_rows():
        r = classifier.classify_address(address, description=description)
        if r.segment == "review":
            closer[address] = (r.segment, r.rule, r.evidence)
    reviewed = pl.DataFrame(
        [(address, *found) for address, found in sorted(closer.items())],
        schema=dict.fromkeys(["address", *fields], pl.String),
        orient="row",
    )
    return addresses.join(reviewed, on="address", how="left", suffix="_closer").select(
        "address",
        "domain",
        *(pl.coalesce(f"{name}_closer", name).alias(name) for name in fields),
        pl.col("address").str.extract(r"^(.+)@").is_in(list(classifier.tables.roles)).alias("role_account"),
    )
