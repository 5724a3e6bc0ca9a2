"""Brakes: a stream stopped or held by what receivers answered, or by a person.

First form (facts: operations sections 2 and 5, mail section 4.2): rates count from a minimum volume on; blocks count by
the hour and operator. `hard`, `block` and `manual` shut the gate until a person releases them with a reason. `soft`
only holds the ramp (its row 8) and goes when the rates recover: a slow afternoon is no reason to stop.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from psycopg import Connection

    from dualstream_assets.estate import Estate
    from dualstream_assets.estate.model import Brakes

BrakeKind = Literal["hard", "block", "soft", "manual"]
SHUTTING: tuple[BrakeKind, ...] = ("hard", "block", "manual")
"""Kinds that shut the gate."""
RATE_WINDOW = timedelta(hours=24)
SUSPENDED_FOR = timedelta(hours=2)
OPERATORS_THAT_STOP = 2
"""Blocks at this many operators within one hour stop the stream; at one they suspend that operator."""


class BrakeRefused(ValueError):
    """A brake needs a reason, or is not on; the message says which."""


@dataclass(frozen=True)
class Brake:
    """A brake that is on, or was proposed by `judge`. `evidence` has numbers, never addresses."""

    stream: str
    kind: BrakeKind
    reason: str
    evidence: str
    on_at: datetime


@dataclass(frozen=True)
class Replies:
    """What receivers answered.

    Attributes:
        attempts, delivered, deferred, hard: messages of the last 24 hours by their last word; hard: 5.1.x.
        blocks: operator -> block replies in the last hour.
    """

    attempts: int = 0
    delivered: int = 0
    deferred: int = 0
    hard: int = 0
    blocks: tuple[tuple[str, int], ...] = ()


def judge(stream: str, replies: Replies, thresholds: Brakes, now: datetime) -> Brake | None:
    """The brake that these replies call for, the hardest first; None when there is none."""
    blocking = [op for op, count in replies.blocks if count >= thresholds.block_replies_per_hour]
    evidence = (
        f"{replies.attempts} attempts in 24 h: {replies.delivered} delivered, {replies.deferred} deferred,"
        f" {replies.hard} dead mailboxes; block replies in 1 h: {dict(replies.blocks) or 'none'}"
    )
    enough = replies.attempts >= thresholds.minimum_attempts
    if enough and replies.hard >= thresholds.hard_bounce_share * replies.attempts:
        share = replies.hard / replies.attempts
        return Brake(stream, "hard", f"{share:.1%} of {replies.attempts} mailboxes are dead", evidence, now)
    if len(blocking) >= OPERATORS_THAT_STOP:
        return Brake(stream, "block", f"blocked by {', '.join(sorted(blocking))}", evidence, now)
    final = replies.delivered + replies.deferred + replies.hard
    if enough and replies.deferred > thresholds.soft_deferred_share * replies.attempts:
        return Brake(stream, "soft", f"{replies.deferred} of {replies.attempts} are deferred", evidence, now)
    if enough and final and replies.delivered < thresholds.soft_delivered_share * replies.attempts:
        return Brake(
            stream, "soft", f"only {replies.delivered} of {replies.attempts} are delivered", evidence, now
        )
    return None


def read_replies(connection: Connection[Any], stream: str, now: datetime) -> Replies:
    """What receivers answered to a stream, from the table `delivery`; since the last brake was released."""
    released = connection.execute(
        "select max(off_at) from brake where stream = %s and kind = any(%s)", (stream, list(SHUTTING))
    ).fetchone()
    since = now - RATE_WINDOW
    if released and released[0]:
        since = max(since, released[0])
    row = connection.execute(
        "select count(*), count(*) filter (where status = 'sent'), count(*) filter (where status = 'deferred'),"
        " count(*) filter (where status = 'bounced' and enhanced_code like '5.1.%%')"
        " from (select distinct on (queue_id, recipient) status, enhanced_code from delivery where stream = %s"
        " and at >= %s order by queue_id, recipient, at desc, id desc) last",
        (stream, since),
    ).fetchone() or (0, 0, 0, 0)
    blocks = block_replies(connection, stream, max(since, now - timedelta(hours=1)))
    return Replies(int(row[0]), int(row[1]), int(row[2]), int(row[3]), tuple(sorted(blocks.items())))


def block_replies(connection: Connection[Any], stream: str, since: datetime) -> Counter[str]:
    """Operator -> replies since a moment that say: we do not want your mail (not: this mailbox is dead)."""
    from dualstream_assets.receivers.replies import Reply, rule_reply

    rows = connection.execute(
        "select operator, reply_code, reply_text from delivery where stream = %s and at >= %s"
        " and status in ('deferred', 'bounced') and reply_code is not null",
        (stream, since),
    ).fetchall()
    return Counter(
        operator
        for operator, code, text in rows
        if rule_reply(Reply("data", int(code), text, operator)).ruling == "blocked"
    )


def suspended_operators(
    connection: Connection[Any], stream: str, thresholds: Brakes, now: datetime
) -> frozenset[str]:
    """Operators that gave enough block replies lately: they rest for two hours."""
    counted = block_replies(connection, stream, now - SUSPENDED_FOR)
    return frozenset(op for op, count in counted.items() if count >= thresholds.block_replies_per_hour)


def brake_on(connection: Connection[Any], stream: str) -> Brake | None:
    """The brake that is on, the newest first; None if there is none."""
    row = connection.execute(
        "select stream, kind, reason, evidence, on_at from brake where stream = %s and off_at is null"
        " order by id desc limit 1",
        (stream,),
    ).fetchone()
    return Brake(*row) if row else None


def engage(connection: Connection[Any], brake: Brake) -> bool:
    """Turn a brake on; False if one of that kind is on already.

    Raises:
        BrakeRefused: no reason given.
    """
    if not brake.reason.strip():
        raise BrakeRefused(f"a brake needs a reason: dualstream brake on {brake.stream} --reason '…'")
    done = connection.execute(
        "insert into brake (stream, kind, reason, evidence, on_at) select %s, %s, %s, %s, %s"
        " where not exists (select 1 from brake where stream = %s and kind = %s and off_at is null)",
        (brake.stream, brake.kind, brake.reason, brake.evidence, brake.on_at, brake.stream, brake.kind),
    )
    return done.rowcount == 1


def release_brake(connection: Connection[Any], stream: str, reason: str, now: datetime) -> int:
    """Turn all brakes of a stream off; returns how many. Counting starts anew from here.

    Raises:
        BrakeRefused: no reason given, or no brake is on.
    """
    if not reason.strip():
        raise BrakeRefused(f"releasing a brake needs a reason: dualstream brake off {stream} --reason '…'")
    done = connection.execute(
        "update brake set off_at = %s, off_reason = %s where stream = %s and off_at is null",
        (now, reason, stream),
    )
    if done.rowcount == 0:
        raise BrakeRefused(f"{stream}: no brake is on")
    return done.rowcount


def watch(connection: Connection[Any], estate: Estate, stream: str, now: datetime) -> Brake | None:
    """Judge a stream's replies and engage what they call for; the brake if one came on now."""
    brake = judge(stream, read_replies(connection, stream, now), estate.streams[stream].brakes, now)
    if brake is None or brake.kind != "soft":
        connection.execute(
            "update brake set off_at = %s, off_reason = 'the rates recovered' where stream = %s and kind = 'soft'"
            " and off_at is null",
            (now, stream),
        )
    if brake is not None and engage(connection, brake):
        return brake
    return None
