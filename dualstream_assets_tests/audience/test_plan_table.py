"""The plan's own table of the May 2026 release, at its own scale: 600,000 endpoint rows through the whole pipeline.

The truth comes from the generator, which knows what it meant to write and never asks the classifier.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dualstream_assets.audience.classify import Classifier
from dualstream_assets.audience.manifest import PLAN, Manifest
from dualstream_assets.audience.publish import FILES
from dualstream_assets.audience.rulings import count_rules, rulings
from dualstream_assets.audience.split import build_audience_from_zip
from dualstream_assets.estate import load_estate
from dualstream_assets.estate.load import packaged_lab_estate
from dualstream_assets.lab.bulk import write_bulk
from dualstream_assets.registry.archive import open_archive
from dualstream_assets.registry.endpoints import EndpointCounts, read_endpoints

ROWS, ENDPOINTS, SEED = 480_000, 600_000, 20260508
RELEASE_DAY, TODAY = date(2026, 11, 8), date(2026, 11, 30)
LINE = ("line", "npi", "address", "reason", "segment", "rule")


@dataclass(frozen=True)
class Run:
    """The release as it was meant, as it was read line by line, and as it was published."""

    truth: dict[str, Any]
    meant: pl.DataFrame
    found: pl.DataFrame
    counts: EndpointCounts
    rules: dict[str, int]
    manifest: Manifest
    out: Path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("plan")
    made = write_bulk(folder, rows=ROWS, endpoints=ENDPOINTS, seed=SEED, release_day=RELEASE_DAY)
    estate = load_estate(packaged_lab_estate())
    manifest = build_audience_from_zip(made.path, folder / "out", estate, today=TODAY)
    candidates, counts = read_endpoints(open_archive(made.path, estate.limits))
    classifier = Classifier.of(estate)
    ruled = rulings(candidates, classifier)
    assert ruled["address"].equals(candidates["address"])
    found = candidates.select(pl.col("row").alias("line"), *LINE[1:4]).with_columns(
        ruled.select("segment", "rule")
    )
    rules = dict(count_rules(candidates, classifier))
    made.path.unlink()
    return Run(
        truth=json.loads(made.truth.read_text(encoding="utf-8")),
        meant=_candidates(pl.read_parquet(made.truth.with_name("endpoint_lines.parquet"))),
        found=_plain(found),
        counts=counts,
        rules=rules,
        manifest=manifest,
        out=folder / "out",
    )


def _candidates(lines: pl.DataFrame) -> pl.DataFrame:
    """The truth as candidates: a row for each address, and for each text or line that holds none but should."""
    rows = lines.explode("addresses", empty_as_null=True).rename({"addresses": "address"})
    rows = rows.filter(pl.col("address").is_not_null() | pl.col("reason").is_not_null())
    unread = pl.col("reason") == "unreadable_line"
    known = pl.when(unread.fill_null(value=False)).then(None).otherwise("npi").alias("npi")
    return _plain(rows.with_columns(known).select(LINE))


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.col("line").cast(pl.Int64), pl.col(LINE[1:]).cast(pl.String))


@pytest.mark.parametrize("figure", [name for name in PLAN if not name.endswith("share")])
def test_every_number_of_the_plan_is_reproduced(run: Run, figure: str) -> None:
    assert run.manifest.plan[figure] == PLAN[figure] == run.truth["plan"][figure]


@pytest.mark.parametrize("figure", [name for name in PLAN if name.endswith("share")])
def test_every_share_of_the_plan_is_reproduced_to_two_digits(run: Run, figure: str) -> None:
    assert round(run.manifest.plan[figure], 2) == PLAN[figure]
    assert run.manifest.plan[figure] == run.truth["plan"][figure]


def test_the_plan_has_no_figure_that_is_not_asserted(run: Run) -> None:
    assert run.manifest.plan.keys() == PLAN.keys() == run.truth["plan"].keys()
    assert len(PLAN) == 9


def test_each_line_gives_exactly_what_was_meant(run: Run) -> None:
    """Addresses, reasons, segments and rules of all 600,000 lines."""
    what = list(LINE[1:])
    wrong = run.found.join(run.meant, on=what, how="anti", nulls_equal=True)
    missed = run.meant.join(run.found, on=what, how="anti", nulls_equal=True)
    assert wrong.is_empty(), wrong.head(5).to_dicts()
    assert missed.is_empty(), missed.head(5).to_dicts()
    assert run.found.select(what).sort(what).equals(run.meant.select(what).sort(what))


def test_each_candidate_carries_the_number_of_its_line(run: Run) -> None:
    assert run.found.equals(run.meant)


def test_rules_refusals_repairs_and_types_are_counted_as_they_were_made(run: Run) -> None:
    assert run.rules == run.truth["rules"]
    assert dict(run.counts.refusals) == run.truth["reasons"]
    assert {k: v for k, v in run.counts.repairs.items() if v} == run.truth["repairs"]
    assert run.counts.only_in_description == run.truth["kinds"]["described"]
    mended = {k: v for k, v in run.counts.lines.repairs().items() if v}
    assert mended == run.truth["line_repairs"]
    unread = run.truth["reasons"]["unreadable_line"]
    assert sum(run.counts.types.values()) == ENDPOINTS - unread == run.counts.lines.rows


def test_every_candidate_is_published_once_with_its_reason(run: Run) -> None:
    rows = dict.fromkeys(FILES, 0)
    for name in FILES:
        with (run.out / FILES[name]).open(newline="", encoding="utf-8") as file:
            rows[name] = sum(1 for _ in csv.reader(file)) - 1
    assert rows == {name: run.manifest.files[FILES[name]].rows for name in FILES}
    assert sum(rows.values()) == run.meant.height == run.manifest.counts["candidates"]
