"""The auditor's five figures: each is shown to become non-zero by exactly the fault it is for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dualstream_assets.proofs.audit import audit
from dualstream_assets.proofs.witness import arrivals_in_log, campaign_streams

NOW = datetime(2026, 11, 30, 15, 0, tzinfo=UTC)
UUID = "5a7ee7d5-6a3c-4f6c-8a3b-0d9b2f5f2a01"
UUID2 = "5a7ee7d5-6a3c-4f6c-8a3b-0d9b2f5f2a02"


class Ledger:
    """Writes a small, clean history that each test then spoils."""

    def __init__(self, connection) -> None:
        self.connection = connection
        self.wave(1, UUID)
        self.mailed(1, UUID, "Q1", "a@clinic.test", "hcout1")

    def wave(self, number: int, uuid: str, state: str = "handed_over") -> None:
        self.connection.execute(
            "insert into wave (id, stream, campaign, local_date, state, size, cap_per_hour, cap_per_day, members_hash,"
            " campaign_uuid, planned_at, released_at) overriding system value"
            " values (%s, 'healthcare', 'c', '2026-11-30', %s, 1, 60, 150, 'h', %s, %s, %s)",
            (number, state, uuid, NOW, NOW),
        )

    def member(self, wave: int, address: str, state: str) -> None:
        self.connection.execute(
            "insert into wave_member (wave_id, stream, campaign, address, domain, operator, rank, state, changed_at)"
            " values (%s, 'healthcare', 'c', %s, 'clinic.test', 'google', 1, %s, %s)",
            (wave, address, state, NOW),
        )

    def mailed(
        self, wave: int, uuid: str, queue_id: str, address: str, transport: str, original=None
    ) -> None:
        self.connection.execute(
            "insert into log_message (queue_id, original_id, submit_service, campaign_uuid, sender, received_at)"
            " values (%s, %s, 'postfix/hcsubmit107', %s, 'b@bounce-hc.performancewest.test', %s)",
            (queue_id, original, uuid, NOW),
        )
        self.connection.execute(
            "insert into delivery (queue_id, recipient, transport, stream, campaign_uuid, wave_id, status, reply_text,"
            " operator, tls, at) values (%s, %s, %s, 'healthcare', %s, %s, 'sent', '', 'google', 'none', %s)",
            (queue_id, address, transport, uuid, wave, NOW),
        )


@pytest.fixture
def ledger(database, lab_estate):
    with database.transaction() as connection:
        book = Ledger(connection)
        book.audit = lambda: audit(
            connection, lab_estate, [arrivals_in_log(connection, lab_estate)], campaign_streams(connection)
        )
        yield book


def test_a_clean_history_has_five_zeros(ledger):
    ledger.member(1, "a@clinic.test", "delivered")
    assert ledger.audit().clean


def test_a_delivery_from_truckings_transport_is_leaked(ledger):
    ledger.mailed(1, UUID, "Q2", "b@clinic.test", "out05")
    assert ledger.audit().leaked == 1


def test_more_than_the_lowest_stage_in_an_hour_is_over_cap(ledger):
    for n in range(61):
        ledger.mailed(1, UUID, f"R{n}", f"r{n}@clinic.test", "hcout1")
    assert ledger.audit().over_cap == 2


def test_one_person_in_two_waves_of_one_campaign_is_handed_over_twice(ledger):
    ledger.wave(2, UUID2)
    ledger.mailed(2, UUID2, "Q9", "a@clinic.test", "hcout2")
    assert ledger.audit().handed_over_twice == 1


def test_a_requeue_keeps_its_first_id_in_the_ledgers_count(ledger, database):
    ledger.connection.execute("delete from delivery")
    ledger.mailed(1, UUID, "Q5", "c@clinic.test", "hcout1", original="Q1")
    assert ledger.audit().handed_over_twice == 0


def test_a_member_without_a_fate_is_lost(ledger):
    ledger.member(1, "gone@clinic.test", "unknown")
    assert ledger.audit().lost == 1


def test_a_message_after_a_known_opt_out_is_counted(ledger):
    ledger.connection.execute(
        "insert into suppression (kind, value, reason, source, since) values"
        " ('address', 'a@clinic.test', 'unsubscribed', 'test', %s)",
        (NOW - timedelta(minutes=1),),
    )
    assert ledger.audit().opted_out_but_mailed == 1


def test_a_message_below_a_suppressed_domain_is_counted(ledger):
    ledger.mailed(1, UUID, "Q7", "b@north.group.test", "hcout1")
    ledger.connection.execute(
        "insert into suppression (kind, value, reason, source, since) values"
        " ('domain', 'group.test', 'manual', 'test', %s)",
        (NOW - timedelta(minutes=1),),
    )
    assert ledger.audit().opted_out_but_mailed == 1


def test_an_opt_out_that_came_after_the_message_is_not_a_fault(ledger):
    ledger.connection.execute(
        "insert into suppression (kind, value, reason, source, since) values"
        " ('address', 'a@clinic.test', 'unsubscribed', 'test', %s)",
        (NOW + timedelta(minutes=1),),
    )
    assert ledger.audit().opted_out_but_mailed == 0
