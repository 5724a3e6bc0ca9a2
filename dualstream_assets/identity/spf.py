"""SPF (RFC 7208): a small evaluator of our own, and the check that a domain lets exactly our egresses send.

Own, because what we need no library gives: is *this* IP in it, is a foreign one out, and a lookup that did not complete
is `temperror`, never `none`. The tests hold it against checkdmarc's parse.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Literal
from urllib.parse import quote

from dualstream_assets.identity.finding import Finding, worst
from dualstream_assets.outside.dns import Answer, Resolver
from dualstream_assets.store.evidence import Verdict

Result = Literal["pass", "fail", "softfail", "neutral", "none", "permerror", "temperror"]

LOOKUP_LIMIT = 10  # RFC 7208 section 4.6.4, here and below
VOID_LIMIT = 2
MX_LIMIT = 10
FOREIGN_IP = "192.0.2.1"
"""Documentation address (RFC 5737): nobody's, so no record may let it send."""

_QUALIFIERS: dict[str, Result] = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_TERM = re.compile(
    r"(?P<qualifier>[+\-~?]?)(?P<name>all|include|a|mx|ptr|ip4|ip6|exists)(?::(?P<value>[^/]+(?:/.*)?))?"
    r"(?P<cidr>(?:/\d+)?(?://\d+)?)",
    re.IGNORECASE,
)
_MODIFIER = re.compile(r"(?P<name>[a-z][a-z0-9_.\-]*)=(?P<value>\S*)", re.IGNORECASE)
_MACRO = re.compile(r"%(?:\{([slodiphcrtv])(\d*)(r?)([.\-+,/_=]*)\}|([%_\-]))", re.IGNORECASE)


@dataclass(frozen=True)
class SpfResult:
    """What a receiver would conclude.

    Attributes:
        result: RFC 7208 section 2.6.
        why: the mechanism that decided, or the error.
        lookups: DNS mechanisms and modifiers evaluated (limit 10).
        voids: lookups without an answer record (limit 2).
    """

    result: Result
    why: str
    lookups: int
    voids: int


class _Error(Exception):
    def __init__(self, result: Result, why: str) -> None:
        self.result: Result = result
        self.why = why
        super().__init__(why)


def check_host(resolver: Resolver, ip: str, domain: str, sender: str = "", helo: str = "") -> SpfResult:
    """Evaluate `domain`'s record for a connecting `ip` (RFC 7208 section 4).

    Args:
        sender: MAIL FROM; `postmaster@domain` where it is empty.
        helo: for the `h` macro.
    """
    evaluation = _Evaluation(resolver, ip, sender or f"postmaster@{domain}", helo)
    try:
        result, why = evaluation.run(domain.lower().rstrip("."))
    except _Error as error:
        result, why = error.result, error.why
    return SpfResult(result, why, evaluation.lookups, evaluation.voids)


def check_spf(
    resolver: Resolver, domain: str, ours: Sequence[str], foreign: Sequence[str] = (FOREIGN_IP,)
) -> Finding:
    """Whether every address of `ours` passes and every one of `foreign` fails, within the limits of RFC 7208.

    A foreign address walks the whole record, so its count of lookups is the record's.
    """
    verdicts, wrong, worst_lookups = [], [], 0
    for ip, wanted in [*((ip, "pass") for ip in ours), *((ip, "fail") for ip in foreign)]:
        seen = check_host(resolver, ip, domain)
        worst_lookups = max(worst_lookups, seen.lookups)
        verdict = _verdict(seen.result, wanted)
        verdicts.append(verdict)
        if verdict is not Verdict.PASS:
            wrong.append(f"{ip} is {seen.result} ({seen.why}), should be {wanted}")
    verdict = worst(verdicts) if ours else Verdict.UNKNOWN
    if verdict is Verdict.PASS:
        return Finding(
            domain, "spf", verdict, f"{len(ours)} egresses pass, foreign fails, {worst_lookups} lookups"
        )
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    evidence = f"{wrong[0]}{more}" if wrong else "no egress to check"
    cure = (
        "look again; if it stays, ask the name servers"
        if verdict is Verdict.UNKNOWN
        else f"see the plan of identity/dns_plan for {domain} TXT"
    )
    return Finding(domain, "spf", verdict, evidence, cure)


