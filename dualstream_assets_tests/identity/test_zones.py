"""The plan from found records to declared ones, serials in step, and blocklists with their control query."""

from __future__ import annotations

from ipaddress import IPv4Address

from dualstream_assets.estate import Estate
from dualstream_assets.identity.blocklists import check_blocklist
from dualstream_assets.identity.zones import check_soa, cover, plan_dns
from dualstream_assets.store.evidence import Verdict
from dualstream_assets_tests.identity.conftest import SOA
from dualstream_assets_tests.outside.nameserver import TinyDns

POINTER = "107.0.124.127.in-addr.arpa"
DOMAIN = "performancewest.test"


def planned(zone: TinyDns, estate: Estate):
    return plan_dns(zone.resolver(), estate)


def test_where_everything_is_published_the_plan_is_empty(zone: TinyDns, lab_estate: Estate):
    found = planned(zone, lab_estate)
    assert found.plan.empty, found.plan.render_diff()
    assert found.unknown == ()
    assert found.looked_at == 2 * len(lab_estate.egress) + 4


def test_a_missing_pointer_is_planned_with_its_hestia_command(zone: TinyDns, lab_estate: Estate):
    zone.drop("PTR", POINTER)
    (change,) = planned(zone, lab_estate).plan.changes
    assert (change.kind, change.target, change.after) == (
        "add",
        f"PTR {POINTER}",
        "hcmta01.performancewest.test",
    )
    assert change.note == (
        "v-add-dns-record lab 0.124.127.in-addr.arpa 107 PTR hcmta01.performancewest.test. '' '' no"
    )


def test_a_second_pointer_is_planned_away(zone: TinyDns, lab_estate: Estate):
    zone.put("PTR", POINTER, "hcmta01.performancewest.test.", f"mta18.{DOMAIN}.")
    (change,) = planned(zone, lab_estate).plan.changes
    assert (change.kind, change.before, change.after) == ("delete", f"mta18.{DOMAIN}", None)


def test_a_wrong_address_is_changed_in_place(zone: TinyDns, lab_estate: Estate):
    zone.put("A", f"hcmta01.{DOMAIN}", "127.124.0.9")
    (change,) = planned(zone, lab_estate).plan.changes
    assert (change.kind, change.before, change.after) == ("change", "127.124.0.9", "127.124.0.107")


def test_an_egress_missing_in_spf_is_added_before_the_rest(zone: TinyDns, lab_estate: Estate):
    zone.put("TXT", DOMAIN, "v=spf1 a mx ip4:127.124.0.94/31 ip4:127.124.0.96/31 ~all")
    (change,) = planned(zone, lab_estate).plan.changes
    assert change.after == (
        "v=spf1 ip4:127.124.0.107 ip4:127.124.0.108/31 a mx ip4:127.124.0.94/31 ip4:127.124.0.96/31 -all"
    )


def test_the_planned_spf_record_needs_no_second_plan(zone: TinyDns, lab_estate: Estate):
    zone.put("TXT", DOMAIN, "v=spf1 ip4:127.124.0.94/31 ~all")
    (change,) = planned(zone, lab_estate).plan.changes
    zone.put("TXT", DOMAIN, str(change.after))
    assert planned(zone, lab_estate).plan.empty


def test_a_missing_bounce_domain_gets_its_own_pool_and_the_usual_mail_host(zone: TinyDns, lab_estate: Estate):
    zone.drop("TXT", f"bounce-hc.{DOMAIN}")
    zone.drop("MX", f"bounce-hc.{DOMAIN}")
    spf, mx = planned(zone, lab_estate).plan.changes
    assert spf.after == "v=spf1 ip4:127.124.0.107 ip4:127.124.0.108/31 -all"
    assert mx.after == f"10 mail.{DOMAIN}"
    assert mx.note == f"v-add-dns-record lab {DOMAIN} bounce-hc MX mail.{DOMAIN}. 10 '' no"


def test_a_missing_policy_is_planned(zone: TinyDns, lab_estate: Estate):
    zone.drop("TXT", f"_dmarc.{DOMAIN}")
    (change,) = planned(zone, lab_estate).plan.changes
    assert str(change.after).startswith("v=DMARC1; p=quarantine; rua=")


def test_what_cannot_be_asked_is_unknown_and_never_planned(zone: TinyDns, lab_estate: Estate):
    zone.failing |= {POINTER, DOMAIN}
    found = planned(zone, lab_estate)
    assert found.plan.empty
    assert set(found.unknown) == {f"PTR {POINTER}", f"TXT {DOMAIN}"}


def test_the_cover_of_the_sixteen_addresses_is_four_mechanisms():
    sixteen = tuple(IPv4Address(f"207.174.124.{i}") for i in range(94, 110))
    assert cover(sixteen) == (
        "ip4:207.174.124.94/31 ip4:207.174.124.96/29 ip4:207.174.124.104/30 ip4:207.174.124.108/31"
    )


def test_one_serial_on_all_name_servers_passes(zone: TinyDns):
    found = check_soa(zone.resolver(), DOMAIN)
    assert found.verdict is Verdict.PASS
    assert found.evidence == f"ns1.{DOMAIN} (127.0.0.1) 7, ns2.{DOMAIN} (127.0.0.1) 7"


def test_a_name_server_that_does_not_answer_is_unknown(zone: TinyDns):
    zone.put("A", f"ns2.{DOMAIN}", "127.0.0.77")
    assert check_soa(zone.resolver(0.2), DOMAIN).verdict is Verdict.UNKNOWN


def test_a_secondary_that_lags_fails(zone: TinyDns, monkeypatch):
    serials = iter((8, 7))
    respond = zone.respond

    def lagging(wire: bytes, *, over_tcp: bool) -> bytes | None:
        response = respond(wire, over_tcp=over_tcp)
        if zone.asked[-1] == ("SOA", DOMAIN):
            zone.put("SOA", DOMAIN, SOA.format(serial=next(serials)))
            response = respond(wire, over_tcp=over_tcp)
        return response

    monkeypatch.setattr(zone, "respond", lagging)
    found = check_soa(zone.resolver(), DOMAIN)
    assert found.verdict is Verdict.FAIL
    assert "ns1" in found.evidence


LIST = "zen.list.test"
QUERY = f"107.0.124.127.{LIST}"


def listed(zone: TinyDns):
    return check_blocklist(zone.resolver(), "127.124.0.107", LIST).verdict


def test_not_listed_needs_a_working_control(zone: TinyDns):
    assert listed(zone) is Verdict.UNKNOWN
    zone.put("A", f"2.0.0.127.{LIST}", "127.0.0.2")
    assert listed(zone) is Verdict.PASS


def test_a_listing_fails_and_an_error_code_is_unknown(zone: TinyDns):
    zone.put("A", f"2.0.0.127.{LIST}", "127.0.0.2")
    zone.put("A", QUERY, "127.0.0.4")
    assert listed(zone) is Verdict.FAIL
    for code in ("127.255.255.252", "127.255.255.254", "127.255.255.255", "203.0.113.80"):
        zone.put("A", QUERY, code)
        assert listed(zone) is Verdict.UNKNOWN, code


def test_a_list_that_refuses_us_or_lists_everything_is_unknown(zone: TinyDns):
    zone.put("A", f"2.0.0.127.{LIST}", "127.255.255.254")
    assert listed(zone) is Verdict.UNKNOWN
    zone.put("A", f"2.0.0.127.{LIST}", "127.0.0.2")
    zone.put("A", f"1.0.0.127.{LIST}", "127.0.0.2")
    assert listed(zone) is Verdict.UNKNOWN
