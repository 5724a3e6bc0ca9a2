"""Waves in the ledger as `sending` would leave them, for tests that read what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import Connection

CAMPAIGN_UUID = "5f0c1d1e-5b1c-4f0f-9d43-6f4c2f7a0001"


def put_wave(
    connection: Connection[Any],
    addresses: Sequence[str],
    released_at: datetime | None,
    *,
    stream: str = "healthcare",
    campaign: str = "pecos-revalidation-lab",
    campaign_uuid: str = CAMPAIGN_UUID,
    cap_per_hour: int = 60,
    cap_per_day: int = 150,
) -> int:
    """Insert a released (or, without a time, reserved) wave with its members; returns its id."""
    state = "released" if released_at else "reserved"
    row = connection.execute(
        "insert into wave (stream, campaign, local_date, state, size, cap_per_hour, cap_per_day, members_hash,"
        " campaign_uuid, planned_at, released_at) values (%s, %s, '2026-11-30', %s, %s, %s, %s, 'hash', %s,"
        " coalesce(%s, now()), %s) returning id",
        (
            stream,
            campaign,
            state,
            len(addresses),
            cap_per_hour,
            cap_per_day,
            campaign_uuid,
            released_at,
            released_at,
        ),
    ).fetchone()
    assert row is not None
    for rank, address in enumerate(addresses, start=1):
        connection.execute(
            "insert into wave_member (wave_id, stream, campaign, address, domain, operator, rank, state, changed_at)"
            " values (%s, %s, %s, %s, %s, 'other', %s, %s, coalesce(%s, now()))",
            (row[0], stream, campaign, address, address.partition("@")[2], rank, state, released_at),
        )
    return int(row[0])


def states(connection: Connection[Any], wave_id: int) -> dict[str, str]:
    """Address -> state of a wave's members."""
    rows = connection.execute(
        "select address, state from wave_member where wave_id = %s", (wave_id,)
    ).fetchall()
    return dict(rows)
