"""Set the cap of one stream in its listmonk, and of no other: the second belt behind the waves.

The belt is N + 1 messages per six minutes, N a tenth of the hourly cap (exactly N would collide with our own waves:
facts/operations section 1). It is written at 07:20 by decision of the ramp, only while no wave is in flight, because
each write restarts that listmonk; it is read back. A stream whose cap another program writes is shown, never written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dualstream_assets.estate import Estate
from dualstream_assets.listmonk.applying import Window
from dualstream_assets.listmonk.declared import WINDOW_MINUTES, belt_rate
from dualstream_assets.listmonk.errors import ListmonkError
from dualstream_assets.sending.ledger import under_way
from dualstream_assets.sending.ramp import Caps, RampDecision
from dualstream_assets.sending.ramp_days import caps_in_force, decide_today
from dualstream_assets.sending.stamp import Stamp, StampFault, read_stamp

if TYPE_CHECKING:
    from psycopg import Connection

    from dualstream_assets.clock import Clock
    from dualstream_assets.store.database import Database

OURS = "dualstream"
WITNESS = "seen while setting "
"""Writer of a `cap_history` row that records another stream's cap before and after ours was set."""


class CapPort(Protocol):
    """One listmonk's window. Reads and writes nothing else."""

    def read(self) -> Window | None:
        """The window as it is now; None where it is switched off."""
        ...

    def write(self, belt: Window) -> None:
        """Set the window and wait until that listmonk is back."""
        ...


@dataclass(frozen=True)
class CapSet:
    """What one run of `set_rampcap` decided and did.

    Attributes:
        decision: of the ramp for this local date; None where the run decided nothing (drift).
        before, after: the belt as read before and after; None where it could not be read.
        why_not: why nothing was written; None if something was.
        others: other stream -> (belt before, belt after): equal, or we touched what is not ours.
    """

    stream: str
    decision: RampDecision | None
    caps: Caps
    wanted: Window
    before: Window | None
    after: Window | None
    written: bool
    why_not: str | None
    others: Mapping[str, tuple[Window | None, Window | None]] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """What happened, in one line."""
        caps = f"{self.stream}: {self.caps.cap_per_hour}/h and {self.caps.cap_per_day}/day ({self.caps.why})"
        if self.written:
            return f"{caps}; belt set to {belt_text(self.after)}, was {belt_text(self.before)}"
        return f"{caps}; belt {belt_text(self.before)} not written: {self.why_not}"

    @property
    def others_untouched(self) -> bool:
        """Whether every other stream's belt is as it was."""
        return all(before == after for before, after in self.others.values())


def belt_of(cap_per_hour: int) -> Window:
    """The belt for an hourly cap: N + 1 per six minutes."""
    return Window(belt_rate(cap_per_hour), WINDOW_MINUTES)


def belt_text(belt: Window | None) -> str:
    """A belt for people: `7 per 6 min`, or `off`."""
    return f"{belt.rate} per {belt.minutes} min" if belt else "off"


def stamp_of(estate: Estate, stream: str, stamps: Path, now: datetime) -> Stamp | StampFault | None:
    """The stream's stamp; None where its ramp needs none."""
    name = estate.streams[stream].ramp.stamp
    return read_stamp(stamps / name, now) if name else None


def set_rampcap(
    database: Database,
    clock: Clock,
    estate: Estate,
    stream: str,
    ports: Mapping[str, CapPort],
    *,
    stamps: Path,
    environment: str,
    act: bool,
) -> CapSet:
    """Decide the cap of this local date (once) and, if `act`, write it to the stream's own listmonk.

    Args:
        ports: stream -> its listmonk's window; the other streams' are only read.
        stamps: folder that a relative warmup stamp is resolved against.
        act: write; otherwise only decide and show.
    """
    now = clock.now()
    stamp = stamp_of(estate, stream, stamps, now)
    with database.advisory_lock(f"rampcap of {stream}"):
        with database.transaction() as connection:
            decision = decide_today(connection, estate, stream, stamp, now, environment)
            caps = caps_in_force(connection, estate, stream, stamp, now)
        reason = f"{decision.local_date}: {decision.reason}"
        return _apply(database, clock, estate, stream, ports, decision, caps, reason, act=act)


