"""Units and days, counted from the log: ours and others', released and late."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate
from dualstream_assets.maillog import counts
from dualstream_assets.maillog.outcomes import read_log
from dualstream_assets.store.database import Database
from dualstream_assets_tests.maillog.lines import accepted, attempt, delivered

TODAY = date(2026, 11, 30)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mail.log"


def people(count: int, domain: str = "practice.test") -> list[str]:
    return [f"p{i}@{domain}" for i in range(count)]


def ids(count: int, start: int = 0) -> list[str]:
    return [f"4hKz1c{start + i:04d}z1Zb" for i in range(count)]


def test_a_unit_is_used_at_release_and_again_when_delivered_late(
    database: Database, lab_estate: Estate, clock: FixedClock, path: Path
) -> None:
    at = clock.now()
    late = people(1, "late.test")[0]
    text = delivered(at, ids(3), people(3)) + accepted(at, "4hKz1c0099z1Zb", late)
    text += attempt(at, "4hKz1c0099z1Zb", late, "deferred", dsn="4.2.0", reply="later")
    path.write_text(text)
    read_log(database, lab_estate, path, clock)
    assert counts.units_last(database, "healthcare", 60, at) == 4
    assert counts.in_flight(database, "healthcare", 60, at) == 0

    clock.sleep(7200)
    assert counts.units_last(database, "healthcare", 60, clock.now()) == 0
    assert counts.in_flight(database, "healthcare", 60, clock.now()) == 1
    with path.open("a") as file:
        file.write(attempt(clock.now(), "4hKz1c0099z1Zb", late))
    read_log(database, lab_estate, path, clock)
    assert counts.units_last(database, "healthcare", 60, clock.now()) == 1
    assert counts.units_of_day(database, "healthcare", TODAY, lab_estate.zone) == 4


def test_a_batch_that_others_send_on_trucking_counts_there_and_not_on_healthcare(
    database: Database, lab_estate: Estate, clock: FixedClock, path: Path
) -> None:
    text = "".join(
        accepted(clock.now(), q, p, port="postfix", sender="news@performancewest.test", campaign=None)
        + attempt(clock.now(), q, p, transport="out06")
        for q, p in zip(ids(5), people(5), strict=True)
    )
    path.write_text(text)
    read_log(database, lab_estate, path, clock)
    assert counts.units_last(database, "trucking", 60, clock.now()) == 5
    assert counts.units_last(database, "healthcare", 60, clock.now()) == 0
    assert counts.delivered_per_egress(database, "trucking", TODAY, lab_estate.zone) == {"out06": 5}


def test_a_day_ends_as_its_last_outcome_says(
    database: Database, lab_estate: Estate, clock: FixedClock, path: Path
) -> None:
    at = clock.now()
    text = delivered(at, ids(6), people(6))
    for number, (status, dsn) in enumerate(
        [("bounced", "5.1.1"), ("bounced", "5.7.1"), ("deferred", "4.2.2")]
    ):
        text += accepted(at, ids(1, 50 + number)[0], f"x{number}@clinic.test")
        text += attempt(at, ids(1, 50 + number)[0], f"x{number}@clinic.test", status, dsn=dsn, reply="no")
    text += accepted(at, "4hKz1c0099z1Zb", "grey@clinic.test")
    text += attempt(at, "4hKz1c0099z1Zb", "grey@clinic.test", "deferred", dsn="4.2.0", reply="grey")
    text += attempt(at + timedelta(minutes=6), "4hKz1c0099z1Zb", "grey@clinic.test")
    path.write_text(text)
    read_log(database, lab_estate, path, clock)
    found = counts.counts_of_day(database, "healthcare", TODAY, lab_estate.zone)
    assert found == counts.DayCounts(
        attempted=10, delivered=7, bounced=2, expired=0, deferred=1, deferred_once=2, hard_bounced=1, blocked=1,
        max_rolling_hour=7,
    )  # fmt: skip
    assert found.share("deferred") == 0.1
    assert counts.DayCounts().share("deferred") is None


def test_the_fullest_rolling_hour_leaves_out_what_is_exactly_an_hour_old(
    database: Database, lab_estate: Estate, clock: FixedClock, path: Path
) -> None:
    at = clock.now()
    text = delivered(at, ids(2), people(2)) + delivered(
        at + timedelta(minutes=59), ids(1, 10), ["q@clinic.test"]
    )
    text += delivered(at + timedelta(minutes=60), ids(1, 11), ["r@clinic.test"])
    path.write_text(text)
    read_log(database, lab_estate, path, clock)
    assert counts.counts_of_day(database, "healthcare", TODAY, lab_estate.zone).max_rolling_hour == 3


def test_a_local_day_has_23_hours_when_the_clocks_go_forward(lab_estate: Estate) -> None:
    start, end = counts.day_bounds(date(2026, 3, 8), lab_estate.zone)
    assert end.timestamp() - start.timestamp() == 23 * 3600
