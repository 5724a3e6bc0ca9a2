"""Three guards against a leak: pools apart, source addresses up, and ports that really refuse a consumer mailbox."""

from __future__ import annotations

import re
import smtplib
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from dualstream_assets.estate import Estate
from dualstream_assets.mta.files import entries
from dualstream_assets.mta.live import Live
from dualstream_assets.mta.names import Rendered, ported_pool, ported_streams, senders_of
from dualstream_assets.outside.ssh import Runner
from dualstream_assets.store.evidence import Verdict

BACKSTOP_RECIPIENT = "backstop-probe@yahoo.com"
"""Must be refused at RCPT. DATA is never sent, so nothing reaches anybody even where it is not."""
TIMEOUT_S = 10.0
REFUSED, ACCEPTED = 500, 200


@dataclass(frozen=True)
class Guarded:
    """What a guard found: the verdict and one line."""

    verdict: Verdict
    evidence: str


def pools_disjoint(estate: Estate, rendered: Rendered, live: Live | None) -> Guarded:
    """Whether no address, transport or port serves two streams: in the estate, in the render, and as deployed.

    Args:
        live: what is deployed; None where it could not be read (then only the declared side is judged: unknown).
    """
    faults = [*_declared_faults(estate), *_rendered_faults(estate, rendered)]
    if live is not None:
        faults += _live_faults(estate, live)
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        return Guarded(Verdict.FAIL, f"{faults[0]}{more}")
    if live is None:
        return Guarded(Verdict.UNKNOWN, "the deployed configuration could not be read")
    sizes = ", ".join(f"{name} {len(estate.pool(name))}" for name in estate.streams)
    return Guarded(Verdict.PASS, f"no address, transport or port is shared ({sizes})")


def _declared_faults(estate: Estate) -> list[str]:
    faults = []
    for kind in ("ip", "transport", "port", "helo"):
        owner: dict[object, str] = {}
        for egress in (e for e in estate.egress if e.state != "retired"):
            value = getattr(egress, kind)
            if value is not None and owner.setdefault(value, egress.stream) != egress.stream:
                faults.append(f"{kind} {value} belongs to {owner[value]} and {egress.stream}")
    return faults


def _rendered_faults(estate: Estate, rendered: Rendered) -> list[str]:
    faults, seen = [], {}
    for place, text in rendered.items():
        if "master.cf#" not in place:
            continue
        for entry in entries(text):
            address = entry.options.get("smtp_bind_address")
            if address and seen.setdefault(address, entry.name) != entry.name:
                faults.append(f"{address} is bound by {seen[address]} and {entry.name}")
            if address and not _owns(estate, entry.name, address):
                faults.append(f"{entry.name} binds {address}, which is not its own")
            if entry.name.startswith("0.0.0.0:") or entry.name.isdigit():
                faults.append(f"{entry.name} listens to the world")
    return faults


def _owns(estate: Estate, transport: str, address: str) -> bool:
    egress = estate.egress_of_transport(transport)
    return egress is not None and egress.ip == IPv4Address(address)


def _live_faults(estate: Estate, live: Live) -> list[str]:
    """A transport of another stream that binds one of ours, or a retired one that rotation still names."""
    faults = []
    for egress in (e for e in estate.egress if e.state == "active"):
        binders = {t for t, address in live.bound.items() if address == str(egress.ip)} - {egress.transport}
        foreign = sorted(binders - {egress.former_transport})
        faults += [f"{name} binds {egress.ip} of {egress.stream} as well" for name in foreign]
        former = egress.former_transport
        users = [name for name, value in live.main.items() if former and re.search(rf"\b{former}\b", value)]
        faults += [f"{name} still names {former} ({egress.ip} of {egress.stream})" for name in users]
    return faults


