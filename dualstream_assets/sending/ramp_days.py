"""The ramp's diary: reads what a day did, decides every date in order, once, and keeps the decisions in `ramp_day`.

Missed dates are replayed. A date decided without its log (row 6) is decided again when the log is known: its state is
corrected, its caps stay what was really allowed on that day.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from dualstream_assets.estate import Estate
from dualstream_assets.sending.arming import armed_between
from dualstream_assets.sending.ramp import (
    LOG_UNKNOWN,
    Caps,
    DayInputs,
    Override,
    RampDecision,
    RampState,
    decide,
)
from dualstream_assets.sending.stamp import Stamp, StampFault
from dualstream_assets.sending.window import day_bounds, not_a_send_day

if TYPE_CHECKING:
    from psycopg import Connection

LONGEST_REPLAY = 366
ROW_IS_OLD_AFTER = timedelta(hours=26)


def decide_today(
    connection: Connection[Any],
    estate: Estate,
    stream: str,
    stamp: Stamp | StampFault | None,
    now: datetime,
    environment: str,
) -> RampDecision:
    """Decide the local date of `now` and every missed date before it; idempotent for a date that is decided.

    Writes rows of `ramp_day` on the caller's transaction; the caller holds the stream's ramp lock.
    """
    declared = estate.streams[stream]
    today = now.astimezone(estate.zone).date()
    stored = _decision(connection, stream, today)
    if stored and stored.rule != LOG_UNKNOWN:
        return stored
    state, first = _last_known(connection, stream, today)
    pending = [first + timedelta(days=n) for n in range((today - first).days + 1)][-LONGEST_REPLAY:]
    decision = stored
    has_history = last_decision(connection, stream) is not None
    for local_date in pending:
        day = read_day(connection, estate, stream, local_date, stamp, now, environment)
        if (
            not has_history
        ):  # a new stream, or a lost database: what was delivered before is credited to nothing
            day = replace(day, idle_because="the first decision in this database")
            has_history = True
        decision = decide(state, day, declared.ramp, estate.zone, declared.brakes)
        decided_at = now - timedelta(microseconds=(today - local_date).days)
        _keep(connection, stream, decision, day, decided_at, is_today=local_date == today)
        state = decision.state
    assert decision is not None  # noqa: S101  # today is always pending here
    return decision


def caps_in_force(
    connection: Connection[Any], estate: Estate, stream: str, stamp: Stamp | StampFault | None, now: datetime
) -> Caps:
    """The caps that hold now: the newest decision, lowered by what was learnt since (stamp, override, age)."""
    ramp = estate.streams[stream].ramp
    lowest = ramp.stages[0]
    row = connection.execute(
        "select cap_per_hour, cap_per_day, local_date, reason, decided_at from ramp_day"
        " where stream = %s and decided_at <= %s order by local_date desc limit 1",
        (stream, now),
    ).fetchone()
    if row is None:
        return Caps(lowest.cap_per_hour, lowest.cap_per_day, "not decided yet: lowest stage")
    hour, day, why = int(row[0]), int(row[1]), f"{row[2]}: {row[3]}"
    if ramp.mode != "fixed":
        if now - row[4] > ROW_IS_OLD_AFTER:
            hour, day = min(hour, lowest.cap_per_hour), min(day, lowest.cap_per_day)
            why = f"lowest stage: the last decision is of {row[2]}"
        if not isinstance(stamp, Stamp):
            hour, day = min(hour, lowest.cap_per_hour), min(day, lowest.cap_per_day)
            why = f"lowest stage: {stamp.reason if stamp else 'no stamp is declared'}"
    override = override_at(connection, stream, now)
    if override and (override.cap_per_hour < hour or override.cap_per_day < day):
        hour, day = min(hour, override.cap_per_hour), min(day, override.cap_per_day)
        why = f"override: {override.reason}"
    return Caps(hour, day, why)


def override_at(connection: Connection[Any], stream: str, at: datetime) -> Override | None:
    """The newest override that holds at a moment."""
    row = connection.execute(
        "select cap_per_hour, cap_per_day, reason, ends_at from ramp_override where stream = %s"
        " and starts_at <= %s and ends_at > %s order by id desc limit 1",
        (stream, at, at),
    ).fetchone()
    return Override(*row) if row else None


def read_day(
    connection: Connection[Any],
    estate: Estate,
    stream: str,
    local_date: date,
    stamp: Stamp | StampFault | None,
    now: datetime,
    environment: str,
) -> DayInputs:
    """What the database says of the day before `local_date`."""
    eve = local_date - timedelta(days=1)
    start, end = day_bounds(estate.zone, eve)
    attempts, delivered, deferred = _outcomes(connection, stream, start, end)
    sent = _released(connection, stream, start, end) + attempts
    brake = connection.execute(
        "select max(kind) filter (where kind in ('hard', 'block') and on_at >= %(start)s),"
        " bool_or(kind = 'soft') from brake where stream = %(stream)s and on_at < %(end)s"
        " and (off_at is null or off_at >= %(start)s)",
        {"stream": stream, "start": start, "end": end},
    ).fetchone() or (None, None)
    idle = not_a_send_day(estate.streams[stream].window, eve)
    if not idle and sent == 0:
        armed = armed_between(connection, stream, start, end, environment)
        idle = "nothing was sent" if armed else "disarmed"
    return DayInputs(
        local_date=local_date,
        stamp=stamp,
        brake=brake[0],
        days_since_last_send=_days_since_last_send(connection, estate, stream, local_date, end),
        override=override_at(connection, stream, min(now, day_bounds(estate.zone, local_date)[1])),
        idle_because=idle if sent == 0 else None,
        log_known=_log_known(connection, stream, start, end),
        soft_brake=bool(brake[1]),
        attempts=attempts,
        delivered=delivered,
        deferred=deferred,
    )


def _outcomes(
    connection: Connection[Any], stream: str, start: datetime, end: datetime
) -> tuple[int, int, int]:
    """(attempts, delivered, deferred): messages by their last word that day."""
    row = connection.execute(
        "select count(*), count(*) filter (where status = 'sent'), count(*) filter (where status = 'deferred')"
        " from (select distinct on (queue_id, recipient) status from delivery where stream = %s"
        " and at >= %s and at < %s order by queue_id, recipient, at desc, id desc) last",
        (stream, start, end),
    ).fetchone()
    return (int(row[0]), int(row[1]), int(row[2])) if row else (0, 0, 0)


def _released(connection: Connection[Any], stream: str, start: datetime, end: datetime) -> int:
    row = connection.execute(
        "select coalesce(sum(size), 0) from wave where stream = %s and released_at >= %s and released_at < %s"
        " and state <> 'abandoned'",
        (stream, start, end),
    ).fetchone()
    return int(row[0]) if row else 0


def _days_since_last_send(
    connection: Connection[Any], estate: Estate, stream: str, local_date: date, until: datetime
) -> int | None:
    row = connection.execute(
        "select greatest("
        " (select max(released_at) from wave where stream = %(s)s and released_at < %(u)s and state <> 'abandoned'),"
        " (select max(at) from delivery where stream = %(s)s and status = 'sent' and at < %(u)s))",
        {"s": stream, "u": until},
    ).fetchone()
    last = row[0] if row else None
    return (local_date - last.astimezone(estate.zone).date()).days if last else None


def _log_known(connection: Connection[Any], stream: str, start: datetime, end: datetime) -> bool:
    """Whether the log was read past the end of that day without a gap, and no outcome of its waves is unknown."""
    from dualstream_assets.sending.logview import complete_until

    until = complete_until(connection)
    if until is None or until < end:
        return False
    row = connection.execute(
        "select count(*) from wave_member m join wave w on w.id = m.wave_id where w.stream = %s"
        " and w.released_at >= %s and w.released_at < %s and m.state = 'unknown'",
        (stream, start, end),
    ).fetchone()
    return not row or row[0] == 0


def last_decision(connection: Connection[Any], stream: str) -> RampDecision | None:
    """The newest decision of a stream; None if there is none."""
    row = connection.execute("select max(local_date) from ramp_day where stream = %s", (stream,)).fetchone()
    return _decision(connection, stream, row[0]) if row and row[0] else None


def _decision(connection: Connection[Any], stream: str, local_date: date) -> RampDecision | None:
    row = connection.execute(
        "select local_date, rule, reason, effective_day, acc, cooldown, inputs->>'base', cap_per_hour, cap_per_day"
        " from ramp_day where stream = %s and local_date = %s",
        (stream, local_date),
    ).fetchone()
    if row is None:
        return None
    state = RampState(row[3], row[4], row[5], date.fromisoformat(row[6]) if row[6] else None)
    return RampDecision(row[0], row[1], row[2], state, row[7], row[8], red=row[1] == 1)


def _last_known(connection: Connection[Any], stream: str, today: date) -> tuple[RampState, date]:
    """The state after the newest date that needs no second look, and the first date to decide.

    Without any row (a new stream, or the database was lost) the state is day 0.
    """
    row = connection.execute(
        "select local_date from ramp_day where stream = %(s)s and local_date < %(today)s and rule <> %(six)s"
        " and local_date < coalesce((select min(local_date) from ramp_day where stream = %(s)s and rule = %(six)s),"
        " %(today)s) order by local_date desc limit 1",
        {"s": stream, "today": today, "six": LOG_UNKNOWN},
    ).fetchone()
    if row is None:
        waiting = connection.execute(
            "select min(local_date) from ramp_day where stream = %s and local_date < %s", (stream, today)
        ).fetchone()
        return RampState(), (waiting[0] if waiting and waiting[0] else today)
    last = _decision(connection, stream, row[0])
    assert last is not None  # noqa: S101
    return last.state, row[0] + timedelta(days=1)


def _keep(
    connection: Connection[Any],
    stream: str,
    decision: RampDecision,
    day: DayInputs,
    decided_at: datetime,
    *,
    is_today: bool,
) -> None:
    """Insert the decision; a past date's caps stay as they were allowed, only its state is corrected."""
    inputs = {
        "base": decision.state.base.isoformat() if decision.state.base else None,
        "stamp": day.stamp.start.isoformat()
        if isinstance(day.stamp, Stamp)
        else getattr(day.stamp, "reason", None),
        "brake": day.brake,
        "days_since_last_send": day.days_since_last_send,
        "override": day.override.reason if day.override else None,
        "idle_because": day.idle_because,
        "log_known": day.log_known,
        "soft_brake": day.soft_brake,
        "attempts": day.attempts,
        "delivered": day.delivered,
        "deferred": day.deferred,
    }
    connection.execute(
        "insert into ramp_day as kept (stream, local_date, effective_day, acc, cooldown, cap_per_hour, cap_per_day,"
        " rule, reason, inputs, decided_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " on conflict (stream, local_date) do update set effective_day = excluded.effective_day, acc = excluded.acc,"
        " cooldown = excluded.cooldown, rule = excluded.rule, reason = excluded.reason, inputs = excluded.inputs,"
        " cap_per_hour = case when %s then excluded.cap_per_hour else kept.cap_per_hour end,"
        " cap_per_day = case when %s then excluded.cap_per_day else kept.cap_per_day end,"
        " decided_at = case when %s then excluded.decided_at else kept.decided_at end",
        (
            stream,
            decision.local_date,
            decision.state.effective_day,
            decision.state.acc,
            decision.state.cooldown,
            decision.cap_per_hour,
            decision.cap_per_day,
            decision.rule,
            decision.reason,
            json.dumps(inputs),
            decided_at,
            *[is_today] * 3,
        ),
    )
