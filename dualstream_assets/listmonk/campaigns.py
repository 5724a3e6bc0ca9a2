"""One wave in listmonk: one private list, one campaign, started once, with a permit.

`prepare` makes list and draft, found again by the wave's tag after a crash. `start` consumes the permit and commits the
wave as released in ONE transaction, and only then lets listmonk run: a crash in between loses time, never sends twice.
`resume` starts a committed wave whose campaign is still a draft, and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from dualstream_assets.listmonk.client import Client
from dualstream_assets.listmonk.drafts import MAILABLE, Prepared, prepare, wave_tag
from dualstream_assets.listmonk.errors import (
    CommittedNotStarted,
    Invalid,
    ListmonkError,
    MembersNotListed,
    WaveMismatch,
)
from dualstream_assets.listmonk.people import listed, listed_count

if TYPE_CHECKING:
    from psycopg import Connection

    from dualstream_assets.store.database import Database

__all__ = [
    "CampaignState",
    "Prepared",
    "Status",
    "archive_list",
    "members_hash",
    "prepare",
    "resume",
    "start",
    "state",
    "wave_states",
    "wave_tag",
]

ARCHIVED_LISTS_SINCE = (6, 0, 0)


class Status(StrEnum):
    """listmonk's campaign states."""

    DRAFT = "draft"
    RUNNING = "running"
    SCHEDULED = "scheduled"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    FINISHED = "finished"


@dataclass(frozen=True)
class CampaignState:
    """What listmonk says of a campaign; its counters are shown, never trusted (the mail log is the truth)."""

    id: int
    uuid: str
    status: Status
    to_send: int
    sent: int
    views: int
    clicks: int
    bounces: int
    started_at: datetime | None

    @property
    def terminal(self) -> bool:
        """Whether it will never send again by itself."""
        return self.status in (Status.FINISHED, Status.CANCELLED)


def members_hash(addresses: Iterable[str]) -> str:
    """SHA-256 over the sorted lower-case addresses, hex: what a wave and its permit are bound to."""
    return hashlib.sha256("\n".join(sorted(address.lower() for address in addresses)).encode()).hexdigest()


def start(
    database: Database,
    client: Client,
    permit_id: int,
    wave_id: int,
    prepared: Prepared,
    now: datetime,
) -> CampaignState:
    """Use the permit, commit the wave as released, start its campaign. In this order.

    Raises:
        PermitRefused: nothing was committed, nothing sent.
        Invalid: the wave is not reserved, or its members are not the ones prepared.
        CommittedNotStarted: the wave is released, its campaign is not running: `resume` is safe.
    """
    _still_as_prepared(client, wave_id, prepared)
    with database.transaction() as connection:
        _release(connection, permit_id, wave_id, prepared, now)
    try:
        return resume(client, prepared.campaign_id)
    except ListmonkError as error:
        raise CommittedNotStarted(
            f"wave {wave_id} is committed, its campaign {prepared.campaign_id} not started: {error.cause}",
            f"call resume for wave {wave_id}: it starts the campaign only if it is still a draft",
        ) from error


def resume(client: Client, campaign_id: int) -> CampaignState:
    """Start a campaign of a released wave if it is still a draft; any other state is returned as it is.

    A paused one stays paused: what listmonk had fetched when it paused is counted from the mail log, not guessed.

    Raises:
        WaveMismatch: the start did not take.
    """
    found = state(client, campaign_id)
    if found.status is not Status.DRAFT:
        return found
    client.put(f"/campaigns/{campaign_id}/status", {"status": Status.RUNNING})
    found = state(client, campaign_id)
    if found.status not in (Status.RUNNING, Status.FINISHED, Status.PAUSED):
        raise WaveMismatch(
            f"{client.url}: campaign {campaign_id} was started, but is {found.status}",
            "look at it in listmonk",
        )
    return found


def state(client: Client, campaign_id: int) -> CampaignState:
    """How a campaign stands."""
    return _state(client.get(f"/campaigns/{campaign_id}", no_body="true"))


