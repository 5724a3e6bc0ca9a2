"""The score of one real, delivered message: what a receiver saw of it, judged by the rules receivers publish.

It looks at a message that reached a seed mailbox, never at what we meant to send (facts: mail sections 5.1, 5.3).
Whoever sends the probe needs a permit; this module only reads.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from email import policy as email_policy
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import parseaddr, parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

from dualstream_assets.estate import Estate
from dualstream_assets.identity.dkim import Signature, verify_message
from dualstream_assets.identity.dmarc import aligned, policy_of
from dualstream_assets.identity.finding import Finding, table, worst
from dualstream_assets.identity.rdns import check_fcrdns, check_helo
from dualstream_assets.identity.spf import SpfResult, check_host
from dualstream_assets.outside.dns import Resolver
from dualstream_assets.store.evidence import Verdict
from dualstream_assets.workplace import Endpoints

VALID_FOR = timedelta(days=7)
"""An older message says nothing about how we sign today."""
ONE_CLICK_HEADERS = frozenset({"list-unsubscribe", "list-unsubscribe-post"})


@dataclass(frozen=True)
class SeedMessage:
    """A message as a seed mailbox of ours received it.

    Attributes:
        raw: the message, headers first.
        peer: the address it came from; helo: what that called itself; mail_from: the envelope sender.
        at: when it arrived, UTC.
    """

    raw: bytes
    peer: str
    helo: str
    mail_from: str
    at: datetime


@dataclass(frozen=True)
class Score:
    """One finding per criterion, in the order of a message's way."""

    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """Pass only if every criterion passes."""
        return worst(f.verdict for f in self.findings)

    @property
    def passed(self) -> int:
        """How many criteria pass."""
        return sum(f.verdict is Verdict.PASS for f in self.findings)

    @property
    def said(self) -> str:
        """The score in one line: how many passed, and the first that did not."""
        line = f"{self.passed} of {len(self.findings)} criteria pass"
        wrong = [f for f in self.findings if f.verdict is self.verdict]
        return (
            line if self.verdict is Verdict.PASS or not wrong else f"{line}; {wrong[0].fact}: {wrong[0].said}"
        )

    @property
    def table(self) -> str:
        """Markdown."""
        return table(self.findings)


def newest_seed_message(endpoints: Endpoints, estate: Estate, stream: str) -> SeedMessage | None:
    """The newest message from this stream's pool that a seed mailbox kept; None if there is none.

    Read from the lab's sinks. In production a seed is read by IMAP (not yet), so there is none.
    """
    if endpoints.sinks is None or not endpoints.sinks.exists():
        return None
    seeds = {seed.lower() for seed in estate.seeds}
    pool = {str(egress.ip) for egress in estate.pool(stream)}
    newest = None
    with endpoints.sinks.open(encoding="utf-8") as lines:
        for line in lines:
            if '"message_file": null' in line or not line.endswith("\n"):
                continue
            record = json.loads(line)
            if record["message_file"] and record["peer"] in pool and record["rcpt"].lower() in seeds:
                newest = record
    if newest is None:
        return None
    path = Path(newest["message_file"])
    return SeedMessage(
        raw=(path if path.is_absolute() else endpoints.sinks.parent / path).read_bytes(),
        peer=newest["peer"],
        helo=newest["helo"],
        mail_from=newest["mail_from"],
        at=datetime.fromisoformat(newest["at"]),
    )


def score_message(
    raw: bytes, peer: str, helo: str, resolver: Resolver, estate: Estate, stream: str, *, mail_from: str = ""
) -> Score:
    """Judge a delivered message.

    Args:
        raw: the message as delivered.
        peer, helo: who delivered it.
        mail_from: the envelope sender; the Return-Path header where it is not given.
    """
    message = BytesParser(policy=email_policy.default).parsebytes(raw)
    sender = mail_from or parseaddr(str(message.get("Return-Path", "")))[1]
    from_domain = parseaddr(str(message.get("From", "")))[1].rpartition("@")[2].lower()
    envelope_domain = sender.rpartition("@")[2].lower() or helo
    spf = check_host(resolver, peer, envelope_domain, sender, helo)
    signatures = verify_message(raw, resolver)
    return Score(
        (
            _pool(peer, estate, stream),
            check_fcrdns(resolver, peer, helo),
            check_helo(resolver, peer, helo),
            _spf(envelope_domain, spf),
            _dkim(from_domain, signatures, estate),
            _dmarc(resolver, from_domain, envelope_domain, spf, signatures, estate),
            _one_click(message),
            *_content(message, estate),
        )
    )


def _judged(fact: str, holds: bool | None, evidence: str, cure: str = "") -> Finding:
    verdict = Verdict.UNKNOWN if holds is None else Verdict.PASS if holds else Verdict.FAIL
    return Finding("message", fact, verdict, evidence, "" if holds else cure)


def _pool(peer: str, estate: Estate, stream: str) -> Finding:
    good = peer in {str(e.ip) for e in estate.pool(stream)}
    return _judged(
        "pool", good, f"came from {peer}", f"it must leave from the pool of {stream}: see mta/deployed"
    )


def _spf(domain: str, spf: SpfResult) -> Finding:
    holds = None if spf.result == "temperror" else spf.result == "pass"
    return _judged(
        "spf", holds, f"{spf.result} for {domain} ({spf.why})", f"see identity/dns_plan for {domain} TXT"
    )


