"""The plan of one wave: may it go now, how many, and whom. Pure: everything seen comes in as arguments.

Sizes follow facts/operations section 1: a tenth of the hourly cap, at least six minutes apart, never less than a
twentieth unless the day or the list ends, both caps, the stream's share, a backlog holds.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from dualstream_assets.estate import Stream
from dualstream_assets.listmonk.campaigns import members_hash
from dualstream_assets.sending.ramp import Caps
from dualstream_assets.sending.units import Units
from dualstream_assets.sending.window import closed_because

BETWEEN_WAVES = timedelta(minutes=6)
WAVES_PER_HOUR = 10


@dataclass(frozen=True)
class Person:
    """One person who may be mailed. Lower `rank` first (1: longest overdue)."""

    address: str
    domain: str
    operator: str
    rank: int


@dataclass(frozen=True)
class Moment:
    """What the ledger says of the stream's waves.

    Attributes:
        last_release: when the last wave was released, None if never.
        dispatching: a wave that is not handed over yet, as text; None if there is none.
    """

    last_release: datetime | None = None
    dispatching: str | None = None


@dataclass(frozen=True)
class Allowance:
    """How many people a wave may have now; `why` says what bounds it, or why it is zero.

    Attributes:
        least: below this many people a wave is not worth its campaign, unless the list or the day ends.
        hour_left, day_left: what remains of the caps, messages.
    """

    size: int
    least: int
    hour_left: int
    day_left: int
    why: str


@dataclass(frozen=True)
class Picked:
    """People for a wave, in order, and whether the list ended before the wave was full."""

    people: tuple[Person, ...]
    list_ended: bool
    passed_over: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class WavePlan:
    """A planned wave. Nothing is sent by making one; `people` is empty where `why` says why."""

    stream: str
    campaign: str
    at: datetime
    local_date: date
    people: tuple[Person, ...]
    cap_per_hour: int
    cap_per_day: int
    why: str
    allowance: Allowance
    units: Units
    passed_over: Counter[str] = field(default_factory=Counter)

    @property
    def members_hash(self) -> str:
        """Hash of the members: what a permit is bound to."""
        return members_hash(person.address for person in self.people)

    @property
    def headline(self) -> str:
        """The first line of the metadata: begins `PLANNED, nothing sent`."""
        if not self.people:
            return f"PLANNED, nothing sent: no wave now: {self.why}"
        return f"PLANNED, nothing sent: a wave of {len(self.people)} people ({self.why})"


def allowance(
    stream: Stream, zone: ZoneInfo, now: datetime, caps: Caps, units: Units, moment: Moment
) -> Allowance:
    """How many people may be released at `now`."""
    own_hour = int(caps.cap_per_hour * stream.share)
    own_day = int(caps.cap_per_day * stream.share)
    tenth, least = max(1, own_hour // WAVES_PER_HOUR), max(1, own_hour // (2 * WAVES_PER_HOUR))
    hour_left = min(
        caps.cap_per_hour - units.hour - units.in_flight, own_hour - units.own_hour - units.own_in_flight
    )
    day_left = min(caps.cap_per_day - units.day, own_day - units.own_day - units.carried)
    why_not = _not_now(stream, zone, now, caps, units, moment)
    if why_not is None and day_left <= 0:
        used = units.day if own_day == caps.cap_per_day else units.own_day + units.carried
        why_not = f"day cap reached: {used} of {own_day} today"
    if why_not is None and hour_left < min(least, day_left):
        used = own_hour - hour_left
        why_not = f"cap reached: {used} of {own_hour} in the last hour"
    if why_not is not None:
        return Allowance(0, least, max(0, hour_left), max(0, day_left), why_not)
    size = min(tenth, hour_left, day_left)
    left = f"{hour_left} left this hour, {day_left} today"
    return Allowance(size, min(least, day_left), hour_left, day_left, left)


def _not_now(
    stream: Stream, zone: ZoneInfo, now: datetime, caps: Caps, units: Units, moment: Moment
) -> str | None:
    if stream.share == 0:
        return "our own waves have no share of this stream (share = 0)"
    closed = closed_because(stream.window, zone, now)
    if closed:
        return closed
    if moment.dispatching:
        return f"{moment.dispatching} is being dispatched"
    if moment.last_release and now < moment.last_release + BETWEEN_WAVES:
        due = (moment.last_release + BETWEEN_WAVES).astimezone(zone)
        return f"the last wave is not six minutes old, next at {due:%H:%M:%S}"
    backlog = units.in_flight
    if backlog > caps.cap_per_hour:
        return f"backlog: {backlog} messages queued, more than one hour of the cap ({caps.cap_per_hour}); draining"
    return None


def plan_wave(  # noqa: PLR0917
    stream_name: str,
    campaign: str,
    stream: Stream,
    zone: ZoneInfo,
    now: datetime,
    caps: Caps,
    units: Units,
    moment: Moment,
    candidates: Iterable[Person],
    limits: DomainLimits,
) -> WavePlan:
    """Plan one wave.

    Args:
        candidates: people who may be mailed and are not in this campaign yet, in rank order; read lazily.
        limits: what the domains already had today.
    """
    allowed = allowance(stream, zone, now, caps, units, moment)
    picked = Picked((), list_ended=False)
    why = allowed.why
    if allowed.size:
        picked = pick(candidates, allowed.size, stream.wave_limit_per_domain, limits)
        if not picked.people:
            why = "nobody left to mail" + ("" if not picked.passed_over else _passed(picked.passed_over))
        elif len(picked.people) < allowed.least and not picked.list_ended:
            picked = Picked((), list_ended=False)
            why = f"fewer than {allowed.least} people at once"
    return WavePlan(
        stream_name,
        campaign,
        now,
        now.astimezone(zone).date(),
        picked.people,
        caps.cap_per_hour,
        caps.cap_per_day,
        why,
        allowed,
        units,
        picked.passed_over,
    )


def _passed(passed_over: Counter[str]) -> str:
    return " (" + ", ".join(f"{count} {reason}" for reason, count in passed_over.most_common(3)) + ")"


@dataclass(frozen=True)
class DomainLimits:
    """What one domain may have in a day: 8 % of its people, at least 5, at most 100 (facts: operations section 6).

    `unlimited`: consumer domains are whole countries of strangers, not one practice; caps and operators bound them.
    """

    had_today: Counter[str] = field(default_factory=Counter)
    size_of: Counter[str] = field(default_factory=Counter)
    unlimited: bool = False

    def left_today(self, domain: str) -> int:
        """How many people of the domain may still be mailed today."""
        if self.unlimited:
            return sys.maxsize
        share = int(self.size_of.get(domain, 0) * 0.08)
        return min(100, max(5, share)) - self.had_today.get(domain, 0)


LOOKED_AT_MOST = 20
"""How many candidates per place are looked at, so that one crowded operator does not read the whole list."""


def pick(candidates: Iterable[Person], size: int, per_domain: int, limits: DomainLimits) -> Picked:
    """Choose people in rank order: few per domain, and at most half per operator while others remain."""
    people: list[Person] = []
    waiting: list[Person] = []
    per_wave: Counter[str] = Counter()
    operators: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    half = max(1, (size + 1) // 2)
    list_ended = True
    for looked, person in enumerate(candidates, start=1):
        if per_wave[person.domain] >= min(per_domain, limits.left_today(person.domain)):
            passed["over the limit of their domain"] += 1
        elif operators[person.operator] >= half:
            waiting.append(person)
            per_wave[person.domain] += 1  # its place at the domain is kept while it waits
        else:
            people.append(person)
            per_wave[person.domain] += 1
            operators[person.operator] += 1
        if len(people) == size or (looked >= size * LOOKED_AT_MOST and len(people) + len(waiting) >= size):
            list_ended = False
            break
    people += waiting[: size - len(people)]
    return Picked(tuple(people[:size]), list_ended, passed)
