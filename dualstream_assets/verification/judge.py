"""From journal rows to verdicts: a pure function per domain (facts: verification sections 2.3, 2.4 and 4.4).

A verdict of `undeliverable` needs a reply that says so and nothing that puts it in doubt: a rule that is known to err
needs a second visit, and a lane that was found blocking opens its recent ones again. Doubt is `retry`, then `unknown`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b

from dualstream_assets.receivers.operators import ACCEPTS_ALL_AT_RCPT
from dualstream_assets.receivers.replies import wait_hint_s
from dualstream_assets.verification.journal import JournalRow, rests_until, ruled_again

FULL_HOLD = timedelta(days=14)
BLOCK_WAITS = (timedelta(hours=1), timedelta(hours=4), timedelta(hours=24))
DBEB_RECHECK = timedelta(hours=24)
VOID_BEFORE_STOP = timedelta(hours=24)
UNREACHABLE_AFTER = timedelta(hours=48)
UNREACHABLE_VISITS = 3
CYCLE = timedelta(days=14)
"""How far back an earlier visit may lie to confirm a later one."""

TWICE = frozenset({"nxdomain", "nodata", "bad_domain_or_syntax", "host_takes_no_mail"})
"""Rules that say dead only when a second visit finds the same."""
NOT_REACHED = frozenset({"connect", "banner"})
Found = tuple[str, str, datetime | None]
"""Verdict, rule, next visit."""


@dataclass(frozen=True)
class Policy:
    """How long to wait.

    Attributes:
        ladder: waits after the first, second, … visit that settled nothing; after the last one comes `unknown`.
        valid: how long a random probe's answer holds.
    """

    ladder: tuple[timedelta, ...]
    valid: timedelta

    @classmethod
    def of(cls, greylist_retry_s: int, valid_days: int) -> Policy:
        """The retry ladder of the facts, its first step as the estate declares it."""
        minutes = (20, 65, 4 * 60, 24 * 60, 48 * 60)
        steps = (timedelta(seconds=greylist_retry_s), *(timedelta(minutes=m) for m in minutes))
        return cls(steps, timedelta(days=valid_days))


@dataclass(frozen=True)
class Judgement:
    """A verdict of one address: a row of the table `mailbox`; `next_visit` is None when it is final."""

    address: str
    domain: str
    operator: str
    mx_host: str | None
    verdict: str
    rule: str
    attempts: int
    journal_id: int
    observed_at: datetime
    next_visit: datetime | None


def judge(rows: Sequence[JournalRow], stops: Sequence[datetime], policy: Policy) -> list[Judgement]:
    """The verdict of every address of one domain.

    Args:
        rows: the domain's journal, oldest first.
        stops: when the lane of its operator was stopped.
    """
    return list(_Domain(rows, stops, policy).judged())


class _Domain:
    def __init__(self, rows: Sequence[JournalRow], stops: Sequence[datetime], policy: Policy) -> None:
        self.stops, self.policy = stops, policy
        self.visits: dict[str, list[JournalRow]] = {}
        self.random: list[JournalRow] = []
        for row in rows:
            if row.probe_kind == "random":
                self.random.append(row)
            elif row.address:
                self.visits.setdefault(row.address, []).append(row)

    def judged(self) -> Iterator[Judgement]:
        for visits in self.visits.values():
            last = visits[-1]
            ruling, rule = ruled_again(last)
            attempts = last.attempt - (ruling == "blocked")
            verdict, rule, next_visit = self._verdict(visits, ruling, rule)
            yield Judgement(
                last.address or "",
                last.domain,
                last.operator,
                last.mx_host,
                verdict,
                rule,
                attempts,
                last.id,
                last.observed_at,
                next_visit,
            )

    def _verdict(self, visits: list[JournalRow], ruling: str, rule: str) -> Found:
        judged_by = {
            "deliverable": self._accepted,
            "undeliverable": self._dead,
            "full": self._full,
            "blocked": self._blocked,
            "retry": self._again,
        }.get(ruling)
        if rule == "microsoft_dbeb":
            judged_by = self._dbeb
        return judged_by(visits, rule) if judged_by else (ruling, rule, None)  # suspended, risky

    def _full(self, visits: list[JournalRow], rule: str) -> Found:
        return "full", rule, visits[-1].observed_at + FULL_HOLD

    def _blocked(self, visits: list[JournalRow], rule: str) -> Found:
        in_a_row = sum(1 for _ in _trailing(visits, "blocked"))
        wait = BLOCK_WAITS[min(in_a_row, len(BLOCK_WAITS)) - 1]
        return "blocked", rule, visits[-1].observed_at + _jittered(wait, visits[-1], at_least=1.0)

    def _accepted(self, visits: list[JournalRow], rule: str) -> Found:
        """A 250 counts only beside a random recipient that was refused."""
        last = visits[-1]
        if last.operator in ACCEPTS_ALL_AT_RCPT:
            return "catch_all", "operator_accepts_all", None
        takes_all = self._takes_all(last)
        if takes_all is None:
            if last.attempt > len(self.policy.ladder):
                return "risky", "catch_all_undecided", None
            return "retry", "catch_all_undecided", self._next_for_random(last)
        return ("catch_all", "random_accepted", None) if takes_all else ("deliverable", rule, None)

    def _takes_all(self, last: JournalRow) -> bool | None:
        """What the newest conclusive random probe says; None if there is none."""
        for row in reversed(self.random):
            if last.observed_at - row.observed_at > self.policy.valid:
                return None
            ruling, _ = ruled_again(row)
            code = row.reply_code or 0
            if code // 100 == 2:  # noqa: PLR2004
                return True
            if code // 100 == 5 and ruling != "blocked":  # noqa: PLR2004
                return False
        return None

    def _dead(self, visits: list[JournalRow], rule: str) -> Found:
        last = visits[-1]
        for stop in self.stops:
            if last.stage != "dns" and stop - VOID_BEFORE_STOP <= last.observed_at <= stop:
                return "retry", "reopened_by_block_alarm", rests_until(self.stops)
        if rule in TWICE and not self._seen_before(visits, rule, timedelta(0)):
            if last.attempt > len(self.policy.ladder):
                return "unknown", rule, None
            return "retry", rule, self._next(last)
        return "undeliverable", rule, None

    def _dbeb(self, visits: list[JournalRow], rule: str) -> Found:
        """M365's 5.4.1: dead if the tenant took another mailbox, or says the same a day later."""
        last = visits[-1]
        others = (v[-1] for address, v in self.visits.items() if address != last.address)
        if any(ruled_again(other)[0] == "deliverable" for other in others):
            return "undeliverable", "microsoft_dbeb_beside_a_live_one", None
        if self._seen_before(visits, rule, DBEB_RECHECK):
            return "undeliverable", "microsoft_dbeb_a_day_apart", None
        if last.attempt > 1 and self._seen_before(visits, rule, timedelta(0)):
            return "risky", rule, None
        return "risky", rule, last.observed_at + DBEB_RECHECK

    def _again(self, visits: list[JournalRow], rule: str) -> Found:
        last = visits[-1]
        if last.attempt <= len(self.policy.ladder):
            return "retry", rule, self._next(last)
        missed = [v for v in _trailing(visits, "retry") if v.stage in NOT_REACHED and v.reply_code is None]
        span = last.observed_at - missed[-1].observed_at if missed else timedelta(0)
        if len(missed) >= UNREACHABLE_VISITS and span >= UNREACHABLE_AFTER:
            return "unreachable", rule, None
        return "unknown", rule, None

    def _next(self, last: JournalRow) -> datetime:
        """The next step of the ladder, or as long as the text asks for, if that is longer."""
        step = self.policy.ladder[max(1, last.attempt) - 1]
        hint = wait_hint_s(last.reply_text) if last.reply_code else None
        return last.observed_at + max(_jittered(step, last), timedelta(seconds=hint or 0))

    def _next_for_random(self, last: JournalRow) -> datetime:
        """A greylist that has just let the mailbox through meets the random recipient for the first time: soon."""
        first = self.random and self.random[-1].reply_code and self.random[-1].reply_code // 100 == 4  # noqa: PLR2004
        return last.observed_at + _jittered(self.policy.ladder[0], last) if first else self._next(last)

    def _seen_before(self, visits: list[JournalRow], rule: str, apart: timedelta) -> bool:
        last = visits[-1]
        return any(
            ruled_again(v)[1] == rule and apart <= last.observed_at - v.observed_at <= CYCLE
            for v in visits[:-1]
        )


def _trailing(visits: list[JournalRow], ruling: str) -> Iterator[JournalRow]:
    """The visits at the end that all have this ruling, newest first."""
    for visit in reversed(visits):
        if ruled_again(visit)[0] != ruling:
            return
        yield visit


def _jittered(wait: timedelta, last: JournalRow, at_least: float = 0.8) -> timedelta:
    """The wait, up to a fifth more (or less): the same for a domain's visit each time it is derived."""
    digest = blake2b(f"{last.domain}:{last.attempt}".encode(), digest_size=2).digest()
    return wait * (at_least + (1.2 - at_least) * int.from_bytes(digest) / 65_536)
