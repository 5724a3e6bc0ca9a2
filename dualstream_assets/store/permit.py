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


_CONSUME = """
update permit p set used_at = %(now)s
where p.id = %(id)s and p.stream = %(stream)s and p.wave_id is not distinct from %(wave)s
  and p.kind = %(kind)s and p.members_hash = %(members)s
  and p.used_at is null and p.minted_at <= %(now)s and p.valid_until > %(now)s
  and cardinality(p.evidence_ids) = (
    select count(*) from evidence e
    where e.id = any(p.evidence_ids) and e.verdict = 'pass' and e.expires_at > %(now)s
      and not exists (select 1 from evidence n where n.stream = e.stream and n.subject = e.subject
                      and n.fact = e.fact and n.id > e.id))
returning p.id, p.kind, p.stream, p.wave_id, p.members_hash, p.evidence_ids, p.used_at
"""


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
    row = connection.execute(
        "select stream, wave_id, members_hash, used_at, valid_until from permit where id = %s", (permit_id,)
    ).fetchone()
    name = f"permit {permit_id} refused"
    if row is None:
        return f"{name}: no such row; only the gate mints permits"
    if row[0] != stream:
        return f"{name}: it is for {row[0]}, not for {stream}"
    if row[1] != wave_id:
        return f"{name}: it is for wave {row[1]}, not for {wave_id}"
    if row[2] != members_hash:
        return f"{name}: the members of the wave changed after it was minted"
    if row[3] is not None:
        return f"{name}: used already at {row[3]:%Y-%m-%d %H:%M:%S}"
    if row[4] <= now:
        return f"{name}: expired at {row[4]:%Y-%m-%d %H:%M:%S}"
    return f"{name}: evidence behind it was superseded, is stale, or is not green. Next: dualstream gate {stream}"