def _apply(
    database: Database,
    clock: Clock,
    estate: Estate,
    stream: str,
    ports: Mapping[str, CapPort],
    decision: RampDecision | None,
    caps: Caps,
    reason: str,
    *,
    act: bool,
) -> CapSet:
    wanted = belt_of(caps.cap_per_hour)
    port = ports.get(stream)
    before = port.read() if port else None
    with database.transaction() as connection:
        why_not = _why_not(connection, estate, stream, port, before, wanted, act=act)
    if port is None or why_not is not None:
        return CapSet(stream, decision, caps, wanted, before, before, written=False, why_not=why_not)
    seen = {other: p.read() for other, p in ports.items() if other != stream}
    try:
        port.write(wanted)
    except ListmonkError as error:
        return CapSet(
            stream, decision, caps, wanted, before, port.read(), written=False, why_not=str(error), others={}
        )
    after = port.read()
    others = {other: (was, ports[other].read()) for other, was in seen.items()}
    with database.transaction() as connection:
        _keep(connection, stream, caps, reason, before, after, others, clock.now())
    return CapSet(stream, decision, caps, wanted, before, after, written=True, why_not=None, others=others)


def _why_not(
    connection: Connection[Any],
    estate: Estate,
    stream: str,
    port: CapPort | None,
    before: Window | None,
    wanted: Window,
    *,
    act: bool,
) -> str | None:
    declared = estate.streams[stream]
    if declared.ramp.cap_writer != OURS:
        return f"the cap is written by {declared.ramp.cap_writer}: shown, never written"
    if not declared.listmonk.managed:
        return "this listmonk is not managed by us: shown, never written"
    if port is None:
        return f"listmonk of {stream} cannot be reached: no address or token"
    if before == wanted:
        return "already in force"
    busy = under_way(connection, stream)
    if busy:
        return f"wave {busy[0].id} is in flight: a write would restart listmonk under it"
    return None if act else "only shown: this run may not act"


def _keep(
    connection: Connection[Any],
    stream: str,
    caps: Caps,
    reason: str,
    before: Window | None,
    after: Window | None,
    others: Mapping[str, tuple[Window | None, Window | None]],
    now: datetime,
) -> None:
    """One row for the cap we set (`previous`, `read_back`: belt rates), one per other stream that we looked at."""
    insert = (
        "insert into cap_history (stream, cap_per_hour, previous, writer, reason, set_at, read_back)"
        " values (%s, %s, %s, %s, %s, %s, %s)"
    )
    connection.execute(
        insert, (stream, caps.cap_per_hour, belt_rate_of(before), OURS, reason, now, belt_rate_of(after))
    )
    for other, (was, stays) in others.items():
        per_hour = stays.rate * 60 // stays.minutes if stays else 0
        seen = f"{belt_text(was)} before, {belt_text(stays)} after"
        connection.execute(
            insert, (other, per_hour, belt_rate_of(was), f"{WITNESS}{stream}", seen, now, belt_rate_of(stays))
        )


def belt_rate_of(belt: Window | None) -> int | None:
    """Messages per window; None for a belt that is off."""
    return belt.rate if belt else None


def lower_on_drift(
    database: Database,
    clock: Clock,
    estate: Estate,
    stream: str,
    ports: Mapping[str, CapPort],
    *,
    stamps: Path,
    act: bool,
) -> CapSet:
    """Notice a belt that is wider than allowed, or a stamp that changed, and lower it. Never raises a cap.

    Decides nothing about the ramp: that is for 07:20. A belt narrower than allowed is left until then.
    """
    now = clock.now()
    stamp = stamp_of(estate, stream, stamps, now)
    with database.advisory_lock(f"rampcap of {stream}"):
        with database.transaction() as connection:
            caps = caps_in_force(connection, estate, stream, stamp, now)
        port = ports.get(stream)
        before = port.read() if port else None
        wanted = belt_of(caps.cap_per_hour)
        if before is not None and not wider(before, wanted):
            why_not = "not wider than allowed"
            return CapSet(stream, None, caps, wanted, before, before, written=False, why_not=why_not)
        return _apply(database, clock, estate, stream, ports, None, caps, f"drift: {caps.why}", act=act)


def wider(belt: Window, allowed: Window) -> bool:
    """Whether a belt lets more through than allowed: a higher rate per minute, or a longer burst."""
    return belt.rate * allowed.minutes > allowed.rate * belt.minutes or belt.rate > allowed.rate
