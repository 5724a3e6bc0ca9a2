"""Whom a campaign of the listmonk stand-in goes to next: the queries behind its engine (facts: listmonk section 6)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualstream_assets.lab.listmonk_store import Store

_ELIGIBLE = """
from campaign_lists cl join lists l on l.id = cl.list_id
  join subscriber_lists sl on sl.list_id = l.id join subscribers s on s.id = sl.subscriber_id
  join campaigns c on c.id = cl.campaign_id
where cl.campaign_id = %(campaign)s and s.status <> 'blocklisted'
  and case when c.type = 'optin' then sl.status = 'unconfirmed' and l.optin = 'double'
           when l.optin = 'double' then sl.status = 'confirmed' else sl.status <> 'unsubscribed' end
"""
_COUNT = f"select count(distinct s.id) as people, coalesce(max(s.id), 0) as top {_ELIGIBLE}"
_BATCH = (
    f"select distinct s.* {_ELIGIBLE} and s.id > %(last)s and s.id <= %(top)s order by s.id limit %(batch)s"
)


def next_campaigns(store: Store, known: Sequence[int], now: datetime) -> list[dict[str, Any]]:
    """Campaigns to take up: running, or scheduled and due, and not among `known`; their goal is counted now."""
    found = store.rows(
        "select c.*, coalesce(t.body, (select body from templates where is_default limit 1), '') as template_body"
        " from campaigns c left join templates t on t.id = c.template_id where (c.status = 'running'"
        " or (c.status = 'scheduled' and c.send_at <= %s)) and c.id <> all(%s) order by c.id",
        (now, list(known)),
    )
    for campaign in found:
        row = store.row(_COUNT, {"campaign": campaign["id"]})
        if row and row["people"]:
            store.run(
                "update campaigns set to_send = %s, max_subscriber_id = %s, status = 'running',"
                " started_at = coalesce(started_at, %s) where id = %s",
                (row["people"], row["top"], now, campaign["id"]),
            )
    return found


def fetch_batch(store: Store, campaign_id: int, size: int, now: datetime) -> list[dict[str, Any]]:
    """The next people by ascending id; the pointer moves now, whatever becomes of them. Empty unless it is running."""
    with store.connection() as connection, connection.transaction():
        campaign = connection.execute(
            "select last_subscriber_id as last, max_subscriber_id as top from campaigns"
            " where id = %s and status = 'running' for update",
            (campaign_id,),
        ).fetchone()
        if campaign is None:
            return []
        people = connection.execute(
            _BATCH.encode(), {"campaign": campaign_id, "batch": size, **campaign}
        ).fetchall()
        if people:
            connection.execute(
                "update campaigns set last_subscriber_id = %s, updated_at = %s where id = %s",
                (people[-1]["id"], now, campaign_id),
            )
    return people
