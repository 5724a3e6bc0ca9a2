"""The ramp's table, row by row, and what holds for every history."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualstream_assets.estate import Estate, Stage
from dualstream_assets.estate.model import Brakes, Ramp
from dualstream_assets.sending.ramp import DayInputs, Override, RampState, decide, stage_of
from dualstream_assets.sending.stamp import Stamp, StampFault, read_stamp

DAY = date(2026, 11, 24)
BRAKES = Brakes()


def ramp(mode: str = "earned") -> Ramp:
    """The plan's own ramp."""
    caps = ((0, 100, 1000), (2, 300, 3000), (5, 600, 6000), (10, 1000, 10000))
    stages = tuple(Stage(from_day=d, cap_per_hour=h, cap_per_day=n) for d, h, n in caps)
    return Ramp.model_validate({"mode": mode, "stamp": "s", "stages": stages, "cap_writer": "dualstream"})


def stamp_days_ago(days: int, today: date = DAY) -> Stamp:
    return Stamp(datetime(today.year, today.month, today.day, 12, tzinfo=UTC) - timedelta(days=days))


def a_day(**changed: object) -> DayInputs:
    """A good send day of a stream that has been warming for long."""
    good = DayInputs(
        local_date=DAY, stamp=stamp_days_ago(60), days_since_last_send=1, attempts=400, delivered=390
    )
    return replace(good, **changed)  # type: ignore[arg-type]


def decided(state: RampState, day: DayInputs, mode: str = "earned"):
    from zoneinfo import ZoneInfo

    return decide(state, day, ramp(mode), ZoneInfo("America/New_York"), BRAKES)


def test_row_1_a_faulty_stamp_is_the_lowest_stage_today_red_and_keeps_the_day() -> None:
    found = decided(RampState(7, 12), a_day(stamp=StampFault("s is missing")))
    assert (found.rule, found.red) == (1, True)
    assert (found.cap_per_hour, found.cap_per_day) == (100, 1000)
    assert found.state == RampState(7, 12)


@pytest.mark.parametrize(("day", "back"), [(0, 0), (3, 0), (5, 2), (12, 5), (40, 5)])
def test_row_2_a_hard_brake_goes_back_to_the_first_day_of_the_stage_before(day: int, back: int) -> None:
    found = decided(RampState(day, 500), a_day(brake="hard"))
    assert found.rule == 2
    assert (found.state.effective_day, found.state.acc, found.state.cooldown) == (back, 0, 2)


@pytest.mark.parametrize("mode", ["earned", "calendar"])
@pytest.mark.parametrize("idle", [30, 171, None])
def test_row_3_thirty_idle_days_or_never_sent_restart_at_day_0(mode: str, idle: int | None) -> None:
    found = decided(RampState(14, 700), a_day(days_since_last_send=idle), mode)
    assert found.rule == 3
    assert (found.state.effective_day, found.state.acc, found.cap_per_hour) == (0, 0, 100)


def test_twenty_nine_idle_days_do_not_restart() -> None:
    assert decided(RampState(14), a_day(days_since_last_send=29)).rule != 3


@pytest.mark.parametrize("mode", ["earned", "calendar"])
def test_a_171_day_old_stamp_without_deliveries_is_the_lowest_stage(mode: str) -> None:
    day = DayInputs(local_date=DAY, stamp=stamp_days_ago(171), days_since_last_send=None)
    found = decided(RampState(), day, mode)
    assert (found.cap_per_hour, found.cap_per_day) == (100, 1000)


def test_a_cold_pool_in_calendar_mode_counts_from_its_restart_and_not_from_the_old_stamp() -> None:
    first = decided(RampState(), a_day(stamp=stamp_days_ago(171), days_since_last_send=None), "calendar")
    next_day = a_day(
        local_date=DAY + timedelta(days=1), stamp=stamp_days_ago(171), days_since_last_send=1, delivered=80
    )
    assert decided(first.state, next_day, "calendar").cap_per_hour == 100


@pytest.mark.parametrize(
    ("age", "cap"), [(0, 100), (1, 100), (2, 300), (4, 300), (5, 600), (9, 600), (10, 1000)]
)
def test_calendar_mode_is_the_plans_literal_table(age: int, cap: int) -> None:
    found = decided(RampState(), a_day(stamp=stamp_days_ago(age)), "calendar")
    assert (found.cap_per_hour, found.state.effective_day) == (cap, age)


def test_row_4_an_override_lowers_freely() -> None:
    low = Override(20, 50, "complaint", datetime(2026, 11, 25, tzinfo=UTC))
    found = decided(RampState(6), a_day(override=low))
    assert (found.rule, found.cap_per_hour, found.cap_per_day) == (4, 20, 50)
    assert found.state.effective_day == 6


def test_row_4_an_override_raises_at_most_one_stage() -> None:
    high = Override(5000, 50000, "in a hurry", datetime(2026, 11, 25, tzinfo=UTC))
    found = decided(RampState(2), a_day(override=high))
    assert (found.cap_per_hour, found.cap_per_day) == (600, 6000)


@pytest.mark.parametrize("why", ["sun is no send day", "disarmed", "nothing was sent"])
def test_row_5_a_day_that_could_not_earn_holds_and_keeps_its_volume(why: str) -> None:
    found = decided(RampState(3, 900, 1), a_day(idle_because=why))
    assert (found.rule, found.state) == (5, RampState(3, 900, 1))


