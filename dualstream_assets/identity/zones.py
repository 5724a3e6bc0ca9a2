"""Our zones: whether all name servers tell the same, and the plan from the records found to the records declared.

Applying goes through Hestia's command line on the name server; each change carries its exact command. Hestia's add is
not idempotent (the same add twice makes two SPF records, a permerror), so changes are computed, never repeated blindly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, collapse_addresses

from dualstream_assets.estate import Estate
from dualstream_assets.estate.model import Zone
from dualstream_assets.identity.dmarc import policy_of
from dualstream_assets.identity.finding import Finding
from dualstream_assets.identity.spf import FOREIGN_IP, check_host, spf_record
from dualstream_assets.outside.dns import Answer, Resolver, reverse_name
from dualstream_assets.outside.plan import Change, Plan
from dualstream_assets.outside.ssh import quoted
from dualstream_assets.store.evidence import Verdict

DNS_PORT = 53
HESTIA_ID = "<ID>"
"""Stands for the record's number, which `v-list-dns-records USER ZONE json` shows."""


@dataclass(frozen=True)
class DnsPlan:
    """What to change, and what could not be looked at (so nothing may be concluded there)."""

    plan: Plan
    unknown: tuple[str, ...]
    looked_at: int


def check_soa(resolver: Resolver, zone: str) -> Finding:
    """Whether every name server of a zone answers, and with one serial (secondaries lag after a change)."""
    fact = "soa"
    servers = resolver.answers(zone, "NS")
    if servers.status != "ok":
        verdict = Verdict.FAIL if servers.known else Verdict.UNKNOWN
        return Finding(
            zone, fact, verdict, f"NS {zone}: {servers.status}", "look again, or delegate the zone"
        )
    serials: dict[str, str] = {}
    for server in sorted(servers.records):
        addresses = resolver.answers(server, "A")
        if addresses.status != "ok":
            return Finding(zone, fact, Verdict.UNKNOWN, f"A {server}: {addresses.status}", "look again")
        for address in addresses.records:
            found = _directly(resolver, address).answers(zone, "SOA")
            serials[f"{server} ({address})"] = found.records[0].split()[2] if found.records else found.status
    told = ", ".join(f"{server} {serial}" for server, serial in serials.items())
    if not all(serial.isdigit() for serial in serials.values()):
        return Finding(zone, fact, Verdict.UNKNOWN, told, "look at the name server that does not answer")
    if len(set(serials.values())) > 1:
        return Finding(zone, fact, Verdict.FAIL, told, "wait for the secondaries, or notify them")
    return Finding(zone, fact, Verdict.PASS, told)


def _directly(resolver: Resolver, address: str) -> Resolver:
    """Asks one name server; on the port that this world's name servers use."""
    port = resolver.nameservers[0][1] if resolver.nameservers else DNS_PORT
    return Resolver(((address, port),), resolver.timeout_s)


def plan_dns(resolver: Resolver, estate: Estate) -> DnsPlan:
    """The difference between the identity that the estate declares and what the name servers tell."""
    unknown: list[str] = []
    changes: list[Change] = []
    looked_at = 0
    for kind, name, changed in _looks(resolver, estate):
        looked_at += 1
        if changed is None:
            unknown.append(f"{kind} {name}")
        else:
            changes.extend(changed)
    return DnsPlan(Plan("dns", tuple(changes)), tuple(unknown), looked_at)


Changed = tuple[Change, ...] | None
"""The changes of one record set; None where a lookup did not complete."""


def _looks(resolver: Resolver, estate: Estate) -> Iterator[tuple[str, str, Changed]]:
    domain = estate.organisation.domain
    for egress in estate.egress:
        if egress.state == "retired":
            continue
        ip, helo = str(egress.ip), egress.helo.lower()
        yield "A", helo, _exactly(estate, "A", helo, resolver.answers(helo, "A"), ip)
        pointer = reverse_name(ip)
        yield "PTR", pointer, _exactly(estate, "PTR", pointer, resolver.answers(pointer, "PTR"), helo)
    ours = tuple(e.ip for e in estate.egress if e.state != "retired")
    yield "TXT", domain, _spf(resolver, estate, domain, ours)
    for name, stream in estate.streams.items():
        if stream.return_path_domain:
            pool = tuple(e.ip for e in estate.pool(name))
            yield "TXT", stream.return_path_domain, _spf(resolver, estate, stream.return_path_domain, pool)
            yield "MX", stream.return_path_domain, _mail_host(resolver, estate, stream.return_path_domain)
    yield "TXT", f"_dmarc.{domain}", _dmarc(resolver, estate, domain)


