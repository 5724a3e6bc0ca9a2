"""The witnesses: what receivers recorded (the lab's sinks) and what the mail log says, in one shape."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualstream_assets.estate import Estate

if TYPE_CHECKING:
    from psycopg import Connection


class Proved(StrEnum):
    """Outcome of a proof."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Proof:
    """One of the plan's validations.

    Attributes:
        name: `isolation`, `cap`, …
        outcome: pass, fail or unknown.
        sentence: the finding in one line, without addresses of people.
        figures: named numbers behind it.
        unseen: what this proof cannot see, in one line.
    """

    name: str
    outcome: Proved
    sentence: str
    figures: dict[str, int | float | str]
    unseen: str


@dataclass(frozen=True)
class Arrival:
    """One accepted message, as one witness tells it.

    Attributes:
        at: when it was accepted, UTC.
        source: the sending IP (sinks) or the transport's declared IP (log).
        recipient: the address; never shown, only counted and joined.
        campaign_uuid: from the X-Listmonk-Campaign header, None for mail without one.
        mail_from: envelope sender.
        operator: who runs the receiving MX.
    """

    at: datetime
    source: str
    recipient: str
    campaign_uuid: str | None
    mail_from: str
    operator: str


def arrivals_at_sinks(path: Path | None) -> list[Arrival] | None:
    """What the receivers recorded, oldest first; None where there is no such witness (production)."""
    if path is None or not path.exists():
        return None
    found = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.endswith("\n"):
                break  # being written at this moment
            raw = json.loads(line)
            found.append(
                Arrival(
                    datetime.fromisoformat(raw["at"]),
                    raw["peer"],
                    raw["rcpt"].lower(),
                    raw.get("campaign_uuid"),
                    raw["mail_from"].lower(),
                    raw["operator"],
                )
            )
    return sorted(found, key=lambda arrival: arrival.at)


def arrivals_in_log(connection: Connection[Any], estate: Estate) -> list[Arrival]:
    """What the mail log says was accepted by receivers, oldest first.

    Columns read: delivery(at, transport, recipient, campaign_uuid, operator), log_message(sender).
    """
    address_of = {egress.transport: str(egress.ip) for egress in estate.egress}
    rows = connection.execute(
        "select d.at, d.transport, d.recipient, d.campaign_uuid, m.sender, d.operator from delivery d"
        " left join log_message m using (queue_id) where d.status = 'sent' order by d.at"
    ).fetchall()
    return [
        Arrival(
            at,
            address_of.get(str(transport), str(transport)),
            recipient,
            str(uuid) if uuid else None,
            sender or "",
            op,
        )
        for at, transport, recipient, uuid, sender, op in rows
    ]


def campaign_streams(connection: Connection[Any]) -> dict[str, str]:
    """Campaign UUID -> stream, for every wave we made."""
    rows = connection.execute(
        "select campaign_uuid, stream from wave where campaign_uuid is not null"
    ).fetchall()
    return {str(uuid): stream for uuid, stream in rows}


def stream_of(arrival: Arrival, estate: Estate, campaigns: dict[str, str]) -> str:
    """Which stream a message belongs to, without looking at the IP it came from.

    Our own campaigns by UUID; else the envelope sender's domain; else the stream without a return path of its own.
    """
    if arrival.campaign_uuid and arrival.campaign_uuid in campaigns:
        return campaigns[arrival.campaign_uuid]
    domain = arrival.mail_from.rpartition("@")[2].rstrip(">")
    for name, stream in estate.streams.items():
        if stream.return_path_domain and domain == stream.return_path_domain:
            return name
    return next(name for name, stream in estate.streams.items() if not stream.return_path_domain)


def by_stream(
    arrivals: Iterable[Arrival], estate: Estate, campaigns: dict[str, str]
) -> dict[str, list[Arrival]]:
    """Arrivals grouped by stream; every declared stream is a key."""
    grouped: dict[str, list[Arrival]] = {name: [] for name in estate.streams}
    for arrival in arrivals:
        grouped[stream_of(arrival, estate, campaigns)].append(arrival)
    return grouped


def same_multiset(one: Sequence[Arrival], other: Sequence[Arrival]) -> tuple[int, int]:
    """How many (source, recipient, campaign) only one witness saw: (only the first, only the second)."""
    from collections import Counter

    def count(arrivals: Sequence[Arrival]) -> Counter[tuple[str, str, str | None]]:
        return Counter((a.source, a.recipient, a.campaign_uuid) for a in arrivals)

    first, second = count(one), count(other)
    return (first - second).total(), (second - first).total()
