"""The ramp: which warmup stage a stream has earned. Pure: one date, what was seen of the day before, one decision.

Source of the rules: facts/operations section 2, a table of ten rows of which the first that matches wins. The stage
is counted by an *effective day* that advances at most once a date; brakes step it back, thirty idle days restart it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from zoneinfo import ZoneInfo

from dualstream_assets.estate import Stage
from dualstream_assets.estate.model import Brakes, Ramp
from dualstream_assets.sending.stamp import Stamp, StampFault

OUTSIDE_THE_TABLE = 0
"""Rule number of modes `fixed` and `calendar`, where none of rows 1 to 4 matched."""
LOG_UNKNOWN = 6
"""Rule number of a date that is decided again once its log is known."""


@dataclass(frozen=True)
class RampState:
    """What is carried from date to date.

    Attributes:
        effective_day: the day of the warmup that the stream has earned.
        acc: delivered messages credited since the last advance.
        cooldown: send days to hold after a hard or block brake.
        base: calendar mode only: day 0, where a brake or an idle restart moved it away from the stamp.
    """

    effective_day: int = 0
    acc: int = 0
    cooldown: int = 0
    base: date | None = None


@dataclass(frozen=True)
class Override:
    """A person's cap for some days, with a reason; it may lower freely and raise at most one stage."""

    cap_per_hour: int
    cap_per_day: int
    reason: str
    ends_at: datetime


@dataclass(frozen=True)
class DayInputs:
    """What was seen of the day before `local_date`; counts are messages.

    Attributes:
        brake: kind of a `hard` or `block` brake that came on that day, else None.
        days_since_last_send: local dates since the last message of the stream; None if it never sent.
        idle_because: why that day could not earn anything (no send day, disarmed, gate shut, nothing sent).
        log_known: whether the log of that day is complete and every outcome is known.
        deferred: messages whose last word that day was a deferral.
    """

    local_date: date
    stamp: Stamp | StampFault | None
    brake: str | None = None
    days_since_last_send: int | None = None
    override: Override | None = None
    idle_because: str | None = None
    log_known: bool = True
    soft_brake: bool = False
    attempts: int = 0
    delivered: int = 0
    deferred: int = 0


@dataclass(frozen=True)
class RampDecision:
    """The decision for one local date: `rule` is the row that matched; `red` calls for a person."""

    local_date: date
    rule: int
    reason: str
    state: RampState
    cap_per_hour: int
    cap_per_day: int
    red: bool = False

    @property
    def said(self) -> str:
        """The decision in one line."""
        return (
            f"{self.local_date}: {self.cap_per_hour}/h and {self.cap_per_day}/day, day {self.state.effective_day};"
            f" {self.reason} (row {self.rule})"
        )


@dataclass(frozen=True)
class Caps:
    """Caps that hold at a moment, messages; `why` names the decision."""

    cap_per_hour: int
    cap_per_day: int
    why: str = ""


def stage_of(ramp: Ramp, effective_day: int) -> Stage:
    """The stage that holds on an effective day."""
    return [stage for stage in ramp.stages if stage.from_day <= max(0, effective_day)][-1]


def decide(  # noqa: PLR0911  # the rows of the table, first match wins
    state: RampState, day: DayInputs, ramp: Ramp, zone: ZoneInfo, brakes: Brakes | None = None
) -> RampDecision:
    """Decide one date from the state after the date before. Never advances by more than one day."""
    brakes = brakes or Brakes()
    if ramp.mode == "fixed":
        if day.override:
            return _overridden(state, day, ramp)
        return _at(state, day, ramp, OUTSIDE_THE_TABLE, "fixed: one stage for ever")
    if not isinstance(day.stamp, Stamp):
        why = day.stamp.reason if day.stamp else "no stamp is declared"
        lowest = ramp.stages[0]
        return RampDecision(
            day.local_date,
            1,
            f"lowest stage: {why}",
            state,
            lowest.cap_per_hour,
            lowest.cap_per_day,
            red=True,
        )
    state = _not_before_the_stamp(state, day, day.stamp, ramp, zone)
    if day.brake:
        stepped = _stepped_back(state, day, ramp, brakes)
        return _at(stepped, day, ramp, 2, f"{day.brake} brake: back to day {stepped.effective_day}")
    if day.days_since_last_send is None or day.days_since_last_send >= ramp.idle_days_restart:
        idle = day.days_since_last_send
        why = "never sent" if idle is None else f"idle for {idle} days"
        restarted = replace(state, effective_day=0, acc=0, base=day.local_date)
        return _at(restarted, day, ramp, 3, f"{why}: starts at day 0")
    if day.override:
        return _overridden(state, day, ramp)
    if ramp.mode == "calendar":
        return _at(state, day, ramp, OUTSIDE_THE_TABLE, f"calendar: day {state.effective_day}")
    return _earned(state, day, ramp, brakes)


