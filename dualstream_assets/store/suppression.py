"""The one list, across both streams, of addresses and domains never to mail again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from psycopg import Connection

Kind = Literal["address", "domain"]
Reason = Literal["unsubscribed", "complaint", "hard_bounce", "reply", "manual", "excluded", "blocklisted"]


@dataclass(frozen=True)
class Suppression:
    """One standing entry."""

    kind: Kind
    value: str
    reason: Reason
    source: str
    since: datetime


class NotSuppressible(ValueError):
    """Neither an address nor a domain; what was given is not repeated."""


def suppress(
    connection: Connection[Any], kind: Kind, value: str, reason: Reason, source: str, now: datetime
) -> bool:
    """Put an address or a domain on the list; returns whether it is new. A standing entry keeps its first reason.

    Raises:
        ValueError: the value is not of that kind (the value is not repeated: it may be a person's address).
    """
    row = connection.execute(
        "insert into suppression (kind, value, reason, source, since) values (%s, %s, %s, %s, %s)"
        " on conflict (kind, value) where lifted_at is null do nothing returning id",
        (kind, _plain(kind, value), reason, source, now),
    ).fetchone()
    return row is not None


def lift(connection: Connection[Any], kind: Kind, value: str, reason: str, now: datetime) -> bool:
    """Take an entry off, with a reason that stays on record; returns whether there was one."""
    row = connection.execute(
        "update suppression set lifted_at = %s, lifted_reason = %s"
        " where kind = %s and value = %s and lifted_at is null returning id",
        (now, reason, kind, _plain(kind, value)),
    ).fetchone()
    return row is not None


def suppressed(connection: Connection[Any], addresses: Iterable[str]) -> set[str]:
    """Which of these addresses may not be mailed: by address, by domain, or by a parent domain.

    Spelled as they were asked; upper and lower case are the same here.
    """
    asked = {address: _domains(address) for address in addresses}
    if not asked:
        return set()
    domains = sorted({domain for found in asked.values() for domain in found})
    rows = connection.execute(
        "select kind, value from suppression where lifted_at is null and"
        " ((kind = 'address' and value = any(%s)) or (kind = 'domain' and value = any(%s)))",
        (sorted({a.strip().lower() for a in asked}), domains),
    ).fetchall()
    hit = {(kind, value) for kind, value in rows}
    return {
        address
        for address, of_address in asked.items()
        if ("address", address.strip().lower()) in hit
        or any(("domain", domain) in hit for domain in of_address)
    }


def all_suppressed(connection: Connection[Any]) -> list[Suppression]:
    """Every standing entry, oldest first."""
    rows = connection.execute(
        "select kind, value, reason, source, since from suppression where lifted_at is null order by since, id"
    ).fetchall()
    return [Suppression(*row) for row in rows]


def _plain(kind: Kind, value: str) -> str:
    plain = value.strip().lower().rstrip(".")
    if kind == "domain":
        plain = plain.removeprefix("@")
    local, at, domain = plain.rpartition("@")
    of_other_kind = bool(at) != (kind == "address") or (kind == "address" and not local)
    if of_other_kind or "@" in local or " " in plain or "." not in domain.strip("."):
        wanted = (
            "an address like name@clinic.example" if kind == "address" else "a domain like clinic.example"
        )
        raise NotSuppressible(f"not {wanted} ({len(value)} characters)")
    return plain


def _domains(address: str) -> list[str]:
    """The domain of an address and every domain above it: a.b.example, b.example, example."""
    labels = address.strip().lower().rpartition("@")[2].rstrip(".").split(".")
    return [".".join(labels[i:]) for i in range(len(labels))]
