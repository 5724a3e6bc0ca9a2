"""The newest row by id counts; a look that does not end leaves `unknown`."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dualstream_assets.clock import FixedClock
from dualstream_assets.store.database import Database
from dualstream_assets.store.evidence import Evidence, Probe, Subject, Verdict, newest, probing, record

FCRDNS = Subject("healthcare", "127.0.0.9", "fcrdns")
DAY = timedelta(days=1)


def look(database: Database, clock: FixedClock, holds: bool | None) -> None:
    with probing(database, clock, [FCRDNS], source="test", valid_for=DAY) as probe:
        probe.found_that(FCRDNS, holds, "seen")


def counted(database: Database) -> Evidence:
    with database.transaction() as connection:
        return newest(connection, "healthcare")[FCRDNS]


def test_a_look_that_raises_leaves_unknown_after_a_green_one(database: Database, clock: FixedClock) -> None:
    look(database, clock, True)

    def crash() -> None:
        with probing(database, clock, [FCRDNS], source="test", valid_for=DAY):
            raise TimeoutError

    with pytest.raises(TimeoutError):
        crash()
    assert counted(database).verdict == Verdict.UNKNOWN


def test_unknown_is_there_for_others_while_the_look_lasts(database: Database, clock: FixedClock) -> None:
    look(database, clock, True)
    other = Database(database.url)
    with probing(database, clock, [FCRDNS], source="test", valid_for=DAY) as probe:
        assert counted(other).verdict == Verdict.UNKNOWN
        probe.found_pass(FCRDNS, "seen")
    assert counted(other).verdict == Verdict.PASS
    other.close()


def test_a_subject_of_which_nothing_was_said_stays_unknown(database: Database, clock: FixedClock) -> None:
    look(database, clock, True)
    with probing(database, clock, [FCRDNS], source="test", valid_for=DAY):
        pass
    assert counted(database).verdict == Verdict.UNKNOWN


def test_the_newest_row_by_id_counts_though_it_was_observed_earlier(
    database: Database, clock: FixedClock
) -> None:
    look(database, clock, True)
    clock.at -= timedelta(hours=3)  # a clock set back
    look(database, clock, False)
    assert counted(database).verdict == Verdict.FAIL


def test_none_is_unknown_not_green(database: Database, clock: FixedClock) -> None:
    look(database, clock, None)
    assert counted(database).verdict == Verdict.UNKNOWN


def test_an_unknown_row_is_stale_from_the_start(database: Database, clock: FixedClock) -> None:
    with database.transaction() as connection:
        row = record(
            connection, FCRDNS, Verdict.UNKNOWN, "being looked at", "test", clock.now(), timedelta(0)
        )
    assert row.expires_at == row.observed_at == clock.now()


def test_streams_do_not_see_each_others_evidence(database: Database, clock: FixedClock) -> None:
    look(database, clock, True)
    with database.transaction() as connection:
        assert newest(connection, "trucking") == {}


def test_a_probe_remembers_what_it_found(database: Database, clock: FixedClock) -> None:
    probe = Probe(database, clock, "test", DAY)
    row = probe.found_fail(FCRDNS, "no PTR")
    assert probe.found == {FCRDNS: row}
    assert counted(database) == row
