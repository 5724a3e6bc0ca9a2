"""The split: every candidate of a release lands in exactly one of five files, with the rule that put it there.

A candidate is one address in one endpoint row (or a text with an `@` that is no address, or a line that could not be
read). An address becomes one row, under the NPI of the best rank; every other candidate is a reject with its reason.
That the two add up is checked here, before anything is published.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualstream_assets.audience.classify import Classifier
from dualstream_assets.audience.eligible import eligibility
from dualstream_assets.audience.manifest import Manifest, plan_figures
from dualstream_assets.audience.publish import FILES, publish
from dualstream_assets.audience.rank import order_of, revalidation_of, sort_keys
from dualstream_assets.estate.model import Estate
from dualstream_assets.registry.release import ReleaseReport, find_lists, inspect
from dualstream_assets.registry.shelf import ListTables, ReleaseTables, read_lists, read_release

if TYPE_CHECKING:
    import polars as pl

COLUMNS: tuple[tuple[str, str], ...] = (
    ("npi", "the provider that the row stands for"),
    ("entity_type", "person or organisation"),
    ("first_name", "as filed; persons only"),
    ("last_name", "as filed; persons only"),
    ("credential", "as filed"),
    ("organization", "legal business name, or the affiliation that the endpoint row states"),
    ("email", "lower case; empty in a reject that has no address"),
    ("domain", "right side of the address"),
    ("taxonomy_code", "primary taxonomy"),
    ("state", "of the practice address"),
    ("phone", "of the practice address"),
    ("segment", "institutional, consumer, direct, review or dropped"),
    ("rule", "stable id of the rule that fired"),
    ("evidence", "what it fired on"),
    ("npis", "all eligible NPIs that share the address, joined by ;"),
    ("npi_count", "how many these are"),
    ("revalidation_status", "overdue, due_soon, due_later, tbd, none; unknown where the list is missing"),
    ("due_date", "ISO, or empty"),
    ("days_overdue", "whole days, or empty"),
    ("rank", "1 is first in its file"),
    ("role_account", "Y where the left side names a desk"),
    ("endpoint_type", "as filed"),
    ("product_key", "key of the product link"),
)
"""(name, meaning) of the columns of all five files, in this order, all text."""
SEGMENTS = ("institutional", "consumer", "direct", "review")

_REPEATED = "repeated-row"
_SHARED = "shared-address"


class ConservationError(AssertionError):
    """Candidates in and rows out differ: nothing was published. A bug of ours, never of the data."""


def build_audience(
    release: ReleaseTables, lists: ListTables, out: Path, estate: Estate, today: date
) -> Manifest:
    """Split a release and publish the five files and `manifest.json` into `out`, all or none.

    Raises:
        ConservationError: the split does not add up (nothing was published).
        DiskFull: no room (the old files stay).
    """
    parts = split(release, lists, estate, today)
    plan = plan_figures(parts.pop("_pairs"))
    return publish(
        out,
        parts,
        [name for name, _ in COLUMNS],
        release=release.facts,
        lists=lists.sources,
        today=today,
        order=order_of(estate.audience),
        tables_version=Classifier.of(estate).tables.version,
        repairs=_repairs(release),
        plan=plan,
    )


def build_audience_from_zip(
    path: Path, out: Path, estate: Estate, lists_folder: Path | None = None, *, today: date
) -> Manifest:
    """Read a release ZIP, and the lists that lie in a folder (default: beside the ZIP), and split.

    Raises:
        RegistryError: what is wrong with a file, and the cure; nothing was written.
    """
    release = read_release(path, estate.limits)
    lists = read_lists(find_lists(lists_folder or path.parent))
    return build_audience(release, lists, out, estate, today)


def inspect_release(path: Path, estate: Estate) -> ReleaseReport:
    """`registry.release.inspect` with the counts per rule of this estate's classifier."""
    return inspect(
        path, estate.limits, rules=lambda candidates: count_rules(candidates, Classifier.of(estate))
    )


