"""The log into outcomes: rotation, truncation, half lines, reading twice, requeues, forgery."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate
from dualstream_assets.maillog.complete import acknowledge, completeness, look_at_log
from dualstream_assets.maillog.outcomes import LogMissingError, ReadSummary, read_log
from dualstream_assets.store.database import Database
from dualstream_assets_tests.maillog.lines import SENDER, accepted, attempt, delivered, line, refused, removed
from dualstream_assets_tests.maillog.waves import CAMPAIGN_UUID, put_wave, states

A, B, C = "a@practice.test", "b@practice.test", "c@clinic.test"
Q1, Q2, Q3 = "4hKz1c0001z1Zb", "4hKz1c0002z1Zc", "4hKz1c0003z1Zd"
TABLES = ("log_message", "delivery", "log_refusal", "log_anomaly", "wave_member", "stream_stop")


class Reader:
    """A log file and its reading."""

    def __init__(self, database: Database, estate: Estate, clock: FixedClock, path: Path) -> None:
        self.database, self.estate, self.clock, self.path = database, estate, clock, path

    @property
    def at(self) -> datetime:
        return self.clock.now()

    def write(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text)

    def read(self) -> ReadSummary:
        return read_log(self.database, self.estate, self.path, self.clock)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.database.transaction() as connection:
            return connection.execute(query.encode(), values).fetchall()

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        return {table: self.rows(f"select * from {table} order by 1, 2, 3, 4") for table in TABLES}

    def wave(self, *addresses: str, **more: Any) -> int:
        with self.database.transaction() as connection:
            return put_wave(connection, addresses, self.at - timedelta(seconds=1), **more)

    def states(self, wave: int) -> dict[str, str]:
        with self.database.transaction() as connection:
            return states(connection, wave)


@pytest.fixture
def log(database: Database, lab_estate: Estate, clock: FixedClock, tmp_path: Path) -> Reader:
    return Reader(database, lab_estate, clock, tmp_path / "mail.log")


def test_a_message_is_joined_from_its_port_to_its_egress(log: Reader) -> None:
    wave = log.wave(A)
    log.write(delivered(log.at, [Q1], [A]))
    found = log.read()
    assert (found.messages, found.deliveries, found.members, found.unparsed) == (1, 1, 2, 0)
    assert log.rows(
        "select m.stream, m.submit_service, m.signed, d.transport, d.stream, d.wave_id, d.status, d.reply_code,"
        " host(d.relay_address), m.removed_at is not null from log_message m join delivery d using (queue_id)"
        " where d.campaign_uuid = %s",
        CAMPAIGN_UUID,
    ) == [
        (
            "healthcare",
            "postfix/hcsubmit107",
            True,
            "hcout1",
            "healthcare",
            wave,
            "sent",
            250,
            "127.20.0.1",
            True,
        )
    ]
    assert log.states(wave) == {A: "delivered"}


def test_reading_again_from_the_start_changes_nothing(log: Reader) -> None:
    wave = log.wave(A, B, C)
    log.write(delivered(log.at, [Q1], [A]))
    log.write(accepted(log.at, Q2, B))
    log.write(attempt(log.at, Q2, B, "deferred", dsn="4.2.0", reply="host mx said: 450 4.2.0 later"))
    log.write(refused(log.at, C, f"reject: RCPT from: 450 4.7.1 <{C}>: Recipient address rejected: later"))
    log.read()
    before = log.everything()
    assert log.states(wave) == {A: "delivered", B: "deferred", C: "refused"}
    log.rows("delete from log_source returning path")
    again = log.read()
    assert again.lines > 0
    assert log.everything() == before


def test_only_new_lines_are_read(log: Reader) -> None:
    log.write(delivered(log.at, [Q1], [A]))
    log.read()
    log.write(removed(log.at, Q1))
    assert log.read().lines == 1
    assert log.read().lines == 0


def test_a_half_line_waits_for_its_rest(log: Reader) -> None:
    whole = delivered(log.at, [Q1], [A])
    log.write(whole[:-40])
    first = log.read()
    assert (first.unparsed, first.behind > 0) == (0, True)
    log.write(whole[-40:])
    second = log.read()
    assert (second.lines, second.unparsed, second.behind) == (1, 0, 0)


def test_rotation_loses_no_line(log: Reader) -> None:
    wave = log.wave(A, B)
    log.write(accepted(log.at, Q1, A))
    log.read()
    log.write(attempt(log.at, Q1, A))
    log.path.rename(log.path.with_name("mail.log.1"))
    log.write(delivered(log.at, [Q2], [B]))
    found = log.read()
    assert found.gap is None
    assert log.states(wave) == {A: "delivered", B: "delivered"}


def test_two_rotations_between_two_reads_lose_no_line(log: Reader) -> None:
    wave = log.wave(A, B, C)
    log.write(delivered(log.at, [Q1], [A]))
    log.read()
    log.path.rename(log.path.with_name("mail.log.1"))
    log.write(delivered(log.at, [Q2], [B]))
    log.path.with_name("mail.log.1").rename(log.path.with_name("mail.log.2"))
    log.path.rename(log.path.with_name("mail.log.1"))
    log.write(delivered(log.at, [Q3], [C]))
    assert log.read().gap is None
    assert set(log.states(wave).values()) == {"delivered"}


def test_a_rotated_file_that_is_gone_is_a_gap(log: Reader) -> None:
    log.write(delivered(log.at, [Q1], [A]))
    log.read()
    log.path.rename(log.path.with_name("elsewhere"))
    log.write(delivered(log.at, [Q2], [B]))
    assert "gone" in (log.read().gap or "")
    assert log.rows("select kind from log_anomaly") == [("gap",)]


def test_a_truncated_file_is_a_gap_and_is_read_from_its_start(log: Reader) -> None:
    log.write(delivered(log.at, [Q1, Q2], [A, B]))
    log.read()
    log.path.write_text(delivered(log.at + timedelta(seconds=5), [Q3], [C]))
    found = log.read()
    assert (found.gap is not None, found.deliveries) == (True, 1)
    assert log.read().gap is None


def test_a_file_that_was_cut_and_grew_past_the_old_end_is_a_gap(log: Reader) -> None:
    log.write(delivered(log.at, [Q1], [A]))
    log.read()
    log.path.write_text(delivered(log.at + timedelta(hours=1), [Q2, Q3], [B, C]))
    found = log.read()
    assert (found.gap is not None, found.deliveries) == (True, 2)


def test_a_log_that_vanishes_is_said_and_is_a_gap(log: Reader) -> None:
    log.write(delivered(log.at, [Q1], [A]))
    log.read()
    log.path.unlink()
    with pytest.raises(LogMissingError, match="logrotate"):
        log.read()
    with log.database.transaction() as connection:
        assert completeness(connection, log.at).complete is False


def test_a_message_whose_beginning_is_missing_is_a_gap(log: Reader) -> None:
    # The ids of these lines are younger than the first line: their beginning must have been logged.
    from dualstream_assets.lab.postfix_log import queue_id

    young = queue_id(log.at + timedelta(minutes=5), 7)
    log.write(delivered(log.at, [Q1], [A]) + attempt(log.at + timedelta(minutes=6), young, B))
    assert log.read().anomalies["gap"] == 1


def test_a_message_older_than_the_log_is_no_gap(log: Reader) -> None:
    from dualstream_assets.lab.postfix_log import queue_id

    old = queue_id(log.at - timedelta(hours=5), 7)
    log.write(delivered(log.at, [Q1], [A]) + attempt(log.at + timedelta(minutes=6), old, B))
    assert log.read().anomalies["gap"] == 0


def test_a_requeued_message_is_followed_to_its_port_and_its_leak_stops_the_stream(log: Reader) -> None:
    wave = log.wave(A)
    log.write(accepted(log.at, Q1, A))
    log.write(line(log.at, "postfix/postsuper[9]", f"{Q1}: requeued"))
    log.read()
    log.write(line(log.at, "postfix/pickup[9]", f"{Q2}: uid=0 from=<{SENDER}> orig_id={Q1}"))
    log.write(attempt(log.at, Q2, A, transport="out05"))
    found = log.read()
    assert found.anomalies["leak"] == 1
    assert log.rows(
        "select m.original_id, m.submit_service, m.stream, d.stream, d.wave_id from log_message m join delivery d"
        " using (queue_id)"
    ) == [(Q1, "postfix/hcsubmit107", "healthcare", "trucking", wave)]
    assert log.rows("select stream, source from stream_stop") == [("healthcare", "maillog")]
    assert log.states(wave) == {A: "delivered"}


def test_a_bounce_notice_of_the_hot_stream_that_leaves_by_the_warm_pool_is_a_leak(log: Reader) -> None:
    log.write(accepted(log.at, Q1, A))
    log.write(attempt(log.at, Q1, A, "bounced", dsn="5.1.1", reply="host mx said: 550 5.1.1 unknown"))
    log.write(line(log.at, "postfix/cleanup[9]", f"{Q2}: message-id=<x@app>"))
    log.write(line(log.at, "postfix/bounce[9]", f"{Q1}: sender non-delivery notification: {Q2}"))
    log.write(line(log.at, "postfix/qmgr[9]", f"{Q2}: from=<>, size=900, nrcpt=1 (queue active)"))
    log.write(attempt(log.at, Q2, "bounces@performancewest.test", transport="out06"))
    assert log.read().anomalies["leak"] == 1


@pytest.mark.parametrize(
    ("port", "sender", "recipient", "client"),
    [
        ("postfix", "", SENDER, "mail.evil.test[203.0.113.9]"),
        ("postfix", "x@evil.test", A, "mail.evil.test[203.0.113.9]"),
        ("postfix/hcsubmit107", "", A, "localhost[127.0.0.1]"),
        ("postfix/hcsubmit107", "x@evil.test", A, "localhost[127.0.0.1]"),
        ("postfix/hcbounce", "", SENDER, "mail.evil.test[203.0.113.9]"),
    ],
)
def test_a_campaign_header_from_elsewhere_is_no_send(
    log: Reader, port: str, sender: str, recipient: str, client: str
) -> None:
    wave = log.wave(A)
    log.write(accepted(log.at, Q1, recipient, port=port, sender=sender, client=client))
    found = log.read()
    assert log.rows("select campaign_uuid from log_message") == [(None,)]
    assert log.states(wave) == {A: "released"}
    assert found.anomalies["forged_header"] == 2


def test_mail_of_others_is_counted_and_joins_no_wave(log: Reader) -> None:
    log.wave(A)
    log.write(accepted(log.at, Q1, B, port="postfix", sender="news@performancewest.test", campaign=None))
    log.write(attempt(log.at, Q1, B, transport="out05"))
    log.read()
    assert log.rows("select stream, wave_id, campaign_uuid from delivery") == [("trucking", None, None)]


def test_mail_without_headers_joins_the_one_wave_of_its_time(log: Reader) -> None:
    wave = log.wave(A, stream="trucking", campaign="consumer")
    log.write(accepted(log.at, Q1, A, port="postfix", sender="news@performancewest.test", campaign=None))
    log.write(attempt(log.at, Q1, A, transport="out05"))
    log.read()
    assert log.rows("select wave_id from delivery") == [(wave,)]
    assert log.states(wave) == {A: "delivered"}


def test_held_released_and_deleted_mail_changes_the_person(log: Reader) -> None:
    wave = log.wave(A, B)
    log.write(refused(log.at, A, f"hold: RCPT from: <{A}>: Recipient address triggers HOLD action"))
    log.write(accepted(log.at, Q1, A, active=False) + accepted(log.at, Q2, B))
    log.read()
    assert log.states(wave) == {A: "held", B: "queued"}
    log.clock.sleep(60)
    log.write(line(log.at, "postfix/postsuper[9]", f"{Q1}: released from hold"))
    log.write(line(log.at, "postfix/postsuper[9]", f"{Q2}: removed"))
    log.read()
    assert log.states(wave) == {A: "queued", B: "deleted"}


def test_an_expired_message_is_final_for_its_recipient(log: Reader) -> None:
    wave = log.wave(A)
    log.write(accepted(log.at, Q1, A) + attempt(log.at, Q1, A, "deferred", dsn="4.4.1", reply="timed out"))
    log.read()
    log.clock.sleep(5 * 86400)
    log.write(line(log.at, "postfix/qmgr[1]", f"{Q1}: from=<{SENDER}>, status=expired, returned to sender"))
    log.write(removed(log.at, Q1))
    log.read()
    assert log.rows("select status from delivery order by at") == [("deferred",), ("expired",)]
    assert log.states(wave) == {A: "expired"}


def test_a_message_refused_at_its_end_was_never_queued(log: Reader) -> None:
    wave = log.wave(A)
    log.write(accepted(log.at, Q1, A, active=False))
    log.read()
    log.write(
        refused(
            log.at,
            A,
            "reject: END-OF-MESSAGE from: 550 5.7.1 <END-OF-MESSAGE>: End-of-data rejected: used",
            Q1,
        )
    )
    log.read()
    assert log.rows("select queue_id from log_message") == []
    assert log.states(wave) == {A: "refused"}


def test_a_refusal_of_a_second_try_does_not_undo_a_delivery(log: Reader) -> None:
    wave = log.wave(A)
    log.write(delivered(log.at, [Q1], [A]))
    log.write(refused(log.at, A, f"reject: RCPT from: 550 5.7.1 <{A}>: Recipient address rejected: used"))
    log.read()
    assert log.states(wave) == {A: "delivered"}


def test_evidence_is_unknown_before_the_first_read_then_green_then_shut_by_an_unparsed_line(
    log: Reader,
) -> None:
    def verdicts() -> set[str]:
        found = look_at_log(log.database, log.clock, log.estate, "test")
        return {str(evidence.verdict) for evidence in found.values()}

    assert verdicts() == {"unknown"}
    log.write(delivered(log.at, [Q1], [A]))
    log.read()
    assert verdicts() == {"pass"}
    log.write(line(log.at, "postfix/qmgr[1]", f"{Q1}: a form nobody knows"))
    log.read()
    assert verdicts() == {"fail"}
    assert acknowledge(log.database, "a new Postfix: reported", log.at) == 1
    assert verdicts() == {"pass"}
    log.clock.sleep(3600)
    assert verdicts() == {"unknown"}


def test_a_gap_needs_a_reason_to_be_acknowledged(log: Reader) -> None:
    with pytest.raises(ValueError, match="why"):
        acknowledge(log.database, " ", log.at)
