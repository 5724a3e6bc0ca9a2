"""Joined rows into the tables: messages, deliveries, refusals, anomalies, and the people of our waves.

Every write is idempotent: rows have unique keys, a person's state moves by a rule that a second reading of the same
lines cannot turn back. Runs in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, LiteralString

from dualstream_assets.maillog.join import Change, Delivery, Joined, Message

if TYPE_CHECKING:
    from psycopg import Connection

OperatorOf = Callable[[Sequence[str]], str]
WAVE_INTERVAL = timedelta(minutes=60)
"""Mail without a campaign UUID is a wave's only this long after the release, and only if one wave fits."""

_EARLY = ["reserved", "released", "unknown", "refused"]
ALWAYS_FROM = {
    "queued": _EARLY,
    "held": _EARLY,
    "deferred": [*_EARLY, "queued"],
    "refused": ["reserved", "released", "unknown"],
    "deleted": [*_EARLY, "queued", "held", "deferred"],
    "bounced": [*_EARLY, "queued", "held", "deferred", "deleted"],
    "expired": [*_EARLY, "queued", "held", "deferred", "deleted"],
    "delivered": [*_EARLY, "queued", "held", "deferred", "deleted", "bounced", "expired"],
}
"""State -> states that it replaces whatever their time. Nothing replaces `delivered` or the proof `not_sent`."""
LATER_FROM = {"queued": ["held"], "held": ["queued", "deferred"], "deferred": ["held"]}
"""State -> states that it replaces only when its line is not older."""


@dataclass(frozen=True)
class Written:
    """What one batch added; a second reading of the same lines adds nothing."""

    messages: int
    deliveries: int
    refusals: int
    anomalies: int
    members: int


def known_messages(connection: Connection[Any], queue_ids: set[str]) -> dict[str, Message]:
    """The messages of these queue ids as far as earlier batches know them, with the recipient of our own waves."""
    rows = connection.execute(
        "select l.queue_id, l.submit_service, l.received_at, l.stream, l.original_id, l.message_id,"
        " l.campaign_uuid::text, l.subscriber_uuid::text, l.sender,"
        " (select m.address from wave_member m join wave w on w.id = m.wave_id where w.campaign_uuid = l.campaign_uuid"
        "  and (m.queue_id in (l.queue_id, l.original_id) or m.subscriber_uuid = l.subscriber_uuid) limit 1),"
        " l.signed, l.expired_at, l.removed_at from log_message l where l.queue_id = any(%s)",
        (list(queue_ids),),
    ).fetchall()
    return {row[0]: Message(*row) for row in rows}


def write(connection: Connection[Any], joined: Joined, operator_of: OperatorOf, now: datetime) -> Written:
    """Write one joined batch."""
    waves = _Waves(connection, joined)
    messages = _messages(connection, joined)
    fresh = _deliveries(connection, joined, waves, operator_of)
    refusals = _many(
        connection,
        "insert into log_refusal (stream, submit_service, action, reply_code, reply_text, sender, recipient, at)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
        [
            (stream, service, r.action, r.reply_code, r.text, r.sender, r.recipient, r.at)
            for r, service, stream in joined.refusals
        ],
    )
    anomalies = _many(
        connection,
        "insert into log_anomaly (kind, line, at) select %(kind)s, %(line)s, %(at)s where not exists"
        " (select 1 from log_anomaly where kind = %(kind)s and line = %(line)s and at = %(at)s)",
        [{"kind": a.kind, "line": a.line, "at": a.at or now} for a in joined.anomalies],
    )
    _stop_leaking(connection, [d for d in fresh if d.leaked])
    members = _members(connection, joined, waves)
    return Written(messages, len(fresh), refusals, anomalies, members)