def count_rules(candidates: pl.DataFrame, classifier: Classifier) -> Mapping[str, int]:
    """Rule -> distinct addresses, before any list is looked at."""
    counted = rulings(candidates, classifier).group_by("segment", "rule").len().sort("segment", "rule")
    return {f"{segment} {rule}": count for segment, rule, count in counted.iter_rows()}


def rulings(candidates: pl.DataFrame, classifier: Classifier) -> pl.DataFrame:
    """One row per distinct address: `address`, `domain`, `segment`, `rule`, `evidence`, `role_account`.

    Domains are ruled once each. Only addresses that say "direct" need a second look, with every description they were
    filed under: if one row gives reason to review, the address is reviewed.
    """
    import polars as pl

    filed = candidates.filter(pl.col("address").is_not_null()).select("address", "description")
    addresses = filed.select(pl.col("address").unique()).with_columns(
        pl.col("address").str.split("@").list.get(1).alias("domain")
    )
    names = addresses["domain"].unique().to_list()
    ruled = [(name, classifier.classify_domain(name)) for name in names]
    schema = ["domain", "segment", "rule", "evidence"]
    by_domain = pl.DataFrame(
        [(name, r.segment, r.rule, r.evidence) for name, r in ruled],
        schema=dict.fromkeys(schema, pl.String),
        orient="row",
    )
    looked = filed.filter(pl.col("address").str.contains("direct", literal=True)).unique()
    closer: dict[str, tuple[str, str, str]] = {}
    for address, description in looked.iter_rows():
        r = classifier.classify_address(address, description=description)
        if r.segment == "review":
            closer[address] = (r.segment, r.rule, r.evidence)
    reviewed = pl.DataFrame(
        [(address, *found) for address, found in sorted(closer.items())],
        schema=dict.fromkeys(["address", "segment", "rule", "evidence"], pl.String),
        orient="row",
    )
    roles = pl.col("address").str.split("@").list.get(0).is_in(list(classifier.tables.roles))
    return (
        addresses.join(by_domain, on="domain", how="left")
        .join(reviewed, on="address", how="left", suffix="_closer")
        .select(
            "address",
            "domain",
            *(pl.coalesce(f"{name}_closer", name).alias(name) for name in schema[1:]),
            roles.alias("role_account"),
        )
    )


def split(release: ReleaseTables, lists: ListTables, estate: Estate, today: date) -> dict[str, pl.DataFrame]:
    """File name -> its rows (columns of `COLUMNS`), and `_pairs` for the plan's figures.

    Raises:
        ConservationError: the parts do not add up to the candidates.
    """
    import polars as pl

    classifier = Classifier.of(estate)
    candidates = release.endpoints.with_row_index("id")
    people = eligibility(release.providers, candidates["npi"], lists, today)
    people = people.join(revalidation_of(people, lists.revalidation, today), on="npi", how="left")
    ruled = candidates.join(
        rulings(candidates, classifier), on="address", how="left", maintain_order="left"
    ).join(people, on="npi", how="left", maintain_order="left")
    foreign = [d for d in ruled["domain"].drop_nulls().unique() if classifier.is_foreign(d)]
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
    ruled = ruled.with_columns(
        pl.coalesce(pl.when(when).then(why) for when, why, _ in reasons).alias("out"),
        pl.coalesce(pl.when(when).then(said) for when, _, said in reasons).alias("out_evidence"),
    )
    kept = ruled.filter(pl.col("out").is_null())
    order = sort_keys(order_of(estate.audience))
    first_of_pair = kept.unique(["address", "npi"], keep="first", maintain_order=True)
    best = (
        first_of_pair.sort(*order, "id")
        .group_by("address", maintain_order=True)
        .agg(
            pl.col("id").first(),
            pl.col("npi").sort().str.join(";").alias("npis"),
            pl.len().cast(pl.Int64).alias("npi_count"),
        )
    )
    winners = kept.join(best.select("id", "npis", "npi_count"), on="id", how="inner")
    repeated = kept.join(first_of_pair.select("id"), on="id", how="anti").with_columns(
        pl.lit(_REPEATED).alias("out"), pl.lit("the same NPI and address, filed before").alias("out_evidence")
    )
    shared = (
        first_of_pair.join(best.select("id"), on="id", how="anti")
        .join(winners.select("address", pl.col("npi").alias("under")), on="address", how="left")
        .with_columns(
            pl.lit(_SHARED).alias("out"),
            pl.format("its row stands under NPI {}", "under").alias("out_evidence"),
        )
        .drop("under")
    )
    rejects = pl.concat([ruled.filter(pl.col("out").is_not_null()), repeated, shared]).sort("id")
    parts = {
        FILES[segment]: _written(
            winners.filter(pl.col("segment") == segment).sort(*order, "address").with_row_index("rank", 1)
        )
        for segment in SEGMENTS
    }
    parts[FILES["rejects"]] = _written(
        rejects.with_columns(
            pl.lit("dropped").alias("segment"),
            pl.col("out").alias("rule"),
            pl.col("out_evidence").alias("evidence"),
            pl.col("npi").alias("npis"),
            pl.col("npi").is_not_null().cast(pl.Int64).alias("npi_count"),
            pl.lit(None, pl.UInt32).alias("rank"),
            pl.lit(value=False).alias("name_flag"),
        )
    )
    _conserved(candidates, winners, rejects, parts)
    return parts | {
        "_pairs": ruled.filter(pl.col("address").is_not_null()).select(
            "npi", "address", "domain", "segment", "rule"
        )
    }


