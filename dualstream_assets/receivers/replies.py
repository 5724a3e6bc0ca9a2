"""What an SMTP reply says about the mailbox, about us, or about nothing: one ruling per reply, with its rule.

The order of the rules is the main lever of correctness (facts: verification section 2.2): stage, operator's own
words, block words whatever the code, full, enhanced code, dead phrases, bare code. Most of what is dressed up as a
dead mailbox is a block, so only step 5 and 6 may call a mailbox dead, after every doubt went elsewhere.
Rule ids are stable: they are written into the journal and into `RULESET`'s history.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from dualstream_assets.receivers import wording
from dualstream_assets.receivers.enhanced import ENHANCED, in_range
from dualstream_assets.receivers.ruling import Reply, Ruling, RulingKind

__all__ = [
    "RULESET",
    "Reply",
    "Ruling",
    "RulingKind",
    "enhanced_code",
    "is_block",
    "rule_reply",
    "rules",
    "wait_hint_s",
]

RULESET = 1
"""Raise it when a rule changes; `verify rejudge` then reads the journal again."""

_Rule = Callable[[Reply, str, str | None], Ruling | None]
"""(reply, its text without addresses in lower case, its enhanced code) -> ruling, None where it does not apply."""

_CODE = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d]|\.\d)")
_ADDRESS = re.compile(r"<(?!https?:)[^<>\s]*>|[^\s<>()\[\]:;,\"']+@[^\s<>()\[\]:;,\"']+")


def enhanced_code(text: str, code: int | None = None) -> str | None:
    """The first enhanced status code of a reply (RFC 3463), `5.1.1`; None if there is none.

    With `code` given, only one whose class is the reply's first digit counts: others are version numbers and the like.
    A code inside an address does not count.
    """
    for match in _CODE.finditer(_ADDRESS.sub("<>", text)):
        if code is None or match[1] == str(code)[0]:
            return match[0]
    return None


def is_block(ruling: Ruling) -> bool:
    """Whether the reply was about us, not about the mailbox."""
    return ruling.ruling is RulingKind.BLOCKED


_WAIT = re.compile(r"\b(\d{1,4})\s*(s|sec|secs|seconds?|m|min|mins|minutes?)\b", re.IGNORECASE)


def wait_hint_s(text: str) -> int | None:
    """How long the text asks us to wait, seconds (`try again in 300 seconds`); None without a number up to an hour."""
    match = _WAIT.search(_ADDRESS.sub("<>", text))
    if not match:
        return None
    seconds = int(match[1]) * (60 if match[2].lower().startswith("m") else 1)
    return seconds if 1 <= seconds <= 3600 else None  # noqa: PLR2004


def rule_reply(reply: Reply) -> Ruling:
    """The ruling of one reply; every reply gets one."""
    words = _ADDRESS.sub("<>", reply.text).lower()
    enhanced = enhanced_code(reply.text, reply.code)
    for rule in _IN_ORDER:
        ruling = rule(reply, words, enhanced)
        if ruling is not None:
            return ruling
    return Ruling(RulingKind.RISKY, f"bare_{reply.code // 100}xx")


def _accepted(reply: Reply, words: str, enhanced: str | None) -> Ruling | None:  # noqa: ARG001
    if reply.code in (250, 251):
        return Ruling(RulingKind.DELIVERABLE, "accepted")
    if 200 <= reply.code < 300:  # noqa: PLR2004
        return Ruling(RulingKind.RISKY, "accepted_unverified")  # 252: cannot verify, will try
    return None


def _before_rcpt(reply: Reply, words: str, enhanced: str | None) -> Ruling | None:
    """Step 1: a reply before RCPT says nothing about a mailbox (RFC 7504: 521 says the host takes no mail at all)."""
    if reply.stage in ("rcpt", "data"):
        return None
    if _tls_wanted(reply, words, enhanced):
        return Ruling(RulingKind.RETRY, "tls_required")
    permanent = reply.code >= 500  # noqa: PLR2004
    return (_refused_early if permanent else _deferred_early)(reply, words, enhanced)


def _refused_early(reply: Reply, words: str, enhanced: str | None) -> Ruling:
    if not wording.BLOCK.search(words):
        if reply.code == 521 and enhanced in (None, "5.3.2"):  # noqa: PLR2004
            return Ruling(RulingKind.UNDELIVERABLE, "host_takes_no_mail")
        if reply.code in wording.PROTOCOL_FAULTS:
            return Ruling(RulingKind.RISKY, "protocol_fault")
    return Ruling(RulingKind.BLOCKED, f"{reply.stage}_refused")


def _deferred_early(reply: Reply, words: str, enhanced: str | None) -> Ruling:
    if not wording.GREYLIST.search(words) and (wording.BLOCK.search(words) or _is_rate(reply, enhanced)):
        return Ruling(RulingKind.BLOCKED, f"{reply.stage}_blocked")
    return Ruling(RulingKind.RETRY, f"{reply.stage}_deferred")


def _operators_own(reply: Reply, words: str, enhanced: str | None) -> Ruling | None:
    """Step 2: words that mean one thing at one operator."""
    return next((r.ruling for r in wording.OWN_WORDS if r.applies(reply, words, enhanced)), None)


def _tls_wanted(reply: Reply, words: str, enhanced: str | None) -> bool:
    return reply.code == 538 or enhanced == "5.7.10" or bool(wording.TLS.search(words))  # noqa: PLR2004


def _tls(reply: Reply, words: str, enhanced: str | None) -> Ruling | None:
    return Ruling(RulingKind.RETRY, "tls_required") if _tls_wanted(reply, words, enhanced) else None


def _block_words(reply: Reply, words: str, enhanced: str | None) -> Ruling | None:  # noqa: ARG001
    """Step 3: block words anywhere in the text, whatever the code. A greylist that says `blocked` is a greylist."""
    if reply.code < 500 and wording.GREYLIST.search(words):  # noqa: PLR2004
        return Ruling(RulingKind.RETRY, "greylisted")
    if wording.BLOCK.search(words):
        return Ruling(RulingKind.BLOCKED, "block_words")
    if wording.RELAY.search(words):
        return Ruling(RulingKind.RISKY, "relay_denied")
    return None


def _full(reply: Reply, words: str, enhanced: str | None) -> Ruling | None:  # noqa: ARG001
    """Step 4: over quota, whatever the code; the system's own disk is not the mailbox."""
    if enhanced and enhanced[2:] in ("3.1", "5.3"):
        return None
    if (enhanced and enhanced[2:] == "2.2") or wording.FULL.search(words):
        return Ruling(RulingKind.FULL, "over_quota")
    return None


