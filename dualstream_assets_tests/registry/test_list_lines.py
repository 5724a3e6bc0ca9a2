"""What is said of every list in a folder, and that the lab's own lists are good."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from dualstream_assets.estate import Estate
from dualstream_assets.estate.model import Limits
from dualstream_assets.registry.known import list_lines
from dualstream_assets.registry.sizes import floors_of
from dualstream_assets_tests.registry.making import deactivation_report

TODAY = date(2026, 11, 30)
LIMITS = Limits()
A = "1003000126"
SMALL = floors_of("lab")


def test_the_lists_beside_a_release_are_said_one_a_line(tmp_path: Path) -> None:
    deactivation_report(tmp_path / "NPPES_Deactivated_NPI_Report_110826_V2.zip", [(A, "10/09/2026")])
    header = "NPI,Optout Effective Date,Optout End Date\n"
    for day in ("2026.09.08", "2026.11.08"):
        (tmp_path / f"Opt_Out_Affidavits_{day}.csv").write_text(f"{header}{A},1/1/2026,1/1/2028\n")
    (tmp_path / "UPDATED.csv").write_text("<html>")
    old = datetime(2026, 1, 2, tzinfo=UTC).timestamp()
    reval = tmp_path / "revalidation_base.csv"
    reval.write_text(f"National Provider Identifier,Revalidation Due Date,Adjusted Due Date\n{A},TBD,\n")
    os.utime(reval, (old, old))
    lines = list_lines(tmp_path, TODAY, LIMITS, SMALL)
    assert lines[0].startswith("unknown: revalidation (revalidation_base.csv) is 332 days old, more than 45")
    assert "begins on 2026-10-09: only the changes" in lines[1]
    assert lines[2].startswith("fail: leie: UPDATED.csv: an HTML page")
    assert lines[3].startswith("unknown: revoked is missing")
    assert lines[4] == "pass: opt_out of 2026-11-08, 1 rows"
    assert lines[5] == "pass: ppef not given (optional)"


@pytest.mark.parametrize(("seed", "domains"), [(None, 320), (1, 10), (2, 40)])
def test_the_labs_lists_are_good_on_its_first_day_and_for_two_weeks(
    lab_estate: Estate, tmp_path: Path, seed: int | None, domains: int
) -> None:
    from dualstream_assets.lab.release import write_release
    from dualstream_assets.lab.world import World

    assert lab_estate.lab is not None
    write_release(World.build(seed or lab_estate.lab.seed, domains, lab_estate), tmp_path)
    first = lab_estate.lab.epoch.date()
    for day in (first, first + timedelta(days=14)):
        lines = list_lines(tmp_path, day, lab_estate.limits, SMALL)
        assert [line for line in lines if not line.startswith("pass: ")] == []
