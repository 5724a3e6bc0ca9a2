"""SPF after RFC 7208: who passes, what breaks a record, and what stays unknown."""

from __future__ import annotations

import checkdmarc.spf
import dns.nameserver
import dns.resolver
import pytest

from dualstream_assets.identity.spf import check_host, check_spf
from dualstream_assets.store.evidence import Verdict
from dualstream_assets_tests.outside.nameserver import TinyDns, serving

OURS, FOREIGN = "198.51.100.7", "192.0.2.1"


@pytest.fixture
def tiny():
    with serving(TinyDns()) as server:
        yield server


def result(tiny: TinyDns, record: str | None, ip: str = OURS) -> str:
    if record is not None:
        tiny.put("TXT", "d.test", record)
    return check_host(tiny.resolver(), ip, "d.test").result


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("v=spf1 ip4:198.51.100.7 -all", "pass"),
        ("v=spf1 ip4:198.51.100.0/24 -all", "pass"),
        ("v=spf1 ip4:198.51.100.8/32 -all", "fail"),
        ("v=spf1 ip6:2001:db8::/32 ~all", "softfail"),
        ("v=spf1 ?ip4:198.51.100.7 -all", "neutral"),
        ("v=spf1 -ip4:198.51.100.7 +all", "fail"),
        ("v=spf1", "neutral"),
        ("V=SPF1 A -ALL", "pass"),
        ("v=spf1 a:d.test/24 -all", "pass"),
        ("v=spf1 mx -all", "pass"),
        ("v=spf1 include:good.test -all", "pass"),
        ("v=spf1 include:bad.test -all", "fail"),
        ("v=spf1 redirect=good.test", "pass"),
        ("v=spf1 exists:%{ir}.list.test -all", "pass"),
        ("v=spf1 ptr:d.test -all", "pass"),
        ("v=spf1 unknown-modifier=x a -all", "pass"),
        ("v=spf10 a -all", "none"),
    ],
)
def test_a_record_is_read_as_the_standard_says(tiny: TinyDns, record: str, expected: str):
    tiny.put("A", "d.test", OURS)
    tiny.put("MX", "d.test", "10 mx.d.test.")
    tiny.put("A", "mx.d.test", OURS)
    tiny.put("TXT", "good.test", "v=spf1 ip4:198.51.100.7 -all")
    tiny.put("TXT", "bad.test", "v=spf1 -all")
    tiny.put("A", "7.100.51.198.list.test", "127.0.0.2")
    tiny.put("PTR", "7.100.51.198.in-addr.arpa", "d.test.")
    assert result(tiny, record) == expected


@pytest.mark.parametrize(
    "record",
    [
        "v=spf1 ip4:198.51.100.300 -all",
        "v=spf1 ip4: -all",
        "v=spf1 ip4:198.51.100.7/33 -all",
        "v=spf1 ip4:2001:db8::1 -all",
        "v=spf1 include -all",
        "v=spf1 al -all",
        "v=spf1 all:d.test",
        "v=spf1 ip4:198.51.100.7 redirect=a.test redirect=b.test",
        "v=spf1 include:nowhere.test -all",
        "v=spf1 redirect=nowhere.test",
    ],
)
def test_a_broken_record_is_a_permanent_error_even_where_an_earlier_term_matches(tiny: TinyDns, record: str):
    assert result(tiny, record) == "permerror"


def test_a_syntax_error_after_the_match_still_counts(tiny: TinyDns):
    assert result(tiny, "v=spf1 ip4:198.51.100.7 ip4:x -all") == "permerror"


def test_no_record_is_none_and_two_are_an_error(tiny: TinyDns):
    assert result(tiny, None) == "none"
    tiny.put("TXT", "d.test", "v=spf1 a -all", "v=spf1 mx -all")
    assert result(tiny, None) == "permerror"


def test_the_eleventh_lookup_is_an_error_and_the_tenth_is_not(tiny: TinyDns):
    for count, expected in ((10, "fail"), (11, "permerror")):
        tiny.put("TXT", "d.test", "v=spf1 " + " ".join(f"a:h{i}.test" for i in range(count)) + " -all")
        for i in range(count):
            tiny.put("A", f"h{i}.test", "203.0.113.9")
        found = check_host(tiny.resolver(), OURS, "d.test")
        assert (found.result, found.lookups) == (expected, count)


