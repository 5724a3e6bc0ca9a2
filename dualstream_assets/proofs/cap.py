"""Proof two: no cap, hourly or daily, was ever exceeded, as the receivers saw it and as the log says."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from dualstream_assets.estate import Estate
from dualstream_assets.proofs.witness import Arrival, Proof, Proved, by_stream

if TYPE_CHECKING:
    from psycopg import Connection

UNSEEN = "Mail that was accepted and never logged by this host; in production the egress guard's counters bound it."


@dataclass(frozen=True)
class Allowed:
    """Caps in force from a moment on."""

    since: datetime
    cap_per_hour: int
    cap_per_day: int


def allowed_caps(connection: Connection[Any], estate: Estate, stream: str) -> list[Allowed]:
    """The caps of a stream over time, oldest first: the lowest stage until the ramp decided otherwise."""
    first = estate.streams[stream].ramp.stages[0]
    rows = connection.execute(
        "select decided_at, cap_per_hour, cap_per_day from ramp_day where stream = %s order by decided_at",
        (stream,),
    ).fetchall()
    start = Allowed(datetime(1970, 1, 1, tzinfo=UTC), first.cap_per_hour, first.cap_per_day)
    return [start, *(Allowed(*row) for row in rows)]


def in_force(caps: Sequence[Allowed], at: datetime) -> Allowed:
    """The caps that held at a moment."""
    return [cap for cap in caps if cap.since <= at][-1]


def highest_in_force(caps: Sequence[Allowed], since: datetime, at: datetime) -> int:
    """The highest hourly cap that held anywhere in [since, at]: a rolling hour may straddle a change."""
    inside = [cap.cap_per_hour for cap in caps if since <= cap.since <= at]
    return max([in_force(caps, since).cap_per_hour, *inside])


@dataclass(frozen=True)
class Load:
    """What a stream really did against its caps."""

    max_rolling_hour: int
    over_hour: int
    max_day: int
    over_day: int


def load_of(arrivals: Sequence[Arrival], caps: Sequence[Allowed], estate: Estate) -> Load:
    """Measure arrivals (oldest first) against the caps that held.

    `over_hour` is the largest excess of any rolling 60 minutes, `over_day` of any local date, in messages.
    """
    window: deque[datetime] = deque()
    max_hour = over_hour = 0
    for arrival in arrivals:
        window.append(arrival.at)
        while window[0] <= arrival.at - timedelta(hours=1):
            window.popleft()
        max_hour = max(max_hour, len(window))
        over_hour = max(over_hour, len(window) - highest_in_force(caps, window[0], arrival.at))
    days = Counter(arrival.at.astimezone(estate.zone).date() for arrival in arrivals)
    over_day = max_day = 0
    for day, count in days.items():
        evening = datetime(day.year, day.month, day.day, 23, 59, tzinfo=estate.zone)
        max_day = max(max_day, count)
        over_day = max(over_day, count - in_force(caps, evening).cap_per_day)
    return Load(max_hour, over_hour, max_day, over_day)


def prove_cap(
    connection: Connection[Any],
    sinks: Sequence[Arrival] | None,
    log: Sequence[Arrival],
    estate: Estate,
    campaigns: dict[str, str],
) -> Proof:
    """Both witnesses, every stream, both caps."""
    figures: dict[str, int | float | str] = {}
    over = 0
    total = 0
    loads: dict[tuple[str, str], Load] = {}
    for witness, arrivals in (("sinks", sinks), ("log", log)):
        if arrivals is None:
            continue
        for stream, of_stream in by_stream(arrivals, estate, campaigns).items():
            load = load_of(of_stream, allowed_caps(connection, estate, stream), estate)
            loads[witness, stream] = load
            total += len(of_stream)
            over = max(over, load.over_hour, load.over_day)
            figures[f"{stream}_{witness}_max_hour"] = load.max_rolling_hour
            figures[f"{stream}_{witness}_max_day"] = load.max_day
    figures["over_cap"] = over
    if over:
        return Proof("cap", Proved.FAIL, f"a cap was exceeded by {over} messages", figures, UNSEEN)
    if sinks is None:
        return Proof(
            "cap", Proved.UNKNOWN, "no cap exceeded in the log; a second witness is missing", figures, UNSEEN
        )
    if not total:
        return Proof("cap", Proved.UNKNOWN, "nothing was delivered yet", figures, UNSEEN)
    differing = [
        stream for stream in estate.streams if loads["sinks", stream].max_day != loads["log", stream].max_day
    ]
    if differing:
        return Proof(
            "cap",
            Proved.UNKNOWN,
            f"the witnesses count differently for {', '.join(differing)}",
            figures,
            UNSEEN,
        )
    said = ", ".join(
        f"{stream} at most {loads['sinks', stream].max_rolling_hour} an hour, {loads['sinks', stream].max_day} a day"
        for stream in estate.streams
    )
    return Proof("cap", Proved.PASS, f"no cap exceeded: {said}", figures, UNSEEN)
