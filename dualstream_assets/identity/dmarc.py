"""DMARC (RFC 7489): the published policy, and whether a message's identities align with its From.

The organisational domain is the estate's declared one; no public suffix list is needed for a domain of our own.
"""

from __future__ import annotations

from dataclasses import dataclass

from dualstream_assets.identity.dkim import tags
from dualstream_assets.identity.finding import Finding
from dualstream_assets.outside.dns import Answer, Resolver
from dualstream_assets.store.evidence import Verdict

POLICIES = ("none", "quarantine", "reject")


@dataclass(frozen=True)
class Policy:
    """A published record: policy, alignment modes (`r` or `s`), addresses that get aggregate reports."""

    p: str
    spf_strict: bool
    dkim_strict: bool
    reports_to: tuple[str, ...]


def policy_of(resolver: Resolver, domain: str) -> tuple[Answer, tuple[Policy, ...]]:
    """The TXT answer at `_dmarc.domain` and the DMARC records in it."""
    found = resolver.answers(f"_dmarc.{domain}", "TXT")
    records = [tags(r) for r in found.records if r.replace(" ", "").upper().startswith("V=DMARC1")]
    return found, tuple(
        Policy(
            p=record.get("p", "").lower(),
            spf_strict=record.get("aspf", "r").lower() == "s",
            dkim_strict=record.get("adkim", "r").lower() == "s",
            reports_to=tuple(
                uri.split("!")[0].removeprefix("mailto:")
                for uri in record.get("rua", "").split(",")
                if uri.startswith("mailto:")
            ),
        )
        for record in records
    )


def check_dmarc(resolver: Resolver, domain: str, return_path_domain: str | None = None) -> Finding:
    """Whether exactly one usable policy is published, reports go somewhere that takes them, and our bounces align.

    Args:
        return_path_domain: a stream's envelope domain; under `aspf=s` it would not align with From.
    """
    name = f"_dmarc.{domain}"
    publish = f"publish one TXT at {name}: v=DMARC1; p=quarantine; rua=mailto:dmarc@{domain}"
    found, policies = policy_of(resolver, domain)
    if not found.known:
        return Finding(domain, "dmarc", Verdict.UNKNOWN, f"TXT {name}: {found.status}", "look again")
    if len(policies) != 1:
        return Finding(domain, "dmarc", Verdict.FAIL, f"{len(policies)} DMARC records at {name}", publish)
    (policy,) = policies
    if policy.p not in POLICIES:
        return Finding(
            domain, "dmarc", Verdict.FAIL, f"{name}: p={policy.p or '(none)'} is no policy", publish
        )
    if not policy.reports_to:
        return Finding(domain, "dmarc", Verdict.FAIL, f"{name}: no rua, so nobody reports a leak", publish)
    if policy.spf_strict and return_path_domain and return_path_domain != domain:
        return Finding(
            domain,
            "dmarc",
            Verdict.FAIL,
            f"{name}: aspf=s, but bounces go to {return_path_domain}",
            "publish aspf=r (or leave it out)",
        )
    return _authorised(resolver, domain, policy)


def _authorised(resolver: Resolver, domain: str, policy: Policy) -> Finding:
    """Reports to another domain need its consent (RFC 7489 section 7.1)."""
    for address in policy.reports_to:
        elsewhere = address.rpartition("@")[2].lower()
        if below(elsewhere, domain):
            continue
        name = f"{domain}._report._dmarc.{elsewhere}"
        found = resolver.answers(name, "TXT")
        if not found.known:
            return Finding(domain, "dmarc", Verdict.UNKNOWN, f"TXT {name}: {found.status}", "look again")
        if not any(r.upper().startswith("V=DMARC1") for r in found.records):
            return Finding(
                domain,
                "dmarc",
                Verdict.FAIL,
                f"rua goes to {elsewhere}, which does not take reports for {domain}",
                f"publish {name} TXT v=DMARC1, or report to a mailbox of {domain}",
            )
    return Finding(
        domain, "dmarc", Verdict.PASS, f"p={policy.p}, reports go to {len(policy.reports_to)} address(es)"
    )


def below(name: str, domain: str) -> bool:
    """Whether `name` is `domain` or a name under it."""
    name, domain = name.lower().rstrip("."), domain.lower().rstrip(".")
    return name == domain or name.endswith(f".{domain}")


def aligned(identity: str, from_domain: str, organisation: str, *, strict: bool) -> bool:
    """Whether an SPF or DKIM domain aligns with the From domain (RFC 7489 section 3.1)."""
    if strict or not below(from_domain, organisation):
        return identity.lower() == from_domain.lower()
    return below(identity, organisation)
