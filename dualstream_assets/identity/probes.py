"""From findings to evidence rows: what the gate relies on is written here, by the checks and by the look before a wave.

Each look commits `unknown` first, then what it found (store/evidence.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dualstream_assets.estate import Estate
from dualstream_assets.identity.blocklists import check_blocklist
from dualstream_assets.identity.dkim import check_key
from dualstream_assets.identity.dmarc import check_dmarc
from dualstream_assets.identity.finding import Finding
from dualstream_assets.identity.message import (
    VALID_FOR,
    Score,
    SeedMessage,
    newest_seed_message,
    score_message,
)
from dualstream_assets.identity.rdns import check_fcrdns, check_helo
from dualstream_assets.identity.spf import FOREIGN_IP, check_spf
from dualstream_assets.identity.zones import check_soa
from dualstream_assets.outside.dns import Resolver
from dualstream_assets.store.evidence import Subject, Verdict, probing

if TYPE_CHECKING:
    from dualstream_assets.workplace import Workplace

EVIDENCE_VALID_FOR = timedelta(hours=26)
"""A day and a late schedule."""

Look = Callable[[Resolver, Estate, str], Iterator[Finding]]


def resolver_of(workplace: Workplace) -> Resolver:
    """A resolver without a cache: identity checks see the present."""
    return Resolver(workplace.endpoints.nameservers)


def look_fcrdns(resolver: Resolver, estate: Estate, stream: str) -> Iterator[Finding]:
    """Forward-confirmed reverse DNS of every active egress."""
    for egress in estate.pool(stream):
        yield check_fcrdns(resolver, str(egress.ip), egress.helo)


def look_helo(resolver: Resolver, estate: Estate, stream: str) -> Iterator[Finding]:
    """The HELO name of every active egress."""
    for egress in estate.pool(stream):
        yield check_helo(resolver, str(egress.ip), egress.helo)


def look_spf(resolver: Resolver, estate: Estate, stream: str) -> Iterator[Finding]:
    """SPF of the sending domain, and of the stream's own Return-Path domain, which may let no other stream send."""
    pool = [str(e.ip) for e in estate.pool(stream)]
    yield check_spf(resolver, estate.organisation.domain, pool)
    return_path = estate.streams[stream].return_path_domain
    if return_path:
        others = [str(e.ip) for e in estate.egress if e.stream != stream and e.state == "active"]
        yield check_spf(resolver, return_path, pool, (FOREIGN_IP, *others))


def look_dkim(resolver: Resolver, estate: Estate, stream: str) -> Iterator[Finding]:  # noqa: ARG001
    """The DKIM key of the sending domain."""
    dns = estate.dns
    yield check_key(resolver, estate.organisation.domain, dns.dkim_selector, dns.dkim_minimum_bits)


def look_dmarc(resolver: Resolver, estate: Estate, stream: str) -> Iterator[Finding]:
    """The DMARC policy of the sending domain."""
    yield check_dmarc(resolver, estate.organisation.domain, estate.streams[stream].return_path_domain)


def look_soa(resolver: Resolver, estate: Estate, stream: str) -> Iterator[Finding]:  # noqa: ARG001
    """The serial of every zone on every one of its name servers."""
    for zone in estate.dns.zones:
        yield check_soa(resolver, zone.name)


def look_blocklists(resolver: Resolver, estate: Estate, stream: str) -> Iterator[Finding]:
    """Every active egress on every declared blocklist."""
    for zone in estate.dns.blocklists:
        for egress in estate.pool(stream):
            yield check_blocklist(resolver, str(egress.ip), zone)


LOOKS: dict[str, Look] = {
    "fcrdns": look_fcrdns,
    "helo": look_helo,
    "spf": look_spf,
    "dkim": look_dkim,
    "dmarc": look_dmarc,
}
"""The facts of the gate that DNS answers, in the order in which they are shown."""


