"""People in a listmonk: who is there, who opted out, who must be blocklisted. Never overwrites a status.

Opt-outs live in listmonk as unsubscribed rows (per list), blocklisted people, and bounces. All are read here and told
upwards; what must not be mailed goes back as blocklisted. Nobody is ever deleted: old unsubscribe links must work on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from dualstream_assets.listmonk.client import Client
from dualstream_assets.listmonk.errors import NotAsDeclared
from dualstream_assets.listmonk.importing import CsvRow, run_import
from dualstream_assets.listmonk.people import (
    BLOCKLISTED,
    CHUNK,
    EVERYBODY,
    UNSUBSCRIBED,
    Subscriber,
    find,
    quoted,
    rows,
    subscriber,
)

Reason = Literal["unsubscribed", "complaint", "hard_bounce", "blocklisted"]


@dataclass(frozen=True)
class OptOut:
    """One person who must not be mailed again, as this listmonk knows it.

    Attributes:
        at: when it became known there, UTC; None where listmonk does not say.
    """

    address: str
    reason: Reason
    source: str
    at: datetime | None


@dataclass(frozen=True)
class Pushed:
    """What a push did: people newly blocklisted, and people that listmonk did not know and now knows as blocklisted."""

    blocklisted: int
    inserted: int


@dataclass(frozen=True)
class Counts:
    """How many people a listmonk has. `unsubscribed`: opted out of a list, and not blocklisted."""

    subscribers: int
    blocklisted: int
    unsubscribed: int


def counts(client: Client) -> Counts:
    """Count people, as the tables say now."""
    return Counts(
        client.total("/subscribers", query=EVERYBODY),
        client.total("/subscribers", query=BLOCKLISTED),
        client.total("/subscribers", query=f"subscribers.status <> 'blocklisted' AND {UNSUBSCRIBED}"),
    )


def pull_optouts(client: Client) -> tuple[OptOut, ...]:
    """Everybody this listmonk knows to have opted out, complained, bounced for good, or been blocklisted.

    One entry per person: a complaint before a hard bounce, before an unsubscription, before a blocklisting.
    """
    found: dict[str, OptOut] = {}
    for row in rows(client, f"{BLOCKLISTED} OR {UNSUBSCRIBED}"):
        blocked = (
            row["status"] == "blocklisted"
        )  # blocklisting unsubscribes every row: it hides what came before
        address = str(row["email"]).lower()
        found[address] = OptOut(
            address,
            "blocklisted" if blocked else "unsubscribed",
            "listmonk:subscribers",
            _time(row["updated_at"]) if blocked else _unsubscribed_at(row),
        )
    for bounce in client.pages("/bounces", order_by="created_at", order="asc"):
        reason = _BOUNCES.get(bounce["type"])
        if reason is None:
            continue
        address = str(bounce["email"]).lower()
        known = found.get(address)
        if known is None or known.reason != "complaint":
            found[address] = OptOut(
                address, reason, f"listmonk:bounces:{bounce['source']}", _time(bounce["created_at"])
            )
    return tuple(found[address] for address in sorted(found))


_BOUNCES: dict[str, Reason] = {"hard": "hard_bounce", "complaint": "complaint"}


def push_suppression(client: Client, addresses: Iterable[str], *, insert_unknown: bool = True) -> Pushed:
    """Blocklist these people, and prove it by reading back.

    Args:
        addresses: addresses, and `@domain` for everybody there and below.
        insert_unknown: put people this listmonk does not know there as blocklisted, so that no import can mail them.

    Raises:
        NotAsDeclared: somebody is still not blocklisted.
        ImportNotVerified: the import of unknown people does not add up.
    """
    asked = {address.strip().lower() for address in addresses}
    people = {address for address in asked if not address.startswith("@")}
    domains = sorted(address.removeprefix("@") for address in asked - people)
    already = {subscriber(row).address for row in rows(client, BLOCKLISTED)} if asked else set[str]()
    missing = people - already
    known = list(find(client, missing))
    open_there = [s for domain in domains for s in _of_domain(client, domain)]
    ids = sorted({s.id for s in known} | {s.id for s in open_there})
    for start in range(0, len(ids), CHUNK):
        client.put("/subscribers/blocklist", {"ids": ids[start : start + CHUNK]})
    unknown = sorted(missing - {s.address for s in known}) if insert_unknown else []
    if unknown:
        # A domain that this listmonk refuses to import has no subscriber there: nothing to blocklist, no row to count.
        refused = client.get("/settings").get("privacy.domain_blocklist") or []
        unknown = [address for address in unknown if not _refused(address, refused)]
    if unknown:
        run_import(client, [CsvRow(address, "", {}) for address in unknown], mode="blocklist", lists=())
    _prove_blocklisted(client, missing, domains)
    return Pushed(len(ids), len(unknown))


def _refused(address: str, domain_blocklist: Sequence[str]) -> bool:
    """Whether listmonk would skip this address on import.

    An entry `*.x.example` bars x.example and what is one label below it, no deeper (internal/subimporter,
    checkInList and makeDomainMap).
    """
    domain = address.rpartition("@")[2]
    names = {domain, f"*.{domain.partition('.')[2]}"} if domain.count(".") > 1 else {domain}
    entries = {entry.lower() for entry in domain_blocklist}
    return not names.isdisjoint(entries | {entry.removeprefix("*.") for entry in entries})


def not_blocklisted(client: Client, addresses: Sequence[str]) -> int:
    """How many of these people this listmonk would still mail."""
    people = [address for address in addresses if not address.startswith("@")]
    domains = [address.removeprefix("@") for address in addresses if address.startswith("@")]
    found = {s.id for s in find(client, people, f"NOT ({BLOCKLISTED})")}
    return len(found | {s.id for domain in domains for s in _of_domain(client, domain)})


def _prove_blocklisted(client: Client, people: Iterable[str], domains: Iterable[str]) -> None:
    still = not_blocklisted(client, [*people, *(f"@{domain}" for domain in domains)])
    if still:
        raise NotAsDeclared(
            f"{client.url}: {still} suppressed people are still not blocklisted",
            "push again; nothing is sent before it holds",
        )


def _of_domain(client: Client, domain: str) -> Iterator[Subscriber]:
    """People at a domain or below it who are not blocklisted."""
    there = f"SPLIT_PART(subscribers.email, '@', 2) = {quoted(domain)}"
    below = f"RIGHT(SPLIT_PART(subscribers.email, '@', 2), {len(domain) + 1}) = {quoted('.' + domain)}"
    for row in rows(client, f"NOT ({BLOCKLISTED}) AND ({there} OR {below})"):
        yield subscriber(row)


def _unsubscribed_at(row: dict[str, Any]) -> datetime | None:
    times = [
        _time(one.get("subscription_updated_at"))
        for one in row.get("lists", ())
        if one.get("subscription_status") == "unsubscribed"
    ]
    return min((at for at in times if at is not None), default=None)


def _time(text: object) -> datetime | None:
    return datetime.fromisoformat(str(text)) if text else None
