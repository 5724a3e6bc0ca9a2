"""The split: every candidate of a release lands in exactly one of five files, with the rule that put it there.

A candidate is one address in one endpoint row (or a text with an `@` that is no address, or a line that could not be
read). Who lands where is decided on narrow columns (`fates`); the wide rows are made and written slice by slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualstream_assets.audience.classify import Classifier
from dualstream_assets.audience.eligible import eligibility
from dualstream_assets.audience.fates import decide
from dualstream_assets.audience.manifest import COLUMNS, Manifest, plan_figures
from dualstream_assets.audience.publish import FILES, publish
from dualstream_assets.audience.rank import order_of, revalidation_of
from dualstream_assets.audience.rulings import count_rules, rulings
from dualstream_assets.estate.model import Estate
from dualstream_assets.registry.release import ReleaseReport, find_lists, inspect
from dualstream_assets.registry.shelf import ListTables, ReleaseTables, read_lists, read_release

if TYPE_CHECKING:
    import polars as pl

SLICE_ROWS = 20_000
_FREE_TEXT = frozenset({"first_name", "last_name", "credential", "organization", "evidence", "endpoint_type"})


def build_audience(
    release: ReleaseTables, lists: ListTables, out: Path, estate: Estate, today: date
) -> Manifest:
    """Split a release and publish the five files and `manifest.json` into `out`, all or none.

    Raises:
        ConservationError: the split does not add up (nothing was published).
        DiskFull: no room (the old files stay).
    """
    import polars as pl

    classifier, order = Classifier.of(estate), order_of(estate.audience)
    candidates = release.endpoints.with_row_index("id")
    ruled = rulings(candidates, classifier)
    people = eligibility(release.providers, candidates["npi"], lists, today)
    people = people.join(revalidation_of(people, lists.revalidation, today), on="npi", how="left")
    fates = decide(candidates, ruled, people, classifier, order)
    plan = plan_figures(candidates.select("npi", "address").drop_nulls("address").join(ruled, on="address"))

    def slices(file: str) -> Iterator[pl.DataFrame]:
        mine = fates.filter(pl.col("file") == file)
        for offset in range(0, max(1, mine.height), SLICE_ROWS):
            yield _rows(mine.slice(offset, SLICE_ROWS), candidates, ruled, people)

    return publish(
        out,
        {file: slices(file) for file in FILES},
        release=release.facts,
        lists=lists.sources,
        today=today,
        order=order,
        tables_version=classifier.tables.version,
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


def _rows(
    fates: pl.DataFrame, candidates: pl.DataFrame, ruled: pl.DataFrame, people: pl.DataFrame
) -> pl.DataFrame:
    """The text columns of some rows of a file; free text is made harmless for spreadsheets (OWASP, CSV injection)."""
    import polars as pl

    ids = candidates["id"].search_sorted(fates["id"])  # ids are 0…n-1: this is a gather
    wide = (
        pl.concat([fates, candidates[ids].drop("id", "reason", "text")], how="horizontal")
        .join(ruled, on="address", how="left", maintain_order="left")
        .join(people, on="npi", how="left", maintain_order="left")
    )
    is_reject = pl.col("why").is_not_null()
    flag = pl.when(pl.col("name_flag").fill_null(value=False) & ~is_reject).then(
        pl.lit("; flag: same name and state on LEIE without NPI")
    )
    evidence = pl.when(is_reject).then(pl.col("why_evidence")).otherwise(pl.col("evidence"))
    made = wide.with_columns(
        pl.coalesce("organization", "affiliation").alias("organization"),
        pl.col("address").alias("email"),
        pl.when(is_reject).then(pl.lit("dropped")).otherwise(pl.col("segment")).alias("segment"),
        pl.coalesce("why", "rule").alias("rule"),
        pl.concat_str(evidence.fill_null(""), flag.otherwise(pl.lit("")))
        .str.replace_all(r"\s+", " ")
        .alias("evidence"),
        pl.when(pl.col("role_account").fill_null(value=False))
        .then(pl.lit("Y"))
        .otherwise(pl.lit("N"))
        .alias("role_account"),
        pl.col("npi").alias("product_key"),
    )
    return made.select(_text(name) for name, _ in COLUMNS)


def _text(column: str) -> pl.Expr:
    import polars as pl

    text = pl.col(column).cast(pl.String).fill_null("")
    if column not in _FREE_TEXT:
        return text
    harmless = pl.concat_str(pl.lit("'"), text)
    return pl.when(text.str.contains(r"^[=+\-@\t\r]")).then(harmless).otherwise(text).alias(column)


def _repairs(release: ReleaseTables) -> dict[str, Any]:
    counts: Mapping[str, Any] = release.endpoint_counts
    return {
        "addresses": dict(counts.get("repairs", {})),
        "endpoint_lines": {k: v for k, v in counts.get("lines", {}).items() if k != "unreadable"},
        "npidata_lines": {
            k: v for k, v in release.provider_counts.get("lines", {}).items() if k != "unreadable"
        },
    }