def _exactly(estate: Estate, kind: str, name: str, found: Answer, wanted: str) -> Changed:
    """One record, this one: others go, a missing one comes."""
    if not found.known:
        return None
    records = sorted(found.records)
    if wanted in records:
        return tuple(_change(estate, kind, name, r, None) for r in records if r != wanted)
    if not records:
        return (_change(estate, kind, name, None, wanted),)
    rest = tuple(_change(estate, kind, name, r, None) for r in records[1:])
    return (_change(estate, kind, name, records[0], wanted), *rest)


def _spf(resolver: Resolver, estate: Estate, domain: str, ours: tuple[IPv4Address, ...]) -> Changed:
    answer, records = spf_record(resolver, domain)
    if not answer.known:
        return None
    if not records:
        return (_change(estate, "TXT", domain, None, f"v=spf1 {cover(ours)} -all"),)
    extra = tuple(_change(estate, "TXT", domain, r, None) for r in records[1:])
    results = {ip: check_host(resolver, str(ip), domain).result for ip in ours}
    foreign = check_host(resolver, FOREIGN_IP, domain).result
    if not extra and "temperror" in (*results.values(), foreign):
        return None
    missing = tuple(ip for ip, result in results.items() if result != "pass")
    if not extra and not missing and foreign == "fail":
        return ()
    terms = [t for t in records[0].split()[1:] if t.lower().lstrip("+-~?") != "all"]
    added = [cover(missing)] if missing and not extra else []
    ending = [] if any(t.lower().startswith("redirect=") for t in terms) else ["-all"]
    wanted = " ".join(["v=spf1", *added, *terms, *ending])
    changed = () if wanted == records[0] else (_change(estate, "TXT", domain, records[0], wanted),)
    return (*changed, *extra)


def _mail_host(resolver: Resolver, estate: Estate, domain: str) -> Changed:
    """Bounces go where the organisation's mail goes, unless an MX is published already."""
    found = resolver.answers(domain, "MX")
    if not found.known:
        return None
    if found.records:
        return ()
    usual = resolver.answers(estate.organisation.domain, "MX")
    if not usual.known:
        return None
    return tuple(_change(estate, "MX", domain, None, record) for record in sorted(usual.records))


def _dmarc(resolver: Resolver, estate: Estate, domain: str) -> Changed:
    found, policies = policy_of(resolver, domain)
    if not found.known:
        return None
    if policies:
        return ()
    return (
        _change(
            estate, "TXT", f"_dmarc.{domain}", None, f"v=DMARC1; p=quarantine; rua=mailto:dmarc@{domain}"
        ),
    )


def cover(addresses: tuple[IPv4Address, ...]) -> str:
    """The fewest `ip4:` mechanisms that hold exactly these addresses."""
    networks = collapse_addresses(IPv4Network(ip) for ip in sorted(addresses))
    return " ".join(f"ip4:{n.network_address if n.num_addresses == 1 else n}" for n in networks)


def _change(estate: Estate, kind: str, name: str, before: str | None, after: str | None) -> Change:
    what = "add" if before is None else "delete" if after is None else "change"
    zone = _zone_of(estate, name)
    note = _command(zone, kind, name, what, after) if zone else "no zone of ours: ask its owner"
    return Change(what, f"{kind} {name}", before, after, note)


def _zone_of(estate: Estate, name: str) -> Zone | None:
    """The longest declared zone that holds a name."""
    holding = [z for z in estate.dns.zones if name == z.name or name.endswith(f".{z.name}")]
    return max(holding, key=lambda z: len(z.name), default=None)


def _command(zone: Zone, kind: str, name: str, what: str, after: str | None) -> str:
    """The Hestia command (facts: mail section 7). Restart is `no`: one rebuild follows the last change."""
    if what == "delete":
        return quoted(["v-delete-dns-record", zone.owner, zone.name, HESTIA_ID, "no"])
    label = "@" if name == zone.name else name.removesuffix(f".{zone.name}")
    value, priority = after or "", ""
    if kind == "MX":
        priority, _, value = value.partition(" ")
    if kind in ("MX", "PTR"):
        value = f"{value}."
    if what == "change":
        return quoted(
            ["v-change-dns-record", zone.owner, zone.name, HESTIA_ID, label, kind, value, priority, "no"]
        )
    return quoted(["v-add-dns-record", zone.owner, zone.name, label, kind, value, priority, "", "no"])
