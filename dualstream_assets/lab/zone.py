"""Every DNS record of the pretend internet: the world's domains, and the estate's identity as it should be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address

from dualstream_assets.estate import Estate
from dualstream_assets.lab.mailboxes import Nature
from dualstream_assets.lab.operators import ESTATE_MX_ADDRESS
from dualstream_assets.lab.world import World

Key = tuple[str, str]
"""(record type, name): `("PTR", "107.0.124.127.in-addr.arpa")`."""
Add = Callable[..., None]
"""add(record type, name, *record texts)."""


@dataclass(frozen=True)
class Zone:
    """What the lab's name server knows.

    Attributes:
        records: key -> record texts (for TXT the plain value, without quotes).
        failing: domains for which, and below which, it answers SERVFAIL.
    """

    records: dict[Key, tuple[str, ...]]
    failing: frozenset[str]


def whole_zone(world: World, estate: Estate, dkim_record: str) -> Zone:
    """All records; `dkim_record` is the TXT value of the estate's DKIM key (RFC 6376 section 3.6.1)."""
    found: dict[Key, list[str]] = {}

    def add(kind: str, name: str, *texts: str) -> None:
        known = found.setdefault((kind, name.lower().rstrip(".")), [])
        known.extend(text for text in texts if text not in known)

    _add_world(world, add)
    _add_identity(estate, dkim_record, add)
    _add_probe(estate, add)
    failing = frozenset(d.name for d in world.domains if d.nature is Nature.SERVFAIL)
    return Zone({key: tuple(texts) for key, texts in found.items()}, failing)


def reverse_name(address: IPv4Address | str) -> str:
    """The name that a PTR record of this address has."""
    return IPv4Address(address).reverse_pointer


def _add_world(world: World, add: Add) -> None:
    named: set[str] = set()
    for domain in world.domains:
        if domain.nature is Nature.NULL_MX:
            add("MX", domain.name, "0 .")  # RFC 7505
        if domain.a:
            add("A", domain.name, domain.a)
        for host in domain.mx:
            add("MX", domain.name, f"{host.preference} {host.name}.")
            if host.address:
                add("A", host.name, host.address)
        for host in domain.hosts:
            if (
                host.address and host.address not in named
            ):  # one name per address, as RFC 1912 section 2.1 asks
                named.add(host.address)
                add("PTR", reverse_name(host.address), f"{host.name}.")


def _add_identity(estate: Estate, dkim_record: str, add: Add) -> None:
    domain = estate.organisation.domain
    for zone in estate.dns.zones:
        add("SOA", zone.name, f"ns1.{domain}. hostmaster.{domain}. 2026113001 3600 900 1209600 300")
        add("NS", zone.name, f"ns1.{domain}.", f"ns2.{domain}.")
    for host in ("ns1", "ns2", "lists", "lists-hc"):
        add("A", f"{host}.{domain}", "127.0.0.1")
    add("A", domain, "127.0.0.1")
    for egress in estate.egress:
        if egress.state != "retired":
            add("A", egress.helo, str(egress.ip))
            add("PTR", reverse_name(egress.ip), f"{egress.helo}.")
    authorised = " ".join(f"ip4:{e.ip}" for e in estate.egress if e.state != "retired")
    add("TXT", domain, f"v=spf1 {authorised} -all")
    add("TXT", f"_dmarc.{domain}", f"v=DMARC1; p=quarantine; pct=100; rua=mailto:dmarc@{domain}")
    add("TXT", f"{estate.dns.dkim_selector}._domainkey.{domain}", dkim_record)
    _add_mail_host(domain, domain, add)
    for name, stream in estate.streams.items():
        if stream.return_path_domain:
            pool = " ".join(f"ip4:{e.ip}" for e in estate.pool(name))
            add("TXT", stream.return_path_domain, f"v=spf1 {pool} -all")
            _add_mail_host(stream.return_path_domain, domain, add)


def _add_probe(estate: Estate, add: Add) -> None:
    probe = estate.probe
    if not (probe.ip and probe.helo and probe.mail_from):
        return
    domain = probe.mail_from.split("@")[1]
    add("A", probe.helo, str(probe.ip))
    add("PTR", reverse_name(probe.ip), f"{probe.helo}.")
    add("A", domain, "127.0.0.1")
    add("TXT", domain, f"v=spf1 ip4:{probe.ip} -all")
    add("TXT", f"_dmarc.{domain}", "v=DMARC1; p=reject")
    _add_mail_host(domain, estate.organisation.domain, add)


def _add_mail_host(domain: str, organisation: str, add: Add) -> None:
    """Mail of the estate's own domains goes to the lab's host for them."""
    host = f"mail.{organisation}"
    add("MX", domain, f"10 {host}.")
    add("A", host, ESTATE_MX_ADDRESS)
    add("PTR", reverse_name(ESTATE_MX_ADDRESS), f"{host}.")