def _dkim(from_domain: str, signatures: tuple[Signature, ...], estate: Estate) -> Finding:
    """An aligned signature verifies and covers From and both one-click headers (RFC 8058 section 4)."""
    organisation = estate.organisation.domain
    ours = [s for s in signatures if aligned(s.domain, from_domain, organisation, strict=False)]
    cure = "sign with d= of the From domain: OpenDKIM's SigningTable, and is it running?"
    if not ours:
        return _judged(
            "dkim", False, f"{len(signatures)} signatures, none by {from_domain or 'a From'}", cure
        )
    best = max(ours, key=lambda s: (s.verifies is True, s.verifies is None))
    if not best.verifies:
        return _judged("dkim", best.verifies, f"d={best.domain} s={best.selector}: {best.reason}", cure)
    uncovered = sorted((ONE_CLICK_HEADERS | {"from"}) - best.covers)
    return _judged(
        "dkim",
        not uncovered,
        f"d={best.domain} verifies" + (f", but does not cover {', '.join(uncovered)}" if uncovered else ""),
        "OpenDKIM: SignHeaders *,+List-Unsubscribe,+List-Unsubscribe-Post",
    )


def _dmarc(
    resolver: Resolver,
    from_domain: str,
    envelope_domain: str,
    spf: SpfResult,
    signatures: tuple[Signature, ...],
    estate: Estate,
) -> Finding:
    organisation = estate.organisation.domain
    answer, policies = policy_of(resolver, from_domain)
    if answer.known and not policies:
        answer, policies = policy_of(resolver, organisation)
    if not answer.known or len(policies) != 1:
        holds = False if answer.known else None
        return _judged("dmarc", holds, f"{len(policies)} policies for {from_domain}", "see identity/dns_plan")
    (policy,) = policies
    by_spf = spf.result == "pass" and aligned(
        envelope_domain, from_domain, organisation, strict=policy.spf_strict
    )
    by_dkim = any(
        s.verifies and aligned(s.domain, from_domain, organisation, strict=policy.dkim_strict)
        for s in signatures
    )
    open_question = spf.result == "temperror" or any(s.verifies is None for s in signatures)
    holds = True if by_spf or by_dkim else None if open_question else False
    how = " and ".join(name for name, so in (("SPF", by_spf), ("DKIM", by_dkim)) if so) or "nothing"
    return _judged("dmarc", holds, f"{how} aligns with From {from_domain}, p={policy.p}", "see spf and dkim")


def _one_click(message: EmailMessage) -> Finding:
    """RFC 8058: one https URI, and the fixed Post header."""
    uris = re.findall(r"<\s*([^>]+?)\s*>", "".join(str(message.get("List-Unsubscribe", "")).split()))
    https = [uri for uri in uris if uri.lower().startswith("https://")]
    post = "".join(str(message.get("List-Unsubscribe-Post", "")).split()).lower()
    host = (urlsplit(https[0]).hostname or "") if https else ""
    cure = "listmonk: unsubscribe header on, root_url the public https address"
    if len(https) != 1 or post != "list-unsubscribe=one-click" or host in ("localhost", "127.0.0.1", ""):
        said = f"{len(https)} https links{f' ({host})' if host else ''}, Post {post or 'missing'}"
        return _judged("one_click", False, said, cure)
    return _judged("one_click", True, f"one https link on {host}, Post one-click")


def _content(message: EmailMessage, estate: Estate) -> Iterator[Finding]:
    """Postal address (CAN-SPAM), both parts, no link to this machine, Message-ID and Date (RFC 5322)."""
    parts = {part.get_content_type(): part for part in message.walk() if not part.is_multipart()}
    texts = {kind: _text(part) for kind, part in parts.items() if kind in ("text/plain", "text/html")}
    missing = sorted({"text/plain", "text/html"} - texts.keys())
    yield _judged(
        "parts",
        not missing,
        f"lacks {', '.join(missing)}" if missing else "text and HTML",
        "listmonk: alt body",
    )
    address = estate.campaign.postal_address
    if not address:
        yield _judged("postal_address", None, "no address is declared", "declare campaign.postal_address")
    else:
        lacking = [kind for kind, text in texts.items() if _words(address) not in _words(text)]
        holds = bool(texts) and not lacking
        yield _judged(
            "postal_address", holds, f"missing in {', '.join(lacking)}" if lacking else "in every part",
            "put campaign.postal_address into the template",
        )  # fmt: skip
    local = [kind for kind, text in texts.items() if re.search(r"https?://(localhost|127\.)", text)]
    yield _judged(
        "links", bool(texts) and not local, f"localhost in {', '.join(local)}" if local else "none to localhost",
        "listmonk: app.root_url",
    )  # fmt: skip
    ids = bool(re.fullmatch(r"<[^<>\s]+@[^<>\s]+>", str(message.get("Message-ID", "")).strip()))
    yield _judged("message_id", ids, "present" if ids else "missing or malformed", "listmonk writes it")
    dated = _date(message) is not None
    yield _judged("date", dated, "present" if dated else "missing or malformed", "listmonk writes it")


def _date(message: EmailMessage) -> datetime | None:
    try:
        return parsedate_to_datetime(str(message.get("Date", "")))
    except (ValueError, TypeError):
        return None


def _text(part: EmailMessage) -> str:
    """The words a reader sees: tags away, entities resolved, links kept."""
    try:
        content = str(part.get_content())
    except (LookupError, UnicodeError, KeyError):
        return ""
    if part.get_content_type() == "text/html":
        content = html.unescape(re.sub(r"<(?!a\b)[^>]*>", " ", content, flags=re.IGNORECASE))
    return _plain(content)


def _plain(text: str) -> str:
    return " ".join(text.split()).lower()


def _words(text: str) -> str:
    """Words alone: a template may break an address into lines where the estate has commas."""
    return " ".join(re.findall(r"\w+", text.lower()))
