"""Isolation and cap proofs: red on a leak or an overrun, unknown when a witness is missing or disagrees."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dualstream_assets.proofs.cap import Allowed, load_of
from dualstream_assets.proofs.isolation import prove_isolation
from dualstream_assets.proofs.witness import Arrival, Proved

START = datetime(2026, 11, 30, 14, 0, tzinfo=UTC)
HOT = "127.124.0.107"
OLD = "127.124.0.94"
WAVE = "5a7ee7d5-6a3c-4f6c-8a3b-0d9b2f5f2a01"
CAMPAIGNS = {WAVE: "healthcare"}


def arrival(n: int, source: str = HOT, **changes: object) -> Arrival:
    at = START + timedelta(minutes=n)
    made = Arrival(at, source, f"p{n}@clinic{n}.test", WAVE, "b@bounce-hc.performancewest.test", "google")
    return replace(made, **changes)


def test_agreeing_witnesses_without_a_leak_prove_isolation(lab_estate):
    seen = [arrival(n) for n in range(5)]
    assert prove_isolation(seen, seen, lab_estate, CAMPAIGNS).outcome is Proved.PASS


def test_one_wave_message_from_truckings_ip_is_a_leak(lab_estate):
    seen = [arrival(0), arrival(1, source=OLD)]
    proof = prove_isolation(seen, seen, lab_estate, CAMPAIGNS)
    assert proof.outcome is Proved.FAIL
    assert proof.figures["leaked_at_sinks"] == 1


def test_a_trucking_message_from_a_hot_ip_is_a_leak(lab_estate):
    seen = [arrival(0, campaign_uuid=None, mail_from="mail@performancewest.test")]
    assert prove_isolation(seen, seen, lab_estate, CAMPAIGNS).outcome is Proved.FAIL


def test_a_retired_or_idle_address_is_a_leak(lab_estate):
    seen = [arrival(0, source="127.124.0.97", campaign_uuid=None, mail_from="mail@performancewest.test")]
    assert prove_isolation(seen, seen, lab_estate, CAMPAIGNS).outcome is Proved.FAIL


def test_a_leak_that_only_the_receivers_saw_is_still_a_leak(lab_estate):
    proof = prove_isolation([arrival(0, source=OLD)], [], lab_estate, CAMPAIGNS)
    assert proof.outcome is Proved.FAIL


def test_a_consumer_mailbox_reached_from_the_hot_pool_is_red(lab_estate):
    seen = [arrival(0, operator="yahoo")]
    assert prove_isolation(seen, seen, lab_estate, CAMPAIGNS).outcome is Proved.FAIL


def test_witnesses_that_disagree_prove_nothing(lab_estate):
    seen = [arrival(0), arrival(1)]
    assert prove_isolation(seen, seen[:1], lab_estate, CAMPAIGNS).outcome is Proved.UNKNOWN


def test_a_missing_second_witness_is_unknown_not_green(lab_estate):
    assert prove_isolation(None, [arrival(0)], lab_estate, CAMPAIGNS).outcome is Proved.UNKNOWN


def test_nothing_delivered_proves_nothing(lab_estate):
    assert prove_isolation([], [], lab_estate, CAMPAIGNS).outcome is Proved.UNKNOWN


CAPS = [Allowed(datetime(1970, 1, 1, tzinfo=UTC), 10, 30)]


@pytest.mark.parametrize(("count", "over"), [(10, 0), (11, 1), (14, 4)])
def test_the_rolling_hour_is_measured_not_the_clock_hour(lab_estate, count, over):
    straddling = [arrival(0, at=START + timedelta(minutes=35 + 3 * n)) for n in range(count)]
    assert load_of(straddling, CAPS, lab_estate).over_hour == over


def test_messages_an_hour_apart_do_not_add_up(lab_estate):
    seen = [arrival(0, at=START + timedelta(minutes=6 * n)) for n in range(40)]
    assert load_of(seen, CAPS, lab_estate).max_rolling_hour == 10


def test_the_day_cap_counts_by_the_estates_local_date(lab_estate):
    eve = datetime(2026, 12, 1, 4, 0, tzinfo=UTC)  # 23:00 in New York
    seen = [arrival(0, at=eve + timedelta(minutes=7 * n)) for n in range(31)]
    load = load_of(seen, CAPS, lab_estate)
    assert load.max_day < 31
    assert load.over_day == 0


def test_a_day_over_its_cap_is_measured(lab_estate):
    seen = [arrival(0, at=START + timedelta(minutes=7 * n)) for n in range(33)]
    assert load_of(seen, CAPS, lab_estate).over_day == 3


def test_a_rolling_hour_across_a_raise_may_use_the_higher_cap(lab_estate):
    caps = [*CAPS, Allowed(START + timedelta(minutes=30), 20, 60)]
    seen = [arrival(0, at=START + timedelta(minutes=4 * n)) for n in range(15)]
    assert load_of(seen, caps, lab_estate).over_hour == 0
