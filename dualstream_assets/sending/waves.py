"""Release one wave, in steps of which each may be the last one this process does.

reserve (ledger) -> prepare (list and draft campaign) -> mint (permit) -> release (the permit is consumed in the
transaction that commits the wave) -> start (campaign running). What was cut off is brought to a safe state by
`recovery.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dualstream_assets.estate import Estate
from dualstream_assets.listmonk.campaigns import Prepared
from dualstream_assets.sending import ledger
from dualstream_assets.sending.brake import suspended_operators
from dualstream_assets.sending.campaigner import Campaigner
from dualstream_assets.sending.content import lawful, render
from dualstream_assets.sending.gate import GateShut, Relook, assess, mint, require_open
from dualstream_assets.sending.ledger import Wave
from dualstream_assets.sending.plan import DomainLimits, WavePlan, allowance, plan_wave
from dualstream_assets.sending.ramp_days import caps_in_force
from dualstream_assets.sending.rampcap import stamp_of
from dualstream_assets.sending.stock import (
    MxOperators,
    Stock,
    candidates,
    domain_limits,
    operators_today,
    read_stock,
)
from dualstream_assets.sending.units import count_units

if TYPE_CHECKING:
    from dualstream_assets.clock import Clock
    from dualstream_assets.store.database import Database


class WaveFailed(RuntimeError):
    """A step of a release failed; the message says which and what happens next. Nobody is lost by it."""


@dataclass(frozen=True)
class Sender:
    """Everything a stream's waves are made with; built by `parts.sender_of`, or by a test.

    Attributes:
        audience: folder of the audience files.
        stamps: folder that a relative warmup stamp is resolved against.
        relook: live look at forward-confirmed DNS just before a release.
        resolve: live look at who runs the members' MX hosts.
        at: called with the name of every step that is done (tests end the process there).
    """

    stream: str
    database: Database
    clock: Clock
    estate: Estate
    environment: str
    campaigner: Campaigner
    audience: Path
    stamps: Path
    relook: Relook | None = None
    resolve: MxOperators | None = None
    at: Callable[[str], None] = lambda _step: None

    @property
    def campaign(self) -> str:
        """The campaign that one person is mailed in at most once."""
        return f"{self.stream}:{self.estate.campaign.key}"


def plan_next(sender: Sender) -> WavePlan:
    """Plan the next wave from the ledger, the mail log and the stream's file. Sends and writes nothing.

    Raises:
        StockMissing: the file of the stream's people is not built yet.
    """
    estate, stream = sender.estate, sender.stream
    declared = estate.streams[stream]
    now = sender.clock.now()
    stamp = stamp_of(estate, stream, sender.stamps, now)
    with sender.database.transaction() as connection:
        caps = caps_in_force(connection, estate, stream, stamp, now)
        units = count_units(connection, stream, estate.zone, now)
        moment = ledger.moment_of(connection, stream)
        due = allowance(declared, estate.zone, now, caps, units, moment).size > 0
        stock = read_stock(sender.audience, declared.segment) if due else Stock.empty()
        people = candidates(
            connection,
            stock,
            sender.campaign,
            leave_out_operators=_never(declared.segment),
            suspended=suspended_operators(connection, stream, declared.brakes, now) if due else frozenset(),
            operators=operators_today(connection, sender.resolve, now),
        )
        return plan_wave(
            stream,
            sender.campaign,
            declared,
            estate.zone,
            now,
            caps,
            units,
            moment,
            people,
            domain_limits(connection, stock, stream, estate.zone, now)
            if declared.segment == "institutional"
            else DomainLimits(unlimited=True),
        )


def _never(segment: str) -> frozenset[str]:
    """Operators that a stream may not mail: consumer mailboxes never ride the hot stream."""
    if segment != "institutional":
        return frozenset()
    from dualstream_assets.receivers.operators import CONSUMER_OPERATORS

    return frozenset(CONSUMER_OPERATORS)


@dataclass(frozen=True)
class Released:
    """A wave that was released."""

    wave_id: int
    people: int

    @property
    def headline(self) -> str:
        """The first line of the metadata."""
        return f"RELEASED wave {self.wave_id}: {self.people} people"


def release_wave(sender: Sender, plan: WavePlan) -> Released:
    """Release a planned wave.

    Raises:
        GateShut: no permit; nothing was sent and the wave, if reserved, is abandoned.
        WaveFailed: a step failed; what was reserved is abandoned, or recovered by the next tick.
        LedgerRefused: another wave is under way.
    """
    with sender.database.transaction() as connection:
        report = assess(
            connection, sender.estate, sender.stream, sender.clock.now(), "wave", sender.environment
        )
        require_open(report, sender.relook)
        wave = ledger.reserve(connection, plan)
    sender.at("reserved")
    prepared = _prepare(sender, wave)
    sender.at("prepared")
    permit_id = _permit(sender, wave)
    sender.at("minted")
    _start(sender, wave, permit_id, prepared)
    sender.at("started")
    return Released(wave.id, wave.size)


def _prepare(sender: Sender, wave: Wave) -> Prepared:
    with sender.database.transaction() as connection:
        addresses = ledger.addresses_of(connection, wave.id)
    content = render(sender.estate, sender.stream)
    findings = lawful(content, sender.estate)  # the check judged the content of its time; this one is sent
    if findings:
        give_up(sender, wave, "the content is not lawful")
        raise WaveFailed(f"{sender.stream}: the content is not lawful: {'; '.join(map(str, findings))}")
    try:
        prepared = sender.campaigner.prepare(wave, addresses, content)
    except Exception as error:  # noqa: BLE001  # whatever it was: nothing was released, nobody stays taken
        give_up(sender, wave, f"not prepared: {type(error).__name__}")
        raise WaveFailed(
            f"{sender.stream}: wave {wave.id} was not prepared and is abandoned: {said_safely(error)}"
        ) from None
    with sender.database.transaction() as connection:
        ledger.note_prepared(connection, wave.id, prepared)
    return prepared


def _permit(sender: Sender, wave: Wave) -> int:
    try:
        with sender.database.transaction() as connection:
            return mint(
                connection,
                sender.estate,
                sender.stream,
                sender.clock.now(),
                kind="wave",
                wave_id=wave.id,
                members_hash=wave.members_hash,
                environment=sender.environment,
                relook=sender.relook,
            )
    except GateShut:
        give_up(sender, wave, "the gate shut before the permit")
        raise


def _start(sender: Sender, wave: Wave, permit_id: int, prepared: Prepared) -> None:
    try:
        sender.campaigner.start(wave, permit_id, prepared)
    except Exception as error:  # noqa: BLE001  # the ledger, not the error, says how far it came
        with sender.database.transaction() as connection:
            released = ledger.wave_of(connection, wave.id).state == "released"
        if not released:
            give_up(sender, wave, f"the permit was not taken: {type(error).__name__}")
        after = "it is released; the next tick starts it" if released else "it is abandoned"
        raise WaveFailed(
            f"{sender.stream}: wave {wave.id} was not started ({said_safely(error)}); {after}"
        ) from None


def said_safely(error: Exception) -> str:
    """Our own errors speak; of others only the kind is told: their text may hold an address."""
    return str(error) if type(error).__module__.startswith("dualstream_assets") else type(error).__name__


def give_up(sender: Sender, wave: Wave, note: str) -> None:
    """Abandon a wave of which nothing was handed to Postfix; its people may be asked again."""
    with sender.database.transaction() as connection:
        ledger.abandon(connection, wave.id, note, sender.clock.now())
