"""The wave ledger in PostgreSQL: who was put into which wave, once, and what became of it.

A wave is reserved in one transaction under an advisory lock of its stream; `unique (campaign, address)` makes it
impossible to hold one person twice. States: reserved -> released -> handed_over -> settled, or abandoned.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dualstream_assets.listmonk.campaigns import Prepared
from dualstream_assets.sending.plan import Moment, WavePlan

if TYPE_CHECKING:
    from psycopg import Connection


class LedgerRefused(RuntimeError):
    """The ledger does not allow it: another wave is under way, or a person is already in this campaign."""


@dataclass(frozen=True)
class Wave:
    """One row of `wave`; times UTC."""

    id: int
    stream: str
    campaign: str
    state: str
    size: int
    members_hash: str
    permit_id: int | None
    list_id: int | None
    campaign_id: int | None
    campaign_uuid: str | None
    reserved_at: datetime | None
    released_at: datetime | None
    handed_over_at: datetime | None


_COLUMNS = (
    "id, stream, campaign, state, size, members_hash, permit_id, list_id, campaign_id, campaign_uuid::text,"
    " reserved_at, released_at, handed_over_at"
)


def reserve(connection: Connection[Any], plan: WavePlan) -> Wave:
    """Write a planned wave and its members, in the caller's transaction.

    Raises:
        LedgerRefused: the plan is empty, another wave of the stream is under way, or a person is already taken.
    """
    from psycopg.errors import UniqueViolation

    if not plan.people:
        raise LedgerRefused(f"{plan.stream}: nothing to reserve: {plan.why}")
    connection.execute("select pg_advisory_xact_lock(hashtext(%s))", (f"wave of {plan.stream}",))
    busy = under_way(connection, plan.stream)
    if busy:
        raise LedgerRefused(f"{plan.stream}: wave {busy[0].id} is {busy[0].state}; one wave at a time")
    row = connection.execute(
        "insert into wave (stream, campaign, local_date, state, size, cap_per_hour, cap_per_day, members_hash,"
        " planned_at, reserved_at) values (%s, %s, %s, 'reserved', %s, %s, %s, %s, %s, %s) returning id",
        (
            plan.stream,
            plan.campaign,
            plan.local_date,
            len(plan.people),
            plan.cap_per_hour,
            plan.cap_per_day,
            plan.members_hash,
            plan.at,
            plan.at,
        ),
    ).fetchone()
    assert row is not None  # noqa: S101
    wave_id = int(row[0])
    try:
        with connection.cursor() as cursor:
            cursor.executemany(
                "insert into wave_member (wave_id, stream, campaign, address, domain, operator, rank, state,"
                " changed_at) values (%s, %s, %s, %s, %s, %s, %s, 'reserved', %s)",
                [
                    (wave_id, plan.stream, plan.campaign, p.address, p.domain, p.operator, p.rank, plan.at)
                    for p in plan.people
                ],
            )
    except UniqueViolation:
        # The database's own text names the address: it must not travel on.
        raise LedgerRefused(f"{plan.stream}: a person of this plan is already in the campaign") from None
    return wave_of(connection, wave_id)


def wave_of(connection: Connection[Any], wave_id: int) -> Wave:
    """One wave by id.

    Raises:
        KeyError: there is none.
    """
    row = connection.execute(f"select {_COLUMNS} from wave where id = %s", (wave_id,)).fetchone()  # noqa: S608
    if row is None:
        raise KeyError(f"no wave {wave_id}")
    return Wave(*row)


def under_way(connection: Connection[Any], stream: str) -> list[Wave]:
    """Waves that are being dispatched: planned, reserved or released, oldest first."""
    rows = connection.execute(
        f"select {_COLUMNS} from wave where stream = %s"  # noqa: S608
        " and state in ('planned', 'reserved', 'released') order by id",
        (stream,),
    ).fetchall()
    return [Wave(*row) for row in rows]


def unsettled(connection: Connection[Any], stream: str) -> list[Wave]:
    """Waves whose members are not all final: released or handed over, oldest first."""
    rows = connection.execute(
        f"select {_COLUMNS} from wave where stream = %s and state in ('released', 'handed_over') order by id",  # noqa: S608
        (stream,),
    ).fetchall()
    return [Wave(*row) for row in rows]


def moment_of(connection: Connection[Any], stream: str) -> Moment:
    """What the plan needs to know of the stream's waves."""
    busy = under_way(connection, stream)
    row = connection.execute(
        "select max(released_at) from wave where stream = %s and state <> 'abandoned'", (stream,)
    ).fetchone()
    return Moment(row[0] if row else None, f"wave {busy[0].id}" if busy else None)


def addresses_of(connection: Connection[Any], wave_id: int) -> list[str]:
    """The members' addresses, in rank order."""
    rows = connection.execute(
        "select address from wave_member where wave_id = %s order by rank, address", (wave_id,)
    ).fetchall()
    return [row[0] for row in rows]


def note_prepared(connection: Connection[Any], wave_id: int, prepared: Prepared) -> None:
    """Keep the listmonk ids of a prepared wave, so that a cut-off one can be looked up there."""
    connection.execute(
        "update wave set list_id = %s, campaign_id = %s, campaign_uuid = %s where id = %s",
        (prepared.list_id, prepared.campaign_id, prepared.campaign_uuid, wave_id),
    )


def abandon(connection: Connection[Any], wave_id: int, note: str, now: datetime) -> None:
    """Give up a wave of which nothing was handed to Postfix: its people may be asked again.

    Raises:
        LedgerRefused: a member has a trace in the log or at the policy.
    """
    traced = connection.execute(
        "select 1 from wave w where w.id = %s and (exists (select 1 from policy_use p where p.wave_id = w.id)"
        " or exists (select 1 from log_message l where l.campaign_uuid = w.campaign_uuid)) limit 1",
        (wave_id,),
    ).fetchone()
    if traced:
        raise LedgerRefused(f"wave {wave_id} has left a trace in the mail log: it is not abandoned")
    connection.execute("update wave set state = 'abandoned', note = %s where id = %s", (note, wave_id))
    connection.execute(
        "update wave_member set state = 'not_sent', changed_at = %s where wave_id = %s", (now, wave_id)
    )
