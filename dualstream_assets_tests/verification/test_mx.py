"""MX rows and shards, and which addresses may be connected to at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from dualstream_assets.estate import Estate
from dualstream_assets.outside.dns import MxAnswer, MxHost
from dualstream_assets.verification.mx import MailDomain, load_domains, resolve_domains, shards
from dualstream_assets.verification.targets import LOOPBACK, Reach, probe_ip_fault, reach_of
from dualstream_assets_tests.verification.conftest import Verifier

NOW = datetime(2026, 11, 30, 14, tzinfo=UTC)


def row(domain: str, operator: str, *hosts: tuple[str, str], ruling: str = "ok") -> MailDomain:
    return MailDomain(domain, operator, "", tuple((name, (a,)) for name, a in hosts), ruling, NOW)


def dealt(*rows: MailDomain) -> dict[str, str]:
    return shards({r.domain: r for r in rows})


def test_a_lookup_becomes_a_row_with_operator_and_shard(verifier: Verifier) -> None:
    verifier.resolver.host("a.test", ("aspmx.l.google.com", "127.0.1.1"))
    verifier.resolver.host("b.test", ("mail.b.test", "127.0.1.2"))
    verifier.resolver.known["c.test"] = MxAnswer("null_mx")
    resolve_domains(verifier.database, verifier.clock, verifier.resolver, ["a.test", "b.test", "c.test"])
    with verifier.database.transaction() as connection:
        found = load_domains(connection)
    assert {d: (r.operator, r.ruling) for d, r in found.items()} == {
        "a.test": ("google", "ok"),
        "b.test": ("b.test", "ok"),
        "c.test": ("", "null_mx"),
    }
    assert (found["a.test"].shard, found["c.test"].shard) == ("google", "by-dns")
    assert found["b.test"].shard.startswith("other-0")


def test_a_failed_lookup_does_not_forget_who_runs_the_mail(verifier: Verifier) -> None:
    verifier.resolver.host("a.test", ("mta5.am0.yahoodns.net", "127.0.1.1"))
    resolve_domains(verifier.database, verifier.clock, verifier.resolver, ["a.test"])
    verifier.resolver.known["a.test"] = MxAnswer("unknown")
    resolve_domains(verifier.database, verifier.clock, verifier.resolver, ["a.test"])
    with verifier.database.transaction() as connection:
        found = load_domains(connection)["a.test"]
    assert (found.operator, found.ruling) == ("yahoo", "unknown")


def test_large_operators_get_a_shard_each_and_small_ones_a_few_between_them() -> None:
    small = [row(f"p{i}.test", f"p{i}.test", (f"mail.p{i}.test", f"10.0.0.{i}")) for i in range(40)]
    found = dealt(row("g.test", "google", ("aspmx.l.google.com", "10.9.0.1")), *small)
    assert found["g.test"] == "google"
    assert {shard for domain, shard in found.items() if domain != "g.test"} == {
        "other-00", "other-01", "other-02", "other-03",
    }  # fmt: skip


def test_operators_that_share_an_address_share_a_shard() -> None:
    many = [
        row(
            f"p{i}.test",
            f"p{i}.test",
            (f"mail.p{i}.test", f"10.0.0.{i}"),
            (f"b.p{i}.test", f"10.0.0.{i + 1}"),
        )
        for i in range(30)
    ]
    assert len(set(dealt(*many).values())) == 1


def test_a_vanity_name_at_a_large_operators_address_is_in_its_shard() -> None:
    found = dealt(
        row("g.test", "google", ("aspmx.l.google.com", "10.9.0.1")),
        row("v.test", "v.test", ("mx.v.test", "10.9.0.1")),
    )
    assert found == {"g.test": "google", "v.test": "google"}


def test_no_address_is_in_two_shards() -> None:
    rows = [
        row(f"p{i}.test", f"o{i % 7}.test", (f"m{i}.o{i % 7}.test", f"10.0.{i % 11}.{i % 5}"))
        for i in range(200)
    ]
    found = dealt(*rows)
    for key in (lambda r: r.operator, lambda r: r.hosts[0][1][0]):
        seen: dict[str, set[str]] = {}
        for one in rows:
            seen.setdefault(key(one), set()).add(found[one.domain])
        assert all(len(where) == 1 for where in seen.values())


def test_a_backup_at_another_large_operator_is_not_contacted() -> None:
    both = row("a.test", "a.test", ("mail.a.test", "10.0.0.1"), ("aspmx.l.google.com", "10.9.0.1"))
    assert [h.address for h in both.usable_hosts()] == ["10.0.0.1"]


def test_at_most_two_hosts_and_five_addresses() -> None:
    hosts = tuple((f"mx{i}.a.test", tuple(f"10.0.{i}.{n}" for n in range(4))) for i in range(3))
    found = MailDomain("a.test", "a.test", "", hosts, "ok", NOW).usable_hosts()
    assert [h.name for h in found] == ["mx0.a.test"] * 4 + ["mx1.a.test"]


def test_a_row_is_used_for_a_day_and_a_failure_for_an_hour() -> None:
    assert not row("a.test", "a.test").due(NOW + timedelta(hours=23))
    assert row("a.test", "a.test").due(NOW + timedelta(hours=24))
    assert row("a.test", "", ruling="nxdomain").due(NOW + timedelta(hours=1))


def test_the_implicit_mx_is_a_host_like_any_other(verifier: Verifier) -> None:
    verifier.resolver.known["a.test"] = MxAnswer("ok", (MxHost(0, "a.test", ("127.0.1.9",)),), implicit=True)
    resolve_domains(verifier.database, verifier.clock, verifier.resolver, ["a.test"])
    with verifier.database.transaction() as connection:
        assert load_domains(connection)["a.test"].usable_hosts()[0].address == "127.0.1.9"


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1", "127.0.0.1", "169.254.1.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "255.255.255.255",
        "224.0.0.1", "ff02::1", "192.0.0.8", "192.88.99.1", "240.0.0.1", "192.0.2.1", "::1", "fe80::1", "fc00::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1",
        "2002:7f00:1::", "2002:a00:1::", "mail.example.test", "",
    ],
)  # fmt: skip
def test_in_production_only_the_public_internet_is_reached(address: str) -> None:
    assert Reach().refusal(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_a_global_unicast_address_may_be_reached(address: str) -> None:
    assert Reach().refusal(address) is None


def test_our_own_addresses_are_never_targets() -> None:
    assert Reach(own=frozenset({ip_address("8.8.8.8")})).refusal("::ffff:8.8.8.8") == "our own address"


def test_the_lab_reaches_loopback_and_nothing_else(lab_estate: Estate) -> None:
    lab = reach_of(lab_estate, "lab")
    assert lab.only == LOOPBACK
    assert lab.refusal("127.30.1.1") is None
    assert lab.refusal("8.8.8.8") == "outside the lab"
    assert lab.refusal(str(lab_estate.egress[0].ip)) == "our own address"
    assert reach_of(lab_estate, "dev").refusal("8.8.8.8") == "outside the lab"
    assert reach_of(lab_estate, "production").refusal("8.8.8.8") is None


@pytest.mark.parametrize(
    ("ip", "fault"),
    [
        (None, "no probe IP is declared"),
        ("127.124.0.107", "is a sending IP"),
        ("127.124.0.7", "lies in the /24"),
        ("127.124.1.10", None),
    ],
)
def test_the_probe_address_is_apart_from_the_sending_ones(
    lab_estate: Estate, ip: str | None, fault: str | None
) -> None:
    probe = lab_estate.probe.model_copy(update={"ip": ip_address(ip) if ip else None})
    found = probe_ip_fault(lab_estate.model_copy(update={"probe": probe}))
    assert (found is None) if fault is None else (found is not None and fault in found)
