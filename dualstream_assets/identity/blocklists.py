"""DNS blocklists (RFC 5782), with a control query: a list that cannot be asked is unknown, never "not listed".

Spamhaus answers 127.255.255.252 (typo), .254 (public resolver) and .255 (too many queries) *instead of* a listing;
several mail systems shipped the bug of reading those as "listed".
"""

from __future__ import annotations

from ipaddress import ip_address

from dualstream_assets.identity.finding import Finding
from dualstream_assets.outside.dns import Resolver, reverse_name
from dualstream_assets.store.evidence import Verdict

TEST_LISTED, TEST_CLEAN = "127.0.0.2", "127.0.0.1"
"""Every list must hold the first and must not hold the second (RFC 5782 section 5)."""
ERROR_PREFIX = "127.255.255."


def check_blocklist(resolver: Resolver, ip: str, zone: str) -> Finding:
    """Whether `ip` is on the list `zone`: pass means not listed, proved by a control query just before."""
    fact = f"blocklist {zone}"
    control = _control_fault(resolver, zone)
    if control:
        return Finding(ip, fact, Verdict.UNKNOWN, control, "use an own recursive resolver, or the list's key")
    found = resolver.answers(_query(ip, zone), "A")
    if not found.known:
        return Finding(ip, fact, Verdict.UNKNOWN, f"{zone}: {found.status}", "look again")
    if not found.records:
        return Finding(ip, fact, Verdict.PASS, "not listed; the control address is")
    codes = ", ".join(sorted(found.records))
    if any(_is_error(code) for code in found.records):
        return Finding(ip, fact, Verdict.UNKNOWN, f"{zone} answers {codes}: an error, not a listing")
    return Finding(
        ip, fact, Verdict.FAIL, f"listed ({codes})", f"stop the stream and ask {zone} for delisting"
    )


def _control_fault(resolver: Resolver, zone: str) -> str:
    listed = resolver.answers(_query(TEST_LISTED, zone), "A")
    if not listed.records or any(_is_error(code) for code in listed.records):
        return f"{zone}: the control address answers {', '.join(listed.records) or listed.status}"
    clean = resolver.answers(_query(TEST_CLEAN, zone), "A")
    if clean.status != "nxdomain":
        return f"{zone}: lists {TEST_CLEAN}, so it lists everything"
    return ""


def _query(ip: str, zone: str) -> str:
    return f"{reverse_name(ip).removesuffix('.in-addr.arpa')}.{zone}"


def _is_error(code: str) -> bool:
    """An answer outside 127.0.0.0/8 comes from a hijacked resolver or a parked list domain."""
    return code.startswith(ERROR_PREFIX) or not ip_address(code).is_loopback
