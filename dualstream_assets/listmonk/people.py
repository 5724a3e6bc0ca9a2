"""Looking people up in a listmonk: by address, by list, by SQL condition. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from dualstream_assets.listmonk.client import Client

CHUNK = 200
BLOCKLISTED = "subscribers.status = 'blocklisted'"
UNSUBSCRIBED = (
    "EXISTS (SELECT 1 FROM subscriber_lists sl WHERE sl.subscriber_id = subscribers.id"
    " AND sl.status = 'unsubscribed')"
)
EVERYBODY = "subscribers.id > 0"
"""A condition that is always true: without any, listmonk may count from a cache."""


@dataclass(frozen=True)
class Subscriber:
    """One person as listmonk knows them."""

    id: int
    uuid: str
    address: str
    status: str


def quoted(value: str) -> str:
    """A string literal for listmonk's SQL expressions."""
    return "'" + value.replace("\x00", "").replace("'", "''") + "'"


def in_chunks(values: Iterable[str], size: int = CHUNK) -> Iterator[list[str]]:
    """The distinct values in sorted order, a chunk at a time."""
    ordered = sorted(set(values))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def rows(client: Client, query: str, **filters: Any) -> Iterator[dict[str, Any]]:
    """People for whom an SQL expression holds, by ascending id, as listmonk tells them.

    The expression is pasted behind an AND there: it gets brackets, or an OR in it would escape.
    """
    return client.pages("/subscribers", order="asc", query=f"({query})", **filters)


def subscriber(row: dict[str, Any]) -> Subscriber:
    """One row as a subscriber."""
    return Subscriber(int(row["id"]), str(row["uuid"]), str(row["email"]).lower(), str(row["status"]))


def find(client: Client, addresses: Iterable[str], condition: str = EVERYBODY) -> Iterator[Subscriber]:
    """Those of `addresses` that this listmonk knows and for whom the SQL condition holds."""
    for chunk in in_chunks(address.lower() for address in addresses):
        among = ", ".join(map(quoted, chunk))
        yield from map(subscriber, rows(client, f"subscribers.email IN ({among}) AND ({condition})"))


def listed(client: Client, list_id: int, condition: str = EVERYBODY) -> Iterator[Subscriber]:
    """Everybody on a list, opted out or not, for whom the SQL condition holds."""
    yield from map(subscriber, rows(client, condition, list_id=list_id))


def listed_count(client: Client, list_id: int) -> int:
    """How many people are on a list, opted out or not."""
    return client.total("/subscribers", list_id=list_id, query=EVERYBODY)
