"""The front door: what the operator sees first, as data. The rim and the report page draw it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dualstream_assets.estate import Estate
from dualstream_assets.proofs.witness import Proof, Proved
from dualstream_assets.sending.gate import GateReport, assess

if TYPE_CHECKING:
    from psycopg import Connection


@dataclass(frozen=True)
class StreamToday:
    """One stream's line on the board; counts are people, caps messages."""

    stream: str
    cap_per_hour: int
    cap_per_day: int
    effective_day: int | None
    ramp_reason: str
    sent_today: int
    waves_today: int
    gate: GateReport
    brake: str | None
    last_wave: str


@dataclass(frozen=True)
class Board:
    """Everything on the front page."""

    environment: str
    at: datetime
    sentence: str
    streams: tuple[StreamToday, ...]
    verified: int
    unmailed: int
    proofs: tuple[Proof, ...]
    waiting: tuple[str, ...]


def compose(
    connection: Connection[Any],
    estate: Estate,
    environment: str,
    now: datetime,
    proofs: Sequence[Proof],
    verified: int,
    waiting: Sequence[str],
) -> Board:
    """Read the board from the database. `verified` counts the rows of the verified file."""
    streams = tuple(_today(connection, estate, name, now) for name in estate.streams)
    mailed = connection.execute(
        "select count(distinct address) from wave_member m join wave w on w.id = m.wave_id"
        " where m.state not in ('reserved', 'not_sent') and w.stream = any(%s)",
        ([n for n, s in estate.streams.items() if s.segment == "institutional"],),
    ).fetchone()
    unmailed = max(0, verified - (mailed[0] if mailed else 0))
    return Board(
        environment,
        now,
        _sentence(streams, proofs),
        streams,
        verified,
        unmailed,
        tuple(proofs),
        tuple(waiting),
    )


def _today(connection: Connection[Any], estate: Estate, stream: str, now: datetime) -> StreamToday:
    first = estate.streams[stream].ramp.stages[0]
    ramp = connection.execute(
        "select cap_per_hour, cap_per_day, effective_day, reason from ramp_day where stream = %s"
        " order by local_date desc limit 1",
        (stream,),
    ).fetchone() or (first.cap_per_hour, first.cap_per_day, None, "not decided yet: lowest stage")
    today = now.astimezone(estate.zone).date()
    waves = connection.execute(
        "select count(*), coalesce(sum(size), 0) from wave where stream = %s and local_date = %s"
        " and released_at is not null",
        (stream, today),
    ).fetchone() or (0, 0)
    last = connection.execute(
        "select id, size, state, released_at from wave where stream = %s and released_at is not null"
        " order by id desc limit 1",
        (stream,),
    ).fetchone()
    brake = connection.execute(
        "select kind, reason from brake where stream = %s and off_at is null order by id desc limit 1",
        (stream,),
    ).fetchone()
    local = last[3].astimezone(estate.zone).strftime("%Y-%m-%d %H:%M") if last else ""
    return StreamToday(
        stream=stream,
        cap_per_hour=ramp[0],
        cap_per_day=ramp[1],
        effective_day=ramp[2],
        ramp_reason=ramp[3],
        sent_today=int(waves[1]),
        waves_today=int(waves[0]),
        gate=assess(connection, estate, stream, now),
        brake=f"{brake[0]}: {brake[1]}" if brake else None,
        last_wave=f"wave {last[0]}: {last[1]} people, {last[2]}, {local}" if last else "none yet",
    )


def _sentence(streams: Sequence[StreamToday], proofs: Sequence[Proof]) -> str:
    """Today in one sentence."""
    said = [
        f"{s.stream} {'is open' if s.gate.open else 'is SHUT'}, {s.sent_today} of {s.cap_per_day} sent today"
        for s in streams
    ]
    red = [p.name for p in proofs if p.outcome is Proved.FAIL]
    unknown = [p.name for p in proofs if p.outcome is Proved.UNKNOWN]
    if red:
        said.append(f"proof RED: {', '.join(red)}")
    if unknown:
        said.append(f"not proved yet: {', '.join(unknown)}")
    if not red and not unknown:
        said.append("all five proofs hold")
    return "; ".join(said) + "."
