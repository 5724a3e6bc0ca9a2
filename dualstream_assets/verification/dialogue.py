"""What one session is to ask, and what came of it: the plain data between the queue, the socket and the journal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from dualstream_assets.estate import Estate
from dualstream_assets.receivers.replies import Ruling, RulingKind
from dualstream_assets.verification.targets import ProbeRefused

Stage = Literal["dns", "connect", "banner", "ehlo", "mail", "rcpt", "closed"]
ProbeKind = Literal["real", "random"]
BEFORE_RCPT: tuple[Stage, ...] = ("dns", "connect", "banner", "ehlo", "mail")


@dataclass(frozen=True)
class Identity:
    """Who asks: one address, its forward-confirmed name, one real sender. Always the same (greylist triples)."""

    source: str
    helo: str
    mail_from: str


@dataclass(frozen=True)
class Timeouts:
    """Longest waits, in seconds (facts: verification section 2.1)."""

    connect_s: float
    banner_s: float
    command_s: float
    session_s: float


def identity_of(estate: Estate) -> Identity:
    """The declared probe identity.

    Raises:
        ProbeRefused: the estate does not declare it whole.
    """
    probe = estate.probe
    if probe.ip is None or not probe.helo or not probe.mail_from:
        raise ProbeRefused(
            "the probe identity is not declared: set probe.ip, probe.helo and probe.mail_from in the estate"
        )
    return Identity(str(probe.ip), probe.helo, probe.mail_from)


def timeouts_of(estate: Estate) -> Timeouts:
    """With the declared 30 s: connect 20, banner and command 60, session 240."""
    unit = estate.verification.timeout_s
    return Timeouts(min(20.0, unit), unit * 2, unit * 2, unit * 8)


@dataclass(frozen=True)
class Host:
    """One address to connect to."""

    name: str
    address: str


@dataclass(frozen=True)
class DomainTask:
    """The addresses of one domain; `random` is asked last and only after a real 250 (None: not wanted)."""

    domain: str
    addresses: tuple[str, ...]
    random: str | None


@dataclass(frozen=True)
class SessionPlan:
    """One session to one MX host set.

    Attributes:
        hosts: in order of preference; the next is tried only where the one before could not be reached or defers.
        rcpt_limit: recipients in this session, the random ones included.
        stop_at_unknown: dead recipients after which no more are asked; None: no limit.
    """

    operator: str
    hosts: tuple[Host, ...]
    tasks: tuple[DomainTask, ...]
    rcpt_limit: int
    stop_at_unknown: int | None


@dataclass(frozen=True)
class Answer:
    """One row of the journal to be: what became of one address in this session.

    `code` is None where no reply came. `rule` and `ruling` are of the rule set in force.
    """

    kind: ProbeKind
    domain: str
    address: str
    stage: Stage
    code: int | None
    text: str
    ruling: Ruling
    host: Host | None
    at: datetime


@dataclass(frozen=True)
class Ending:
    """Why a session ended before everything was asked."""

    stage: Stage
    code: int | None
    text: str
    ruling: Ruling


@dataclass
class SessionOutcome:
    """What came of a session.

    Attributes:
        answers: journal rows to be, in the order they came.
        unasked: (domain, address) that another session has to ask.
        random_asked: domains whose random recipient was asked.
        blocks: replies that were about us.
    """

    plan: SessionPlan
    answers: list[Answer] = field(default_factory=list)
    unasked: list[tuple[str, str]] = field(default_factory=list)
    connections: int = 0
    rcpts: int = 0
    random_asked: set[str] = field(default_factory=set)
    blocks: int = 0

    def answered(self, domain: str) -> bool:
        """Whether any real address of the domain got an answer of its own in this session."""
        return any(
            a.domain == domain and a.kind == "real" and a.code not in (None, 421) for a in self.answers
        )

    def settle(
        self, ending: Ending | None, domain: str | None, host: Host | None, now: Callable[[], datetime]
    ) -> None:
        """Say of every address that was not asked what becomes of it; `domain` is the one being asked at the end.

        Before the first RCPT an ending is everybody's. Later it is that domain's, if nobody of it was answered yet or
        it was a block; all others are asked again by another session. So each session settles at least one address.
        """
        known = {(a.domain, a.address) for a in self.answers}
        everybodys = ending is not None and not self.answers and ending.stage in BEFORE_RCPT
        blocked = ending is not None and ending.ruling.ruling is RulingKind.BLOCKED
        at = now()
        for task in self.plan.tasks:
            shared = everybodys or (task.domain == domain and (blocked or not self.answered(task.domain)))
            for address in task.addresses:
                if (task.domain, address) in known:
                    continue
                if ending is None or not shared:
                    self.unasked.append((task.domain, address))
                    continue
                code, ruling = ending.code, ending.ruling
                if ending.stage == "rcpt":  # that reply was to another address
                    code, ruling = None, Ruling(ruling.ruling, f"not_asked_after_{ruling.ruling}")
                self.answers.append(
                    Answer("real", task.domain, address, ending.stage, code, ending.text, ruling, host, at)
                )
