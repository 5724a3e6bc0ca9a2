"""The auditor: five figures that must all be zero, from the receivers' records, the log and the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from dualstream_assets.estate import Estate
from dualstream_assets.proofs.cap import allowed_caps, load_of
from dualstream_assets.proofs.isolation import consumer_hits, leaks
from dualstream_assets.proofs.witness import Arrival, by_stream

if TYPE_CHECKING:
    from psycopg import Connection


@dataclass(frozen=True)
class Audit:
    """The five figures.

    Attributes:
        leaked: messages from the wrong pool, or to a consumer mailbox from the hot pool.
        over_cap: largest excess over any hourly or daily cap.
        handed_over_twice: (campaign, address) pairs with more than one accepted submission.
        lost: members of released waves that no record accounts for once their wave is handed over.
        opted_out_but_mailed: messages submitted to someone after their opt-out was known to us.
    """

    leaked: int
    over_cap: int
    handed_over_twice: int
    lost: int
    opted_out_but_mailed: int

    @property
    def clean(self) -> bool:
        """Whether all five are zero."""
        return not any(asdict(self).values())


def audit(
    connection: Connection[Any],
    estate: Estate,
    witnesses: Sequence[Sequence[Arrival]],
    campaigns: dict[str, str],
) -> Audit:
    """Compute the five figures over all given witnesses (sinks and log); the worst witness counts."""
    leaked = over = twice_seen = 0
    for arrivals in witnesses:
        found = len(leaks(arrivals, estate, campaigns)) + len(consumer_hits(arrivals, estate, campaigns))
        leaked = max(leaked, found)
        for stream, of_stream in by_stream(arrivals, estate, campaigns).items():
            load = load_of(of_stream, allowed_caps(connection, estate, stream), estate)
            over = max(over, load.over_hour, load.over_day)
        twice_seen = max(twice_seen, _repeats(connection, arrivals))
    return Audit(
        leaked=leaked,
        over_cap=over,
        handed_over_twice=max(twice_seen, _submitted_twice(connection)),
        lost=_lost(connection),
        opted_out_but_mailed=_mailed_after_opt_out(connection),
    )


def _repeats(connection: Connection[Any], arrivals: Sequence[Arrival]) -> int:
    """Pairs (our campaign, address) that a witness saw more than once: waves of one campaign count together."""
    rows = connection.execute(
        "select campaign_uuid, campaign from wave where campaign_uuid is not null"
    ).fetchall()
    campaign_of = {str(uuid): campaign for uuid, campaign in rows}
    seen = Counter(
        (campaign_of[a.campaign_uuid], a.recipient)
        for a in arrivals
        if a.campaign_uuid and a.campaign_uuid in campaign_of
    )
    return sum(1 for count in seen.values() if count > 1)


def _count(connection: Connection[Any], query: LiteralString) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def _submitted_twice(connection: Connection[Any]) -> int:
    """More than one queue id for one (campaign, recipient); a requeue keeps its first id."""
    return _count(
        connection,
        "select count(*) from (select w.campaign, d.recipient from delivery d"
        " join wave w on w.campaign_uuid = d.campaign_uuid join log_message m on m.queue_id = d.queue_id"
        " group by 1, 2 having count(distinct coalesce(m.original_id, m.queue_id)) > 1) twice",
    )


def _lost(connection: Connection[Any]) -> int:
    """Members of handed-over waves whose fate nothing tells, and people released without a place in the log."""
    return _count(
        connection,
        "select count(*) from wave_member m join wave w on w.id = m.wave_id"
        " where w.state in ('handed_over', 'settled') and m.state in ('reserved', 'released', 'unknown')",
    )


def _mailed_after_opt_out(connection: Connection[Any]) -> int:
    """Messages of our campaigns received by Postfix after a suppression of that address was on record.

    `suppression.since` is when we learnt of it: nothing may be handed over later.
    """
    return _count(
        connection,
        "select count(*) from (select distinct d.queue_id, d.recipient, m.received_at from delivery d"
        " join log_message m using (queue_id) where d.campaign_uuid is not null) mailed"
        " join suppression s on s.lifted_at is null and s.since < mailed.received_at and ("
        " (s.kind = 'address' and s.value = mailed.recipient)"
        " or (s.kind = 'domain' and ('.' || split_part(mailed.recipient, '@', 2)) like ('%.' || s.value)))",
    )