def test_row_6_an_unknown_log_holds() -> None:
    found = decided(RampState(3, 900), a_day(log_known=False))
    assert (found.rule, found.state) == (6, RampState(3, 900))


def test_row_7_a_cooldown_counts_down_and_credits_nothing() -> None:
    found = decided(RampState(3, 900, 2), a_day(delivered=3000, attempts=3000))
    assert (found.rule, found.state) == (7, RampState(3, 900, 1))


@pytest.mark.parametrize(
    "poor",
    [
        {"soft_brake": True},
        {"attempts": 200, "delivered": 179},
        {"attempts": 1000, "delivered": 990, "deferred": 101},
    ],
)
def test_row_8_poor_delivery_holds_and_is_not_credited(poor: dict[str, int]) -> None:
    found = decided(RampState(3, 900), a_day(**poor))
    assert (found.rule, found.state) == (8, RampState(3, 900))


def test_below_the_minimum_a_poor_share_says_nothing() -> None:
    assert decided(RampState(3), a_day(attempts=199, delivered=10)).rule == 10


def test_row_9_a_full_day_advances_by_one() -> None:
    found = decided(RampState(0), a_day(attempts=850, delivered=800))
    assert (found.rule, found.state.effective_day, found.reason.split(":")[0]) == (9, 1, "volume")


def test_row_9_volume_accumulates_over_days() -> None:
    found = decided(RampState(0, 500), a_day(attempts=300, delivered=300))
    assert (found.rule, found.state, found.reason.split(":")[0]) == (9, RampState(1), "accumulated")


def test_row_10_anything_less_accumulates() -> None:
    found = decided(RampState(0, 500), a_day(attempts=299, delivered=299))
    assert (found.rule, found.state.acc) == (10, 799)


def test_no_stream_earned_more_days_than_its_stamp_is_old() -> None:
    assert decided(RampState(12), a_day(stamp=stamp_days_ago(0))).cap_per_hour == 100


def test_a_fixed_stream_has_its_one_stage_for_ever(lab_estate: Estate) -> None:
    from zoneinfo import ZoneInfo

    fixed = lab_estate.streams["trucking"].ramp
    day = DayInputs(local_date=DAY, stamp=None, days_since_last_send=400, brake="hard")
    found = decide(RampState(), day, fixed, ZoneInfo("UTC"))
    assert (found.cap_per_hour, found.cap_per_day) == (100, 400)


days = st.builds(
    DayInputs,
    local_date=st.just(DAY),
    stamp=st.one_of(st.just(StampFault("x")), st.integers(0, 200).map(stamp_days_ago)),
    brake=st.sampled_from([None, None, None, "hard", "block"]),
    days_since_last_send=st.one_of(st.none(), st.integers(0, 60)),
    idle_because=st.sampled_from([None, None, "disarmed"]),
    log_known=st.booleans(),
    soft_brake=st.booleans(),
    attempts=st.integers(0, 12_000),
    delivered=st.integers(0, 12_000),
    deferred=st.integers(0, 2_000),
)


@settings(max_examples=200, deadline=None)
@given(history=st.lists(days, max_size=40), mode=st.sampled_from(["earned", "fixed"]))
def test_whatever_happens_the_ramp_never_gains_two_days_in_a_date(
    history: list[DayInputs], mode: str
) -> None:
    state = RampState()
    for number, seen in enumerate(history):
        found = decided(state, replace(seen, local_date=DAY + timedelta(days=number)), mode)
        assert found.state.effective_day <= state.effective_day + 1
        state = found.state


@settings(max_examples=200, deadline=None)
@given(history=st.lists(days, max_size=40), mode=st.sampled_from(["earned", "calendar", "fixed"]))
def test_whatever_happens_the_caps_are_never_above_the_stage(history: list[DayInputs], mode: str) -> None:
    state, table = RampState(), ramp(mode)
    for number, seen in enumerate(history):
        found = decided(state, replace(seen, local_date=DAY + timedelta(days=number)), mode)
        stage = stage_of(table, found.state.effective_day)
        assert found.cap_per_hour <= stage.cap_per_hour
        assert found.cap_per_day <= stage.cap_per_day
        state = found.state


NOW = datetime(2026, 11, 24, 12, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "missing"),
        ("", "0 lines"),
        ("2026-06-06T10:00:00Z\n2026-06-07T10:00:00Z\n", "2 lines"),
        ("yesterday\n", "not an ISO"),
        ("2026-06-06T10:00:00\n", "no time zone"),
        ("2026-11-24T12:26:00Z\n", "future"),
    ],
)
def test_a_stamp_that_is_not_one_zoned_past_line_is_a_fault(
    tmp_path: Path, text: str | None, said: str
) -> None:
    path = tmp_path / "hc-warmup-start"
    if text is not None:
        path.write_text(text)
    found = read_stamp(path, NOW)
    assert isinstance(found, StampFault)
    assert said in found.reason


@pytest.mark.parametrize(
    "text", ["2026-06-06T10:00:00-04:00\n", "2026-06-06T14:00:00Z", "2026-11-24T12:24:59Z\n"]
)
def test_one_zoned_line_is_a_stamp_even_a_little_ahead(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hc-warmup-start"
    path.write_text(text)
    assert isinstance(read_stamp(path, NOW), Stamp)


def test_a_binary_stamp_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "hc-warmup-start"
    path.write_bytes(b"\xff\xfe\x00")
    assert isinstance(read_stamp(path, NOW), StampFault)
