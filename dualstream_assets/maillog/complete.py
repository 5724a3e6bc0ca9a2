"""Whether the mail log can be relied on: read to its end lately, nothing unparsed, no hole. Else the gate is shut."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from dualstream_assets.clock import Clock
from dualstream_assets.estate import Estate
from dualstream_assets.store.evidence import Evidence, Subject, probing

if TYPE_CHECKING:
    from psycopg import Connection

    from dualstream_assets.store.database import Database

VALID_FOR = timedelta(hours=2)
READ_WITHIN = timedelta(minutes=15)
"""The reader runs every minute; a place in the log older than this says nothing of now."""
OPEN_KINDS = ("gap", "unparsed")
ACKNOWLEDGED = "acknowledged"


@dataclass(frozen=True)
class Completeness:
    """What stands against relying on the log; `None` for `complete` is unknown."""

    complete: bool | None
    sentence: str
    gaps: int
    unparsed: int


SPEAKS_WITHIN = timedelta(minutes=5)
"""A released wave leaves lines within a minute; later silence means that nobody writes the log."""


def completeness(connection: Connection[Any], now: datetime) -> Completeness:
    """Judge from `log_source` and the anomalies since the last acknowledgement."""
    rows = connection.execute(
        "select kind, count(*) from log_anomaly where kind = any(%s) and id >"
        " (select coalesce(max(id), 0) from log_anomaly where kind = %s) group by kind",
        (list(OPEN_KINDS), ACKNOWLEDGED),
    ).fetchall()
    counts = {kind: int(count) for kind, count in rows}
    gaps, unparsed = counts.get("gap", 0), counts.get("unparsed", 0)
    if gaps or unparsed:
        said = f"{gaps} gaps and {unparsed} unparsed lines since the last acknowledgement"
        return Completeness(False, said, gaps, unparsed)
    row = connection.execute("select min(read_at), sum(byte_offset) from log_source").fetchone()
    if row is None or row[0] is None:
        return Completeness(None, "no mail log was ever read", 0, 0)
    age = now - row[0]
    if age > READ_WITHIN:
        minutes = age // timedelta(minutes=1)
        return Completeness(None, f"the log was last read to its end {minutes:,} minutes ago", 0, 0)
    silent = connection.execute(
        "select 1 from wave where state in ('released', 'handed_over') and released_at between %s and %s"
        " and released_at > (select coalesce(max(last_line_at), 'epoch') from log_source) limit 1",
        (now - timedelta(days=1), now - SPEAKS_WITHIN),
    ).fetchone()
    if silent:
        return Completeness(
            None, "a wave was released and the log has said nothing since: does its writer live?", 0, 0
        )
    return Completeness(True, f"{int(row[1]):,} bytes read, nothing unparsed, no gap", 0, 0)


def look_at_log(database: Database, clock: Clock, estate: Estate, source: str) -> dict[Subject, Evidence]:
    """Write the evidence `log_complete` of every stream; returns it."""
    subjects = [Subject(stream, "maillog", "log_complete") for stream in estate.streams]
    with probing(database, clock, subjects, source=source, valid_for=VALID_FOR) as probe:
        with database.transaction() as connection:
            found = completeness(connection, clock.now())
        for subject in subjects:
            probe.found_that(subject, found.complete, found.sentence)
    return probe.found


def acknowledge(database: Database, reason: str, now: datetime) -> int:
    """A person looked at the open gaps and unparsed lines; returns how many. Waves released before stay unknown.

    Raises:
        ValueError: no reason was given.
    """
    if not reason.strip():
        raise ValueError("say why the gap may be passed over: it stays on record")
    with database.transaction() as connection:
        found = completeness(connection, now)
        connection.execute(
            "insert into log_anomaly (kind, line, at) values (%s, %s, %s)", (ACKNOWLEDGED, reason, now)
        )
    return found.gaps + found.unparsed


def unsigned(connection: Connection[Any], since: datetime) -> dict[str, int]:
    """Stream -> messages delivered since a moment without a DKIM signature in the log."""
    rows = connection.execute(
        "select m.stream, count(distinct m.queue_id) from log_message m join delivery d using (queue_id)"
        " where d.status = 'sent' and d.at >= %s and not m.signed and m.stream is not null group by m.stream",
        (since,),
    ).fetchall()
    return {stream: int(count) for stream, count in rows}


def alarms(connection: Connection[Any], since: datetime) -> dict[str, int]:
    """Kind -> anomalies since a moment, acknowledgements left out."""
    rows = connection.execute(
        "select kind, count(*) from log_anomaly where at >= %s and kind <> %s group by kind order by kind",
        (since, ACKNOWLEDGED),
    ).fetchall()
    return {kind: int(count) for kind, count in rows}
