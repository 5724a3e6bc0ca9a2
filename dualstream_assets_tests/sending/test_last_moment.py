"""What happens between the permit and the release still counts: an opt-out, a stop, a brake, a silent log."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dualstream_assets.maillog.complete import completeness
from dualstream_assets.sending.logview import spoken_until
from dualstream_assets.store.permit import PermitRefused, consume


@pytest.fixture
def permit(database, clock) -> int:
    """A probe-free wave permit on one green fact."""
    now = clock.now()
    with database.transaction() as connection:
        wave = connection.execute(
            "insert into wave (stream, campaign, local_date, state, size, cap_per_hour, cap_per_day, members_hash,"
            " planned_at) values ('healthcare', 'c', '2026-11-30', 'reserved', 1, 60, 150, 'h', %s) returning id",
            (now,),
        ).fetchone()[0]
        evidence = connection.execute(
            "insert into evidence (stream, subject, fact, verdict, evidence, source, observed_at, expires_at)"
            " values ('healthcare', 'x', 'spf', 'pass', '', 't', %s, %s) returning id",
            (now, now + timedelta(hours=1)),
        ).fetchone()[0]
        return connection.execute(
            "insert into permit (kind, stream, wave_id, members_hash, evidence_ids, minted_at, valid_until)"
            " values ('wave', 'healthcare', %s, 'h', %s, %s, %s) returning id",
            (wave, [evidence], now, now + timedelta(minutes=2)),
        ).fetchone()[0]


def use(database, permit: int, clock):
    with database.transaction() as connection:
        wave = connection.execute("select wave_id from permit where id = %s", (permit,)).fetchone()[0]
        return consume(connection, permit, "healthcare", wave, "h", clock.now())


def test_without_an_incident_the_permit_is_good(database, permit, clock):
    assert use(database, permit, clock).id == permit


@pytest.mark.parametrize(
    "incident",
    [
        "insert into stream_stop (stream, reason, source, at) values ('healthcare', 'leak', 't', now())",
        "insert into brake (stream, kind, reason, evidence, on_at) values ('healthcare', 'manual', 'r', 'e', now())",
    ],
)
def test_a_stop_or_a_brake_after_the_permit_refuses_it(database, permit, clock, incident):
    with database.transaction() as connection:
        connection.execute(incident.encode())
    with pytest.raises(PermitRefused, match="stopped or braked after it was minted"):
        use(database, permit, clock)


def test_a_soft_brake_or_another_streams_stop_does_not(database, permit, clock):
    with database.transaction() as connection:
        connection.execute(
            "insert into brake (stream, kind, reason, evidence, on_at) values ('healthcare', 'soft', 'r', 'e', now())"
        )
        connection.execute(
            "insert into stream_stop (stream, reason, source, at) values ('trucking', 'leak', 't', now())"
        )
    assert use(database, permit, clock).id == permit


@pytest.fixture
def log(database, clock):
    """A log that is read to its end now, and whose last line came ten minutes ago."""
    with database.transaction() as connection:
        connection.execute(
            "insert into log_source (path, inode, byte_offset, last_line_at, read_at) values ('m', 1, 9, %s, %s)",
            (clock.now() - timedelta(minutes=10), clock.now()),
        )


def test_silence_before_any_wave_is_no_fault(database, clock, log):
    with database.transaction() as connection:
        assert completeness(connection, clock.now()).complete is True


def test_a_log_that_says_nothing_after_a_wave_is_unknown(database, clock, log, permit):
    with database.transaction() as connection:
        connection.execute(
            "update wave set state = 'released', released_at = %s", (clock.now() - timedelta(minutes=6),)
        )
        found = completeness(connection, clock.now())
    assert found.complete is None
    assert "has said nothing since" in found.sentence


def test_a_missing_line_proves_nothing_after_the_last_line(database, clock, log):
    with database.transaction() as connection:
        assert spoken_until(connection) == clock.now() - timedelta(minutes=10)


def test_a_log_that_never_spoke_vouches_for_nothing(database, clock, log):
    with database.transaction() as connection:
        connection.execute("update log_source set last_line_at = null")
        assert spoken_until(connection).year == 1970