def identity_findings(resolver: Resolver, estate: Estate, stream: str) -> tuple[Finding, ...]:
    """Every DNS finding about one stream."""
    return tuple(finding for look in LOOKS.values() for finding in look(resolver, estate, stream))


def subjects_of(estate: Estate, stream: str, fact: str) -> tuple[Subject, ...]:
    """The evidence rows that one fact has for a stream (the gate asks for exactly these)."""
    if fact in ("fcrdns", "helo"):
        return tuple(Subject(stream, str(egress.ip), fact) for egress in estate.pool(stream))
    domains = [estate.organisation.domain]
    return_path = estate.streams[stream].return_path_domain
    if fact == "spf" and return_path:
        domains.append(return_path)
    return tuple(Subject(stream, domain, fact) for domain in domains)


def probe(workplace: Workplace, stream: str, fact: str, source: str) -> tuple[Finding, ...]:
    """Look at one fact of `LOOKS` now and write its evidence; returns what was found."""
    estate, found = workplace.estate, []
    with probing(
        workplace.database,
        workplace.clock,
        subjects_of(estate, stream, fact),
        source=source,
        valid_for=EVIDENCE_VALID_FOR,
    ) as writing:
        for finding in LOOKS[fact](resolver_of(workplace), estate, stream):
            subject = Subject(stream, finding.subject, fact)
            holds = None if finding.verdict is Verdict.UNKNOWN else finding.verdict is Verdict.PASS
            writing.found_that(subject, holds, finding.said)
            found.append(finding)
    return tuple(found)


def reprobe_fcrdns(workplace: Workplace, stream: str) -> tuple[tuple[str, str], ...]:
    """The look immediately before a wave: forward-confirmed DNS of the whole pool, live, with fresh evidence.

    Returns:
        (address, what is wrong) of each egress that is not confirmed; empty when all are.
    """
    found = probe(workplace, stream, "fcrdns", "re-probe before a wave")
    return tuple((f.subject, f.evidence) for f in found if f.verdict is not Verdict.PASS)


NO_MESSAGE = "no message of this stream has reached a seed mailbox"


def newest_score(workplace: Workplace, stream: str) -> tuple[SeedMessage | None, Score | None, str]:
    """(the newest message at a seed, its score, why there is none); a message older than a week is not scored."""
    message = newest_seed_message(workplace.endpoints, workplace.estate, stream)
    cure = f"dualstream probe message {stream}"
    if message is None:
        return None, None, f"{NO_MESSAGE}. Cure: {cure}"
    age = workplace.clock.now() - message.at
    if age > VALID_FOR:
        return message, None, f"the newest message at a seed is {age.days} days old. Cure: {cure}"
    score = score_message(
        message.raw,
        message.peer,
        message.helo,
        resolver_of(workplace),
        workplace.estate,
        stream,
        mail_from=message.mail_from,
    )
    return message, score, ""


def wait_for_probe(workplace: Workplace, stream: str, since: datetime, patience_s: float = 10.0) -> bool:
    """Whether a message of this stream reached a seed at or after `since`, waiting some real seconds for it."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        message = newest_seed_message(workplace.endpoints, workplace.estate, stream)
        if message is not None and message.at >= since:
            return True
        time.sleep(0.05)
    return False


def probe_message_score(workplace: Workplace, stream: str, source: str) -> tuple[Verdict, str, Score | None]:
    """Score the newest seed message and write the evidence; returns (verdict, one line, the score)."""
    subject = Subject(stream, "message", "message_score")
    with probing(
        workplace.database, workplace.clock, (subject,), source=source, valid_for=EVIDENCE_VALID_FOR
    ) as writing:
        _, score, why = newest_score(workplace, stream)
        verdict = score.verdict if score else Verdict.UNKNOWN
        holds = None if verdict is Verdict.UNKNOWN else verdict is Verdict.PASS
        said = score.said if score else why
        writing.found_that(subject, holds, said)
    return verdict, said, score
