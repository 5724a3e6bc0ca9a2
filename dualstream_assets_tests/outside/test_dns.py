"""The resolver: five kinds of answer, and the MX rules of RFC 5321 section 5.1 and RFC 7505."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from dualstream_assets.outside.dns import MxHost, Resolver, reverse_name
from dualstream_assets_tests.outside.nameserver import TinyDns, serving


@pytest.fixture
def zone():
    with serving(TinyDns()) as tiny:
        yield tiny


def test_an_answer_brings_its_records_and_ttl(zone: TinyDns):
    zone.put("A", "host.test", "192.0.2.1", "192.0.2.2")
    found = zone.resolver().answers("HOST.test.", "a")
    assert (found.status, set(found.records), found.ttl) == ("ok", {"192.0.2.1", "192.0.2.2"}, 300)


def test_a_missing_name_and_a_missing_record_are_told_apart(zone: TinyDns):
    zone.put("A", "host.test", "192.0.2.1")
    resolver = zone.resolver()
    assert resolver.answers("nobody.test", "A").status == "nxdomain"
    assert resolver.answers("host.test", "TXT").status == "nodata"


def test_a_failing_server_is_servfail_and_not_known(zone: TinyDns):
    zone.failing.add("broken.test")
    found = zone.resolver().answers("broken.test", "A")
    assert (found.status, found.known) == ("servfail", False)


def test_silence_is_a_timeout_and_not_known(zone: TinyDns):
    zone.silent.add("quiet.test")
    found = zone.resolver(0.2).answers("quiet.test", "A")
    assert (found.status, found.known) == ("timeout", False)


def test_nobody_listening_is_never_a_no():
    with serving(TinyDns()) as gone:
        nameservers = gone.nameservers
    assert not Resolver(nameservers, 0.3).answers("host.test", "A").known


@pytest.mark.parametrize("name", ["a..test", f"{'x' * 64}.test", ".".join(["label"] * 60)])
def test_a_text_that_cannot_be_a_name_does_not_exist(zone: TinyDns, name: str):
    assert zone.resolver().answers(name, "MX").status == "nxdomain"
    assert zone.asked == []


def test_a_long_txt_record_comes_whole_over_tcp(zone: TinyDns):
    value = "v=DKIM1; p=" + "A" * 3000
    zone.put("TXT", "mail._domainkey.host.test", value)
    assert zone.resolver().answers("mail._domainkey.host.test", "TXT").records == (value,)


def test_names_come_lower_case_without_the_final_dot(zone: TinyDns):
    zone.put("PTR", reverse_name("192.0.2.7"), "MTA.Host.TEST.")
    assert zone.resolver().answers(reverse_name("192.0.2.7"), "PTR").records == ("mta.host.test",)


def test_an_alias_is_followed(zone: TinyDns):
    zone.put("CNAME", "alias.test", "host.test.")
    zone.put("A", "host.test", "192.0.2.1")
    assert zone.resolver().answers("alias.test", "A").records == ("192.0.2.1",)


def test_without_a_cache_every_question_is_asked(zone: TinyDns):
    zone.put("A", "host.test", "192.0.2.1")
    resolver = zone.resolver()
    resolver.answers("host.test", "A")
    zone.put("A", "host.test", "192.0.2.9")
    assert resolver.answers("host.test", "A").records == ("192.0.2.9",)


def test_the_cache_keeps_a_record_for_its_ttl_and_never_a_failure(zone: TinyDns):
    now = [0.0]
    resolver = Resolver(zone.nameservers, 0.3, cache_size=10, monotonic=lambda: now[0])
    zone.failing.add("host.test")
    resolver.answers("host.test", "A")
    zone.failing.clear()
    zone.put("A", "host.test", "192.0.2.1")
    assert resolver.answers("host.test", "A").status == "ok"
    zone.put("A", "host.test", "192.0.2.9")
    now[0] = 299.0
    assert resolver.answers("host.test", "A").records == ("192.0.2.1",)
    now[0] = 301.0
    assert resolver.answers("host.test", "A").records == ("192.0.2.9",)


def test_no_record_is_reused_after_a_day(zone: TinyDns):
    now = [0.0]
    zone.ttl = 7 * 86400
    zone.put("A", "host.test", "192.0.2.1")
    resolver = Resolver(zone.nameservers, 0.3, cache_size=10, monotonic=lambda: now[0])
    resolver.answers("host.test", "A")
    now[0] = 86401.0
    resolver.answers("host.test", "A")
    assert zone.asked.count(("A", "host.test")) == 2


def test_many_threads_may_ask_one_resolver(zone: TinyDns):
    for i in range(60):
        zone.put("A", f"h{i}.test", f"192.0.2.{i}")
    resolver = zone.resolver(3.0)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda i: resolver.answers(f"h{i}.test", "A").records, range(60)))
    assert found == [(f"192.0.2.{i}",) for i in range(60)]


def test_mx_hosts_come_best_first_with_their_addresses(zone: TinyDns):
    zone.put("MX", "clinic.test", "20 mx2.clinic.test.", "10 MX1.clinic.test.")
    zone.put("A", "mx1.clinic.test", "192.0.2.1")
    zone.put("A", "mx2.clinic.test", "192.0.2.2")
    found = zone.resolver().mx("clinic.test")
    assert found.status == "ok"
    assert not found.implicit
    assert found.hosts == (
        MxHost(10, "mx1.clinic.test", ("192.0.2.1",)),
        MxHost(20, "mx2.clinic.test", ("192.0.2.2",)),
    )


def test_one_dot_at_preference_zero_is_null_mx(zone: TinyDns):
    zone.put("MX", "nomail.test", "0 .")
    assert zone.resolver().mx("nomail.test").status == "null_mx"


def test_a_dot_among_several_is_passed_over(zone: TinyDns):
    zone.put("MX", "clinic.test", "0 .", "10 mx1.clinic.test.")
    zone.put("A", "mx1.clinic.test", "192.0.2.1")
    assert [h.host for h in zone.resolver().mx("clinic.test").hosts] == ["mx1.clinic.test"]


def test_without_mx_the_domains_own_address_takes_mail(zone: TinyDns):
    zone.put("A", "small.test", "192.0.2.5")
    found = zone.resolver().mx("small.test")
    assert (found.status, found.implicit, found.hosts) == (
        "ok",
        True,
        (MxHost(0, "small.test", ("192.0.2.5",)),),
    )


def test_neither_mx_nor_address_is_nodata(zone: TinyDns):
    zone.put("TXT", "empty.test", "hello")
    assert zone.resolver().mx("empty.test").status == "nodata"


def test_an_unusable_mx_never_falls_back_to_the_domains_address(zone: TinyDns):
    zone.put("A", "clinic.test", "192.0.2.5")
    for target in ("192.0.2.9.", "localhost.", "gone.clinic.test."):
        zone.put("MX", "clinic.test", f"10 {target}")
        found = zone.resolver().mx("clinic.test")
        assert (found.status, found.hosts) == ("misconfigured", ())


def test_unanswered_lookups_leave_the_domain_unknown(zone: TinyDns):
    zone.failing |= {"servfail.test", "mx1.clinic.test"}
    zone.put("MX", "clinic.test", "10 mx1.clinic.test.")
    resolver = zone.resolver()
    assert resolver.mx("servfail.test").status == "unknown"
    assert resolver.mx("clinic.test").status == "unknown"


def test_one_reachable_host_is_enough(zone: TinyDns):
    zone.put("MX", "clinic.test", "10 mx1.clinic.test.", "20 mx2.clinic.test.")
    zone.put("A", "mx2.clinic.test", "192.0.2.2")
    zone.failing.add("mx1.clinic.test")
    assert zone.resolver().mx("clinic.test").status == "ok"


def test_a_reverse_name_is_the_octets_backwards():
    assert reverse_name("127.124.0.107") == "107.0.124.127.in-addr.arpa"
