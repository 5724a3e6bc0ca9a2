"""Forward-confirmed reverse DNS and HELO: every way to be wrong, and unknown kept apart."""

from __future__ import annotations

import pytest

from dualstream_assets.identity.finding import Finding
from dualstream_assets.identity.rdns import check_fcrdns, check_helo
from dualstream_assets.store.evidence import Verdict
from dualstream_assets_tests.outside.nameserver import TinyDns

IP, HELO = "127.124.0.107", "hcmta01.performancewest.test"
POINTER = "107.0.124.127.in-addr.arpa"


def fcrdns(zone: TinyDns) -> Finding:
    return check_fcrdns(zone.resolver(), IP, HELO)


def helo(zone: TinyDns) -> Finding:
    return check_helo(zone.resolver(), IP, HELO)


def test_one_pointer_that_leads_back_passes(zone: TinyDns):
    assert fcrdns(zone).verdict is Verdict.PASS
    assert helo(zone).verdict is Verdict.PASS


def test_no_pointer_fails_and_says_what_to_publish(zone: TinyDns):
    zone.drop("PTR", POINTER)
    found = fcrdns(zone)
    assert found.verdict is Verdict.FAIL
    assert f"publish {POINTER} PTR {HELO}." in found.cure
    assert helo(zone).verdict is Verdict.FAIL


def test_two_pointers_fail_and_are_both_named(zone: TinyDns):
    zone.put("PTR", POINTER, f"{HELO}.", "mta18.performancewest.test.")
    found = fcrdns(zone)
    assert found.verdict is Verdict.FAIL
    assert "2 PTR records" in found.evidence
    assert "mta18.performancewest.test" in found.evidence
    assert helo(zone).verdict is Verdict.FAIL


def test_a_name_that_leads_elsewhere_fails(zone: TinyDns):
    zone.put("A", HELO, "127.124.0.99")
    assert fcrdns(zone).verdict is Verdict.FAIL
    assert helo(zone).verdict is Verdict.FAIL


def test_a_name_without_an_address_fails(zone: TinyDns):
    zone.drop("A", HELO)
    found = fcrdns(zone)
    assert (found.verdict, found.evidence) == (Verdict.FAIL, f"PTR {HELO}, but {HELO} A is nxdomain")


def test_a_confirmed_pointer_that_is_not_the_greeting_fails_only_helo(zone: TinyDns):
    zone.put("PTR", POINTER, "other.performancewest.test.")
    zone.put("A", "other.performancewest.test", IP)
    assert fcrdns(zone).verdict is Verdict.PASS
    assert helo(zone).verdict is Verdict.FAIL


@pytest.mark.parametrize("name", [POINTER, HELO])
@pytest.mark.parametrize("how", ["failing", "silent"])
def test_an_unanswered_lookup_is_unknown_never_a_verdict(zone: TinyDns, name: str, how: str):
    getattr(zone, how).add(name)
    resolver = zone.resolver(0.2)
    assert check_fcrdns(resolver, IP, HELO).verdict is Verdict.UNKNOWN
    assert check_helo(resolver, IP, HELO).verdict is Verdict.UNKNOWN
