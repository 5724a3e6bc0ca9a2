"""What a full-scale release was meant to hold, kept apart from it: never what a reader found in it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualstream_assets.lab.bulk_dirt import CP1252_TEXT, NESTED_TEXT

if TYPE_CHECKING:
    import polars as pl

COLUMNS: tuple[tuple[str, str], ...] = (
    ("line", "line of endpoint_pfile, the header being line 1"),
    ("npi", "as filed"),
    (
        "addresses",
        "list of the addresses that the line states, lower case, in their order; empty where there is none",
    ),
    ("reason", "why a text with an @, or a whole line, holds no address; null elsewhere"),
    (
        "segment",
        "of its addresses: institutional, consumer, direct, review, dropped; null where there is none",
    ),
    ("rule", "the rule that puts them there"),
    ("kind", "how it was spelt or what it is: plain, case, mailto, several, junk, …"),
    ("repeat", "an exact repeat of another line, apart from case"),
)
REPAIRS: dict[str, tuple[str, int]] = {
    "case": ("case", 1),
    "upper": ("case", 1),
    "space": ("space", 1),
    "mailto": ("mailto", 1),
    "trailing_dot": ("trailing_dot", 1),
    "inner_space": ("inner_space", 1),
    "several": ("several", 2),
}
"""Kind -> (what has to be mended, in how many addresses)."""


class Truth:
    """Collects the lines as they go by, then writes `truth.json` and `endpoint_lines.parquet`."""

    def __init__(self) -> None:
        self._blocks: list[pl.DataFrame] = []
        self._types: Counter[str] = Counter()
        self._lines: Counter[str] = Counter()

    def seen(self, blocks: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Hand finished lines on and note what they hold."""
        import polars as pl

        for block in blocks:
            self._types.update(dict(block["type"].value_counts().iter_rows()))
            self._lines["stray_quotes"] += int((block["description"] == NESTED_TEXT).sum())
            self._lines["cp1252"] += int((block["description"] == CP1252_TEXT).sum())
            self._blocks.append(
                block.select(
                    "npi", pl.concat_list("address", "second").list.drop_nulls().alias("addresses"), *_KEPT
                )
            )
            yield block

    def lines(self) -> pl.DataFrame:
        """All lines, columns as in `COLUMNS`."""
        import polars as pl

        return pl.concat(self._blocks).with_row_index("line", 2).with_columns(pl.col("line").cast(pl.Int64))

    def write(self, folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
        """Write both files into `folder`; returns what `truth.json` says: `facts` and the counts of the lines."""
        lines = self.lines()
        told = {**facts, **self._counts(lines)}
        folder.mkdir(parents=True, exist_ok=True)
        lines.write_parquet(folder / "endpoint_lines.parquet", statistics=False)
        text = json.dumps(told, indent=2, sort_keys=True) + "\n"
        (folder / "truth.json").write_text(text, encoding="utf-8")
        return told

    def _counts(self, lines: pl.DataFrame) -> dict[str, Any]:
        import polars as pl

        stated = (
            lines.explode("addresses", empty_as_null=True)
            .rename({"addresses": "address"})
            .drop_nulls("address")
        )
        pairs = stated.unique(["npi", "address"])
        addresses = stated.unique("address")
        repairs: Counter[str] = Counter()
        for kind, count in lines["kind"].value_counts().iter_rows():
            if kind in REPAIRS:
                repairs[REPAIRS[kind][0]] += count * REPAIRS[kind][1]
        return {
            "plan": _plan(pairs),
            "segments": _by(pairs, "segment"),
            "rules": _by(addresses.with_columns(pl.format("{} {}", "segment", "rule").alias("rule")), "rule"),
            "reasons": _by(lines.drop_nulls("reason"), "reason"),
            "kinds": _by(lines, "kind"),
            "types": dict(sorted(self._types.items())),
            "repairs": dict(sorted(repairs.items())),
            "line_repairs": dict(sorted(self._lines.items())),
            "lines": {
                "all": lines.height,
                "with_address": lines.filter(pl.col("addresses").list.len() > 0).height,
                "repeats": lines.filter("repeat").height,
            },
            "distinct": {
                "npis": lines["npi"].n_unique(),
                "pairs": pairs.height,
                "addresses": addresses.height,
                "candidates": stated.height,
            },
        }


_KEPT = ("reason", "segment", "rule", "kind", "repeat")


def _by(frame: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(sorted(frame[column].value_counts().iter_rows()))


def _plan(pairs: pl.DataFrame) -> dict[str, float]:
    """The plan's figures under the plan's names: distinct (NPI, address), giants counted as institutional."""
    import polars as pl

    giant = pl.col("rule") == "giant"
    ours = pairs.filter((pl.col("segment") == "institutional") | giant).with_columns(
        pl.col("address").str.split("@").list.last().alias("domain")
    )
    consumer = pairs.filter(pl.col("segment") == "consumer")
    domains = ours.group_by("domain").agg(pl.len(), pl.col("npi").n_unique().alias("npis"))
    return {
        "direct_rows": pairs.filter(pl.col("segment") == "direct").height,
        "consumer_rows": consumer.height,
        "consumer_npis": consumer["npi"].n_unique(),
        "institutional_rows": ours.height,
        "institutional_npis": ours["npi"].n_unique(),
        "institutional_domains": domains.height,
        "singleton_share": round(domains.filter(pl.col("npis") == 1).height / domains.height, 4),
        "top_100_share": round(sum(domains["len"].top_k(100).to_list()) / ours.height, 4),
        "institutional_rows_without_giants": ours.filter(~giant).height,
    }
