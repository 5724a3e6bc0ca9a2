"""The lab estate's identity as it should be, served by a tiny name server that a test can break."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate
from dualstream_assets.outside.dns import reverse_name
from dualstream_assets.settings import Settings
from dualstream_assets.store.database import Database
from dualstream_assets.workplace import Endpoints, Workplace
from dualstream_assets_tests.outside.nameserver import TinyDns, serving

SOA = "ns1.performancewest.test. hostmaster.performancewest.test. {serial} 3600 900 1209600 300"


@dataclass(frozen=True)
class Key:
    """An RSA signing key: private PEM and DNS record."""

    pem: bytes
    record: str


def new_key(bits: int) -> Key:
    private = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Key(pem, f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}")


@pytest.fixture(scope="session")
def signing_key() -> Key:
    return new_key(2048)


def put_identity(tiny: TinyDns, estate: Estate, dkim_record: str) -> None:
    """Every record the estate declares, right."""
    domain = estate.organisation.domain
    for zone in estate.dns.zones:
        tiny.put("NS", zone.name, f"ns1.{domain}.", f"ns2.{domain}.")
        tiny.put("SOA", zone.name, SOA.format(serial=7))
    for host in ("ns1", "ns2", "mail"):
        tiny.put("A", f"{host}.{domain}", "127.0.0.1")
    for egress in estate.egress:
        tiny.put("A", egress.helo, str(egress.ip))
        tiny.put("PTR", reverse_name(str(egress.ip)), f"{egress.helo}.")
    everyone = " ".join(f"ip4:{e.ip}" for e in estate.egress)
    tiny.put("TXT", domain, f"v=spf1 {everyone} -all", "some-site-verification=1")
    tiny.put("MX", domain, f"10 mail.{domain}.")
    tiny.put("TXT", f"_dmarc.{domain}", f"v=DMARC1; p=quarantine; rua=mailto:dmarc@{domain}")
    tiny.put("TXT", f"mail._domainkey.{domain}", dkim_record)
    pool = " ".join(f"ip4:{e.ip}" for e in estate.pool("healthcare"))
    tiny.put("TXT", f"bounce-hc.{domain}", f"v=spf1 {pool} -all")
    tiny.put("MX", f"bounce-hc.{domain}", f"10 mail.{domain}.")


@pytest.fixture
def zone(lab_estate: Estate, signing_key: Key) -> Iterator[TinyDns]:
    """The lab estate's DNS, all right, until the test changes it."""
    with serving(TinyDns()) as tiny:
        put_identity(tiny, lab_estate, signing_key.record)
        yield tiny


@pytest.fixture
def workplace(
    lab_estate: Estate,
    settings: Settings,
    database: Database,
    clock: FixedClock,
    zone: TinyDns,
    tmp_path: Path,
) -> Workplace:
    """A workplace whose only outside is the tiny name server and a folder of sinks."""
    endpoints = Endpoints(
        nameservers=zone.nameservers,
        smtp_port=25,
        submission_host="127.0.0.1",
        submission={},
        listmonk={},
        maillog=None,
        sinks=tmp_path / "sinks.jsonl",
        inbox=tmp_path,
        stamps=tmp_path,
    )
    return Workplace(
        settings, lab_estate, given_clock=clock, given_endpoints=endpoints, given_database=database
    )
