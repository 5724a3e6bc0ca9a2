"""The lab's name server tells the world's truth over UDP and TCP, until it is told to lie."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dns.exception
import dns.resolver
import pytest

from dualstream_assets.estate import Estate
from dualstream_assets.lab.dns import LabDns, clear_override, set_override
from dualstream_assets.lab.world import Nature, World
from dualstream_assets.lab.zone import whole_zone
from dualstream_assets_tests.lab.small_world import estate_of_lab, small_world

DKIM = "v=DKIM1; k=rsa; p=" + "A" * 392
HC_PTR = "PTR 107.0.124.127.in-addr.arpa"


@pytest.fixture(scope="module")
def world() -> World:
    return small_world()


@pytest.fixture(scope="module")
def estate() -> Estate:
    return estate_of_lab()


@pytest.fixture
def server(world: World, estate: Estate, tmp_path: Path) -> Iterator[tuple[str, int]]:
    lab_dns = LabDns(whole_zone(world, estate, DKIM), tmp_path)
    yield lab_dns.start()
    lab_dns.stop()


def ask(server: tuple[str, int], question: str, *, tcp: bool = False, patience_s: float = 5.0) -> list[str]:
    kind, name = question.split()
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port, resolver.lifetime = [server[0]], server[1], patience_s
    return sorted(answer.to_text() for answer in resolver.resolve(name, kind, tcp=tcp, search=False))


def some_domain(world: World, nature: Nature) -> str:
    return next(d.name for d in world.domains if d.nature is nature)


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
def test_every_egress_has_a_name_that_points_back(server: tuple[str, int], estate: Estate, tcp: bool) -> None:
    for egress in estate.egress:
        assert ask(server, f"PTR {egress.ip.reverse_pointer}", tcp=tcp) == [f"{egress.helo}."]
        assert ask(server, f"A {egress.helo}", tcp=tcp) == [str(egress.ip)]


def test_the_probe_address_has_its_own_identity(server: tuple[str, int]) -> None:
    assert ask(server, "PTR 10.1.124.127.in-addr.arpa") == ["verify.mailboxcheck.test."]
    assert ask(server, "A verify.mailboxcheck.test") == ["127.124.1.10"]
    assert ask(server, "TXT mailboxcheck.test") == ['"v=spf1 ip4:127.124.1.10 -all"']
    assert ask(server, "MX mailboxcheck.test") == ["10 mail.performancewest.test."]


def test_spf_of_the_domain_names_every_egress_and_of_the_return_path_only_its_pool(
    server: tuple[str, int], estate: Estate
) -> None:
    whole = ask(server, "TXT performancewest.test")[0]
    assert all(f"ip4:{e.ip} " in whole for e in estate.egress)
    assert whole.endswith(' -all"')
    assert ask(server, "TXT bounce-hc.performancewest.test") == [
        '"v=spf1 ip4:127.124.0.107 ip4:127.124.0.108 ip4:127.124.0.109 -all"'
    ]


def test_dkim_and_dmarc_are_published(server: tuple[str, int]) -> None:
    (dkim,) = ask(server, "TXT mail._domainkey.performancewest.test")
    assert dkim.replace('" "', "").strip('"') == DKIM
    assert ask(server, "TXT _dmarc.performancewest.test")[0].startswith('"v=DMARC1; p=quarantine')


def test_both_zones_have_soa_and_name_servers(server: tuple[str, int]) -> None:
    for zone in ("performancewest.test", "0.124.127.in-addr.arpa"):
        assert len(ask(server, f"SOA {zone}")) == 1
        assert len(ask(server, f"NS {zone}")) == 2


def test_every_mail_domain_is_answered_as_the_world_has_it(server: tuple[str, int], world: World) -> None:
    for domain in world.domains:
        if domain.mx:
            assert ask(server, f"MX {domain.name}") == sorted(f"{h.preference} {h.name}." for h in domain.mx)
            assert all(ask(server, f"A {h.name}") == [h.address] for h in domain.mx)


def test_a_null_mx_is_one_dot(server: tuple[str, int], world: World) -> None:
    assert ask(server, f"MX {some_domain(world, Nature.NULL_MX)}") == ["0 ."]


def test_a_domain_that_does_not_exist_is_nxdomain(server: tuple[str, int], world: World) -> None:
    with pytest.raises(dns.resolver.NXDOMAIN):
        ask(server, f"MX {some_domain(world, Nature.NXDOMAIN)}")


def test_a_domain_without_mx_has_an_address(server: tuple[str, int], world: World) -> None:
    name = some_domain(world, Nature.A_ONLY)
    with pytest.raises(dns.resolver.NoAnswer):
        ask(server, f"MX {name}")
    assert ask(server, f"A {name}")


def test_a_broken_domain_is_servfail(server: tuple[str, int], world: World) -> None:
    with pytest.raises(dns.resolver.NoNameservers, match="SERVFAIL"):
        ask(server, f"MX {some_domain(world, Nature.SERVFAIL)}")


def test_an_override_from_another_process_is_told_at_once_and_taken_back(
    server: tuple[str, int], tmp_path: Path
) -> None:
    assert ask(server, HC_PTR) == ["hcmta01.performancewest.test."]
    code = "import sys; from pathlib import Path; from dualstream_assets.lab.dns import set_override"
    subprocess.run(
        [
            sys.executable,
            "-c",
            f"{code}; set_override(Path(sys.argv[1]), sys.argv[2], [])",
            str(tmp_path),
            HC_PTR,
        ],
        check=True,
    )
    with pytest.raises(dns.resolver.NoAnswer):
        ask(server, HC_PTR)
    clear_override(tmp_path, HC_PTR)
    assert ask(server, HC_PTR) == ["hcmta01.performancewest.test."]


def test_an_override_can_give_another_record(server: tuple[str, int], tmp_path: Path) -> None:
    set_override(tmp_path, "a HCMTA01.performancewest.test.", ["127.0.0.9"])
    set_override(tmp_path, "TXT performancewest.test", ["v=spf1 -all"])
    assert ask(server, "A hcmta01.performancewest.test") == ["127.0.0.9"]
    assert ask(server, "TXT performancewest.test") == ['"v=spf1 -all"']


def test_an_override_can_be_a_failure(server: tuple[str, int], tmp_path: Path) -> None:
    set_override(tmp_path, HC_PTR, "SERVFAIL")
    with pytest.raises(dns.resolver.NoNameservers, match="SERVFAIL"):
        ask(server, HC_PTR)
    set_override(tmp_path, HC_PTR, "NXDOMAIN")
    with pytest.raises(dns.resolver.NXDOMAIN):
        ask(server, HC_PTR)
    set_override(tmp_path, HC_PTR, "TIMEOUT")
    with pytest.raises(dns.exception.Timeout):
        ask(server, HC_PTR, patience_s=0.3)


@pytest.mark.parametrize(("key", "value"), [("PTR", []), ("PTR a b", []), (HC_PTR, "BROKEN")])
def test_a_senseless_override_is_refused(tmp_path: Path, key: str, value: list[str] | str) -> None:
    with pytest.raises(ValueError, match="override"):
        set_override(tmp_path, key, value)
    assert not (tmp_path / "dns_overrides.json").exists()


def test_clearing_everything_leaves_no_override(tmp_path: Path) -> None:
    set_override(tmp_path, HC_PTR, [])
    set_override(tmp_path, "A hcmta01.performancewest.test", [])
    clear_override(tmp_path)
    assert json.loads((tmp_path / "dns_overrides.json").read_text()) == {}


def test_a_taken_port_is_replaced_by_a_free_one(
    server: tuple[str, int], world: World, estate: Estate, tmp_path: Path
) -> None:
    second = LabDns(whole_zone(world, estate, DKIM), tmp_path, port=server[1])
    at = second.start()
    try:
        assert at[1] != server[1]
        assert ask(at, HC_PTR) == ask(server, HC_PTR)
    finally:
        second.stop()


def test_a_stopped_server_frees_its_port(world: World, estate: Estate, tmp_path: Path) -> None:
    first = LabDns(whole_zone(world, estate, DKIM), tmp_path)
    _, port = first.start()
    first.stop()
    second = LabDns(whole_zone(world, estate, DKIM), tmp_path, port=port)
    try:
        assert second.start()[1] == port
    finally:
        second.stop()
