"""Views and clicks of a stream's waves, as listmonk counts them: shown, never trusted, never fed to a brake.

Scanners open and click; proxies hide. Opt-outs are the only engagement that acts, and they come by `optouts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from psycopg import Connection


@dataclass(frozen=True)
class Counted:
    """What one listmonk counts for one campaign."""

    campaign_id: int
    sent: int
    views: int
    clicks: int


class EngagementPort(Protocol):
    """One listmonk's counters."""

    def counts(self, campaign_ids: Sequence[int]) -> Sequence[Counted]:
        """Counters of these campaigns; unknown ids are left out."""
        ...


@dataclass(frozen=True)
class Engagement:
    """Sums over the waves of one stream.

    Attributes:
        waves: released waves.
        people: released people, by our ledger.
        listmonk_says_sent: by listmonk's own counter.
        opted_out: people of these waves who opted out since.
    """

    waves: int
    people: int
    listmonk_says_sent: int
    views: int
    clicks: int
    opted_out: int


def engagement(connection: Connection[Any], stream: str, port: EngagementPort | None) -> Engagement:
    """Sum the counters over a stream's released waves; without a port the counters are zero."""
    rows = connection.execute(
        "select campaign_id, size from wave where stream = %s and released_at is not null and state <> 'abandoned'",
        (stream,),
    ).fetchall()
    ids = [row[0] for row in rows if row[0] is not None]
    counted = port.counts(ids) if port and ids else ()
    opted = connection.execute(
        "select count(distinct m.address) from wave_member m join wave w on w.id = m.wave_id join suppression s"
        " on s.kind = 'address' and s.value = m.address and s.lifted_at is null and s.since >= w.released_at"
        " where w.stream = %s and s.reason in ('unsubscribed', 'complaint', 'reply', 'blocklisted')",
        (stream,),
    ).fetchone()
    return Engagement(
        len(rows),
        sum(row[1] for row in rows),
        sum(c.sent for c in counted),
        sum(c.views for c in counted),
        sum(c.clicks for c in counted),
        int(opted[0]) if opted else 0,
    )