class _Waves:
    """Which wave a message or a recipient belongs to: by campaign UUID, else by the wave's interval."""

    def __init__(self, connection: Connection[Any], joined: Joined) -> None:
        uuids = {m.campaign_uuid for m in joined.messages.values() if m.campaign_uuid}
        uuids |= {c.message.campaign_uuid for c in joined.changes if c.message and c.message.campaign_uuid}
        rows = connection.execute(
            "select campaign_uuid::text, id from wave where campaign_uuid = any(%s::uuid[])", (list(uuids),)
        ).fetchall()
        self._by_uuid: dict[str, int] = dict(rows)
        loose = {
            c.recipient for c in joined.changes if c.recipient and not (c.message and c.message.campaign_uuid)
        }
        loose |= {d.attempt.recipient for d in joined.deliveries if not d.message.campaign_uuid}
        self._by_recipient: dict[tuple[str, str], list[tuple[datetime, int]]] = {}
        for address, stream, released_at, wave_id in connection.execute(
            "select m.address, w.stream, w.released_at, w.id from wave_member m join wave w on w.id = m.wave_id"
            " where m.address = any(%s) and w.released_at is not null and m.state <> 'not_sent'",
            (list(loose),),
        ).fetchall():
            self._by_recipient.setdefault((stream, address), []).append((released_at, wave_id))

    def of(
        self, message: Message | None, stream: str | None, recipient: str | None, at: datetime
    ) -> int | None:
        """The wave's id, None for mail that is not ours or of which two waves could be the source."""
        if message and message.campaign_uuid:
            return self._by_uuid.get(message.campaign_uuid)
        began = message.received_at if message else at
        fitting = {
            wave_id
            for released_at, wave_id in self._by_recipient.get((stream or "", recipient or ""), [])
            if released_at <= began <= released_at + WAVE_INTERVAL
        }
        return fitting.pop() if len(fitting) == 1 else None


def _many(connection: Connection[Any], query: LiteralString, rows: Sequence[Any]) -> int:
    if not rows:
        return 0
    with connection.cursor() as cursor:
        cursor.executemany(query, rows)
        return max(0, cursor.rowcount)


def _messages(connection: Connection[Any], joined: Joined) -> int:
    if joined.never_queued:
        connection.execute("delete from log_message where queue_id = any(%s)", (list(joined.never_queued),))
    return _many(
        connection,
        "insert into log_message as old (queue_id, original_id, stream, submit_service, message_id, campaign_uuid,"
        " subscriber_uuid, sender, signed, received_at, expired_at, removed_at)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict (queue_id) do update set"
        " original_id = coalesce(excluded.original_id, old.original_id), stream = excluded.stream,"
        " submit_service = excluded.submit_service, message_id = coalesce(excluded.message_id, old.message_id),"
        " campaign_uuid = coalesce(excluded.campaign_uuid, old.campaign_uuid),"
        " subscriber_uuid = coalesce(excluded.subscriber_uuid, old.subscriber_uuid),"
        " sender = coalesce(excluded.sender, old.sender), signed = excluded.signed or old.signed,"
        " received_at = excluded.received_at, expired_at = coalesce(excluded.expired_at, old.expired_at),"
        " removed_at = coalesce(excluded.removed_at, old.removed_at)",
        [
            (m.queue_id, m.original_id, m.stream, m.service, m.message_id, m.campaign_uuid, m.subscriber_uuid,
             m.sender, m.signed, m.received_at, m.expired_at, m.removed_at)
            for m in joined.messages.values()
        ],
    )  # fmt: skip


_DELIVERY = (
    "insert into delivery (queue_id, recipient, transport, stream, campaign_uuid, wave_id, status, reply_code,"
    " enhanced_code, reply_text, relay_host, relay_address, operator, tls, delay_s, at)"
    " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing returning id"
)
_EXPIRED = (
    "insert into delivery (queue_id, recipient, transport, stream, campaign_uuid, wave_id, status, enhanced_code,"
    " reply_text, operator, tls, at) select distinct on (recipient) queue_id, recipient, transport, stream,"
    " campaign_uuid, wave_id, 'expired', enhanced_code, reply_text, operator, 'none', %(at)s from delivery d"
    " where queue_id = %(id)s and status = 'deferred' and not exists (select 1 from delivery f where"
    " f.queue_id = d.queue_id and f.recipient = d.recipient and f.status in ('sent', 'bounced', 'expired'))"
    " order by recipient, at desc on conflict do nothing"
)


