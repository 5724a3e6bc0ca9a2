"""The wave policy at the submission ports: the third belt, asked by Postfix for every recipient and every message.

At RCPT: a member of a released wave of this port's stream, not suppressed, not used, passes; anybody else is refused
for good and the stream stops. At END-OF-MESSAGE the use is written, once, under a lock, so that two ports at the same
moment let one message through. Behind both a backstop on the hour and the day (facts: operations section 3).
Every decision is one short transaction of the caller's. Nothing here talks SMTP; `policy_server` speaks the protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from math import ceil, floor
from typing import TYPE_CHECKING, Any

from dualstream_assets.estate import Estate
from dualstream_assets.sending.window import midnight
from dualstream_assets.store.evidence import Subject, Verdict, record
from dualstream_assets.store.suppression import suppressed

if TYPE_CHECKING:
    from psycopg import Connection

HOUR_MARGIN = 1.25
DAY_MARGIN = 1.1
WAVES_HELD = 2
PROBES_A_DAY = 20
SOURCE = "wave policy"


@dataclass(frozen=True)
class Request:
    """What Postfix asks (SMTPD_POLICY_README): the attributes that decide."""

    protocol_state: str
    recipient: str
    sender: str
    server_port: int
    queue_id: str = ""

    @classmethod
    def of(cls, attributes: Mapping[str, str]) -> Request:
        """From the protocol's attributes.

        Raises:
            ValueError: not a request for access policy, or without a port.
        """
        if attributes.get("request") != "smtpd_access_policy":
            raise ValueError(f"not a policy request: {attributes.get('request')!r}")
        return cls(
            attributes.get("protocol_state", ""),
            attributes.get("recipient", "").strip().lower(),
            attributes.get("sender", "").strip().lower(),
            int(attributes.get("server_port", "")),
            attributes.get("queue_id", ""),
        )


@dataclass(frozen=True)
class Action:
    """The answer: the action as an access(5) table would have it, and the rule that gave it."""

    text: str
    rule: str


DUNNO = Action("DUNNO", "not ours to judge")


@dataclass(frozen=True)
class _Place:
    """A person's place in a released wave."""

    wave_id: int
    cap_per_hour: int
    cap_per_day: int
    used: bool


def decide(connection: Connection[Any], request: Request, estate: Estate, now: datetime) -> Action:
    """Answer one request, in the caller's transaction."""
    stream = next((e.stream for e in estate.egress if e.port == request.server_port), None)
    if stream is None or request.protocol_state not in ("RCPT", "END-OF-MESSAGE"):
        return DUNNO
    at_end = request.protocol_state == "END-OF-MESSAGE"
    if at_end:
        # One message at a time per stream: count and use must be one step, whichever port asks.
        connection.execute("select pg_advisory_xact_lock(hashtext(%s))", (f"wave policy {stream}",))
    place = _place(connection, stream, request.recipient)
    if place is None and request.recipient in {seed.lower() for seed in estate.seeds}:
        return _probe(connection, stream, request, estate, now, at_end=at_end)
    if place is None:
        _stop(connection, stream, now)
        return Action("550 5.7.1 recipient is not in a released wave", "not in a wave")
    if suppressed(connection, [request.recipient]):
        return Action("550 5.7.1 recipient is suppressed", "suppressed")
    if place.used:
        return Action("550 5.7.1 this wave's message was taken already", "used")
    back = _backstop(connection, stream, place, estate, now)
    if at_end and not (back and back.text.startswith("450")):
        _use(connection, place.wave_id, stream, request, now)
    return back or Action("DUNNO", "member of a released wave")


def _place(connection: Connection[Any], stream: str, recipient: str) -> _Place | None:
    """The person's oldest unused place; a used one only where there is no other."""
    row = connection.execute(
        "select w.id, w.cap_per_hour, w.cap_per_day, p.recipient is not null as used"
        " from wave_member m join wave w on w.id = m.wave_id"
        " left join policy_use p on p.wave_id = w.id and p.recipient = m.address"
        " where m.address = %s and w.stream = %s and w.state in ('released', 'handed_over') and m.state <> 'not_sent'"
        " order by used, w.id limit 1",
        (recipient, stream),
    ).fetchone()
    return _Place(*row) if row else None


