"""A verification run: what is due is asked, session by session, until nothing is due or patience ends.

Every session's answers and the verdicts that follow from them are one transaction, made before the session says QUIT:
a run killed at any moment has lost nothing that was answered, and asks again only what was under way.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dualstream_assets.estate import Estate
from dualstream_assets.receivers.replies import Ruling
from dualstream_assets.verification.candidates import Candidate
from dualstream_assets.verification.dialogue import Answer, identity_of, timeouts_of
from dualstream_assets.verification.due import due_now, without_asking
from dualstream_assets.verification.engine import Engine
from dualstream_assets.verification.journal import Run, append
from dualstream_assets.verification.mx import AsksMx, MailDomain, load_domains, resolve_domains
from dualstream_assets.verification.targets import ProbeRefused, Reach, probe_ip_fault, reach_of
from dualstream_assets.verification.verdicts import (
    Mailbox,
    derive,
    load_mailboxes,
    policy_of,
    resting_lanes,
)

if TYPE_CHECKING:
    from dualstream_assets.clock import Clock
    from dualstream_assets.store.database import Database

LOCK_TRIES, LOCK_PAUSE_S = 20, 0.05


@dataclass
class Summary:
    """What a run did. Counts only, no addresses.

    Attributes:
        visits: addresses that were given an answer, by its ruling; one asked twice counts twice.
        verdicts: how all addresses of the run stand now, by verdict (`not asked yet` for those without one).
        due: addresses still due at the end (their lane rests, or another run has their shard).
        next_visit: when the earliest of the others is due; None if none is.
        stopped: operators whose lane the block alarm stopped in this run.
        busy: shards that another run is at.
    """

    visits: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    connections: int = 0
    rcpts: int = 0
    random_probes: int = 0
    lookups: int = 0
    due: int = 0
    next_visit: datetime | None = None
    stopped: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)


def run_verification(
    database: Database,
    clock: Clock,
    estate: Estate,
    resolver: AsksMx,
    smtp_port: int,
    targets: Sequence[Candidate],
    patience: timedelta,
    shard: str | None = None,
    *,
    reach: Reach | None = None,
) -> Summary:
    """Ask what is due among `targets`.

    Args:
        targets: addresses to verify; none of them is asked before it is due.
        patience: how long to wait, by `clock`, for visits that come due later; zero leaves them to another run.
        shard: only the domains of this shard; None: all, and domains never looked up are looked up first.
        reach: what may be connected to; by default loopback for a lab estate, else the public internet.

    Raises:
        ProbeRefused: the probe identity is missing, or its address is not apart from the sending ones.
    """
    fault = probe_ip_fault(estate)
    if fault:
        raise ProbeRefused(fault)
    reach = reach or reach_of(estate, "lab" if estate.lab else "production")
    return _Verification(database, clock, estate, resolver, smtp_port, reach).run(targets, patience, shard)


class _Verification:
    def __init__(
        self,
        database: Database,
        clock: Clock,
        estate: Estate,
        resolver: AsksMx,
        smtp_port: int,
        reach: Reach,
    ) -> None:
        self.database, self.clock, self.estate, self.resolver = database, clock, estate, resolver
        self.policy = policy_of(estate)
        self.run_id = uuid.uuid4().hex[:12]
        self.identity = identity_of(estate)
        self.engine = Engine(
            database,
            clock,
            self.identity,
            timeouts_of(estate),
            smtp_port,
            self.policy,
            reach,
            run_id=self.run_id,
            connections=estate.verification.connections,
        )
        self.summary = Summary()
        self.locked: set[str] = set()
        self.mailboxes: dict[str, Mailbox] = {}
        self.called_on: dict[str, datetime] = {}

    def run(self, targets: Sequence[Candidate], patience: timedelta, shard: str | None) -> Summary:
        until = self.clock.now() + patience
        domains = {candidate.domain for candidate in targets}
        if shard is None:
            self._look_up(domains)
        with ExitStack() as self.held:
            mine = self._free_ones(self._domains(domains, shard))
            targets = [c for c in targets if c.domain in mine]
            while True:
                due, next_at = self._due(targets, mine)
                if due:
                    mine = self._refreshed(mine, due, only=shard)
                    self._visit(due, mine)
                elif next_at is not None and next_at <= until:
                    self.clock.sleep((next_at - self.clock.now()).total_seconds())
                else:
                    return self._summed_up(targets, next_at)

    def _look_up(self, domains: Iterable[str]) -> None:
        with self.database.transaction() as connection:
            known = load_domains(connection, list(domains))
        now = self.clock.now()
        wanted = [d for d in domains if d not in known or known[d].due(now)]
        if wanted:
            self.summary.lookups += resolve_domains(self.database, self.clock, self.resolver, wanted)

    def _domains(self, domains: Iterable[str], shard: str | None) -> dict[str, MailDomain]:
        with self.database.transaction() as connection:
            found = load_domains(connection, list(domains))
        return {d: row for d, row in found.items() if shard in (None, row.shard)}

    def _free_ones(self, domains: Mapping[str, MailDomain]) -> dict[str, MailDomain]:
        """Hold the lock of each shard for the run; shards that another run is at are left to it."""
        for shard in sorted({row.shard for row in domains.values()} - self.locked - set(self.summary.busy)):
            (self.locked.add if self._take(shard) else self.summary.busy.append)(shard)
        return {domain: row for domain, row in domains.items() if row.shard in self.locked}

    def _take(self, shard: str) -> bool:
        """The server lets go of a lock a little after the connection that held it closed, so a refusal is not final."""
        for _ in range(LOCK_TRIES):
            with ExitStack() as attempt:
                if attempt.enter_context(self.database.advisory_lock(f"verification {shard}", wait=False)):
                    self.held.push(attempt.pop_all())
                    return True
            time.sleep(LOCK_PAUSE_S)
        return False

    def _due(
        self, targets: Sequence[Candidate], domains: Mapping[str, MailDomain]
    ) -> tuple[list[Candidate], datetime | None]:
        """Who is to be asked now, and when the next one after that is."""
        with self.database.transaction() as connection:
            self.mailboxes = load_mailboxes(connection)
            resting = resting_lanes(connection, self.clock.now())
        # Whom this run has called on without a verdict coming of it is left to another run: never asked in a loop.
        left = [c for c in targets if not self._in_vain(c.address)]
        return due_now(left, self.mailboxes, domains, resting, self.clock.now(), self.policy.valid)

    def _in_vain(self, address: str) -> bool:
        called, box = self.called_on.get(address), self.mailboxes.get(address)
        return called is not None and (box is None or box.observed_at < called)

    def _refreshed(
        self, domains: dict[str, MailDomain], due: Iterable[Candidate], only: str | None
    ) -> dict[str, MailDomain]:
        """Domains that had no usable MX at an earlier visit are looked up again before the next one."""
        again = {
            c.domain
            for c in due
            if domains[c.domain].ruling != "ok"
            and (box := self.mailboxes.get(c.address))
            and domains[c.domain].resolved_at <= box.observed_at
        }
        if not again:
            return domains
        self.summary.lookups += resolve_domains(self.database, self.clock, self.resolver, again)
        fresh = self._domains(again, None)
        if only is not None:  # one that changed its shard is left to whoever has that shard
            fresh = {d: row for d, row in fresh.items() if row.shard in self.locked}
        return {d: row for d, row in domains.items() if d not in again} | self._free_ones(fresh)

    def _visit(self, due: Sequence[Candidate], domains: Mapping[str, MailDomain]) -> None:
        self.called_on.update(dict.fromkeys((c.address for c in due), self.clock.now()))
        attempts = {c.address: self._attempt(c.address) for c in due if c.domain in domains}
        to_ask: list[Candidate] = []
        settled: dict[str, list[Answer]] = {}
        for candidate in due:
            row = domains.get(candidate.domain)
            if row is None:
                continue
            ruling = without_asking(candidate, row)
            if ruling is None:
                to_ask.append(candidate)
            else:
                settled.setdefault(row.shard, []).append(self._settled(candidate, ruling))
        for shard, answers in settled.items():
            self._write(shard, answers, domains, attempts)
        done = self.engine.ask(to_ask, domains, attempts)
        for name in ("sessions", "connections", "rcpts", "random_probes"):
            setattr(self.summary, name, getattr(self.summary, name) + getattr(done, name))
        self.summary.visits.update(done.rulings)
        self.summary.stopped += done.stopped

    def _attempt(self, address: str) -> int:
        box = self.mailboxes.get(address)
        return 1 if box is None or box.next_visit is None else box.attempts + 1

    def _settled(self, candidate: Candidate, ruling: Ruling) -> Answer:
        at = self.clock.now()
        return Answer("real", candidate.domain, candidate.address, "dns", None, "", ruling, None, at)

    def _write(
        self,
        shard: str,
        answers: Sequence[Answer],
        domains: Mapping[str, MailDomain],
        attempts: Mapping[str, int],
    ) -> None:
        with self.database.transaction() as connection:
            for answer in answers:
                operator = domains[answer.domain].operator
                append(connection, Run(self.run_id, shard, operator, ""), [answer], attempts)
            derive(connection, sorted({a.domain for a in answers}), self.policy, shard)
        self.summary.visits.update(str(a.ruling.ruling) for a in answers)

    def _summed_up(self, targets: Sequence[Candidate], next_at: datetime | None) -> Summary:
        now, valid = self.clock.now(), self.policy.valid
        for candidate in targets:
            box = self.mailboxes.get(candidate.address)
            self.summary.verdicts[box.verdict if box else "not asked yet"] += 1
            self.summary.due += box is None or box.due_at(valid) <= now
        self.summary.next_visit = next_at
        return self.summary