def _deliveries(
    connection: Connection[Any], joined: Joined, waves: _Waves, operator_of: OperatorOf
) -> list[Delivery]:
    """Insert attempts; returns those that are new. An expiry is a final row for each recipient still deferred."""
    fresh: list[Delivery] = []
    given = [d for d in joined.deliveries if d.attempt.status in ("sent", "deferred", "bounced")]
    if given:
        rows = [_delivery_row(d, waves, operator_of) for d in given]
        with connection.cursor() as cursor:
            cursor.executemany(_DELIVERY, rows, returning=True)
            for delivery in given:
                if cursor.fetchone() is not None:
                    fresh.append(delivery)
                cursor.nextset()
    for message in joined.messages.values():
        if message.expired_at:
            connection.execute(_EXPIRED, {"id": message.queue_id, "at": message.expired_at})
    return fresh


def _delivery_row(delivery: Delivery, waves: _Waves, operator_of: OperatorOf) -> tuple[Any, ...]:
    attempt, message = delivery.attempt, delivery.message
    text = attempt.reply.rpartition(" said: ")[2]
    code = int(text[:3]) if text[:3].isdigit() else None
    host = attempt.relay_host or None
    address = (
        attempt.relay_address
        if attempt.relay_address[:1].isalnum() and "/" not in attempt.relay_address
        else None
    )
    wave = waves.of(message, message.stream, attempt.recipient, attempt.at)
    return (
        attempt.queue_id, attempt.recipient, attempt.transport, delivery.stream, message.campaign_uuid, wave,
        attempt.status, code, attempt.dsn, attempt.reply, host, address,
        operator_of([host]) if host else "none", attempt.tls, attempt.delay_s, attempt.at,
    )  # fmt: skip


def _stop_leaking(connection: Connection[Any], leaked: Sequence[Delivery]) -> None:
    """Mail of one stream left from another's pool: stop it. Only a newly read line stops, not a second reading."""
    for stream in sorted({d.message.stream for d in leaked if d.message.stream}):
        transports = ", ".join(sorted({d.attempt.transport for d in leaked if d.message.stream == stream}))
        connection.execute(
            "insert into stream_stop (stream, reason, source, at) values (%s, %s, 'maillog', %s)",
            (stream, f"mail of {stream} left by {transports}", max(d.attempt.at for d in leaked)),
        )


def _members(connection: Connection[Any], joined: Joined, waves: _Waves) -> int:
    """Move the people of our waves; each keeps the queue id that their message has now."""
    named = [
        (
            message.queue_id,
            waves.of(message, message.stream, message.recipient, message.received_at),
            message.recipient,
        )
        for message in joined.messages.values()
        if message.campaign_uuid and message.recipient
    ]
    _many(
        connection,
        "update wave_member set queue_id = %s where wave_id = %s and address = %s",
        [row for row in named if row[1] is not None],
    )
    rows = []
    for change in joined.changes:
        wave = waves.of(change.message, change.stream, change.recipient, change.at)
        if wave is not None and change.recipient:
            rows.append(_member_row(change, wave))
    return _many(
        connection,
        "update wave_member set state = %(state)s, queue_id = coalesce(%(queue_id)s, queue_id), changed_at = %(at)s"
        " where wave_id = %(wave)s and address = %(address)s and state <> %(state)s"
        " and (state = any(%(always)s) or (state = any(%(later)s) and changed_at <= %(at)s))",
        rows,
    )


def _member_row(change: Change, wave: int) -> dict[str, Any]:
    return {
        "state": change.state,
        "queue_id": change.message.queue_id if change.message else None,
        "at": change.at,
        "wave": wave,
        "address": change.recipient,
        "always": ALWAYS_FROM[change.state],
        "later": LATER_FROM.get(change.state, []),
    }
