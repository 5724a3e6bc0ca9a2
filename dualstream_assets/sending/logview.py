"""What the mail log can vouch for: until which moment it is read without a gap."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Connection

GAP_KINDS = ("gap", "unparsed")
"""Kinds of `log_anomaly` beside which the absence of a line proves nothing, acknowledged or not."""


def complete_until(connection: Connection[Any]) -> datetime | None:
    """The moment up to which every log source was read; None where no log was ever read.

    `read_at` is when the reader last stood at the end of the file, so silence up to then is known.
    """
    row = connection.execute("select min(read_at) from log_source").fetchone()
    return row[0] if row else None


def spoken_until(connection: Connection[Any]) -> datetime | None:
    """The moment up to which a *line that is missing* proves something; None where no log ever spoke.

    A log whose writer died reads as empty for ever: only what lies before the last line that did arrive is vouched for.
    """
    row = connection.execute(
        "select min(least(read_at, coalesce(last_line_at, 'epoch'))) from log_source"
    ).fetchone()
    return row[0] if row else None


def gap_since(connection: Connection[Any], since: datetime) -> bool:
    """Whether the log has a hole at or after a moment: then the absence of a line proves nothing."""
    row = connection.execute(
        "select 1 from log_anomaly where kind = any(%s) and at >= %s limit 1", (list(GAP_KINDS), since)
    ).fetchone()
    return row is not None
