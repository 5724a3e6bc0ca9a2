"""The forecast uses the real ramp: when the ceiling comes, when the stock is drained."""

from __future__ import annotations

from datetime import UTC, date, datetime

from dualstream_assets.estate import Estate, Stage
from dualstream_assets.sending.forecast import forecast
from dualstream_assets.store.database import Database

MONDAY = datetime(2026, 11, 30, 14, 0, tzinfo=UTC)


def plan_estate(estate: Estate) -> Estate:
    """The plan's caps on the lab's estate."""
    caps = ((0, 100, 1000), (2, 300, 3000), (5, 600, 6000), (10, 1000, 10000))
    stages = tuple(Stage(from_day=d, cap_per_hour=h, cap_per_day=n) for d, h, n in caps)
    hc = estate.streams["healthcare"]
    ramp = hc.ramp.model_copy(update={"stages": stages})
    return estate.model_copy(
        update={"streams": {**estate.streams, "healthcare": hc.model_copy(update={"ramp": ramp})}}
    )


def test_full_supply_drains_in_about_a_month_of_weekdays(database: Database, lab_estate: Estate) -> None:
    with database.transaction() as connection:
        found = forecast(connection, plan_estate(lab_estate), "healthcare", MONDAY, 89_557)
    assert found.days[0].date == date(2026, 11, 30)
    assert [d.sends for d in found.days[:3]] == [1000, 1000, 3000]
    assert found.ceiling_date is not None
    assert found.drain_date is not None
    assert found.ceiling_date < found.drain_date
    assert sum(d.sends for d in found.days) == 89_557
    assert 15 <= (found.drain_date - date(2026, 11, 30)).days <= 35


def test_nothing_is_sent_on_days_that_are_no_send_days(database: Database, lab_estate: Estate) -> None:
    with database.transaction() as connection:
        found = forecast(connection, plan_estate(lab_estate), "healthcare", MONDAY, 50_000)
    assert all(day.sends == 0 for day in found.days if day.date.weekday() >= 5)
    assert {day.date.isoformat(): day.sends for day in found.days}.get("2026-12-25", 0) == 0


def test_a_small_stock_ends_before_the_ceiling(database: Database, lab_estate: Estate) -> None:
    with database.transaction() as connection:
        found = forecast(connection, lab_estate, "healthcare", MONDAY, 100)
    assert (found.ceiling_date, found.drain_date) == (None, date(2026, 11, 30))


def test_poor_delivery_never_reaches_the_ceiling(database: Database, lab_estate: Estate) -> None:
    with database.transaction() as connection:
        found = forecast(
            connection, plan_estate(lab_estate), "healthcare", MONDAY, 60_000, delivered_share=0.5
        )
    assert found.ceiling_date is None


def test_what_was_sent_today_is_not_promised_again(database: Database, lab_estate: Estate) -> None:
    with database.transaction() as connection:
        connection.execute(
            "insert into wave (stream, campaign, local_date, state, size, cap_per_hour, cap_per_day, members_hash,"
            " planned_at, released_at) values ('healthcare', 'c', '2026-11-30', 'settled', 400, 1, 1, 'x', %s, %s)",
            (MONDAY, MONDAY),
        )
        found = forecast(connection, plan_estate(lab_estate), "healthcare", MONDAY, 5000)
    assert found.days[0].sends == 600


def test_a_fixed_stream_is_at_its_ceiling_from_today(database: Database, lab_estate: Estate) -> None:
    with database.transaction() as connection:
        found = forecast(connection, lab_estate, "trucking", MONDAY, 500)
    assert found.ceiling_date == date(2026, 11, 30)
    assert found.days[0].sends == 200  # half of 400
