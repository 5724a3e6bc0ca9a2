"""Permits: database rows that are consumed once. The type is for readers; the row is the lock.

Minted only by `sending/gate.py`; consumed in the transaction that commits the wave. A Python object proves nothing:
what counts is that the row exists, is unused, unexpired, for this stream, this wave and these members, and that every
piece of evidence behind it is still the newest of its kind, green and fresh.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from psycopg import Connection

PermitKind = Literal["wave", "probe"]


@dataclass(frozen=True)
class Permit:
    """A permit as it was consumed."""

    id: int
    kind: PermitKind
    stream: str
    wave_id: int | None
    members_hash: str
    evidence_ids: tuple[int, ...]
    used_at: datetime


class PermitRefused(RuntimeError):
    """This permit does not open anything; the message says why."""


_HELD = """(
  exists (select 1 from stream_stop s where s.stream = p.stream and s.acknowledged_at is null)
  or p.kind <> 'probe' and exists (
    select 1 from brake b where b.stream = p.stream and b.off_at is null and b.kind <> 'soft'))"""
"""Of a permit `p`: its stream is stopped, or braked (a probe may look while a brake is on)."""

_CONSUME = f"""
update permit p set used_at = %(now)s
where p.id = %(id)s and p.stream = %(stream)s and p.wave_id is not distinct from %(wave)s
  and p.kind = %(kind)s and p.members_hash = %(members)s
  and p.used_at is null and p.minted_at <= %(now)s and p.valid_until > %(now)s
  and cardinality(p.evidence_ids) = (
    select count(*) from evidence e
    where e.id = any(p.evidence_ids) and e.stream = p.stream and e.verdict = 'pass'
      and e.observed_at <= %(now)s and e.expires_at > %(now)s
      and not exists (select 1 from evidence n where n.stream = e.stream and n.subject = e.subject
                      and n.fact = e.fact and n.id > e.id))
  and not {_HELD}
returning p.id, p.kind, p.stream, p.wave_id, p.members_hash, p.evidence_ids, p.used_at
"""  # noqa: S608  # a constant of ours


def consume(
    connection: Connection[Any],
    permit_id: int,
    stream: str,
    wave_id: int | None,
    members_hash: str,
    now: datetime,
) -> Permit:
    """Use a permit, on the caller's transaction. `wave_id` None means a probe permit.

    Raises:
        PermitRefused: it is unknown, used, expired, for something else, or its evidence was superseded.
    """
    row = connection.execute(
        _CONSUME,
        {
            "id": permit_id,
            "stream": stream,
            "wave": wave_id,
            "kind": "probe" if wave_id is None else "wave",
            "members": members_hash,
            "now": now,
        },
    ).fetchone()
    if row is None:
        raise PermitRefused(_why(connection, permit_id, stream, wave_id, members_hash, now))
    return Permit(row[0], row[1], row[2], row[3], row[4], tuple(row[5]), row[6])


def _why(
    connection: Connection[Any],
    permit_id: int,
    stream: str,
    wave_id: int | None,
    members_hash: str,
    now: datetime,
) -> str:
    """The first reason, most telling first. The update above has decided; this only explains."""
    row = connection.execute(
        "select stream, wave_id, members_hash, used_at, minted_at, valid_until from permit where id = %s",
        (permit_id,),
    ).fetchone()
    if row is None:
        return f"permit {permit_id} refused: no such row; only the gate mints permits"
    of_stream, of_wave, of_members, used_at, minted_at, valid_until = row
    reasons = (
        (of_stream != stream, f"it is for {of_stream}, not for {stream}"),
        (of_wave != wave_id, f"it is for {_what(of_wave)}, not for {_what(wave_id)}"),
        (of_members != members_hash, "the members changed after it was minted"),
        (used_at is not None, f"it was used already, at {used_at or now:%Y-%m-%d %H:%M:%S} UTC"),
        (minted_at > now, "it was minted later than now: was the clock set back?"),
        (valid_until <= now, f"it expired at {valid_until:%Y-%m-%d %H:%M:%S} UTC"),
    )
    reason = next((text for holds, text in reasons if holds), None)
    return f"permit {permit_id} refused: {reason or _evidence_that_fell(connection, permit_id, now)}"


def _held(connection: Connection[Any], permit_id: int) -> bool:
    row = connection.execute(
        f"select 1 from permit p where p.id = %s and {_HELD}",  # noqa: S608  # a constant of ours
        (permit_id,),
    ).fetchone()
    return row is not None


def _what(wave_id: int | None) -> str:
    return "a probe" if wave_id is None else f"wave {wave_id}"


def _evidence_that_fell(connection: Connection[Any], permit_id: int, now: datetime) -> str:
    rows = connection.execute(
        "select e.stream, e.subject, e.fact, n.verdict, n.expires_at <= %(now)s, n.id <> e.id"
        " from permit p join evidence e on e.id = any(p.evidence_ids) cross join lateral"
        " (select * from evidence x where x.stream = e.stream and x.subject = e.subject and x.fact = e.fact"
        "  order by x.id desc limit 1) n"
        " where p.id = %(id)s and (n.id <> e.id or n.verdict <> 'pass' or n.expires_at <= %(now)s) order by e.id",
        {"id": permit_id, "now": now},
    ).fetchall()
    if not rows and _held(connection, permit_id):
        return "the stream was stopped or braked after it was minted"
    if not rows:
        return "its evidence is missing, of another stream, or later than now"
    stream, subject, fact, verdict, is_stale, is_superseded = rows[0]
    state = verdict if verdict != "pass" else "stale" if is_stale else "looked at again since"
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    since = ", superseded" if is_superseded and verdict != "pass" else ""
    return f"{subject} {fact} is {state}{since}{more}. Next: dualstream gate {stream}"
