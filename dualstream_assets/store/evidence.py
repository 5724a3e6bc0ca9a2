"""Evidence: what was looked at, what was found, and until when that may be relied on.

A probe is two rows. Before it looks, it commits `unknown`; only a finished probe writes pass or fail. The newest
row by id counts, so a check that crashes after a green one leaves `unknown` behind and the gate shuts (D8, D12).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Connection

    from dualstream_assets.clock import Clock
    from dualstream_assets.store.database import Database


class Verdict(StrEnum):
    """The three answers of a probe; only `pass` opens anything."""

    UNKNOWN = "unknown"
    PASS = "pass"  # noqa: S105
    FAIL = "fail"


@dataclass(frozen=True)
class Subject:
    """One thing to prove: `Subject("healthcare", "207.174.124.107", "fcrdns")`."""

    stream: str
    subject: str
    fact: str


@dataclass(frozen=True)
class Evidence:
    """One row of the table `evidence`; times are aware UTC."""

    id: int
    stream: str
    subject: str
    fact: str
    verdict: Verdict
    evidence: str
    source: str
    observed_at: datetime
    expires_at: datetime


class Probe:
    """Handed out by `probing`: takes the findings of one look."""

    def __init__(self, database: Database, clock: Clock, source: str, valid_for: timedelta) -> None:
        self._database = database
        self._clock = clock
        self._source = source
        self._valid_for = valid_for
        self.found: dict[Subject, Evidence] = {}

    def found_pass(self, subject: Subject, evidence: str) -> Evidence:
        """The fact holds; `evidence` says what was seen."""
        return self._write(subject, Verdict.PASS, evidence)

    def found_fail(self, subject: Subject, evidence: str) -> Evidence:
        """The fact does not hold; `evidence` says what was seen instead."""
        return self._write(subject, Verdict.FAIL, evidence)

    def found_unknown(self, subject: Subject, evidence: str) -> Evidence:
        """The look did not complete (a timeout, a missing feed): never green."""
        return self._write(subject, Verdict.UNKNOWN, evidence)

    def found_that(self, subject: Subject, holds: bool | None, evidence: str) -> Evidence:
        """Pass, fail or, for None, unknown."""
        verdict = Verdict.UNKNOWN if holds is None else Verdict.PASS if holds else Verdict.FAIL
        return self._write(subject, verdict, evidence)

    def _write(self, subject: Subject, verdict: Verdict, evidence: str) -> Evidence:
        with self._database.transaction() as connection:
            row = record(
                connection, subject, verdict, evidence, self._source, self._clock.now(), self._valid_for
            )
        self.found[subject] = row
        return row


@contextmanager
def probing(
    database: Database,
    clock: Clock,
    subjects: Iterable[Subject],
    *,
    source: str,
    valid_for: timedelta,
) -> Iterator[Probe]:
    """Look at `subjects`: commits an `unknown` row for each before the body runs.

    A subject for which the body writes nothing, or that raises, stays unknown. `source` names the writer
    (the asset or check), `valid_for` how long a finding may be relied on.
    """
    with database.transaction() as connection:
        for subject in subjects:
            record(connection, subject, Verdict.UNKNOWN, "being looked at", source, clock.now(), timedelta(0))
    yield Probe(database, clock, source, valid_for)


def record(
    connection: Connection[Any],
    subject: Subject,
    verdict: Verdict,
    evidence: str,
    source: str,
    now: datetime,
    valid_for: timedelta,
) -> Evidence:
    """Append one row; returns it with its id."""
    expires_at = now + valid_for
    row = connection.execute(
        "insert into evidence (stream, subject, fact, verdict, evidence, source, observed_at, expires_at)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s) returning id",
        (subject.stream, subject.subject, subject.fact, verdict, evidence, source, now, expires_at),
    ).fetchone()
    assert row is not None  # noqa: S101
    return Evidence(
        row[0], subject.stream, subject.subject, subject.fact, verdict, evidence, source, now, expires_at
    )


def newest(connection: Connection[Any], stream: str) -> dict[Subject, Evidence]:
    """The row that counts for every subject of a stream: the newest by id."""
    rows = connection.execute(
        "select distinct on (stream, fact, subject) id, stream, subject, fact, verdict, evidence, source,"
        " observed_at, expires_at from evidence where stream = %s order by stream, fact, subject, id desc",
        (stream,),
    ).fetchall()
    found = [Evidence(r[0], r[1], r[2], r[3], Verdict(r[4]), r[5], r[6], r[7], r[8]) for r in rows]
    return {Subject(e.stream, e.subject, e.fact): e for e in found}