def _verdict(result: Result, wanted: str) -> Verdict:
    if result == "temperror":
        return Verdict.UNKNOWN
    return Verdict.PASS if result == wanted else Verdict.FAIL


def spf_record(resolver: Resolver, domain: str) -> tuple[Answer, tuple[str, ...]]:
    """The TXT answer and the SPF records in it (RFC 7208 section 4.5)."""
    found = resolver.answers(domain, "TXT")
    return found, tuple(r for r in found.records if r.lower() == "v=spf1" or r.lower().startswith("v=spf1 "))


class _Evaluation:
    """One check_host with its counters."""

    def __init__(self, resolver: Resolver, ip: str, sender: str, helo: str) -> None:
        self.resolver, self.ip, self.sender, self.helo = resolver, ip_address(ip), sender, helo
        self.lookups = self.voids = 0

    def run(self, domain: str) -> tuple[Result, str]:
        """Ends on a circle of includes too: each costs a lookup."""
        answer, records = spf_record(self.resolver, domain)
        if not answer.known:
            raise _Error("temperror", f"TXT {domain}: {answer.status}")
        if len(records) > 1:
            raise _Error("permerror", f"{len(records)} SPF records at {domain}")
        if not records:
            return "none", f"no SPF record at {domain}"
        terms, redirect = _parsed(records[0])
        for term in terms:
            if self._matches(term, domain):
                return _QUALIFIERS[term["qualifier"] or "+"], f"{term[0]} of {domain}"
        if redirect:
            self._count(f"redirect={redirect}")
            result, why = self.run(self._expanded(redirect, domain))
            if result == "none":
                raise _Error("permerror", f"redirect={redirect} leads to no record")
            return result, why
        return "neutral", f"nothing matches at {domain}"

    def _matches(self, term: re.Match[str], domain: str) -> bool:
        name, value = term["name"].lower(), term["value"] or ""
        if name == "all":
            return True
        if name in ("ip4", "ip6"):
            network = _network(value + term["cidr"], 4 if name == "ip4" else 6)
            return self.ip in network if self.ip.version == network.version else False
        self._count(term[0])
        if name == "include":
            return self._included(self._expanded(value, domain))
        if name == "ptr":
            return self._named_below(self._expanded(value, domain) if value else domain)
        value, prefix = _split_cidr(value, term["cidr"], self.ip.version)
        target = self._expanded(value, domain) if value else domain
        if name == "exists":
            return bool(self._ask(target, "A"))
        kind = "A" if self.ip.version == 4 else "AAAA"  # noqa: PLR2004
        hosts = self._mail_hosts(target) if name == "mx" else [target]
        return any(
            self.ip in ip_network(f"{found}/{prefix}", strict=False)
            for host in hosts
            for found in self._ask(host, kind, void=name == "a")
        )

    def _included(self, target: str) -> bool:
        result, _ = self.run(target)
        if result == "none":
            raise _Error("permerror", f"include:{target} has no record")
        return result == "pass"

    def _mail_hosts(self, target: str) -> list[str]:
        hosts = [record.split(" ", 1)[1] for record in self._ask(target, "MX")]
        if len(hosts) > MX_LIMIT:
            raise _Error("permerror", f"mx:{target} names {len(hosts)} hosts")
        return [host for host in hosts if host != "."]

    def _named_below(self, target: str) -> bool:
        names = self.resolver.answers(self.ip.reverse_pointer, "PTR").records[:MX_LIMIT]
        below = [n for n in names if n == target or n.endswith(f".{target}")]
        kind = "A" if self.ip.version == 4 else "AAAA"  # noqa: PLR2004
        return any(str(self.ip) in self.resolver.answers(n, kind).records for n in below)

    def _ask(self, name: str, kind: str, *, void: bool = True) -> tuple[str, ...]:
        found = self.resolver.answers(name, kind)
        if not found.known:
            raise _Error("temperror", f"{kind} {name}: {found.status}")
        if found.status != "ok" and void:
            self.voids += 1
            if self.voids > VOID_LIMIT:
                raise _Error("permerror", f"more than {VOID_LIMIT} void lookups, the last {kind} {name}")
        return found.records

    def _count(self, term: str) -> None:
        self.lookups += 1
        if self.lookups > LOOKUP_LIMIT:
            raise _Error("permerror", f"more than {LOOKUP_LIMIT} DNS lookups, at {term}")

    def _expanded(self, text: str, domain: str) -> str:
        """Macros (RFC 7208 section 7)."""
        local, _, sender_domain = self.sender.rpartition("@")
        address = str(self.ip) if self.ip.version == 4 else ".".join(self.ip.exploded.replace(":", ""))  # noqa: PLR2004
        values = {
            "s": self.sender, "l": local, "o": sender_domain, "d": domain, "i": address, "p": "unknown",
            "v": "in-addr" if self.ip.version == 4 else "ip6", "h": self.helo or sender_domain,  # noqa: PLR2004
        }  # fmt: skip

        def expand(macro: re.Match[str]) -> str:
            letter, digits, reverse, delimiters, plain = macro.groups()
            if plain:
                return {"%": "%", "_": " ", "-": "%20"}[plain]
            parts = re.split(f"[{re.escape(delimiters or '.')}]", values.get(letter.lower(), ""))
            parts = parts[::-1] if reverse else parts
            shown = ".".join(parts[-int(digits) :] if digits else parts)
            return quote(shown) if letter.isupper() else shown

        if "%" in _MACRO.sub("", text):
            raise _Error("permerror", f"bad macro in {text}")
        return _MACRO.sub(expand, text).lower().rstrip(".")


