"""One tick of a stream, a minute apart: settle, recover, look at the brakes, opt-outs, plan, gate, release.

Plain Python; the demo and the job `release_wave` call it. Reading the mail log comes before it and is the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from dualstream_assets.sending import ledger
from dualstream_assets.sending.brake import watch
from dualstream_assets.sending.gate import GateShut, assess
from dualstream_assets.sending.ledger import LedgerRefused
from dualstream_assets.sending.optouts import OptOutPort, sync
from dualstream_assets.sending.plan import WavePlan, allowance
from dualstream_assets.sending.ramp_days import caps_in_force
from dualstream_assets.sending.rampcap import stamp_of
from dualstream_assets.sending.recovery import archive_settled, can_send, recover
from dualstream_assets.sending.settle import Settled, settle
from dualstream_assets.sending.stock import StockMissing
from dualstream_assets.sending.units import count_units
from dualstream_assets.sending.waves import Sender, WaveFailed, plan_next, release_wave

LOCK = "sending"
"""One tick at a time over all streams: each synchronises opt-outs for both, and so writes evidence of both."""

Outcome = Literal["released", "nothing", "refused", "failed"]


@dataclass(frozen=True)
class TickResult:
    """What one tick did.

    Attributes:
        outcome: released a wave; nothing was due; the gate refused; a step failed.
        headline: `RELEASED wave 12: 96 people`, or `PLANNED, nothing sent: …`; safe to show, no addresses.
        people: released people, 0 without a release.
        recovered: what was cut off earlier and brought to a safe state.
        brake: a brake that came on in this tick.
    """

    stream: str
    at: datetime
    outcome: Outcome
    headline: str
    settled: Settled
    wave_id: int | None = None
    people: int = 0
    plan: WavePlan | None = None
    recovered: tuple[str, ...] = ()
    brake: str | None = None


def run_tick(sender: Sender, optouts: Mapping[str, OptOutPort], *, act: bool = True) -> TickResult:
    """One tick of the sender's stream. With `act` false it plans and shows, and touches nothing outside."""
    with sender.database.advisory_lock(LOCK):
        now = sender.clock.now()
        recovered, settled = (recover(sender), _settled(sender, now)) if act else ((), Settled((), (), 0, 0))
        with sender.database.transaction() as connection:
            brake = watch(connection, sender.estate, sender.stream, now)
        outcome, headline, plan, wave_id, people = _act(sender, optouts, act=act)
        return TickResult(
            sender.stream,
            now,
            outcome,
            headline,
            settled,
            wave_id,
            people,
            plan,
            recovered,
            f"{brake.kind} brake: {brake.reason}" if brake else None,
        )


def _settled(sender: Sender, now: datetime) -> Settled:
    with sender.database.transaction() as connection:
        settled = settle(connection, sender.stream, now, lambda wave: can_send(sender, wave))
    archive_settled(sender, settled.settled)
    return settled


def _act(
    sender: Sender, optouts: Mapping[str, OptOutPort], *, act: bool
) -> tuple[Outcome, str, WavePlan | None, int | None, int]:
    why_not = _nothing_due(sender)
    if why_not:
        return "nothing", f"PLANNED, nothing sent: no wave now: {why_not}", None, None, 0
    if act:
        sync(sender.database, sender.clock, sender.estate, optouts)
    try:
        plan = plan_next(sender)
    except StockMissing as error:
        return "failed", f"PLANNED, nothing sent: {error}", None, None, 0
    if not act or not plan.people:
        return "nothing", plan.headline, plan, None, 0
    try:
        released = release_wave(sender, plan)
    except GateShut as error:
        return "refused", f"PLANNED, nothing sent: {error}", plan, None, 0
    except (WaveFailed, LedgerRefused) as error:
        return "failed", f"PLANNED, nothing sent: {error}", plan, None, 0
    return "released", released.headline, plan, released.wave_id, released.people


def _nothing_due(sender: Sender) -> str | None:
    """Why no wave is due, found without reading the stream's file or asking listmonk; None if one may be."""
    estate, stream = sender.estate, sender.stream
    now = sender.clock.now()
    with sender.database.transaction() as connection:
        allowed = allowance(
            estate.streams[stream],
            estate.zone,
            now,
            caps_in_force(connection, estate, stream, stamp_of(estate, stream, sender.stamps, now), now),
            count_units(connection, stream, estate.zone, now),
            ledger.moment_of(connection, stream),
        )
    return None if allowed.size else allowed.why


def is_due(sender: Sender) -> tuple[bool, str]:
    """Whether a tick would release a wave now, as far as ledger and gate say; and why not.

    The age of the opt-outs does not count here: the tick synchronises them itself before it asks the gate.
    """
    why_not = _nothing_due(sender)
    if why_not:
        return False, why_not
    with sender.database.transaction() as connection:
        report = assess(
            connection, sender.estate, sender.stream, sender.clock.now(), "wave", sender.environment
        )
    shut = [row for row in report.shut_by if row.fact != "suppression_synced"]
    return not shut, report.refusal if shut else ""
