"""Arming: production mails only while a person has armed the stream, with a reason and an end.

Not offered in the web UI, on purpose: Dagster's server starts runs on a forged GET (facts/dagster section 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Connection

    from dualstream_assets.estate import Estate

LONGEST = timedelta(days=31)


class ArmingRefused(ValueError):
    """The stream cannot be armed; the message says why and what to do."""


@dataclass(frozen=True)
class Arming:
    """One arming; times UTC."""

    stream: str
    reason: str
    armed_by: str
    armed_at: datetime
    ends_at: datetime


def arm(
    connection: Connection[Any],
    estate: Estate,
    stream: str,
    *,
    reason: str,
    ends_at: datetime,
    armed_by: str,
    now: datetime,
    environment: str,
) -> Arming:
    """Arm a stream until `ends_at`; ends an earlier arming.

    Raises:
        ArmingRefused: dev, no reason, an end in the past or too far away, or a foreign writer of the stream's cap.
    """
    if stream not in estate.streams:
        raise ArmingRefused(f"no stream {stream!r}; the estate has {', '.join(estate.streams)}")
    if environment == "dev":
        raise ArmingRefused(
            "dev cannot be armed: its mail ends in a sink. Set DUALSTREAM_ENV=production there"
        )
    if not reason.strip():
        raise ArmingRefused(f"arming {stream} needs a reason: dualstream arm {stream} --reason … --until …")
    if not now < ends_at <= now + LONGEST:
        raise ArmingRefused(f"arming {stream} must end after now and within {LONGEST.days} days")
    writer = estate.streams[stream].ramp.cap_writer
    if writer != "dualstream":
        raise ArmingRefused(
            f"{stream}'s cap is written by {writer}; remove that writer and set streams.{stream}.ramp.cap_writer"
        )
    disarm(connection, stream, now)
    connection.execute(
        "insert into arming (stream, reason, armed_by, armed_at, ends_at) values (%s, %s, %s, %s, %s)",
        (stream, reason, armed_by, now, ends_at),
    )
    return Arming(stream, reason, armed_by, now, ends_at)


def disarm(connection: Connection[Any], stream: str, now: datetime) -> bool:
    """End the stream's arming now; whether there was one."""
    ended = connection.execute(
        "update arming set disarmed_at = %s where stream = %s and disarmed_at is null and ends_at > %s",
        (now, stream, now),
    )
    return ended.rowcount > 0


def arming_at(connection: Connection[Any], stream: str, now: datetime) -> Arming | None:
    """The arming that holds at a moment."""
    row = connection.execute(
        "select stream, reason, armed_by, armed_at, ends_at from arming where stream = %s and armed_at <= %s"
        " and ends_at > %s and (disarmed_at is null or disarmed_at > %s) order by id desc limit 1",
        (stream, now, now, now),
    ).fetchone()
    return Arming(*row) if row else None


def armed_between(
    connection: Connection[Any], stream: str, start: datetime, end: datetime, environment: str
) -> bool:
    """Whether the stream was armed at any moment of an interval; the lab always is."""
    if environment == "lab":
        return True
    row = connection.execute(
        "select 1 from arming where stream = %s and armed_at < %s and least(ends_at, disarmed_at) > %s limit 1",
        (stream, end, start),
    ).fetchone()
    return row is not None