def _is_rate(reply: Reply, enhanced: str | None) -> bool:
    return reply.code == 421 and enhanced in ("4.7.0", "4.7.28", "4.3.2", "4.4.5")  # noqa: PLR2004


def _enhanced(reply: Reply, words: str, enhanced: str | None) -> Ruling | None:
    """Step 5: the enhanced code, where it is known to mean what it says."""
    if enhanced is None:
        return None
    if _is_rate(reply, enhanced):
        return Ruling(RulingKind.BLOCKED, "rate_421")
    for row in ENHANCED:
        if in_range(enhanced, row) and (not row.codes or reply.code in row.codes):
            return Ruling(RulingKind(row.ruling), row.rule)
    if enhanced.startswith("5.7."):
        dead = wording.CLEARLY_DEAD.search(words)
        return (
            Ruling(RulingKind.UNDELIVERABLE, "dead_phrase_in_57x")
            if dead
            else Ruling(RulingKind.BLOCKED, "policy_57x")
        )
    return None


def _phrases(reply: Reply, words: str, enhanced: str | None) -> Ruling | None:  # noqa: ARG001
    """Step 6: phrases of a permanent reply."""
    if reply.code < 500:  # noqa: PLR2004
        return None
    if wording.SUSPENDED.search(words):
        return Ruling(RulingKind.SUSPENDED, "suspended_phrase")
    if wording.CLEARLY_DEAD.search(words) or wording.DEAD.search(words):
        return Ruling(RulingKind.UNDELIVERABLE, "dead_phrase")
    return None


def _bare(reply: Reply, words: str, enhanced: str | None) -> Ruling | None:  # noqa: ARG001
    """Step 7: a code without words proves nothing; a temporary one is asked again."""
    if 400 <= reply.code < 500:  # noqa: PLR2004
        return Ruling(RulingKind.RETRY, "temporary")
    if reply.code == 556:  # noqa: PLR2004  # RFC 7504: the domain takes no mail
        return Ruling(RulingKind.UNDELIVERABLE, "host_takes_no_mail")
    if reply.code in wording.PROTOCOL_FAULTS:
        return Ruling(RulingKind.RISKY, "protocol_fault")
    return None


_IN_ORDER: tuple[_Rule, ...] = (
    _before_rcpt,
    _accepted,
    _operators_own,
    _tls,
    _block_words,
    _full,
    _enhanced,
    _phrases,
    _bare,
)


def rules() -> Iterator[str]:
    """Every rule id that the tables may give, for the documentation and the tests."""
    yield from (own.ruling.rule for own in wording.OWN_WORDS)
    yield from (row.rule for row in ENHANCED)