def wave_states(client: Client) -> tuple[CampaignState, ...]:
    """Every campaign of ours, newest first."""
    found = client.pages("/campaigns", per_page=200, no_body="true", order_by="created_at", order="desc")
    return tuple(_state(row) for row in found if any(t.startswith("ds-wave-") for t in row["tags"]))


def archive_list(client: Client, list_id: int) -> bool:
    """Archive a wave's list after settlement; returns whether this version can. Never deleted: opt-outs hang on it."""
    if client.version < ARCHIVED_LISTS_SINCE:
        return False
    found = client.get(f"/lists/{list_id}")
    if found["status"] != "archived":
        kept = {key: found[key] for key in ("name", "type", "optin", "tags", "description")}
        client.put(f"/lists/{list_id}", {**kept, "status": "archived"})
    return True


def _release(
    connection: Connection[Any], permit_id: int, wave_id: int, prepared: Prepared, now: datetime
) -> None:
    from dualstream_assets.store.permit import consume
    from dualstream_assets.store.suppression import suppressed

    row = connection.execute(
        "select stream, state, members_hash from wave where id = %s for update", (wave_id,)
    ).fetchone()
    if row is None or row[1] != "reserved":
        raise Invalid(
            f"wave {wave_id} is {row[1] if row else 'unknown'}, not reserved: it cannot be released",
            "plan a wave",
        )
    stream, _, planned_hash = row
    members = [
        member
        for (member,) in connection.execute(
            "select address from wave_member where wave_id = %s and state = 'reserved'", (wave_id,)
        )
    ]
    hashed = members_hash(members)
    if hashed != planned_hash or set(members) != set(prepared.subscribers):
        raise Invalid(
            f"wave {wave_id}: its members are not the ones that were planned and prepared",
            "abandon this wave and plan anew",
        )
    if suppressed(connection, members):
        raise Invalid(
            f"wave {wave_id}: somebody opted out since it was planned", "abandon this wave and plan anew"
        )
    consume(connection, permit_id, stream, wave_id, hashed, now)
    connection.execute(
        "update wave set state = 'released', permit_id = %s, list_id = %s, campaign_id = %s, campaign_uuid = %s,"
        " released_at = %s where id = %s",
        (permit_id, prepared.list_id, prepared.campaign_id, prepared.campaign_uuid, now, wave_id),
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            "update wave_member set state = 'released', subscriber_id = %s, subscriber_uuid = %s, changed_at = %s"
            " where wave_id = %s and address = %s",
            [(sid, uuid, now, wave_id, address) for address, (sid, uuid) in prepared.subscribers.items()],
        )


def _still_as_prepared(client: Client, wave_id: int, prepared: Prepared) -> None:
    """The last look before the commit: the campaign is a draft, its list holds exactly the members, all mailable."""
    found = client.get(f"/campaigns/{prepared.campaign_id}", no_body="true")
    lists = [one["id"] for one in found["lists"]]
    if (
        found["status"] != Status.DRAFT
        or found["uuid"] != prepared.campaign_uuid
        or lists != [prepared.list_id]
    ):
        raise WaveMismatch(
            f"{client.url}: campaign {prepared.campaign_id} is not the draft of wave {wave_id} (any more)",
            "abandon this wave and plan anew",
        )
    mailable = {s.address for s in listed(client, prepared.list_id, MAILABLE)}
    count = listed_count(client, prepared.list_id)
    if mailable != set(prepared.subscribers) or count != len(mailable):
        raise MembersNotListed(
            f"{client.url}: of {len(prepared.subscribers)} members of wave {wave_id}, {len(mailable)} may be mailed,"
            f" and {count} are listed",
            "materialize sending/suppression, abandon this wave and plan anew",
        )


def _state(row: Mapping[str, Any]) -> CampaignState:
    started = row.get("started_at")
    return CampaignState(
        int(row["id"]),
        str(row["uuid"]),
        Status(row["status"]),
        int(row["to_send"]),
        int(row["sent"]),
        int(row["views"]),
        int(row["clicks"]),
        int(row["bounces"]),
        datetime.fromisoformat(started) if started else None,
    )