def _use(connection: Connection[Any], wave_id: int, stream: str, request: Request, now: datetime) -> None:
    connection.execute(
        "insert into policy_use (wave_id, stream, recipient, port, used_at) values (%s, %s, %s, %s, %s)",
        (wave_id, stream, request.recipient, request.server_port, now),
    )


def _stop(connection: Connection[Any], stream: str, now: datetime) -> None:
    """Someone submits what no wave asked for: stop the stream, once, until a person acknowledges it."""
    connection.execute(
        "insert into stream_stop (stream, reason, source, at) select %(stream)s, %(reason)s, %(source)s, %(now)s"
        " where not exists (select 1 from stream_stop where stream = %(stream)s and source = %(source)s"
        " and acknowledged_at is null)",
        {
            "stream": stream,
            "reason": "a recipient outside every released wave was submitted",
            "source": SOURCE,
            "now": now,
        },
    )


def _backstop(
    connection: Connection[Any], stream: str, place: _Place, estate: Estate, now: datetime
) -> Action | None:
    """Hold what runs beyond the caps, for at most two waves' worth; then 450, so that listmonk's error limit pauses."""
    today = midnight(estate.zone, now.astimezone(estate.zone).date())
    row = connection.execute(
        "select count(*) filter (where used_at > %s), count(*) filter (where used_at >= %s) from policy_use"
        " where stream = %s and used_at > least(%s, %s)",
        (
            now - timedelta(hours=1),
            today,
            stream,
            now - timedelta(hours=1),
            today - timedelta(microseconds=1),
        ),
    ).fetchone()
    in_hour, in_day = row if row else (0, 0)
    over = max(
        in_hour + 1 - floor(HOUR_MARGIN * place.cap_per_hour),
        in_day + 1 - floor(DAY_MARGIN * place.cap_per_day),
    )
    if over <= 0:
        return None
    if over <= WAVES_HELD * ceil(place.cap_per_hour / 10):
        return Action("HOLD beyond the cap", "backstop")
    return Action("450 4.7.1 beyond the cap, try later", "backstop")


def _probe(
    connection: Connection[Any], stream: str, request: Request, estate: Estate, now: datetime, *, at_end: bool
) -> Action:
    """A seed passes on a valid probe permit of this stream: each seed once a permit, few a day.

    A probe's use is a row of evidence: `policy_use` belongs to waves. The seed is written as a hash.
    """
    permits = connection.execute(
        "select id from permit where kind = 'probe' and stream = %s and minted_at <= %s and valid_until > %s"
        " order by id",
        (stream, now, now),
    ).fetchall()
    if not permits:
        return Action("550 5.7.1 no valid probe permit for this seed", "no probe permit")
    subject = Subject(stream, "probe", "probe_sent")
    today = midnight(estate.zone, now.astimezone(estate.zone).date())
    used = connection.execute(
        "select evidence from evidence where stream = %s and fact = %s and observed_at >= %s",
        (stream, subject.fact, today),
    ).fetchall()
    if len(used) >= PROBES_A_DAY:
        return Action(f"450 4.7.1 {PROBES_A_DAY} probes were sent today", "probes used up")
    seed = sha256(request.recipient.encode()).hexdigest()[:12]
    mine = next(
        (m for (id_,) in permits if (m := f"permit {id_}, seed {seed}") not in {row[0] for row in used}), None
    )
    if mine is None:
        return Action("550 5.7.1 this permit's probe to the seed was sent already", "used")
    if at_end:
        record(connection, subject, Verdict.PASS, mine, SOURCE, now, timedelta(days=1))
    return Action("DUNNO", "probe permit")