def _earned(state: RampState, day: DayInputs, ramp: Ramp, brakes: Brakes) -> RampDecision:
    """Rows 5 to 10."""
    if day.idle_because:
        return _at(state, day, ramp, 5, f"hold: {day.idle_because}")
    if not day.log_known:
        return _at(state, day, ramp, LOG_UNKNOWN, "hold: the log of that day is not known yet")
    if state.cooldown > 0:
        left = state.cooldown - 1
        return _at(replace(state, cooldown=left), day, ramp, 7, f"hold: cooling down, {left} send days left")
    poor = _poor_delivery(day, brakes)
    if poor:
        return _at(state, day, ramp, 8, f"hold: {poor}; volume not credited")
    threshold = ramp.advance_share * stage_of(ramp, state.effective_day).cap_per_day
    acc = state.acc + day.delivered
    if acc >= threshold:
        by = "volume" if day.delivered >= threshold else "accumulated"
        advanced = replace(state, effective_day=state.effective_day + 1, acc=0)
        return _at(advanced, day, ramp, 9, f"{by}: {acc} of {threshold:.0f} delivered")
    return _at(replace(state, acc=acc), day, ramp, 10, f"hold: {acc}/{threshold:.0f} delivered")


def _poor_delivery(day: DayInputs, brakes: Brakes) -> str | None:
    if day.soft_brake:
        return "soft brake"
    if day.attempts < brakes.minimum_attempts:
        return None
    if day.delivered < brakes.soft_delivered_share * day.attempts:
        return f"only {day.delivered} of {day.attempts} delivered"
    if day.deferred > brakes.soft_deferred_share * day.attempts:
        return f"{day.deferred} of {day.attempts} deferred"
    return None


def _not_before_the_stamp(
    state: RampState, day: DayInputs, stamp: Stamp, ramp: Ramp, zone: ZoneInfo
) -> RampState:
    """No stream can have earned more days than passed since its stamp; in calendar mode it has exactly those."""
    since = stamp.start.astimezone(zone).date()
    if ramp.mode == "calendar":
        base = max(since, state.base or since)
        return replace(state, effective_day=max(0, (day.local_date - base).days))
    passed = max(0, (day.local_date - since).days)
    if state.effective_day <= passed:
        return state
    return replace(state, effective_day=passed, acc=0)


def _stepped_back(state: RampState, day: DayInputs, ramp: Ramp, brakes: Brakes) -> RampState:
    """First day of the stage before the present one."""
    here = ramp.stages.index(stage_of(ramp, state.effective_day))
    back = ramp.stages[max(0, here - 1)].from_day
    base = date.fromordinal(day.local_date.toordinal() - back)
    return RampState(back, 0, brakes.cooldown_days, base)


def _overridden(state: RampState, day: DayInputs, ramp: Ramp) -> RampDecision:
    """Row 4: lower freely, raise at most one stage; the effective day stays."""
    assert day.override is not None  # noqa: S101
    here = ramp.stages.index(stage_of(ramp, state.effective_day))
    highest = ramp.stages[here if ramp.mode == "fixed" else min(here + 1, len(ramp.stages) - 1)]
    return RampDecision(
        day.local_date,
        4,
        f"override until {day.override.ends_at:%Y-%m-%d %H:%M} UTC: {day.override.reason}",
        state,
        min(day.override.cap_per_hour, highest.cap_per_hour),
        min(day.override.cap_per_day, highest.cap_per_day),
    )


def _at(state: RampState, day: DayInputs, ramp: Ramp, rule: int, reason: str) -> RampDecision:
    stage = stage_of(ramp, state.effective_day)
    return RampDecision(day.local_date, rule, reason, state, stage.cap_per_hour, stage.cap_per_day)
