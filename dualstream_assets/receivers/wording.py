"""The words that servers use, as patterns over a reply's text in lower case with every address taken out.

Sources: facts/verification sections 2.2, 2.3 and 3. Addresses are taken out first, so that a mailbox named `spam@…` or
a practice named `policy…` is not a block word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dualstream_assets.receivers.ruling import Reply, Ruling, RulingKind

PROTOCOL_FAULTS = frozenset({500, 501, 502, 503, 504, 555})


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns))


GREYLIST = _any(r"gr[ea]y-? ?list", r"postgrey")

BLOCK = _any(
    # listed somewhere
    r"spamhaus|spamcop|spamrats|sorbs\b|barracudacentral|uceprotect|ipcheck\.proofpoint|senderscore",
    r"\b(dns|r)bls?\b|\bdnsbl|black-?hole|(black|block|deny)-? ?list",
    r"\bblock(ed|ing)\b|\bblock-rcpt\b|\bbanned\b|\bers-\w",
    r"\breputation\b|\b(anti-?)?spam(ming|mer)?\b|\babus(e|ive)\b|\bsuspicious|\bunsolicited",
    # our address, our name
    r"\byour (ip|host|server|network|sending)|(sending|sender|client|source) ip\b|client host",
    r"reverse (dns|host ?name|name|lookup|ip)|\brdns\b|\bptr\b|invalid hostname",
    r"\b(helo|ehlo)\b.{0,40}(reject|denied|invalid|mismatch|spoof|resolve)|(invalid|bad) (helo|ehlo)\b",
    # our sender
    r"\b(spf|dkim|dmarc)\b|unauthenticated|spoof|domain of sender|\bsender (is )?(not|un)",
    r"sender (address )?(rejected|denied|verif|domain)",
    # rate
    r"rate[- ]?limit|throttl|too (fast|frequent|quickly|many (?!recipients\b))|excessive",
    r"(hourly|daily|connection|message|session|sending|rate) limit|\bib\d{3}\b",
    # our standing with them
    r"\bpolic(y|ies)\b",
    # `relay access denied` and Exchange's `recipient address rejected: access denied` are other things
    r"(?<!relay )(?<!rejected: )access denied",
    r"not allowed to (send|connect)|(connection|message|e?mail) (was )?(refused|rejected|denied) (by|due)",
    r"no smtp service|not accepting (mail|messages|connections) from",
)

RELAY = _any(
    r"relay(ing)? (access )?(denied|not|prohibited|is not)",
    r"unable to relay|(not|cannot|do not|don't) relay|no relay",
    r"(domain|host) (is )?not (hosted|handled|served|local|found here)|not a local domain",
)

TLS = _any(
    r"starttls|\btls (is )?(required|needed)|requires? tls|must (use|issue) tls",
    r"encryption (is )?(required|needed)",
)

FULL = _any(
    r"over ?-?quota|quota (is |has been )?(exceeded|full|limit)|exceed(s|ed|ing)? (\w+ )?(\w+ )?quota",
    r"(mailbox|inbox|mail box|account|user) (is |has been )?(too )?full|mailbox.{0,40}\bfull\b",
    r"out of (storage|space|disk)|exceed(s|ed) (the )?storage|mailbox size limit",
)

SUSPENDED = _any(
    r"\b(account|mailbox|user|recipient|address)\b.{0,60}"
    r"\b(disabled|inactive|suspended|deactivated|locked|frozen)\b",
    r"\b(disabled|inactive|suspended|deactivated|locked) (account|mailbox|user|recipient)",
)

CLEARLY_DEAD = _any(
    r"user unknown|unknown (local )?(user|recipient|mailbox|address|account)",
    r"(recipient|mailbox|address|account) (is )?unknown",
    r"no such (local )?(user|mailbox|recipient|address|account|person|e-?mail)|nosuchuser",
    r"(does not|doesn't|doesnt|do not|did not) (exist|have an? )|non-?existent|not exist",
    r"(recipient|mailbox|user|account|addressee|address)( \S*)? (was |is |could )*(not|n't) (be )?found",
    r"recipientnotfound|marked as invalid|invalid[- ](recipient|mailbox|user|address)",
    r"(recipient|mailbox|address|user) (is )?invalid|not our customer|no mailbox here",
    r"not a (valid|known) (mailbox|user|recipient|address|account)",
    r"(no longer|not) (on this server|here|employed|with us|in use|in service|available at|valid)",
)
"""Phrases that are about the mailbox even in a 5.7.1."""

DEAD = _any(
    r"mailbox (is |currently )?(unavailable|not available)|unrout(e)?able (mail )?address",
    r"(address|account) (has been |was )?(deleted|removed|closed)",
    r"recipient (is )?(not known|no longer)|mailbox (is )?(gone|closed|removed|deleted)",
)
"""Phrases that say so only where no code says otherwise."""


@dataclass(frozen=True)
class OwnWords:
    """Words that mean one thing at some operators (none named: at any).

    Attributes:
        codes: reply codes; empty: any from 400.
        enhanced: pattern of the enhanced code; None: any or none.
        words: pattern over the text; None: any.
    """

    operators: frozenset[str]
    ruling: Ruling
    words: re.Pattern[str] | None = None
    codes: frozenset[int] = frozenset()
    enhanced: re.Pattern[str] | None = None

    def applies(self, reply: Reply, words: str, enhanced: str | None) -> bool:
        """Whether these are the words; `words` is the text in lower case without addresses."""
        return (
            (not self.operators or reply.operator in self.operators)
            and (reply.code in self.codes if self.codes else reply.code >= 400)  # noqa: PLR2004
            and (self.enhanced is None or bool(enhanced and self.enhanced.fullmatch(enhanced)))
            and (self.words is None or bool(self.words.search(words)))
        )


def _own(
    operators: str,
    kind: RulingKind,
    rule: str,
    words: str | None = None,
    *,
    codes: tuple[int, ...] = (),
    enhanced: str | None = None,
) -> OwnWords:
    return OwnWords(
        frozenset(operators.split()),
        Ruling(kind, rule),
        re.compile(words) if words else None,
        frozenset(codes),
        re.compile(enhanced) if enhanced else None,
    )


_U, _S, _R, _B, _K = (
    RulingKind.UNDELIVERABLE,
    RulingKind.SUSPENDED,
    RulingKind.RETRY,
    RulingKind.BLOCKED,
    RulingKind.RISKY,
)

OWN_WORDS: tuple[OwnWords, ...] = (
    _own("", _B, "godaddy_tag", r"\bib\d{3}\b"),
    _own(
        "proofpoint proofpoint_essentials",
        _U,
        "proofpoint_marked_invalid",
        r"marked as invalid",
        codes=(550, 554),
    ),
    # Directory-based edge blocking: no such object in the tenant. One reply alone may also be a policy of theirs.
    _own(
        "microsoft",
        _K,
        "microsoft_dbeb",
        r"recipient address rejected: access denied",
        codes=(550,),
        enhanced=r"5\.4\.1",
    ),
    _own("microsoft", _S, "microsoft_suspended", enhanced=r"5\.7\.50[45]"),
    _own(
        "microsoft", _B, "microsoft_refuses_us", enhanced=r"5\.7\.(60[6-9]|6[1-4]\d|506|507|509|511|513|515)"
    ),
    _own("microsoft", _K, "tenant_routing", r"no mail-enabled subscriptions", enhanced=r"[45]\.4\.4"),
    _own("outlook_com", _R, "too_many_recipients", codes=(451, 452), enhanced=r"4\.5\.3"),
    _own(
        "",
        _R,
        "busy_mailbox",
        r"receiving ((e?mail|messages) (at a rate|too)|too)",
        enhanced=r"[45]\.2\.1",
    ),
    _own("google", _R, "google_one_domain_each", codes=(451,), enhanced=r"4\.3\.0"),
    _own("google", _K, "google_tenant_rule", r"\bgcdp\b"),
    _own("yahoo", _B, "yahoo_unknown_recipients", r"excessive unknown recipients"),
    _own("barracuda", _B, "barracuda_blocked", r"permanent failure for one or more recipients.*:blocked"),
    _own("", _R, "license_expired", r"license expired", codes=(422,)),
    _own("rackspace", _B, "rackspace_tag", r"\(?\bg(28|1f|2)\b\)?"),
    _own("rackspace", _R, "rackspace_check_failed", r"\(?\bg6\b\)?"),
    _own("ionos", _B, "ionos_policy", r"policy violations"),
    _own("zoho", _B, "zoho_policy", r"policy error", codes=(552,)),
    _own("zoho", _B, "zoho_domain_filter", codes=(541,)),
    _own("trendmicro", _U, "trendmicro_invalid_recipient", r"invalid-recipient", codes=(550, 554)),
    _own("trendmicro", _B, "trendmicro_block", r"block-rcpt|\bers-"),
    _own("mimecast", _R, "mimecast_soft_invalid", r"invalid recipient", codes=(450, 451)),
    _own(
        "mimecast",
        _R,
        "mimecast_greylist",
        r"internal resources? ?(\(s\))? ?temporarily unavailable|internal resource",
    ),
)
"""First that applies wins; all of them come before the general block words."""
