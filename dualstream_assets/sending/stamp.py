"""The warmup stamp: one line, a zoned moment. Anything else is a fault, and a fault means the lowest stage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

FUTURE_TOLERANCE = timedelta(minutes=5)
"""A stamp further ahead than this was not written by this clock (facts: operations section 2, row 1)."""


@dataclass(frozen=True)
class Stamp:
    """The start of a warmup, UTC."""

    start: datetime


@dataclass(frozen=True)
class StampFault:
    """Why the stamp cannot be used; the message names the file."""

    reason: str


def read_stamp(path: Path, now: datetime) -> Stamp | StampFault:  # noqa: PLR0911  # one per fault
    """Read a stamp file: exactly one line, ISO 8601 with a zone, at most five minutes ahead of `now`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return StampFault(f"{path} is missing")
    except (OSError, UnicodeDecodeError) as error:
        return StampFault(f"{path} cannot be read: {type(error).__name__}")
    if len(lines) != 1:
        return StampFault(f"{path} has {len(lines)} lines; it must have one")
    try:
        start = datetime.fromisoformat(lines[0].strip())
    except ValueError:
        return StampFault(f"{path} is not an ISO 8601 moment")
    if start.tzinfo is None:
        return StampFault(f"{path} has no time zone")
    if start > now + FUTURE_TOLERANCE:
        return StampFault(f"{path} lies in the future ({start.astimezone(UTC):%Y-%m-%d %H:%M} UTC)")
    return Stamp(start.astimezone(UTC))
