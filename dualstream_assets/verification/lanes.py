"""Who may be asked now: bounded sessions per operator, per MX address, per domain and for the whole host.

Plain bookkeeping over a clock's moments; it neither sleeps nor connects. A session waits in line at the first bound
that holds it up, so a run of 25,000 sessions costs no searching.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from dataclasses import dataclass
from datetime import datetime, timedelta

from dualstream_assets.receivers.operators import Lane, lane_of
from dualstream_assets.verification.dialogue import DomainTask, Host

WHOLE_HOST = "*"
STARTS_PER_S = 20.0
"""New sessions a second for the whole host (facts: verification section 4.1)."""


@dataclass(frozen=True)
class Work:
    """One session to be: a domain is in one work at a time, so two sessions never ask one domain at once."""

    operator: str
    hosts: tuple[Host, ...]
    tasks: tuple[DomainTask, ...]

    @property
    def lane(self) -> Lane:
        """The operator's limits."""
        return lane_of(self.operator)

    @property
    def bounds(self) -> tuple[str, ...]:
        """What this session takes a place of: its operator, or each of its MX addresses, and the whole host."""
        own = (
            tuple(dict.fromkeys(host.address for host in self.hosts))
            if self.lane.per_address
            else (self.operator,)
        )
        return (*own, WHOLE_HOST)


class Lanes:
    """The queue of one run.

    Args:
        connections: sessions open at once for the whole host.
        starts_per_s: sessions started in a second for the whole host.
    """

    def __init__(self, connections: int, starts_per_s: float = STARTS_PER_S) -> None:
        self._whole = Lane(connections, starts_per_s, 0, None)
        self._ready: deque[tuple[Work, str | None]] = deque()
        self._waiting: defaultdict[str, deque[Work]] = defaultdict(deque)
        self._timers: list[tuple[datetime, str]] = []
        self._timed: dict[str, datetime] = {}
        self._running: defaultdict[str, int] = defaultdict(int)
        self._next_start: dict[str, datetime] = {}
        self._stopped: set[str] = set()
        self.dropped: list[Work] = []

    def add(self, work: Work) -> None:
        """Put a session into the queue."""
        self._ready.append((work, None))

    def stop(self, operator: str) -> None:
        """No more sessions to this operator in this run; those in the queue end up in `dropped`."""
        self._stopped.add(operator)

    def take(self, now: datetime) -> Work | None:
        """A session that may start at this moment, counted as running from now on; None if there is none."""
        while self._timers and self._timers[0][0] <= now:
            bound = heapq.heappop(self._timers)[1]
            del self._timed[bound]
            self._wake(bound)
        while self._ready:
            work, woken_by = self._ready.popleft()
            if work.operator in self._stopped:
                self.dropped.append(work)
                self._wake(woken_by)
                continue
            held_by = self._held_by(work, now)
            if held_by is None:
                self._start(work, now)
                return work
            self._waiting[held_by].append(work)
            if woken_by != held_by:
                self._wake(woken_by)
        return None

    def done(self, work: Work) -> None:
        """The session is over."""
        for bound in work.bounds:
            self._running[bound] -= 1
            self._wake(bound)

    def next_start(self) -> datetime | None:
        """When a session may start that waits for time alone; None if all wait for others to end, or none is left."""
        return self._timers[0][0] if self._timers else None

    def _limits(self, bound: str, work: Work) -> Lane:
        return self._whole if bound == WHOLE_HOST else work.lane

    def _held_by(self, work: Work, now: datetime) -> str | None:
        for bound in work.bounds:
            if self._running[bound] >= self._limits(bound, work).connections:
                return bound
            at = self._next_start.get(bound, now)
            if at > now:
                self._time(bound, at)
                return bound
        return None

    def _start(self, work: Work, now: datetime) -> None:
        for bound in work.bounds:
            limits = self._limits(bound, work)
            self._running[bound] += 1
            self._next_start[bound] = now + timedelta(seconds=1 / limits.sessions_per_s)
            if self._waiting[bound] and self._running[bound] < limits.connections:
                self._time(bound, self._next_start[bound])

    def _time(self, bound: str, at: datetime) -> None:
        """One timer per bound: thousands wait for the same moment."""
        if bound not in self._timed:
            self._timed[bound] = at
            heapq.heappush(self._timers, (at, bound))

    def _wake(self, bound: str | None) -> None:
        if bound is not None and self._waiting[bound]:
            self._ready.append((self._waiting[bound].popleft(), bound))
