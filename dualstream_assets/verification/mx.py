"""Where each domain's mail goes, who runs that, and in which shard it is asked: the table `mail_domain`.

A lookup that did not complete is asked again and never counts as "no mail" (RFC 5321 section 5.1, RFC 7505). Shards
share nothing: whoever has an address or an operator in common is in one shard, so no two ever contact one operator.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol
from zlib import crc32

from dualstream_assets.receivers.operators import CONSUMER_OPERATORS, named_operators, operator_of
from dualstream_assets.verification.dialogue import Host

if TYPE_CHECKING:
    from psycopg import Connection

    from dualstream_assets.clock import Clock
    from dualstream_assets.outside.dns import MxAnswer
    from dualstream_assets.store.database import Database

OTHER_SHARDS = 4
NO_CONTACT = "by-dns"
"""Shard of the domains that are judged without asking anybody."""
MAX_HOSTS = 2
MAX_ADDRESSES = 5
"""Postfix: smtp_mx_session_limit and smtp_mx_address_limit."""
FRESH_FOR = timedelta(hours=24)
FRESH_FOR_IF_NOT_OK = timedelta(hours=1)
ROWS_AT_ONCE = 500


class AsksMx(Protocol):
    """What this room needs of a resolver."""

    def mx(self, domain: str) -> MxAnswer:
        """Where the domain's mail goes."""
        ...


@dataclass(frozen=True)
class MailDomain:
    """A row of `mail_domain`.

    Attributes:
        operator: of its best MX host; empty where there is none.
        hosts: (host name, addresses) in order of preference.
        ruling: `ok`, `null_mx`, `nxdomain`, `nodata`, `misconfigured` or `unknown`.
    """

    domain: str
    operator: str
    shard: str
    hosts: tuple[tuple[str, tuple[str, ...]], ...]
    ruling: str
    resolved_at: datetime

    def usable_hosts(self) -> tuple[Host, ...]:
        """Where to connect, best first: two hosts and five addresses at most, all of this shard.

        A backup MX at another large operator is left out: its patience belongs to another shard.
        """
        own = [(name, a) for name, a in self.hosts if a and self._is_ours(operator_of([name]))]
        found = [Host(name, address) for name, addresses in own[:MAX_HOSTS] for address in addresses]
        return tuple(found[:MAX_ADDRESSES])

    def _is_ours(self, operator: str) -> bool:
        large = named_operators() | CONSUMER_OPERATORS
        return operator == self.operator or (operator not in large and self.operator not in large)

    @property
    def contacted(self) -> bool:
        """Whether its mailboxes are asked at all."""
        return self.ruling == "ok" and self.operator not in CONSUMER_OPERATORS

    def due(self, now: datetime) -> bool:
        """Whether it has to be looked up again."""
        return now - self.resolved_at >= (FRESH_FOR if self.ruling == "ok" else FRESH_FOR_IF_NOT_OK)


def resolve_domains(
    database: Database, clock: Clock, resolver: AsksMx, domains: Iterable[str], *, workers: int = 16
) -> int:
    """Look up these domains, write their rows, and deal all rows into shards anew; returns how many were asked."""
    asked = sorted(set(domains))
    with ThreadPoolExecutor(workers, thread_name_prefix="mx") as pool:
        for start in range(0, len(asked), ROWS_AT_ONCE):
            some = asked[start : start + ROWS_AT_ONCE]
            answers = list(pool.map(resolver.mx, some))
            with database.transaction() as connection:
                for domain, answer in zip(some, answers, strict=True):
                    _write(connection, domain, answer, clock.now())
    with database.transaction() as connection:
        deal_shards(connection)
    return len(asked)


def _write(connection: Connection[Any], domain: str, answer: MxAnswer, now: datetime) -> None:
    """An unfinished lookup does not wipe out what was known of hosts and operator."""
    hosts = [
        {"preference": h.preference, "host": h.host, "addresses": list(h.addresses)} for h in answer.hosts
    ]
    connection.execute(
        "insert into mail_domain (domain, operator, shard, mx, ruling, resolved_at)"
        " values (%s, %s, %s, %s, %s, %s) on conflict (domain) do update set ruling = excluded.ruling,"
        " resolved_at = excluded.resolved_at,"
        " operator = case when excluded.ruling = 'unknown' then mail_domain.operator else excluded.operator end,"
        " mx = case when excluded.ruling = 'unknown' then mail_domain.mx else excluded.mx end",
        (
            domain,
            operator_of([h.host for h in answer.hosts]),
            NO_CONTACT,
            json.dumps({"implicit": answer.implicit, "hosts": hosts}),
            answer.status,
            now,
        ),
    )


_SELECT = "select domain, operator, shard, mx, ruling, resolved_at from mail_domain"


def load_domains(connection: Connection[Any], domains: Sequence[str] | None = None) -> dict[str, MailDomain]:
    """The rows of these domains (None: of all)."""
    if domains is None:
        rows = connection.execute(_SELECT).fetchall()
    else:
        rows = connection.execute(f"{_SELECT} where domain = any(%s)", (list(domains),)).fetchall()
    return {
        r[0]: MailDomain(
            r[0], r[1], r[2], tuple((h["host"], tuple(h["addresses"])) for h in r[3]["hosts"]), r[4], r[5]
        )
        for r in rows
    }


def deal_shards(connection: Connection[Any]) -> None:
    """Give every row its shard; rows that already have the right one are not touched."""
    found = load_domains(connection)
    right = shards(found)
    moved = [(shard, domain) for domain, shard in right.items() if found[domain].shard != shard]
    with connection.cursor() as cursor:
        cursor.executemany("update mail_domain set shard = %s where domain = %s", moved)


def shards(domains: Mapping[str, MailDomain]) -> dict[str, str]:
    """Domain -> shard. Operators that share an address are one; a large operator names the shard, else a hash does."""
    same = _Groups()
    for row in domains.values():
        if row.contacted:
            same.join(*(f"op {row.operator}", *(f"at {host.address}" for host in row.usable_hosts())))
    names: dict[str, str] = {}
    for row in domains.values():
        if row.contacted:
            group = same.of(f"op {row.operator}")
            if row.operator in named_operators():
                names[group] = min(row.operator, names.get(group, row.operator))
    made: dict[str, str] = {}
    for domain, row in domains.items():
        group = same.of(f"op {row.operator}")
        hashed = f"other-{crc32(group.encode()) % OTHER_SHARDS:02d}"
        made[domain] = names.get(group, hashed) if row.contacted else NO_CONTACT
    return made


@dataclass
class _Groups:
    """Disjoint sets; the smallest member names its set, so that the order of joining does not matter."""

    parent: dict[str, str] = field(default_factory=dict)

    def of(self, member: str) -> str:
        root = member
        while self.parent.get(root, root) != root:
            root = self.parent[root]
        while self.parent.get(member, member) != root:
            self.parent[member], member = root, self.parent[member]
        return root

    def join(self, *members: str) -> None:
        roots = {self.of(member) for member in members}
        smallest = min(roots)
        for root in roots:
            self.parent[root] = smallest
