"""One virtual day of the demo: the cap at 07:20, then a tick every six minutes until the daily cap ends the day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING

from dualstream_assets.lab.foreign_batch import start_batch
from dualstream_assets.lab.recipients import Recipients

if TYPE_CHECKING:
    from dualstream_assets.clock import LabClock
    from dualstream_assets.sending.tick import TickResult
    from dualstream_assets.workplace import Workplace

TICK = timedelta(minutes=6)
QUIET_TICKS = 3
"""So many ticks without anything to do end the day."""


@dataclass
class DayLog:
    """What happened on one virtual day; counts are people."""

    released: dict[str, int] = field(default_factory=dict)
    waves: dict[str, int] = field(default_factory=dict)
    opted_out: int = 0
    foreign: int = 0
    last_reason: dict[str, str] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)


class Day:
    """Drives the streams of one workplace through a virtual day."""

    def __init__(
        self, workplace: Workplace, clock: LabClock, recipients: Recipients, say: Callable[[str], None]
    ) -> None:
        self.workplace = workplace
        self.clock = clock
        self.recipients = recipients
        self.say = say
        self.log = DayLog()

    def at(self, hour: int, minute: int = 0) -> datetime:
        """A local time on the lab's present date."""
        zone = self.workplace.estate.zone
        today = self.clock.now().astimezone(zone).date()
        return datetime.combine(today, time(hour, minute), zone)

    def move_to(self, hour: int, minute: int = 0) -> None:
        """Let the lab's clock come to a local time."""
        self.clock.move_to(self.at(hour, minute))

    def set_caps(self) -> None:
        """What the schedule does at 07:20, for every stream."""
        from dualstream_assets.sending.parts import set_cap

        self.move_to(7, 20)
        for stream in self.workplace.estate.streams:
            done = set_cap(self.workplace, stream)
            self.say(f"07:20 {stream}: {done.caps.cap_per_hour}/h, {done.caps.cap_per_day}/day")

    def tick(self) -> list[TickResult]:
        """Six virtual minutes: mail moves, people react, the log is read, each stream may release a wave."""
        from dualstream_assets.sending.parts import tick

        results = []
        for stream in self.workplace.estate.streams:
            result = tick(self.workplace, stream)
            results.append(result)
            self.log.last_reason[stream] = result.headline
            if result.outcome == "released":
                self.log.released[stream] = self.log.released.get(stream, 0) + result.people
                self.log.waves[stream] = self.log.waves.get(stream, 0) + 1
            elif result.outcome in ("refused", "failed"):
                self.log.refusals.append(result.headline)
        settle_mail(self.workplace)
        self.log.opted_out += self.recipients.act()
        self.clock.sleep(TICK.total_seconds())
        return results

    def run(self, foreign: list[str], special: dict[int, Callable[[], None]] | None = None) -> DayLog:
        """Tick from 08:00 until nothing is due any more. `special` is called before the tick of that number."""
        self.move_to(8, 0)
        quiet = number = 0
        while quiet < QUIET_TICKS and self.clock.now() < self.at(18, 30):
            if special and number in special:
                special[number]()
            if number == 2 and foreign:  # noqa: PLR2004  # the old way starts its own batch in between
                stream = self._old_stream()
                at = self.workplace.endpoints.listmonk[stream]
                sender = f"Trucking <mail@{self.workplace.estate.organisation.domain}>"
                start_batch(at, f"Trucking batch {self.clock.now():%d}", sender, foreign)
                self.log.foreign += len(foreign)
            busy = any(result.outcome != "nothing" for result in self.tick())
            quiet = 0 if busy or number < 12 else quiet + 1  # noqa: PLR2004
            number += 1
        return self.log

    def _old_stream(self) -> str:
        return next(n for n, s in self.workplace.estate.streams.items() if s.segment == "consumer")


def settle_mail(workplace: Workplace, patience_s: float = 1.0) -> None:
    """Read the log until it has said something of every released member, or nothing new for `patience_s` real seconds.

    People may rightly wait longer: another sender's batch can fill listmonk's window, which only virtual time empties.
    """
    import time as real

    from dualstream_assets.maillog.outcomes import read_log
    from dualstream_assets.sending.parts import read_mail_log

    path = workplace.endpoints.maillog
    waiting, since = -1, real.monotonic()
    while path is not None:
        read_log(workplace.database, workplace.estate, path, workplace.clock)
        with workplace.database.transaction() as connection:
            row = connection.execute(
                "select count(*) from wave_member m join wave w on w.id = m.wave_id"
                " where w.state = 'released' and m.state in ('released', 'queued')"
            ).fetchone()
        left = row[0] if row else 0
        if left != waiting:
            waiting, since = left, real.monotonic()
        if not left or real.monotonic() - since > patience_s:
            break
        real.sleep(0.03)
    read_mail_log(workplace)  # and writes the evidence that the log is complete