def _parsed(record: str) -> tuple[list[re.Match[str]], str]:
    """The mechanisms in order and the redirect target; every syntax error is a permerror before any evaluation."""
    mechanisms, redirect = [], ""
    for word in record.split()[1:]:
        modifier = _MODIFIER.fullmatch(word)
        mechanism = _TERM.fullmatch(word)
        if modifier and modifier["name"].lower() == "redirect":
            if redirect or not modifier["value"]:
                raise _Error("permerror", f"bad term {word}")
            redirect = modifier["value"]
        elif mechanism:
            _check_term(mechanism)
            mechanisms.append(mechanism)
        elif not modifier:
            raise _Error("permerror", f"bad term {word}")
    return mechanisms, redirect


def _check_term(term: re.Match[str]) -> None:
    name, value = term["name"].lower(), term["value"] or ""
    needs_value = name in ("include", "exists", "ip4", "ip6")
    if needs_value != bool(value) and (needs_value or name == "all"):
        raise _Error("permerror", f"bad term {term[0]}")
    if name == "all" and term["cidr"]:
        raise _Error("permerror", f"bad term {term[0]}")
    if name in ("ip4", "ip6"):
        _network(value + term["cidr"], 4 if name == "ip4" else 6)


def _network(text: str, version: int) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(text, strict=False)
    except ValueError as error:
        raise _Error("permerror", f"bad network {text}") from error
    if network.version != version:
        raise _Error("permerror", f"bad network {text}")
    return network


def _split_cidr(value: str, cidr: str, version: int) -> tuple[str, int]:
    """`host/24//64` -> (host, prefix length for this IP version)."""
    host, _, tail = (value + cidr).partition("/")
    four, _, six = tail.partition("//") if not tail.startswith("/") else ("", "", tail[1:])
    whole = 32 if version == 4 else 128  # noqa: PLR2004
    chosen = four if version == 4 else six  # noqa: PLR2004
    if chosen and not (chosen.isdigit() and int(chosen) <= whole):
        raise _Error("permerror", f"bad prefix length {cidr or value}")
    return host, int(chosen) if chosen else whole
