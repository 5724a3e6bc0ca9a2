"""What was published: files with hashes, from which release and lists, and how many candidates each rule took."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

MANIFEST = "manifest.json"
PREVIOUS_ROWS = "previous.parquet"
"""Narrow rows of the audience before, when it was of another release: what drift is measured against."""

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
    (
        "revalidation_status",
        "overdue, due_soon, due_later, tbd, gone, none; unknown where the list is missing",
    ),
    ("due_date", "ISO, or empty"),
    ("days_overdue", "whole days, or empty"),
    ("rank", "1 is first in its file"),
    ("role_account", "Y where the left side names a desk"),
    ("endpoint_type", "as filed"),
    ("product_key", "key of the product link"),
)
"""(name, meaning) of the columns of all five files, in this order, all text."""

PLAN: Mapping[str, float] = {
    "direct_rows": 242_441,
    "consumer_rows": 19_366,
    "consumer_npis": 19_072,
    "institutional_rows": 94_348,
    "institutional_npis": 92_592,
    "institutional_domains": 38_873,
    "singleton_share": 0.76,
    "top_100_share": 0.23,
    "institutional_rows_without_giants": 89_557,
}
"""The plan's own measurement of the May 2026 release: rows are distinct (NPI, address) pairs, before any drop list."""


@dataclass(frozen=True)
class FileFacts:
    """One published file; `rows` without the header."""

    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Written last, beside the files; the same input and day give the same text.

    Attributes:
        files: file name -> facts.
        release: name, kind, day, fingerprint.
        lists: kind -> file, day, rows; None where the list was missing (unknown).
        today: the day that overdue was counted from (ISO).
        counts: `candidates`, `segments`, `rules`, `rejects` (reason -> candidates), `role_accounts`.
        plan: our figures under the keys of `PLAN`.
        decisions: what people decided (`decisions.Decisions.facts`).
    """

    files: Mapping[str, FileFacts]
    release: Mapping[str, Any]
    lists: Mapping[str, Mapping[str, Any] | None]
    today: str
    order: str
    tables: str
    counts: Mapping[str, Any]
    repairs: Mapping[str, Any]
    plan: Mapping[str, float]
    decisions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def missing_lists(self) -> tuple[str, ...]:
        """Lists that were not there."""
        return tuple(sorted(kind for kind, source in self.lists.items() if source is None))

    def text(self) -> str:
        """The JSON text."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"


def read_manifest(folder: Path, name: str = MANIFEST) -> Manifest | None:
    """The manifest of a folder; None where nothing is published, or where it is not in our form of today."""
    path = folder / name
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return Manifest(
            **{**raw, "files": {name: FileFacts(**facts) for name, facts in raw["files"].items()}}
        )
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def plan_figures(pairs: pl.DataFrame) -> dict[str, float]:
    """The figures of the plan's table, counted as the plan counted: distinct pairs, no drop list, giants apart.

    Args:
        pairs: columns `person`, `mailbox` (any codes), `domain`, `segment`, `rule` of every candidate; those without
            mailbox do not count.
    """
    import polars as pl

    giant = pl.col("rule") == "giant"
    counted = pl.col("segment").is_in(["consumer", "direct", "institutional"]) | giant
    distinct = pairs.filter(pl.col("mailbox").is_not_null() & counted).unique(["person", "mailbox"])
    institutional = distinct.filter((pl.col("segment") == "institutional") | giant)
    consumer = distinct.filter(pl.col("segment") == "consumer")
    domains = institutional.group_by("domain").agg(
        pl.len().alias("rows"), pl.col("person").n_unique().alias("people")
    )
    rows = institutional.height
    top = sum(domains["rows"].sort(descending=True).head(100).to_list())
    return {
        "direct_rows": distinct.filter(pl.col("segment") == "direct").height,
        "consumer_rows": consumer.height,
        "consumer_npis": consumer["person"].n_unique(),
        "institutional_rows": rows,
        "institutional_npis": institutional["person"].n_unique(),
        "institutional_domains": domains.height,
        "singleton_share": round(domains.filter(pl.col("people") == 1).height / max(1, domains.height), 4),
        "top_100_share": round(top / max(1, rows), 4),
        "institutional_rows_without_giants": institutional.filter(~giant).height,
    }
