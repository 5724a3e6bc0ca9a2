"""How much of a stream's caps is used. A unit is one message, ours or anybody's on the same stream.

A unit is used at release, and again in the hour (and day) in which it is really delivered; what is still queued may be
delivered at any moment and counts as in flight (facts: operations section 1). Source: the ledger and the mail log,
never listmonk.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from dualstream_assets.sending.window import midnight

if TYPE_CHECKING:
    from psycopg import Connection

WINDOW = timedelta(minutes=61)
"""One minute more than the hour: a wave is dispatched over about a minute."""
QUEUE_LIFETIME = timedelta(days=6)
"""Postfix keeps mail five days; nothing older can still be delivered."""


@dataclass(frozen=True)
class Units:
    """Units of one stream; `own` counts ours, `others` everybody else's on it.

    Attributes:
        own_hour: ours released or delivered in the last 61 minutes.
        others_hour: other senders' messages delivered in the last 61 minutes.
        own_in_flight: ours released earlier than that, and not final.
        others_in_flight: other senders' messages in the queue.
        own_day: ours released or delivered on this local date.
        others_day: other senders' messages delivered on this local date.
        carried: ours released on an earlier date, and not final.
    """

    own_hour: int = 0
    others_hour: int = 0
    own_in_flight: int = 0
    others_in_flight: int = 0
    own_day: int = 0
    others_day: int = 0
    carried: int = 0

    @property
    def hour(self) -> int:
        """Everything seen in the last 61 minutes."""
        return self.own_hour + self.others_hour

    @property
    def in_flight(self) -> int:
        """Everything queued that is not yet counted in the hour."""
        return self.own_in_flight + self.others_in_flight

    @property
    def day(self) -> int:
        """Everything that used up this local date, with what may still arrive on it from before."""
        return self.own_day + self.others_day + self.carried + self.others_in_flight


OPEN_STATES = ["reserved", "released", "queued", "deferred", "held", "unknown"]
"""Member states in which a message may still reach a receiver."""

_QUERY = """
with ours as (
  select id, campaign_uuid, released_at from wave
  where stream = %(stream)s and released_at > %(oldest)s and state <> 'abandoned'),
arrived as (
  select d.wave_id, d.recipient, max(d.at) as at from delivery d join ours on ours.id = d.wave_id
  where d.stream = %(stream)s and d.status = 'sent' and d.at > least(%(hour)s, %(today)s)
  group by d.wave_id, d.recipient),
members as (
  select ours.released_at, m.state, arrived.at from ours join wave_member m on m.wave_id = ours.id
  left join arrived on arrived.wave_id = m.wave_id and arrived.recipient = m.address
  where m.state <> 'not_sent'
    and (ours.released_at > least(%(hour)s, %(today)s) or arrived.at is not null or m.state = any(%(open)s))),
others as (
  select d.at from delivery d where d.stream = %(stream)s and d.status = 'sent' and d.wave_id is null
  and d.at > least(%(hour)s, %(today)s))
select
  (select count(*) from members where released_at > %(hour)s or at > %(hour)s),
  (select count(*) from others where at > %(hour)s),
  (select count(*) from members where released_at <= %(hour)s and (at is null or at <= %(hour)s)
     and state = any(%(open)s)),
  (select count(*) from log_message l where l.stream = %(stream)s and l.removed_at is null
     and l.expired_at is null and l.received_at > %(oldest)s
     and not exists (select 1 from ours where ours.campaign_uuid = l.campaign_uuid)),
  (select count(*) from members where released_at >= %(today)s or at >= %(today)s),
  (select count(*) from others where at >= %(today)s),
  (select count(*) from members where released_at < %(today)s and (at is null or at < %(today)s)
     and state = any(%(open)s))
"""


def count_units(connection: Connection[Any], stream: str, zone: ZoneInfo, now: datetime) -> Units:
    """Count a stream's units from `wave`, `wave_member`, `delivery` and `log_message`."""
    row = connection.execute(
        _QUERY,
        {
            "stream": stream,
            "hour": now - WINDOW,
            "today": midnight(zone, now.astimezone(zone).date()),
            "oldest": now - QUEUE_LIFETIME,
            "open": OPEN_STATES,
        },
    ).fetchone()
    return Units(*(int(value) for value in row)) if row else Units()
