"""DKIM keys and DMARC policies."""

from __future__ import annotations

import pytest

from dualstream_assets.identity.dkim import check_key
from dualstream_assets.identity.dmarc import aligned, check_dmarc
from dualstream_assets.store.evidence import Verdict
from dualstream_assets_tests.identity.conftest import Key, new_key
from dualstream_assets_tests.outside.nameserver import TinyDns

DOMAIN = "performancewest.test"
KEY_NAME = f"mail._domainkey.{DOMAIN}"


def key(zone: TinyDns):
    return check_key(zone.resolver(), DOMAIN, "mail", 2048)


def dmarc(zone: TinyDns, record: str | None = None):
    if record is not None:
        zone.put("TXT", f"_dmarc.{DOMAIN}", record)
    return check_dmarc(zone.resolver(), DOMAIN, f"bounce-hc.{DOMAIN}")


def test_a_key_of_2048_bits_passes(zone: TinyDns):
    found = key(zone)
    assert (found.verdict, found.evidence) == (Verdict.PASS, f"{KEY_NAME}: 2048 bits")


def test_a_weak_key_fails_with_its_bits(zone: TinyDns):
    zone.put("TXT", KEY_NAME, new_key(1024).record)
    found = key(zone)
    assert found.verdict is Verdict.FAIL
    assert "1024 bits, at least 2048 wanted" in found.evidence


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("k=rsa;", "k=rsa; t=y;"), "test mode"),
        (("k=rsa;", "k=rsa; t=s:y;"), "test mode"),
        (("k=rsa;", "k=rsa; h=sha1;"), "sha256"),
        (("k=rsa;", "k=dsa;"), "unknown"),
        (("k=rsa;", "k=rsa; s=other;"), "not for mail"),
        (("DKIM1", "DKIM2"), "version"),
        (("p=", "p=AAAA"), "not a public key"),
    ],
)
def test_a_key_that_receivers_refuse_fails(
    zone: TinyDns, signing_key: Key, change: tuple[str, str], said: str
):
    zone.put("TXT", KEY_NAME, signing_key.record.replace(*change))
    found = key(zone)
    assert found.verdict is Verdict.FAIL
    assert said in found.evidence


def test_a_revoked_or_missing_or_double_key_fails(zone: TinyDns, signing_key: Key):
    zone.put("TXT", KEY_NAME, "v=DKIM1; p=")
    assert "revoked" in key(zone).evidence
    zone.put("TXT", KEY_NAME, signing_key.record, signing_key.record + " ")
    assert "2 TXT records" in key(zone).evidence
    zone.drop("TXT", KEY_NAME)
    assert key(zone).verdict is Verdict.FAIL


def test_a_key_that_cannot_be_asked_is_unknown(zone: TinyDns):
    zone.failing.add(KEY_NAME)
    assert key(zone).verdict is Verdict.UNKNOWN


def test_a_usable_policy_passes_and_names_no_address(zone: TinyDns):
    found = dmarc(zone)
    assert found.verdict is Verdict.PASS
    assert "@" not in found.evidence


@pytest.mark.parametrize(
    "record",
    [
        "v=DMARC1; rua=mailto:dmarc@performancewest.test",
        "v=DMARC1; p=maybe; rua=mailto:dmarc@performancewest.test",
        "v=DMARC1; p=quarantine",
        "v=DMARC1; p=quarantine; aspf=s; rua=mailto:dmarc@performancewest.test",
        "v=DMARC1; p=quarantine; rua=mailto:us@elsewhere.test",
        "p=reject",
    ],
)
def test_a_policy_that_does_not_serve_us_fails(zone: TinyDns, record: str):
    found = dmarc(zone, record)
    assert found.verdict is Verdict.FAIL
    assert found.cure


def test_reports_may_go_to_a_domain_that_takes_them(zone: TinyDns):
    zone.put("TXT", f"{DOMAIN}._report._dmarc.elsewhere.test", "v=DMARC1")
    found = dmarc(zone, "v=DMARC1; p=none; rua=mailto:us@elsewhere.test!10m")
    assert found.verdict is Verdict.PASS


def test_two_policies_or_none_fail(zone: TinyDns):
    zone.put("TXT", f"_dmarc.{DOMAIN}", "v=DMARC1; p=none", "v=DMARC1; p=reject")
    assert dmarc(zone).verdict is Verdict.FAIL
    zone.drop("TXT", f"_dmarc.{DOMAIN}")
    assert dmarc(zone).verdict is Verdict.FAIL


def test_a_policy_that_cannot_be_asked_is_unknown(zone: TinyDns):
    zone.silent.add(f"_dmarc.{DOMAIN}")
    assert check_dmarc(zone.resolver(0.2), DOMAIN).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("identity", "strict", "expected"),
    [
        ("performancewest.test", False, True),
        ("bounce-hc.performancewest.test", False, True),
        ("bounce-hc.performancewest.test", True, False),
        ("notperformancewest.test", False, False),
        ("elsewhere.test", False, False),
    ],
)
def test_alignment_is_relaxed_below_the_organisation_and_exact_when_strict(
    identity: str, strict: bool, expected: bool
):
    assert aligned(identity, DOMAIN, DOMAIN, strict=strict) is expected
