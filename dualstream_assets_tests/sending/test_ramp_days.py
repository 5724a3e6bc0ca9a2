"""The ramp's diary on the real database: replay, second looks, a lost database, caps in force."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate
from dualstream_assets.sending.ramp import RampDecision
from dualstream_assets.sending.ramp_days import caps_in_force, decide_today
from dualstream_assets.sending.stamp import Stamp, StampFault
from dualstream_assets.store.database import Database

HC = "healthcare"
OLD = Stamp(datetime(2026, 6, 6, tzinfo=UTC))
MONDAY = datetime(2026, 11, 30, 12, 20, tzinfo=UTC)  # 07:20 in New York


def day_of_mail(
    database: Database, estate: Estate, local_day: date, count: int, *, status: str = "sent"
) -> None:
    """`count` messages of one local day, with their log."""
    at = datetime(local_day.year, local_day.month, local_day.day, 10, 0, tzinfo=estate.zone)
    with database.transaction() as connection:
        connection.cursor().executemany(
            "insert into delivery (queue_id, recipient, transport, stream, status, reply_text, operator, tls, at)"
            " values (%s, 'x', 'hcout1', 'healthcare', %s, '', 'google', 'trusted', %s)",
            [(uuid.uuid4().hex, status, at + timedelta(seconds=n)) for n in range(count)],
        )


def read_until(database: Database, at: datetime) -> None:
    with database.transaction() as connection:
        connection.execute(
            "insert into log_source (path, inode, byte_offset, read_at) values ('mail.log', 1, 1, %s)"
            " on conflict (path) do update set read_at = excluded.read_at",
            (at,),
        )


def decided(
    database: Database, estate: Estate, now: datetime, stamp: Stamp | StampFault = OLD
) -> RampDecision:
    with database.transaction() as connection:
        return decide_today(connection, estate, HC, stamp, now, "lab")


def rows(database: Database) -> list[tuple[str, int, int, int]]:
    with database.transaction() as connection:
        found = connection.execute(
            "select local_date, rule, effective_day, cap_per_hour from ramp_day order by local_date"
        ).fetchall()
    return [(str(r[0]), *r[1:]) for r in found]


def test_a_171_day_old_stamp_with_no_deliveries_gets_the_lowest_stage(
    database: Database, lab_estate: Estate
) -> None:
    found = decided(database, lab_estate, MONDAY)
    assert (found.rule, found.cap_per_hour, found.cap_per_day) == (3, 60, 150)


def test_a_date_is_decided_once(database: Database, lab_estate: Estate) -> None:
    first = decided(database, lab_estate, MONDAY)
    day_of_mail(database, lab_estate, date(2026, 11, 29), 500)
    read_until(database, MONDAY)
    assert decided(database, lab_estate, MONDAY + timedelta(hours=3)) == first


def test_days_that_deliver_are_earned_one_a_date(database: Database, lab_estate: Estate) -> None:
    decided(database, lab_estate, MONDAY)
    for n in range(3):
        day_of_mail(database, lab_estate, date(2026, 11, 30) + timedelta(days=n), 150)
        read_until(database, MONDAY + timedelta(days=n + 1))
        decided(database, lab_estate, MONDAY + timedelta(days=n + 1))
    assert [(d, c) for _, _, d, c in rows(database)] == [(0, 60), (1, 60), (2, 180), (2, 180)]


def test_missed_dates_are_replayed_in_order(database: Database, lab_estate: Estate) -> None:
    decided(database, lab_estate, MONDAY)
    for n in range(3):
        day_of_mail(database, lab_estate, date(2026, 11, 30) + timedelta(days=n), 150)
    read_until(database, MONDAY + timedelta(days=3))
    found = decided(database, lab_estate, MONDAY + timedelta(days=3))
    assert [date_ for date_, *_ in rows(database)] == ["2026-11-30", "2026-12-01", "2026-12-02", "2026-12-03"]
    assert found.state.effective_day == 2


def test_replayed_dates_are_decided_just_before_today_so_that_history_stays_in_order(
    database: Database, lab_estate: Estate
) -> None:
    decided(database, lab_estate, MONDAY)
    now = MONDAY + timedelta(days=3)
    decided(database, lab_estate, now)
    with database.transaction() as connection:
        found = connection.execute("select decided_at from ramp_day order by local_date").fetchall()
    moments = [row[0] for row in found]
    assert moments == sorted(set(moments))
    assert moments[-1] == now


def test_an_unread_log_holds_and_is_looked_at_again_when_it_is_known(
    database: Database, lab_estate: Estate
) -> None:
    decided(database, lab_estate, MONDAY)
    day_of_mail(database, lab_estate, date(2026, 11, 30), 150)
    assert decided(database, lab_estate, MONDAY + timedelta(days=1)).rule == 6
    read_until(database, MONDAY + timedelta(days=1))
    again = decided(database, lab_estate, MONDAY + timedelta(days=1, hours=1))
    assert (again.rule, again.state.effective_day) == (9, 1)


def test_a_past_date_keeps_the_caps_that_were_allowed_on_it(database: Database, lab_estate: Estate) -> None:
    decided(database, lab_estate, MONDAY)
    for n in range(2):
        day_of_mail(database, lab_estate, date(2026, 11, 30) + timedelta(days=n), 150)
        decided(database, lab_estate, MONDAY + timedelta(days=n + 1))
    day_of_mail(database, lab_estate, date(2026, 12, 2), 150)
    read_until(database, MONDAY + timedelta(days=3))
    decided(database, lab_estate, MONDAY + timedelta(days=3))
    assert [(r, d, c) for _, r, d, c in rows(database)] == [(3, 0, 60), (9, 1, 60), (9, 2, 60), (10, 2, 180)]


def test_a_lost_database_starts_at_day_0(database: Database, lab_estate: Estate) -> None:
    day_of_mail(database, lab_estate, date(2026, 11, 29), 1500)
    read_until(database, MONDAY)
    found = decided(database, lab_estate, MONDAY)
    assert found.state.effective_day == 0
    assert found.cap_per_hour == 60


def test_a_hard_brake_of_yesterday_steps_back(database: Database, lab_estate: Estate) -> None:
    with database.transaction() as connection:
        connection.execute(
            "insert into ramp_day values (%s, '2026-11-30', 6, 0, 0, 360, 900, 9, '', '{}', %s)", (HC, MONDAY)
        )
        connection.execute(
            "insert into brake (stream, kind, reason, evidence, on_at) values (%s, 'hard', 'x', '', %s)",
            (HC, MONDAY + timedelta(hours=5)),
        )
    day_of_mail(database, lab_estate, date(2026, 11, 30), 800)
    read_until(database, MONDAY + timedelta(days=1))
    found = decided(database, lab_estate, MONDAY + timedelta(days=1))
    assert (found.rule, found.state.effective_day, found.state.cooldown, found.cap_per_hour) == (2, 2, 2, 180)


def test_a_weekend_holds(database: Database, lab_estate: Estate) -> None:
    friday = MONDAY - timedelta(days=3)
    decided(database, lab_estate, friday)
    day_of_mail(database, lab_estate, date(2026, 11, 27), 100)
    read_until(database, MONDAY)
    found = decided(database, lab_estate, MONDAY)
    assert [r for _, r, _, _ in rows(database)] == [3, 10, 5, 5]
    assert found.state.acc == 100


def caps(database: Database, estate: Estate, now: datetime, stamp: Stamp | StampFault = OLD):
    with database.transaction() as connection:
        return caps_in_force(connection, estate, HC, stamp, now)


@pytest.fixture
def high(database: Database) -> Database:
    """The third stage, decided on Monday at 07:20."""
    with database.transaction() as connection:
        connection.execute(
            "insert into ramp_day values (%s, '2026-11-30', 6, 0, 0, 360, 900, 9, 'volume', '{}', %s)",
            (HC, MONDAY),
        )
    return database


def test_without_a_decision_the_lowest_stage_is_in_force(database: Database, lab_estate: Estate) -> None:
    assert caps(database, lab_estate, MONDAY).cap_per_hour == 60


def test_the_newest_decision_is_in_force(high: Database, lab_estate: Estate) -> None:
    assert caps(high, lab_estate, MONDAY + timedelta(hours=25)).cap_per_hour == 360


def test_a_decision_older_than_26_hours_falls_to_the_lowest_stage(high: Database, lab_estate: Estate) -> None:
    assert caps(high, lab_estate, MONDAY + timedelta(hours=27)).cap_per_hour == 60


def test_a_stamp_that_went_bad_since_falls_to_the_lowest_stage(high: Database, lab_estate: Estate) -> None:
    found = caps(high, lab_estate, MONDAY + timedelta(hours=2), StampFault("stamp is missing"))
    assert (found.cap_per_hour, found.why) == (60, "lowest stage: stamp is missing")


def test_an_override_during_the_day_may_only_lower(high: Database, lab_estate: Estate) -> None:
    def override(hour: int) -> None:
        with high.transaction() as connection:
            connection.execute(
                "insert into ramp_override (stream, cap_per_hour, cap_per_day, reason, starts_at, ends_at)"
                " values (%s, %s, 5000, 'x', %s, %s)",
                (HC, hour, MONDAY, MONDAY + timedelta(days=2)),
            )

    override(600)
    assert caps(high, lab_estate, MONDAY + timedelta(hours=2)).cap_per_hour == 360
    override(30)
    assert caps(high, lab_estate, MONDAY + timedelta(hours=2)).cap_per_hour == 30


def test_in_production_a_disarmed_day_is_told_as_such(database: Database, lab_estate: Estate) -> None:
    with database.transaction() as connection:
        connection.execute(
            "insert into ramp_day values (%s, '2026-11-30', 3, 10, 0, 180, 450, 10, '', '{}', %s)",
            (HC, MONDAY),
        )
    day_of_mail(database, lab_estate, date(2026, 11, 29), 1)
    read_until(database, MONDAY + timedelta(days=1))
    with database.transaction() as connection:
        found = decide_today(connection, lab_estate, HC, OLD, MONDAY + timedelta(days=1), "production")
    assert (found.rule, found.reason) == (5, "hold: disarmed")


def test_the_stamp_is_found_in_its_folder(
    database: Database, clock: FixedClock, lab_estate: Estate, tmp_path: Path
) -> None:
    from dualstream_assets.sending.rampcap import stamp_of

    assert isinstance(stamp_of(lab_estate, HC, tmp_path, clock.now()), StampFault)
    (tmp_path / "hc-warmup-start").write_text("2026-06-06T00:00:00Z\n")
    assert stamp_of(lab_estate, HC, tmp_path, clock.now()) == OLD
    assert stamp_of(lab_estate, "trucking", tmp_path, clock.now()) is None
