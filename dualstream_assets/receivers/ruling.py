"""The types of a ruling: an SMTP reply, what it may mean, and the rule that said so."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RulingKind(StrEnum):
    """What a reply says. Only `undeliverable` may ever cost an address its mail."""

    DELIVERABLE = "deliverable"
    """Accepted; whether the domain accepts everything is not known yet."""
    UNDELIVERABLE = "undeliverable"
    FULL = "full"
    SUSPENDED = "suspended"
    RETRY = "retry"
    """Ask again later: greylisting, load, a server's own trouble."""
    BLOCKED = "blocked"
    """About our address, sender or rate; says nothing about the mailbox."""
    RISKY = "risky"
    """Says nothing either way."""


@dataclass(frozen=True)
class Reply:
    """One SMTP reply.

    Attributes:
        stage: what it answers: `banner`, `ehlo`, `mail`, `rcpt`, or `data` for the reply to a message (mail log).
        code: the three digits.
        text: its lines joined, with or without the leading code.
        operator: who answered, as `operator_of` names it; empty if not known.
    """

    stage: str
    code: int
    text: str
    operator: str = ""


@dataclass(frozen=True)
class Ruling:
    """What one reply means, and the id of the rule that says so."""

    ruling: RulingKind
    rule: str
