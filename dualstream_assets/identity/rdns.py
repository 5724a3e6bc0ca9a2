"""Forward-confirmed reverse DNS of an egress, and its HELO name (RFC 1912 section 2.1, RFC 8601 section 3).

IP -> exactly one PTR -> a name whose A holds the same IP; that name is what we say in HELO. Gmail refuses without it.
"""

from __future__ import annotations

from dualstream_assets.identity.finding import Finding
from dualstream_assets.outside.dns import Answer, Resolver, reverse_name
from dualstream_assets.store.evidence import Verdict


def check_fcrdns(resolver: Resolver, ip: str, helo: str) -> Finding:
    """Whether the address has exactly one PTR and its name leads back to it. `helo` is only used in the cure."""
    pointer = reverse_name(ip)
    wanted = f"publish {pointer} PTR {helo}. and {helo} A {ip}"
    found = resolver.answers(pointer, "PTR")
    if not found.known:
        return _unknown(ip, "fcrdns", "PTR", pointer, found)
    if found.status != "ok":
        return Finding(ip, "fcrdns", Verdict.FAIL, f"no PTR ({pointer}: {found.status})", wanted)
    name, *others = found.records
    if others:
        names = ", ".join(sorted(found.records))
        return Finding(ip, "fcrdns", Verdict.FAIL, f"{1 + len(others)} PTR records: {names}", wanted)
    forward = resolver.answers(name, "A")
    if not forward.known:
        return _unknown(ip, "fcrdns", "A", name, forward)
    if ip not in forward.records:
        led = ", ".join(forward.records) or forward.status
        return Finding(ip, "fcrdns", Verdict.FAIL, f"PTR {name}, but {name} A is {led}", wanted)
    return Finding(ip, "fcrdns", Verdict.PASS, f"PTR {name}, A {ip}")


def check_helo(resolver: Resolver, ip: str, helo: str) -> Finding:
    """Whether the declared HELO name is the PTR's name and its A holds the address (RFC 5321 section 4.1.4)."""
    pointer = reverse_name(ip)
    found = resolver.answers(pointer, "PTR")
    if not found.known:
        return _unknown(ip, "helo", "PTR", pointer, found)
    name = helo.lower().rstrip(".")
    if found.records != (name,):
        said = ", ".join(found.records) or "missing"
        cure = f"publish {pointer} PTR {name}., or declare egress.helo as the PTR says"
        return Finding(ip, "helo", Verdict.FAIL, f"HELO {name}, but the PTR is {said}", cure)
    forward = resolver.answers(name, "A")
    if not forward.known:
        return _unknown(ip, "helo", "A", name, forward)
    if forward.records != (ip,):
        led = ", ".join(forward.records) or forward.status
        return Finding(ip, "helo", Verdict.FAIL, f"HELO {name} A is {led}", f"publish {name} A {ip} alone")
    return Finding(ip, "helo", Verdict.PASS, f"HELO {name} = PTR, A {ip}")


def _unknown(ip: str, fact: str, kind: str, name: str, answer: Answer) -> Finding:
    return Finding(
        ip,
        fact,
        Verdict.UNKNOWN,
        f"{kind} {name}: {answer.status}",
        "look again; if it stays, ask the name servers",
    )
