"""From today: which caps come when, when the full ceiling is reached, when the verified stock is drained.

Assumes that every send day delivers the share given and earns its step; says so where it is shown. The ramp is the real
one (`ramp.decide`), so the forecast can only differ from what happens by what receivers answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from dualstream_assets.estate import Estate
from dualstream_assets.sending.ramp import DayInputs, RampState, decide, stage_of
from dualstream_assets.sending.ramp_days import last_decision
from dualstream_assets.sending.stamp import Stamp
from dualstream_assets.sending.window import is_send_day

if TYPE_CHECKING:
    from psycopg import Connection

FARTHEST = 400
DELIVERED_SHARE = 0.95


@dataclass(frozen=True)
class ForecastDay:
    """One local date: caps in messages, and how many people would be mailed."""

    date: date
    cap_per_hour: int
    cap_per_day: int
    sends: int


@dataclass(frozen=True)
class Forecast:
    """The days from today on.

    Attributes:
        ceiling_date: first date at the highest stage; None if the stock ends before.
        drain_date: date on which the last verified person is mailed; None if that is more than 400 days away.
    """

    days: tuple[ForecastDay, ...]
    ceiling_date: date | None
    drain_date: date | None


def forecast(
    connection: Connection[Any],
    estate: Estate,
    stream: str,
    now: datetime,
    stock: int,
    delivered_share: float = DELIVERED_SHARE,
) -> Forecast:
    """Forecast a stream; `stock` is how many people are verified and not yet mailed."""
    today = now.astimezone(estate.zone).date()
    last = last_decision(connection, stream)
    sent_today = _sent_today(connection, stream, today)
    state = last.state if last else RampState()
    return _ahead(estate, stream, today, state, stock, sent_today, delivered_share, new=last is None)


def _sent_today(connection: Connection[Any], stream: str, today: date) -> int:
    row = connection.execute(
        "select coalesce(sum(size), 0) from wave where stream = %s and local_date = %s and released_at is not null"
        " and state <> 'abandoned'",
        (stream, today),
    ).fetchone()
    return int(row[0]) if row else 0


def _ahead(
    estate: Estate,
    stream: str,
    today: date,
    state: RampState,
    stock: int,
    sent_today: int,
    delivered_share: float,
    *,
    new: bool,
) -> Forecast:
    declared = estate.streams[stream]
    ramp, top = declared.ramp, declared.ramp.stages[-1]
    stamp = Stamp(
        datetime(2000, 1, 1, tzinfo=estate.zone)
    )  # an old stamp: the forecast is about what is earned
    days: list[ForecastDay] = []
    ceiling = drain = None
    left, yesterday, eve_was_send_day = stock, 0, False
    for n in range(FARTHEST):
        day = today + timedelta(days=n)
        if n > 0:
            inputs = DayInputs(
                local_date=day,
                stamp=stamp,
                days_since_last_send=None if new and not yesterday and n == 1 else 1,
                idle_because=None if eve_was_send_day and yesterday else "no send day",
                attempts=yesterday,
                delivered=int(yesterday * delivered_share),
            )
            if ramp.mode != "calendar":
                state = decide(state, inputs, ramp, estate.zone, declared.brakes).state
            else:
                state = RampState(state.effective_day + 1, base=state.base)
        stage = stage_of(ramp, state.effective_day)
        eve_was_send_day = is_send_day(declared.window, day)
        already = sent_today if n == 0 else 0
        room = max(0, int(stage.cap_per_day * declared.share) - already)
        sends = min(left, room) if eve_was_send_day else 0
        left -= sends
        yesterday = sends + already
        days.append(ForecastDay(day, stage.cap_per_hour, stage.cap_per_day, sends))
        if ceiling is None and stage.cap_per_day >= top.cap_per_day and (left or sends):
            ceiling = day
        if left == 0:
            drain = day
            break
    return Forecast(tuple(days), ceiling, drain)
