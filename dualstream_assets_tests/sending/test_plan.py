"""How many, and whom: the plan of a wave, from given facts alone."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from dualstream_assets.estate import Estate, Stream
from dualstream_assets.listmonk.campaigns import members_hash
from dualstream_assets.sending.plan import (
    Allowance,
    DomainLimits,
    Moment,
    Person,
    allowance,
    pick,
    plan_wave,
)
from dualstream_assets.sending.ramp import Caps
from dualstream_assets.sending.units import Units
from dualstream_assets.sending.window import closed_because, send_days

ZONE = ZoneInfo("America/New_York")
NINE = datetime(2026, 11, 30, 14, 0, tzinfo=UTC)
CAPS = Caps(60, 150)


@pytest.fixture
def stream(lab_estate: Estate) -> Stream:
    return lab_estate.streams["healthcare"]


def allowed(
    stream: Stream, now: datetime = NINE, caps: Caps = CAPS, moment: Moment | None = None, **used: int
) -> Allowance:
    return allowance(stream, ZONE, now, caps, Units(**used), moment or Moment())


def test_a_wave_is_a_tenth_of_the_hourly_cap(stream: Stream) -> None:
    assert allowed(stream).size == 6


def test_cap_reached_says_so(stream: Stream) -> None:
    found = allowed(stream, own_hour=60)
    assert (found.size, found.why) == (0, "cap reached: 60 of 60 in the last hour")


def test_the_day_cap_reached_says_so(stream: Stream) -> None:
    found = allowed(stream, own_day=150)
    assert (found.size, found.why) == (0, "day cap reached: 150 of 150 today")


def test_queued_mail_counts_as_in_flight(stream: Stream) -> None:
    assert allowed(stream, own_hour=40, own_in_flight=20).size == 0
    assert allowed(stream, own_hour=40, own_in_flight=16).size == 4


def test_less_than_a_twentieth_waits_for_more_room(stream: Stream) -> None:
    assert allowed(stream, own_hour=58).size == 0
    assert allowed(stream, own_hour=57).size == 3


def test_the_end_of_the_day_may_be_smaller_than_a_twentieth(stream: Stream) -> None:
    assert allowed(stream, own_day=149).size == 1


def test_what_was_carried_over_from_yesterday_counts_against_today(stream: Stream) -> None:
    assert allowed(stream, own_day=140, carried=10).size == 0


def test_what_others_send_on_the_stream_counts(stream: Stream) -> None:
    assert allowed(stream, others_hour=60).size == 0
    assert allowed(stream, others_day=150).size == 0
    assert allowed(stream, others_in_flight=60).size == 0


def test_our_share_of_a_stream_bounds_our_own_units_only(lab_estate: Estate) -> None:
    trucking = lab_estate.streams["trucking"].model_copy(update={"share": 0.2})
    caps = Caps(100, 400)
    assert allowance(trucking, ZONE, NINE, caps, Units(), Moment()).size == 2
    assert allowance(trucking, ZONE, NINE, caps, Units(others_hour=80), Moment()).size == 2
    found = allowance(trucking, ZONE, NINE, caps, Units(own_hour=20, own_day=20), Moment())
    assert found.why == "cap reached: 20 of 20 in the last hour"
    assert allowance(trucking, ZONE, NINE, caps, Units(others_hour=100), Moment()).size == 0


def test_a_stream_without_a_share_is_never_ours(stream: Stream) -> None:
    none = stream.model_copy(update={"share": 0.0})
    assert "share" in allowance(none, ZONE, NINE, CAPS, Units(), Moment()).why


def test_waves_are_six_minutes_apart(stream: Stream) -> None:
    last = Moment(last_release=NINE - timedelta(minutes=5, seconds=59))
    assert "six minutes" in allowed(stream, moment=last).why
    assert allowed(stream, moment=Moment(last_release=NINE - timedelta(minutes=6))).size == 6


def test_a_wave_that_is_being_dispatched_blocks_the_next(stream: Stream) -> None:
    assert "wave 4" in allowed(stream, moment=Moment(dispatching="wave 4")).why


def test_a_backlog_of_more_than_an_hour_holds(stream: Stream) -> None:
    assert "backlog" in allowed(stream, own_in_flight=61).why


@pytest.mark.parametrize(
    ("local", "opens"),
    [
        ("2026-11-30T07:59:59", False),  # Monday
        ("2026-11-30T08:00:00", True),
        ("2026-11-30T18:29:59", True),
        ("2026-11-30T18:30:00", False),
        ("2026-11-28T12:00:00", False),  # Saturday
        ("2026-11-26T12:00:00", False),  # Thanksgiving
        ("2026-07-03T12:00:00", False),  # Independence Day, observed on the Friday
        ("2026-11-27T12:00:00", True),
    ],
)
def test_the_window_is_local_and_knows_federal_holidays(stream: Stream, local: str, opens: bool) -> None:
    now = datetime.fromisoformat(local).replace(tzinfo=ZONE)
    assert (closed_because(stream.window, ZONE, now) is None) == opens


def test_the_window_keeps_its_wall_clock_over_a_change_of_the_clocks(stream: Stream) -> None:
    before, after = datetime(2026, 10, 30, 12, 0, tzinfo=UTC), datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
    assert closed_because(stream.window, ZONE, before) is None  # 08:00 EDT
    assert closed_because(stream.window, ZONE, after) is not None  # 07:00 EST


def test_send_days_skip_weekends_and_holidays(stream: Stream) -> None:
    days = send_days(stream.window, date(2026, 11, 25), 3)
    assert [d.isoformat() for d in days] == ["2026-11-25", "2026-11-27", "2026-11-30"]


def people(count: int, operator: str = "google", domain: str | None = None) -> Iterator[Person]:
    for n in range(count):
        of = domain or f"{operator}{n}.test"
        yield Person(f"p{n}@{of}", of, operator, n)


def planned(stream: Stream, candidates: Iterator[Person], limits: DomainLimits | None = None, **used: int):
    return plan_wave(
        "healthcare",
        "c",
        stream,
        ZONE,
        NINE,
        CAPS,
        Units(**used),
        Moment(),
        candidates,
        limits or DomainLimits(),
    )


def test_the_plan_says_that_nothing_was_sent(stream: Stream) -> None:
    assert planned(stream, people(100)).headline.startswith("PLANNED, nothing sent")
    assert planned(stream, people(100), own_hour=60).headline == (
        "PLANNED, nothing sent: no wave now: cap reached: 60 of 60 in the last hour"
    )


def test_nobody_left_says_so(stream: Stream) -> None:
    assert planned(stream, people(0)).why == "nobody left to mail"


def test_the_longest_overdue_come_first(stream: Stream) -> None:
    mixed = iter([Person(f"p{n}@d{n}.test", f"d{n}.test", f"op{n % 4}", n) for n in range(50)])
    assert [p.rank for p in planned(stream, mixed).people] == [0, 1, 2, 3, 4, 5]


def test_at_most_two_people_of_one_domain_in_a_wave(stream: Stream) -> None:
    assert len(planned(stream, people(50, domain="clinic.test")).people) == 2


def test_a_domain_has_eight_percent_of_its_people_a_day_and_at_least_five(stream: Stream) -> None:
    limits = DomainLimits(Counter({"clinic.test": 5}), Counter({"clinic.test": 50}))
    assert not planned(stream, people(50, domain="clinic.test"), limits).people
    big = DomainLimits(Counter({"clinic.test": 5}), Counter({"clinic.test": 1000}))
    assert len(planned(stream, people(50, domain="clinic.test"), big).people) == 2


def test_a_consumer_domain_has_no_daily_limit_of_its_own(stream: Stream) -> None:
    limits = DomainLimits(Counter({"mail.test": 500}), unlimited=True)
    assert len(planned(stream, people(50, domain="mail.test"), limits).people) == 2


def test_one_operator_gets_half_while_others_wait(stream: Stream) -> None:
    crowd = iter([*people(20, "google"), *people(20, "microsoft")])
    assert Counter(p.operator for p in planned(stream, crowd).people) == {"google": 3, "microsoft": 3}


def test_one_operator_fills_the_wave_where_nobody_else_is_left(stream: Stream) -> None:
    assert len(planned(stream, people(50, "google")).people) == 6


def test_a_list_that_ends_may_fill_less_than_a_twentieth(stream: Stream) -> None:
    assert len(planned(stream, people(1)).people) == 1


def test_a_crowded_list_is_not_read_to_its_end() -> None:
    read = []

    def endless() -> Iterator[Person]:
        for person in people(1_000_000, "google"):
            read.append(1)
            yield person

    assert len(pick(endless(), 6, 2, DomainLimits()).people) == 6
    assert len(read) <= 200


def test_the_members_hash_knows_neither_order_nor_case() -> None:
    assert members_hash(["b@x.test", "A@x.test"]) == members_hash(["a@x.test", "B@x.test"])
    assert members_hash(["a@x.test"]) != members_hash(["b@x.test"])


@pytest.mark.parametrize("cap", [100, 300, 600, 1000])
def test_ten_days_of_minute_ticks_fill_both_caps_and_break_none(stream: Stream, cap: int) -> None:
    """Facts, operations section 1: 97 % of ten times the cap a day, no rolling hour above the cap."""
    caps = Caps(cap, 10 * cap)
    every_day = stream.model_copy(
        update={
            "window": stream.window.model_copy(
                update={"days": ("mon", "tue", "wed", "thu", "fri", "sat", "sun"), "holidays": "none"}
            )
        }
    )
    arrived: deque[datetime] = deque()  # at the receivers, last two hours
    most_in_an_hour, per_day = 0, []
    for day in range(10):
        start = datetime(2026, 11, 30, 8, 0, tzinfo=ZONE) + timedelta(days=day)
        releases: deque[tuple[datetime, int]] = deque()
        sent, last = 0, None
        for minute in range(-30, 660):
            now = start + timedelta(minutes=minute)
            while releases and releases[0][0] <= now - timedelta(minutes=61):
                releases.popleft()
            units = Units(own_hour=sum(size for _, size in releases), own_day=sent)
            size = allowance(every_day, ZONE, now, caps, units, Moment(last)).size
            if not size:
                continue
            last, sent = now, sent + size
            releases.append((now, size))
            for n in range(size):  # listmonk looks every 5 s, then 2 workers send one a second each
                at = now + timedelta(seconds=5 + n / 2)
                arrived.append(at)
                while arrived[0] <= at - timedelta(hours=1):
                    arrived.popleft()
                most_in_an_hour = max(most_in_an_hour, len(arrived))
        per_day.append(sent)
    assert most_in_an_hour <= cap
    assert min(per_day) >= 0.97 * 10 * cap
    assert max(per_day) <= 10 * cap