def _written(rows: pl.DataFrame) -> pl.DataFrame:
    """The text columns of a file, free text made harmless for spreadsheets (OWASP, CSV injection)."""
    import polars as pl

    def harmless(column: str) -> pl.Expr:
        text = pl.col(column).fill_null("")
        return (
            pl.when(text.str.contains(r"^[=+\-@\t\r]"))
            .then(pl.concat_str(pl.lit("'"), text))
            .otherwise(text)
            .alias(column)
        )

    flagged = pl.when(pl.col("name_flag").fill_null(value=False)).then(
        pl.concat_str(pl.col("evidence"), pl.lit("; flag: same name and state on LEIE without NPI"))
    )
    made = rows.with_columns(
        pl.coalesce("organization", "affiliation").alias("organization"),
        pl.coalesce(flagged, "evidence").str.replace_all(r"\s+", " ").alias("evidence"),
        pl.col("address").alias("email"),
        pl.when(pl.col("role_account").fill_null(value=False))
        .then(pl.lit("Y"))
        .otherwise(pl.lit("N"))
        .alias("role_account"),
        pl.col("npi").alias("product_key"),
    )
    free = {"first_name", "last_name", "credential", "organization", "evidence", "endpoint_type"}
    return made.select(
        harmless(name) if name in free else pl.col(name).cast(pl.String).fill_null("") for name, _ in COLUMNS
    )


def _conserved(
    candidates: pl.DataFrame, winners: pl.DataFrame, rejects: pl.DataFrame, parts: Mapping[str, pl.DataFrame]
) -> None:
    import polars as pl

    ids = pl.concat([winners["id"], rejects["id"]])
    rows = sum(part.height for part in parts.values())
    if rows != candidates.height or ids.n_unique() != candidates.height or ids.len() != candidates.height:
        raise ConservationError(
            f"{candidates.height:,} candidates in, {rows:,} rows out, {ids.n_unique():,} of them different:"
            " not published"
        )
    if winners["address"].n_unique() != winners.height:
        raise ConservationError("an address has two rows: not published")


def _repairs(release: ReleaseTables) -> dict[str, Any]:
    counts = release.endpoint_counts
    return {
        "addresses": dict(counts.get("repairs", {})),
        "endpoint_lines": {k: v for k, v in counts.get("lines", {}).items() if k != "unreadable"},
        "npidata_lines": {
            k: v for k, v in release.provider_counts.get("lines", {}).items() if k != "unreadable"
        },
    }
