"""Read what is new in the mail log and make it outcomes. One reader at a time, each batch in one transaction.

The place up to which the log was read is committed with what was read, so a kill between two batches loses and
doubles nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualstream_assets.clock import Clock
from dualstream_assets.estate import Estate
from dualstream_assets.maillog.events import Event, Unparsed
from dualstream_assets.maillog.follow import Place, Segment, chunks, course
from dualstream_assets.maillog.join import join, queue_ids
from dualstream_assets.maillog.ledger import Written, known_messages, write
from dualstream_assets.maillog.parse import Parser, Stamps

if TYPE_CHECKING:
    from psycopg import Connection

    from dualstream_assets.store.database import Database


class LogMissingError(RuntimeError):
    """The mail log that was read before is not there: what happens meanwhile is unknown."""


@dataclass
class ReadSummary:
    """What one read found; counts only.

    Attributes:
        gap: what was lost, in a sentence; None where nothing was.
        behind: bytes of a half line at the end, left for the next read.
    """

    lines: int = 0
    bytes: int = 0
    messages: int = 0
    deliveries: int = 0
    refusals: int = 0
    members: int = 0
    unparsed: int = 0
    anomalies: Counter[str] = field(default_factory=Counter)
    gap: str | None = None
    first_line_at: datetime | None = None
    last_line_at: datetime | None = None
    behind: int = 0

    def add(self, written: Written) -> None:
        """Count what one batch wrote."""
        self.messages += written.messages
        self.deliveries += written.deliveries
        self.refusals += written.refusals
        self.members += written.members


def read_log(database: Database, estate: Estate, path: Path, clock: Clock, zone: tzinfo = UTC) -> ReadSummary:
    """Read `path` from where the last read ended.

    Args:
        zone: zone of time stamps without one (`Nov 24 03:26:03`).

    Raises:
        LogMissingError: the file was read before and is gone.
    """
    with database.advisory_lock("maillog"):
        return _Reading(database, estate, path, clock, zone).run()


class _Reading:
    def __init__(self, database: Database, estate: Estate, path: Path, clock: Clock, zone: tzinfo) -> None:
        self._database, self._estate, self._path = database, estate, path
        self._clock = clock
        self._stamps = Stamps(clock.now(), zone)
        self._summary = ReadSummary()

    def run(self) -> ReadSummary:
        with self._database.transaction() as connection:
            place = _place(connection, self._path)
        # The end that we shall have reached is of this moment: what is logged while we read is for the next time.
        started = self._clock.now()
        self._summary.first_line_at = self._first_stamp(self._path)
        try:
            way = course(self._path, place, self._summary.first_line_at)
        except FileNotFoundError as error:
            self._note_gap(f"{self._path.name} is gone")
            raise LogMissingError(
                f"the mail log {self._path} was read before and is gone: check rsyslog and logrotate on the mail host"
            ) from error
        if way.gap:
            self._note_gap(way.gap)
        parser = Parser(self._stamps)
        for segment in way.segments:
            self._segment(segment, parser, place)
        if way.segments:
            self._stand(way.segments[-1], started)
        return self._summary

    def _first_stamp(self, path: Path) -> datetime | None:
        try:
            with path.open("rb") as file:
                line = file.readline(4096)
        except FileNotFoundError:
            return None
        return self._stamp_of(line) if line.endswith(b"\n") else None

    def _stamp_of(self, line: bytes) -> datetime | None:
        try:
            return self._stamps(line.partition(b" ")[0] if line[4:5] == b"-" else line[:15])
        except ValueError:
            return None

    def _note_gap(self, gap: str) -> None:
        self._summary.gap = gap
        self._summary.anomalies["gap"] += 1
        with self._database.transaction() as connection:
            connection.execute(
                "insert into log_anomaly (kind, line, at) values ('gap', %s, %s)", (gap, self._clock.now())
            )

    def _segment(self, segment: Segment, parser: Parser, place: Place | None) -> None:
        since = place.first_line_at if place else self._summary.first_line_at
        for lines, offset in chunks(segment):
            events: list[Event] = []
            for line in lines:
                event = parser.line(line)
                if event is not None:
                    events.append(event)
            self._summary.lines += len(lines)
            self._summary.bytes += sum(map(len, lines)) + len(lines)
            self._summary.last_line_at = self._stamp_of(lines[-1]) or self._summary.last_line_at
            self._batch(events, segment, offset, since)

    def _batch(self, events: Sequence[Event], segment: Segment, offset: int, since: datetime | None) -> None:
        from dualstream_assets.receivers.operators import operator_of

        with self._database.transaction() as connection:
            joined = join(events, self._estate, known_messages(connection, queue_ids(events)), since)
            written = write(connection, joined, operator_of, self._clock.now())
            _keep(connection, self._path, segment, offset, self._summary, None)
        self._summary.add(written)
        self._summary.unparsed += sum(isinstance(event, Unparsed) for event in events)
        self._summary.anomalies.update(anomaly.kind for anomaly in joined.anomalies)

    def _stand(self, segment: Segment, started: datetime) -> None:
        """Note that everything up to `started` was read."""
        with self._database.transaction() as connection:
            at = _place(connection, self._path)
            offset = at.offset if at and at.inode == segment.inode else segment.offset
            if self._summary.gap and not self._summary.lines:
                offset = segment.offset
            _keep(connection, self._path, segment, offset, self._summary, started)
        self._summary.behind = max(0, segment.path.stat().st_size - offset)


def _place(connection: Connection[Any], path: Path) -> Place | None:
    row = connection.execute(
        "select inode, byte_offset, first_line_at from log_source where path = %s", (str(path),)
    ).fetchone()
    return Place(*row) if row else None


def _keep(
    connection: Connection[Any],
    path: Path,
    segment: Segment,
    offset: int,
    summary: ReadSummary,
    read_at: datetime | None,
) -> None:
    """Move the place in the log. `read_at` moves only when a read has reached the end."""
    connection.execute(
        "insert into log_source as old (path, inode, byte_offset, first_line_at, last_line_at, read_at)"
        " values (%(path)s, %(inode)s, %(offset)s, %(first)s, %(last)s, coalesce(%(read)s::timestamptz, 'epoch'))"
        " on conflict (path) do update set inode = excluded.inode, byte_offset = excluded.byte_offset,"
        " first_line_at = coalesce(excluded.first_line_at, old.first_line_at),"
        " last_line_at = coalesce(excluded.last_line_at, old.last_line_at),"
        " read_at = coalesce(%(read)s::timestamptz, old.read_at)",
        {
            "path": str(path),
            "inode": segment.inode,
            "offset": offset,
            "first": summary.first_line_at,
            "last": summary.last_line_at,
            "read": read_at,
        },
    )
