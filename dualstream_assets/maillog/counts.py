"""How much a stream really sent, counted from the mail log: ours and everybody else's on the same stream.

A unit is one message to one recipient. It is used when Postfix takes it (its release, as the log sees it) and again in
the hour, or on the local day, in which it is delivered late; inside one interval it counts once (facts: operations
section 1). A message that was deleted before any attempt used none. A requeue is the same message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, LiteralString
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from dualstream_assets.store.database import Database

QUEUE_LIFETIME = timedelta(days=6)
"""Postfix keeps mail five days; nothing older is still in flight."""

_UNITS = (
    "select count(*) from (select distinct coalesce(m.original_id, m.queue_id), coalesce(d.recipient, '')"
    " from log_message m left join delivery d using (queue_id)"
    " where (m.stream = %(stream)s or d.stream = %(stream)s) and m.received_at > %(oldest)s"
    " and ((m.received_at > %(since)s and m.received_at <= %(until)s and (d.id is not null or m.removed_at is null))"
    " or (d.status = 'sent' and d.at > %(since)s and d.at <= %(until)s))) unit"
)
_IN_FLIGHT = (
    "select count(*) from log_message where stream = %(stream)s and removed_at is null and expired_at is null"
    " and received_at > %(oldest)s and received_at <= %(since)s"
)


def units_last(database: Database, stream: str, minutes: int, now: datetime) -> int:
    """Units of a stream used in the last `minutes`, up to and with `now`."""
    return _count(database, _UNITS, stream, now - timedelta(minutes=minutes), now)


def units_of_day(database: Database, stream: str, day: date, zone: ZoneInfo) -> int:
    """Units of a stream used on a local date."""
    start, end = day_bounds(day, zone)
    tick = timedelta(microseconds=1)
    return _count(database, _UNITS, stream, start - tick, end - tick)


def in_flight(database: Database, stream: str, minutes: int, now: datetime) -> int:
    """Messages taken earlier than `minutes` ago and still queued: not in `units_last`, but they may go any time."""
    return _count(database, _IN_FLIGHT, stream, now - timedelta(minutes=minutes), now)


def _count(database: Database, query: LiteralString, stream: str, since: datetime, until: datetime) -> int:
    with database.transaction() as connection:
        row = connection.execute(
            query, {"stream": stream, "since": since, "until": until, "oldest": since - QUEUE_LIFETIME}
        ).fetchone()
    return int(row[0]) if row else 0


def day_bounds(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """First moment of a local date and of the next one: 23, 24 or 25 hours apart."""
    return (
        datetime.combine(day, time(), zone),
        datetime.combine(day + timedelta(days=1), time(), zone),
    )


@dataclass(frozen=True)
class DayCounts:
    """What a stream's messages came to on one local day. A message is a (message, recipient) tried that day.

    Attributes:
        attempted: tried at least once.
        delivered, bounced, expired: how the day ended for them.
        deferred: still waiting at the end of the day (or now).
        deferred_once: put off at least once, delivered or not.
        hard_bounced: bounced with 5.1.x (the mailbox is at fault; RFC 3463).
        blocked: bounced or put off with 5.7.x or 4.7.x (we are at fault).
        max_rolling_hour: most deliveries in any 60 minutes of the day.
    """

    attempted: int = 0
    delivered: int = 0
    bounced: int = 0
    expired: int = 0
    deferred: int = 0
    deferred_once: int = 0
    hard_bounced: int = 0
    blocked: int = 0
    max_rolling_hour: int = 0

    def share(self, name: str) -> float | None:
        """A count as a share of the attempts; None without any: no signal is not a good signal."""
        return getattr(self, name) / self.attempted if self.attempted else None


_DAY = """
with tried as (
  select d.id, coalesce(m.original_id, d.queue_id) as unit, d.recipient, d.status, d.enhanced_code as code, d.at
  from delivery d left join log_message m using (queue_id)
  where d.stream = %(stream)s and d.at >= %(start)s and d.at < %(end)s),
ended as (
  select distinct on (unit, recipient) status from tried
  order by unit, recipient, (status = 'sent') desc, at desc, id desc),
once as (
  select bool_or(status = 'deferred') as deferred, bool_or(status = 'bounced' and code like '5.1.%%') as hard,
    bool_or(status in ('bounced', 'deferred') and (code like '5.7.%%' or code like '4.7.%%')) as blocked
  from tried group by unit, recipient),
hours as (
  select count(*) over (order by at range between interval '59:59.999999' preceding and current row) as n
  from tried where status = 'sent')
select (select count(*) from ended),
  (select count(*) from ended where status = 'sent'), (select count(*) from ended where status = 'bounced'),
  (select count(*) from ended where status = 'expired'), (select count(*) from ended where status = 'deferred'),
  (select count(*) from once where deferred), (select count(*) from once where hard),
  (select count(*) from once where blocked), (select coalesce(max(n), 0) from hours)
"""


def counts_of_day(database: Database, stream: str, day: date, zone: ZoneInfo) -> DayCounts:
    """Count a stream's local day. `stream` is the pool that mail left from."""
    start, end = day_bounds(day, zone)
    with database.transaction() as connection:
        row = connection.execute(_DAY, {"stream": stream, "start": start, "end": end}).fetchone()
    return DayCounts(*(int(value) for value in row)) if row else DayCounts()


def delivered_per_egress(database: Database, stream: str, day: date, zone: ZoneInfo) -> Mapping[str, int]:
    """Transport -> deliveries of a local day."""
    start, end = day_bounds(day, zone)
    with database.transaction() as connection:
        rows = connection.execute(
            "select transport, count(*) from delivery where stream = %s and status = 'sent' and at >= %s and at < %s"
            " group by transport order by transport",
            (stream, start, end),
        ).fetchall()
    return {transport: int(count) for transport, count in rows}


def per_operator(database: Database, stream: str, since: datetime) -> list[tuple[str, int, int, int, int]]:
    """(operator, delivered, deferred, bounced, expired) since a moment, by last outcome, largest first."""
    with database.transaction() as connection:
        rows = connection.execute(
            "select operator, count(*) filter (where status = 'sent'), count(*) filter (where status = 'deferred'),"
            " count(*) filter (where status = 'bounced'), count(*) filter (where status = 'expired') from"
            " (select distinct on (queue_id, recipient) operator, status from delivery where stream = %s and at >= %s"
            " order by queue_id, recipient, (status = 'sent') desc, at desc, id desc) last"
            " group by operator order by count(*) desc, operator",
            (stream, since),
        ).fetchall()
    return [(row[0], int(row[1]), int(row[2]), int(row[3]), int(row[4])) for row in rows]
