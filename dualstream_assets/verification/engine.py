"""Runs sessions side by side within the lanes' bounds, and makes each one durable before it says goodbye."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from dualstream_assets.receivers.operators import ACCEPTS_ALL_AT_RCPT, lane_of
from dualstream_assets.verification import journal
from dualstream_assets.verification.candidates import Candidate
from dualstream_assets.verification.dialogue import (
    DomainTask,
    Host,
    Identity,
    SessionOutcome,
    SessionPlan,
    Timeouts,
)
from dualstream_assets.verification.judge import Policy
from dualstream_assets.verification.lanes import Lanes, Work
from dualstream_assets.verification.mx import MailDomain
from dualstream_assets.verification.session import Session
from dualstream_assets.verification.targets import Reach
from dualstream_assets.verification.verdicts import derive, reopen

if TYPE_CHECKING:
    from dualstream_assets.clock import Clock
    from dualstream_assets.store.database import Database

NAP_S = 0.5
"""A wait is cut into naps, so that neither an interrupt nor the end of a run is kept waiting."""


@dataclass
class Done:
    """What a round of sessions came to."""

    rulings: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    connections: int = 0
    rcpts: int = 0
    random_probes: int = 0
    stopped: list[str] = field(default_factory=list)


def random_local(domain: str, key: str) -> str:
    """The left side that no mailbox of this domain has: plausible, and the same each time, so that it passes
    greylisting too. A keyed hash: a receiver cannot tell it from a guess.
    """
    digest = blake2b(domain.encode(), key=key.encode()[:64], digest_size=8).digest()
    consonants, vowels = "bdfgklmnprstv", "aeiou"
    made = [(consonants if i % 2 == 0 else vowels) for i in range(len(digest))]
    letters = [alphabet[byte % len(alphabet)] for alphabet, byte in zip(made, digest, strict=True)]
    return "".join(letters[:3]) + "." + "".join(letters[3:]) + str(digest[0] % 90 + 10)


class Engine:
    """Asks addresses that are due.

    Args:
        run_id: written into every journal row.
        connections: sessions open at once for the whole host.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        identity: Identity,
        timeouts: Timeouts,
        smtp_port: int,
        policy: Policy,
        reach: Reach,
        *,
        run_id: str,
        connections: int,
    ) -> None:
        self._database, self._clock, self._identity, self._timeouts = database, clock, identity, timeouts
        self._port, self._policy, self._reach = smtp_port, policy, reach
        self._run_id, self._connections = run_id, connections

    def ask(
        self,
        candidates: Sequence[Candidate],
        domains: Mapping[str, MailDomain],
        attempts: Mapping[str, int],
    ) -> Done:
        """Ask these addresses once each; returns when all sessions are over.

        Args:
            domains: a row with usable hosts for each domain.
            attempts: the number of this visit per address.
        """
        self._domains, self._attempts = domains, attempts
        self._done, self._lanes = Done(), Lanes(self._connections)
        self._random_asked: set[str] = set()
        self._nap: asyncio.Task[None] | None = None
        if candidates:
            self._learn_random({c.domain for c in candidates})
            asyncio.run(self._run(candidates))
        return self._done

    def _learn_random(self, domains: Iterable[str]) -> None:
        """Domains whose random probe was answered already are not given another one while it holds."""
        oldest = self._clock.now() - self._policy.valid
        with self._database.transaction() as connection:
            rows = connection.execute(
                "select distinct domain from probe_journal where probe_kind = 'random' and domain = any(%s)"
                " and observed_at > %s and ruling <> 'blocked' and reply_code is not null"
                " and (reply_code < 300 or reply_code >= 500)",
                (list(domains), oldest),
            ).fetchall()
        self._known_random = {row[0] for row in rows}

    async def _run(self, candidates: Sequence[Candidate]) -> None:
        for work in self._works((c.domain, c.address) for c in candidates):
            self._lanes.add(work)
        with ThreadPoolExecutor(1, thread_name_prefix="journal") as self._writer:
            running: dict[asyncio.Task[SessionOutcome], Work] = {}
            try:
                while await self._step(running):
                    pass
            finally:
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)
                await asyncio.get_running_loop().run_in_executor(self._writer, self._hang_up)

    async def _step(self, running: dict[asyncio.Task[SessionOutcome], Work]) -> bool:
        """Start what may start, then wait for the first to end or for the next moment; False when all is done."""
        while (work := self._lanes.take(self._clock.now())) is not None:
            running[asyncio.create_task(self._session(work).run())] = work
        next_start = self._lanes.next_start()
        if not running and next_start is None:
            return False
        if next_start is not None and (self._nap is None or self._nap.done()):
            self._nap = asyncio.create_task(self._nap_until(next_start))
        waiting: set[asyncio.Task[Any]] = {*running, *([self._nap] if self._nap else [])}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in [t for t in running if t.done()]:
            self._lanes.done(running.pop(task))
            self._count(task.result())
        if self._nap is not None and self._nap.done():
            self._nap = None
        return True

    async def _nap_until(self, at: datetime) -> None:
        seconds = (at - self._clock.now()).total_seconds()
        await asyncio.to_thread(self._clock.sleep, max(0.0, min(seconds, NAP_S)))

    def _session(self, work: Work) -> Session:
        plan = SessionPlan(
            work.operator, work.hosts, work.tasks, work.lane.rcpt_per_session, work.lane.stop_at_unknown
        )
        return Session(
            plan,
            self._identity,
            self._port,
            self._timeouts,
            now=self._clock.now,
            reach=self._reach,
            commit=self._commit,
        )

    def _count(self, outcome: SessionOutcome) -> None:
        done = self._done
        done.sessions += 1
        done.connections += outcome.connections
        done.rcpts += outcome.rcpts
        done.random_probes += len(outcome.random_asked)
        done.rulings.update(str(a.ruling.ruling) for a in outcome.answers if a.kind == "real")
        for work in self._works(outcome.unasked):
            self._lanes.add(work)

    async def _commit(self, outcome: SessionOutcome) -> None:
        """One writer thread: commits do not hold up the sockets, and the block alarm counts in order."""
        await asyncio.get_running_loop().run_in_executor(self._writer, self._write, outcome)

    def _write(self, outcome: SessionOutcome) -> None:
        plan = outcome.plan
        domains = [task.domain for task in plan.tasks]
        shard = self._domains[domains[0]].shard
        run = journal.Run(self._run_id, shard, plan.operator, self._identity.source)
        self._random_asked |= outcome.random_asked
        with self._database.transaction() as connection:
            journal.append(connection, run, outcome.answers, self._attempts)
            if outcome.blocks and plan.operator not in self._done.stopped:
                blocks = journal.block_replies(connection, plan.operator, self._clock.now())
                if blocks >= journal.BLOCK_ALARM:
                    journal.stop_lane(connection, run, blocks, self._clock.now())
                    self._lanes.stop(plan.operator)
                    self._done.stopped.append(plan.operator)
                    reopen(connection, plan.operator, self._policy, shard)
            derive(connection, domains, self._policy, shard)

    def _hang_up(self) -> None:
        """The writer's thread ends: so does its connection."""
        with self._database.transaction() as connection:
            pass
        connection.close()

    def _works(self, pairs: Iterable[tuple[str, str]]) -> list[Work]:
        """(domain, address) pairs folded into sessions: domains of one host set share one, by RSET."""
        addresses: defaultdict[str, list[str]] = defaultdict(list)
        for domain, address in pairs:
            addresses[domain].append(address)
        by_hosts: defaultdict[tuple[str, tuple[Host, ...]], list[str]] = defaultdict(list)
        for domain in addresses:
            row = self._domains[domain]
            by_hosts[row.operator, row.usable_hosts()].append(domain)
        works = [
            Work(operator, hosts, tuple(self._task(d, addresses[d], operator) for d in some))
            for (operator, hosts), found in by_hosts.items()
            for some in self._chunks(operator, found, addresses)
        ]
        load = Counter(work.operator for work in works)
        # The longest lane first, or it alone is left at the end.
        return sorted(works, key=lambda w: -load[w.operator] / w.lane.sessions_per_s)

    def _chunks(
        self, operator: str, domains: Sequence[str], addresses: Mapping[str, Sequence[str]]
    ) -> Iterable[list[str]]:
        """Domains that fit into one session together; a domain too large for one is asked in several, one by one."""
        lane = lane_of(operator)
        chunk: list[str] = []
        size = 0
        for domain in domains:
            needed = len(addresses[domain]) + 1
            if chunk and (len(chunk) == lane.domains_per_session or size + needed > lane.rcpt_per_session):
                yield chunk
                chunk, size = [], 0
            chunk.append(domain)
            size += needed
        if chunk:
            yield chunk

    def _task(self, domain: str, addresses: Sequence[str], operator: str) -> DomainTask:
        wanted = (
            operator not in ACCEPTS_ALL_AT_RCPT
            and domain not in self._known_random
            and domain not in self._random_asked
        )
        probe = f"{random_local(domain, self._identity.mail_from)}@{domain}" if wanted else None
        return DomainTask(domain, tuple(addresses), probe)