def bind_test(addresses: Iterable[IPv4Address]) -> dict[str, bool]:
    """Whether this machine can send from each address: a socket binds it. No proof under `ip_nonlocal_bind`."""
    found = {}
    for address in addresses:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as test:
            try:
                test.bind((str(address), 0))
                found[str(address)] = True
            except OSError:
                found[str(address)] = False
    return found


def addresses_up(runner: Runner, addresses: Iterable[IPv4Address]) -> dict[str, bool]:
    """Whether each address is on an interface of a host, as `ip addr` tells.

    Raises:
        RunnerError: the host cannot be asked.
    """
    told = runner.run(["ip", "-4", "-o", "addr", "show", "up"]).require().stdout
    up = set(re.findall(r"\binet (\d+\.\d+\.\d+\.\d+)/", told))
    return {str(address): str(address) in up for address in addresses}


def judge_addresses(up: Mapping[str, bool]) -> Guarded:
    """All up, or which are not."""
    missing = [address for address, is_up in up.items() if not is_up]
    if not up:
        return Guarded(Verdict.UNKNOWN, "no address to look at")
    if missing:
        return Guarded(Verdict.FAIL, f"{', '.join(missing)} not up: its mail is deferred. Cure: ip addr add")
    return Guarded(Verdict.PASS, f"{len(up)} source addresses up")


@dataclass(frozen=True)
class PortReply:
    """What one submission port said to the backstop probe; code None where it was never asked."""

    port: int
    code: int | None
    text: str


def probe_backstop(host: str, port: int, *, real_port: int, sender: str, helo: str) -> PortReply:
    """Ask one port for a consumer recipient and take it back: EHLO, MAIL, RCPT, RSET, QUIT. Never DATA."""
    try:
        with smtplib.SMTP(host, real_port, local_hostname=helo, timeout=TIMEOUT_S) as smtp:
            smtp.ehlo_or_helo_if_needed()
            code, text = smtp.mail(sender)
            if code >= 300:  # noqa: PLR2004
                return PortReply(port, None, f"MAIL refused: {code} {text.decode('utf-8', 'replace')}")
            code, text = smtp.rcpt(BACKSTOP_RECIPIENT)
            smtp.rset()
            return PortReply(port, code, text.decode("utf-8", "replace"))
    except (OSError, smtplib.SMTPException) as error:
        return PortReply(port, None, f"{type(error).__name__}")


def probe_backstops(estate: Estate, host: str, ports: Mapping[int, int]) -> tuple[PortReply, ...]:
    """Ask every port of every ported stream.

    Args:
        ports: estate port -> the port it really has here.
    """
    return tuple(
        probe_backstop(
            host,
            port,
            real_port=ports[port],
            sender=f"backstop-probe@{senders_of(estate, stream)}",
            helo=f"localhost.{estate.organisation.domain}",
        )
        if port in ports
        else PortReply(port, None, "not reachable here")
        for stream in ported_streams(estate)
        for _, port in ported_pool(estate, stream)
    )


def judge_backstop(replies: Iterable[PortReply]) -> Guarded:
    """Every port must have said 5xx; one that accepts is a leak, one that was not asked leaves it unknown."""
    replies = tuple(replies)
    leaks = [r for r in replies if r.code is not None and ACCEPTED <= r.code < 300]  # noqa: PLR2004
    if leaks:
        ports = ", ".join(str(r.port) for r in leaks)
        return Guarded(
            Verdict.FAIL,
            f"port {ports} ACCEPTS a Yahoo recipient ({leaks[0].code}). Cure: apply mta/deployed",
        )
    unclear = [r for r in replies if r.code is None or r.code < REFUSED]
    if unclear or not replies:
        said = "; ".join(f"port {r.port}: {r.code or 'no answer'} ({r.text[:80]})" for r in unclear)
        return Guarded(Verdict.UNKNOWN, said or "no port to ask")
    return Guarded(Verdict.PASS, f"Yahoo refused on {', '.join(str(r.port) for r in replies)}")
