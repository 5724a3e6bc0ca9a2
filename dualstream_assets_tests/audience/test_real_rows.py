"""Real rows of the registry, where that folder is present: the split rule by rule, with conservation. Counts only."""

import csv
import os
import re
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from dualstream_assets.audience.publish import FILES
from dualstream_assets.audience.split import build_audience_from_zip, inspect_release
from dualstream_assets.estate import Estate
from dualstream_assets.registry.columns import ENDPOINT, NPIDATA
from dualstream_assets_tests.registry.making import release_zip

BESIDE = Path(__file__).parents[3] / "shared" / "data" / "nppes"
FOLDER = Path(os.environ.get("DUALSTREAM_REAL_NPPES") or BESIDE)
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(
        not (FOLDER / "endpoint_pfile_excerpt_masked.csv").exists(),
        reason="needs the folder of real NPPES rows: set DUALSTREAM_REAL_NPPES",
    ),
]
MINIMUM_ACTIVE = 800


def restored(value: str) -> str:
    """The sample went through pandas: `1.0` was `1`, quotes inside values were doubled ones."""
    return re.sub(r"^(\d+)\.0$", r"\1", value).replace('"', "'")


def table(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(newline="", encoding="utf-8") as file:
        return [{key: restored(value) for key, value in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A V2 ZIP of the 1,000 and the 155 real rows; active providers of the head stand in for the masked NPIs."""
    people = table("npidata_head_1000_2025.csv")
    assert list(people[0]) == list(NPIDATA)
    active = [p["NPI"] for p in people if p["Entity Type Code"] and not p["NPI Deactivation Date"]]
    assert len(active) > MINIMUM_ACTIVE
    endpoints = table("endpoint_pfile_excerpt_masked.csv")
    assert list(endpoints[0]) == list(ENDPOINT)
    stand_in = dict(zip(dict.fromkeys(row["NPI"] for row in endpoints), active, strict=False))
    rows = [{**row, "NPI": stand_in[row["NPI"]]} for row in endpoints]
    return release_zip(tmp_path_factory.mktemp("real"), people, rows)


def test_the_155_real_rows_are_split_rule_by_rule(packed: Path, tmp_path: Path, lab_estate: Estate) -> None:
    out = tmp_path / "out"
    manifest = build_audience_from_zip(packed, out, lab_estate, today=date(2026, 11, 30))
    found: dict[str, list[dict[str, str]]] = {}
    for segment, name in FILES.items():
        with (out / name).open(newline="", encoding="utf-8") as file:
            found[segment] = list(csv.DictReader(file))
    # 115 addresses in the field Endpoint, one more only in a description; nothing else has an @.
    assert manifest.counts["candidates"] == sum(len(rows) for rows in found.values()) == 116
    folded = Counter(row["rule"] for row in found["rejects"])
    kept = {segment: len(rows) for segment, rows in found.items() if segment != "rejects"}
    assert folded["giant"] == 5  # three at mail.mil, one at va.gov, one at a store of walgreens.com
    assert folded["foreign-practice"] == folded["npi-unknown"] == folded["deactivated"] == 0
    assert sum(kept.values()) + sum(folded.values()) == 116
    assert set(folded) <= {"giant", "repeated-row", "shared-address"}


def test_the_rulings_are_those_of_a_reader(packed: Path, lab_estate: Estate) -> None:
    """36 Direct, 23 consumer, 56 institutional by rules 1 and 2; rule 3 then takes two of the last to review.

    One more institutional address stands only in a description. The third doubtful box (a health department whose left
    side says Direct) cannot be told here: the left sides are masked.
    """
    from dualstream_assets.audience.classify import Classifier
    from dualstream_assets.registry.archive import open_archive
    from dualstream_assets.registry.endpoints import read_endpoints

    frame, counts = read_endpoints(open_archive(packed, lab_estate.limits))
    classifier = Classifier.of(lab_estate)
    ruled = Counter(
        (r.segment, r.rule)
        for r in (
            classifier.classify_address(address, endpoint_type=kind, description=description)
            for address, kind, description in frame.select(
                "address", "endpoint_type", "description"
            ).iter_rows()
        )
    )
    assert ruled == {
        ("direct", "direct-label"): 11,
        ("direct", "direct-suffix"): 25,
        ("consumer", "consumer-domain"): 22,
        ("consumer", "consumer-suffix"): 1,
        ("dropped", "giant"): 5,
        ("review", "review-domain"): 2,
        ("institutional", "institutional"): 50,
    }
    assert (counts.addresses, counts.only_in_description) == (116, 1)
    assert sum(counts.types.values()) == 155
    assert sum(n for kind, n in counts.types_with_text.items() if kind != "DIRECT") == 24
    assert not counts.refusals


def test_the_head_of_the_real_file_is_read_without_repair(packed: Path, lab_estate: Estate) -> None:
    report = inspect_release(packed, lab_estate)
    assert (report.providers.lines.rows, report.endpoints.lines.rows) == (1000, 155)
    assert (
        sum(report.providers.lines.repairs().values()) == sum(report.endpoints.lines.repairs().values()) == 0
    )
    assert not report.providers.unparsed_dates
    assert report.providers.missing == 0


def test_reactivated_providers_of_the_real_head_are_active(packed: Path, lab_estate: Estate) -> None:
    import polars as pl

    from dualstream_assets.registry.archive import open_archive
    from dualstream_assets.registry.providers import read_providers

    npis = pl.Series("npi", [row["NPI"] for row in table("npidata_head_1000_2025.csv")])
    frame, counts = read_providers(open_archive(packed, lab_estate.limits), npis)
    assert frame.height == 1000
    assert frame["deactivated_on"].drop_nulls().len() == 108
    assert counts.reactivated == 29
    assert counts.deactivated == 79
