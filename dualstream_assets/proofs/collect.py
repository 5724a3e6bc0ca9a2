"""Run the five proofs and the auditor on one workplace: the only place that knows where each witness is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dualstream_assets import keys
from dualstream_assets.estate.questions import unanswered
from dualstream_assets.proofs.audit import Audit, audit
from dualstream_assets.proofs.board import Board, compose
from dualstream_assets.proofs.cap import prove_cap
from dualstream_assets.proofs.figures import rows_of
from dualstream_assets.proofs.isolation import prove_isolation
from dualstream_assets.proofs.others import prove_deliverability, prove_identity, prove_no_regression
from dualstream_assets.proofs.witness import (
    Arrival,
    Proof,
    arrivals_at_sinks,
    arrivals_in_log,
    campaign_streams,
)

if TYPE_CHECKING:
    from psycopg import Connection

    from dualstream_assets.workplace import Workplace


@dataclass(frozen=True)
class Collected:
    """Everything the board and the report draw."""

    proofs: tuple[Proof, ...]
    audit: Audit
    board: Board
    sinks: Sequence[Arrival] | None
    log: Sequence[Arrival]
    campaigns: dict[str, str]


def _proofs(
    connection: Connection[Any],
    workplace: Workplace,
    sinks: Sequence[Arrival] | None,
    log: Sequence[Arrival],
    campaigns: dict[str, str],
) -> tuple[Proof, ...]:
    estate, now = workplace.estate, workplace.clock.now()
    quiet = [name for name, stream in estate.streams.items() if stream.segment != "institutional"]
    return (
        prove_isolation(sinks, log, estate, campaigns),
        prove_identity(connection, estate, now),
        prove_deliverability(connection),
        prove_cap(connection, sinks, log, estate, campaigns),
        prove_no_regression(connection, now, quiet),
    )


def collect(workplace: Workplace) -> Collected:
    """Read every witness and judge. Touches the database and, in the lab, the receivers' records."""
    estate, now = workplace.estate, workplace.clock.now()
    sinks = arrivals_at_sinks(workplace.endpoints.sinks)
    with workplace.database.transaction() as connection:
        log = arrivals_in_log(connection, estate)
        campaigns = campaign_streams(connection)
        proofs = _proofs(connection, workplace, sinks, log, campaigns)
        figures = audit(connection, estate, [log] if sinks is None else [sinks, log], campaigns)
        board = compose(
            connection,
            estate,
            workplace.environment,
            now,
            proofs,
            rows_of(workplace.paths.audience / keys.VERIFIED_CSV),
            waiting_for(workplace),
        )
    return Collected(proofs, figures, board, sinks, log, campaigns)


def prove(workplace: Workplace, name: str) -> Proof:
    """One proof by name.

    Raises:
        KeyError: there is no proof of that name.
    """
    return {proof.name: proof for proof in collect(workplace).proofs}[name]


def waiting_for(workplace: Workplace) -> list[str]:
    """What a person must do next, each with its command."""
    waiting = []
    if workplace.environment == "production":
        waiting += [f"{q.key}: {q.question}" for q in unanswered(workplace.estate)]
    with workplace.database.transaction() as connection:
        stops = connection.execute(
            "select stream, reason, id from stream_stop where acknowledged_at is null order by id"
        ).fetchall()
        brakes = connection.execute(
            "select stream, kind, reason from brake where off_at is null order by id"
        ).fetchall()
    waiting += [
        f"{stream} stopped: {reason}. dualstream stop acknowledge {n} --reason '…'"
        for stream, reason, n in stops
    ]
    waiting += [
        f"{stream} {kind} brake on: {reason}. dualstream brake off {stream} --reason '…'"
        for stream, kind, reason in brakes
    ]
    return waiting
