"""The gate: opens for a stream only while every required fact is green and fresh, and mints the permit row.

This is the only place that inserts into `permit` (a test searches the package). What is missing, stale, unknown or red
refuses, and so do an active hard, block or manual brake, a stop nobody acknowledged, an unarmed stream, a foreign
writer of the cap, a missing Reply-To, and a clock behind its own evidence. Refusals name evidence and next command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from dualstream_assets.estate import Estate
from dualstream_assets.sending.arming import arming_at
from dualstream_assets.sending.brake import SHUTTING
from dualstream_assets.sending.requirements import PermitKind, cure, required
from dualstream_assets.sending.window import midnight
from dualstream_assets.store.evidence import Evidence, Subject, Verdict, newest

if TYPE_CHECKING:
    from psycopg import Connection

VALID_FOR = timedelta(minutes=2)
"""A permit is used at once or not at all."""
PROBES_A_DAY = 20

Relook = Callable[[str], Sequence[tuple[str, str]]]
"""Looks again, live, at a stream's forward-confirmed DNS: (IP, fault) pairs; none means all is well."""


class Standing(StrEnum):
    """How a requirement stands; only `pass` opens."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    UNKNOWN = "unknown"
    STALE = "stale"
    MISSING = "missing"


@dataclass(frozen=True)
class GateRow:
    """One requirement and how it stands.

    Attributes:
        age: since the evidence was observed; None where there is none.
        cure: the next command.
        evidence_id: id of the evidence row, None for facts of the ledger itself.
    """

    subject: str
    fact: str
    verdict: Standing
    evidence: str
    cure: str
    age: timedelta | None = None
    evidence_id: int | None = None

    @property
    def said(self) -> str:
        """The row in one line, as a refusal says it."""
        plain = self.verdict in (Standing.STALE, Standing.MISSING)
        return f"{self.subject} {self.fact}: {self.evidence if plain else f'{self.verdict}: {self.evidence}'}"


@dataclass(frozen=True)
class GateReport:
    """The gate of one stream at one moment."""

    stream: str
    kind: PermitKind
    at: datetime
    rows: tuple[GateRow, ...]

    @property
    def shut_by(self) -> tuple[GateRow, ...]:
        """The rows that keep it shut, in the order of the requirements."""
        return tuple(row for row in self.rows if row.verdict is not Standing.PASS)

    @property
    def open(self) -> bool:
        """Whether a permit would be minted."""
        return bool(self.rows) and not self.shut_by

    @property
    def refusal(self) -> str:
        """The refusal for people; empty while the gate is open."""
        first = next(iter(self.shut_by), None)
        if first is None:
            return ""
        others = len(self.shut_by) - 1
        more = f" (and {others} more: dualstream gate {self.stream})" if others else ""
        return f"{self.stream}: gate shut: {first.said}{more}. Next: {first.cure}"


class GateShut(RuntimeError):
    """No permit; `report` has every row."""

    def __init__(self, report: GateReport) -> None:
        self.report = report
        super().__init__(report.refusal)


def assess(
    connection: Connection[Any],
    estate: Estate,
    stream: str,
    now: datetime,
    kind: PermitKind = "wave",
    environment: str | None = None,
) -> GateReport:
    """How the gate stands. Reads; mints nothing.

    Args:
        environment: `lab`, `dev` or `production`; not given, a lab estate is the lab and any other production.
    """
    world = environment or ("lab" if estate.lab is not None else "production")
    found = newest(connection, stream)
    rows = [
        *(
            _standing(subject, found.get(subject), estate, now)
            for subject in required(estate, stream, kind, world)
        ),
        *_ledger_rows(connection, estate, stream, now, kind, world),
    ]
    return GateReport(stream, kind, now, tuple(rows))


def _standing(subject: Subject, row: Evidence | None, estate: Estate, now: datetime) -> GateRow:
    """The newest evidence row of one fact, judged."""
    if row is None:
        return GateRow(subject.subject, subject.fact, Standing.MISSING, "never looked at", cure(subject))
    verdict, said = Standing(row.verdict.value), row.evidence
    if row.observed_at > now:
        verdict, said = (
            Standing.UNKNOWN,
            f"observed at {_local(row.observed_at, estate)}, later than now: clock set back",
        )
    elif row.verdict is Verdict.PASS and row.expires_at <= now:
        verdict, said = Standing.STALE, f"stale since {_local(row.expires_at, estate)}"
    return GateRow(subject.subject, subject.fact, verdict, said, cure(subject), now - row.observed_at, row.id)


def _local(at: datetime, estate: Estate) -> str:
    return f"{at.astimezone(estate.zone):%Y-%m-%d %H:%M}"


def _ledger_rows(
    connection: Connection[Any],
    estate: Estate,
    stream: str,
    now: datetime,
    kind: PermitKind,
    environment: str,
) -> Iterator[GateRow]:
    declared = estate.streams[stream]
    yield _stopped(connection, estate, stream)
    yield _armed(connection, estate, stream, now, environment)
    if kind == "probe":
        yield _probes_left(connection, estate, stream, now)
        return
    yield _braked(connection, estate, stream)
    writer = declared.ramp.cap_writer
    yield _row(
        "cap",
        "writer",
        "written by dualstream" if writer == "dualstream" else None,
        f"written by {writer}: one writer per cap",
        f'remove that writer, then set streams.{stream}.ramp.cap_writer = "dualstream" in the estate',
    )
    reply_to = declared.reply_to.address
    yield _row(
        "reply-to",
        "declared",
        "declared" if reply_to else None,
        "no monitored mailbox: 'remove me' by reply could not count",
        f"set streams.{stream}.reply_to.address in the estate (dualstream doctor --questions)",
    )


def _row(subject: str, fact: str, good: str | None, bad: str, what_to_do: str) -> GateRow:
    if good is not None:
        return GateRow(subject, fact, Standing.PASS, good, what_to_do)
    return GateRow(subject, fact, Standing.FAIL, bad, what_to_do)


def _stopped(connection: Connection[Any], estate: Estate, stream: str) -> GateRow:
    stop = connection.execute(
        "select id, reason, at from stream_stop where stream = %s and acknowledged_at is null order by id limit 1",
        (stream,),
    ).fetchone()
    bad = f"stopped since {_local(stop[2], estate)}: {stop[1]}" if stop else ""
    number = stop[0] if stop else "N"
    return _row(
        "stream", "not_stopped", None if stop else "no stop", bad, f"dualstream stop acknowledge {number}"
    )


def _braked(connection: Connection[Any], estate: Estate, stream: str) -> GateRow:
    brake = connection.execute(
        "select kind, reason, on_at from brake where stream = %s and off_at is null and kind = any(%s)"
        " order by id desc limit 1",
        (stream, list(SHUTTING)),
    ).fetchone()
    bad = f"{brake[0]} brake since {_local(brake[2], estate)}: {brake[1]}" if brake else ""
    return _row(
        "brake", "off", None if brake else "no brake", bad, f"dualstream brake off {stream} --reason '…'"
    )


def _armed(
    connection: Connection[Any], estate: Estate, stream: str, now: datetime, environment: str
) -> GateRow:
    command = f"dualstream arm {stream} --reason '…' --until …"
    if environment == "lab":
        return _row("stream", "armed", "the lab needs no arming", "", command)
    if environment != "production":
        return _row("stream", "armed", None, f"{environment} cannot be armed", "use the lab, or production")
    arming = arming_at(connection, stream, now)
    good = f"armed until {_local(arming.ends_at, estate)}: {arming.reason}" if arming else None
    return _row("stream", "armed", good, "not armed", command)


def _probes_left(connection: Connection[Any], estate: Estate, stream: str, now: datetime) -> GateRow:
    used = connection.execute(
        "select count(*) from permit where kind = 'probe' and stream = %s and minted_at >= %s",
        (stream, midnight(estate.zone, now.astimezone(estate.zone).date())),
    ).fetchone()
    count = int(used[0]) if used else 0
    good = f"{count} of {PROBES_A_DAY} used today" if count < PROBES_A_DAY else None
    return _row("probes", "left", good, f"{count} of {PROBES_A_DAY} used today", "wait until tomorrow")


def require_open(report: GateReport, relook: Relook | None = None) -> None:
    """Insist on an open gate and, given `relook`, on what is so at this moment.

    Raises:
        GateShut: a requirement is not green, or the live look found a fault.
    """
    if relook is not None and report.open:
        faults = [
            GateRow(
                ip,
                "fcrdns",
                Standing.FAIL,
                f"{fault} (looked at just now)",
                cure(Subject(report.stream, ip, "fcrdns")),
            )
            for ip, fault in relook(report.stream)
        ]
        report = replace(report, rows=(*report.rows, *faults))
    if not report.open:
        raise GateShut(report)


def mint(
    connection: Connection[Any],
    estate: Estate,
    stream: str,
    now: datetime,
    *,
    kind: PermitKind,
    wave_id: int | None,
    members_hash: str,
    environment: str,
    relook: Relook | None = None,
) -> int:
    """Assess, look again live, and insert one permit row on the caller's transaction; returns its id.

    The permit is bound to the stream, the wave and the hash of its members, and ends after two minutes.

    Raises:
        GateShut: a requirement is not green, or the live look found a fault.
    """
    report = assess(connection, estate, stream, now, kind, environment)
    require_open(report, relook)
    evidence_ids = [row.evidence_id for row in report.rows if row.evidence_id is not None]
    row = connection.execute(
        "insert into permit (kind, stream, wave_id, members_hash, evidence_ids, minted_at, valid_until)"
        " values (%s, %s, %s, %s, %s, %s, %s) returning id",
        (kind, stream, wave_id, members_hash, evidence_ids, now, now + VALID_FOR),
    ).fetchone()
    assert row is not None  # noqa: S101
    return int(row[0])