def test_lookups_inside_includes_count(tiny: TinyDns):
    tiny.put("TXT", "d.test", "v=spf1 include:a.test include:b.test -all")
    for name in ("a", "b"):
        tiny.put("TXT", f"{name}.test", "v=spf1 " + " ".join(f"a:{name}{i}.test" for i in range(5)))
        for i in range(5):
            tiny.put("A", f"{name}{i}.test", "203.0.113.9")
    assert check_host(tiny.resolver(), OURS, "d.test").result == "permerror"


def test_an_include_of_itself_ends(tiny: TinyDns):
    assert result(tiny, "v=spf1 include:d.test -all") == "permerror"


def test_the_third_void_lookup_is_an_error(tiny: TinyDns):
    assert result(tiny, "v=spf1 a:x1.test a:x2.test -all") == "fail"
    assert result(tiny, "v=spf1 a:x1.test a:x2.test a:x3.test -all") == "permerror"


@pytest.mark.parametrize("how", ["failing", "silent"])
def test_an_unanswered_lookup_is_a_temporary_error(tiny: TinyDns, how: str):
    getattr(tiny, how).add("h.test")
    tiny.put("TXT", "d.test", "v=spf1 a:h.test -all")
    assert check_host(tiny.resolver(0.2), OURS, "d.test").result == "temperror"


def test_the_check_wants_ours_in_and_a_stranger_out(tiny: TinyDns):
    for record, expected in (
        ("v=spf1 ip4:198.51.100.7 -all", Verdict.PASS),
        ("v=spf1 ip4:198.51.100.8 -all", Verdict.FAIL),
        ("v=spf1 ip4:198.51.100.7 ~all", Verdict.FAIL),
        ("v=spf1 +all", Verdict.FAIL),
    ):
        tiny.put("TXT", "d.test", record)
        assert check_spf(tiny.resolver(), "d.test", [OURS]).verdict is expected, record


def test_the_check_counts_lookups_behind_the_term_that_lets_us_in(tiny: TinyDns):
    terms = " ".join(f"a:h{i}.test" for i in range(11))
    tiny.put("TXT", "d.test", f"v=spf1 ip4:{OURS} {terms} -all")
    for i in range(11):
        tiny.put("A", f"h{i}.test", "203.0.113.9")
    found = check_spf(tiny.resolver(), "d.test", [OURS])
    assert found.verdict is Verdict.FAIL
    assert "more than 10 DNS lookups" in found.evidence


def test_the_check_is_unknown_where_the_record_cannot_be_asked(tiny: TinyDns):
    tiny.failing.add("d.test")
    assert check_spf(tiny.resolver(), "d.test", [OURS]).verdict is Verdict.UNKNOWN


def test_an_empty_pool_proves_nothing(tiny: TinyDns):
    tiny.put("TXT", "d.test", "v=spf1 -all")
    assert check_spf(tiny.resolver(), "d.test", []).verdict is Verdict.UNKNOWN


def test_lookups_and_voids_agree_with_checkdmarc(tiny: TinyDns):
    tiny.put("TXT", "d.test", f"v=spf1 a mx include:i.test a:void.test ip4:{OURS} -all")
    tiny.put("TXT", "i.test", "v=spf1 a:h.test ip4:203.0.113.1 ~all")
    tiny.put("A", "d.test", "203.0.113.2")
    tiny.put("A", "h.test", "203.0.113.3")
    tiny.put("MX", "d.test", "10 mx.d.test.")
    tiny.put("A", "mx.d.test", "203.0.113.4")
    tiny.put("TXT", "void.test", "nothing")
    theirs = dns.resolver.Resolver(configure=False)
    theirs.nameservers = [dns.nameserver.Do53Nameserver("127.0.0.1", tiny.port)]
    parsed = checkdmarc.spf.check_spf("d.test", resolver=theirs, timeout=2.0)
    ours = check_host(tiny.resolver(), FOREIGN, "d.test")
    assert parsed["valid"], parsed
    assert (ours.lookups, ours.voids) == (parsed["dns_lookups"], parsed["void_dns_lookups"])
