"""The room's work as a workplace asks for it: the same calls for the Dagster rim and the command line."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

from dualstream_assets.outside.dns import Resolver
from dualstream_assets.verification.candidates import read_candidates
from dualstream_assets.verification.due import due_now
from dualstream_assets.verification.mx import load_domains, resolve_domains
from dualstream_assets.verification.run import Summary, run_verification
from dualstream_assets.verification.targets import ProbeRefused, reach_of
from dualstream_assets.verification.verdicts import counts, load_mailboxes, policy_of, resting_lanes
from dualstream_assets.workplace import Workplace

REMEMBERED_ANSWERS = 50_000
"""MX hosts are few beside domains: a run asks each host's address once."""


@cache
def _resolver(nameservers: tuple[tuple[str, int], ...]) -> Resolver:
    return Resolver(nameservers, cache_size=REMEMBERED_ANSWERS)


@dataclass(frozen=True)
class LookedUp:
    """What the MX stage did, or would do."""

    acted: bool
    domains: int
    asked: int
    due: int
    by_operator: Counter[str]


def look_up(workplace: Workplace, *, act: bool) -> LookedUp:
    """Look up the domains of the institutional file that are due; without `act` only say how many are.

    Raises:
        CandidatesMissing: the institutional file was not built yet.
    """
    domains = sorted({c.domain for c in read_candidates(workplace.paths.audience)})
    now = workplace.clock.now()
    with workplace.database.transaction() as connection:
        known = load_domains(connection, domains)
    due = [d for d in domains if d not in known or known[d].due(now)]
    asked = 0
    if act and due:
        resolver = _resolver(workplace.endpoints.nameservers)
        asked = resolve_domains(workplace.database, workplace.clock, resolver, due)
        with workplace.database.transaction() as connection:
            known = load_domains(connection, domains)
    by_operator = Counter(row.operator if row.ruling == "ok" else row.ruling for row in known.values())
    return LookedUp(act, len(domains), asked, len(due) - asked, by_operator)


def shards_due(workplace: Workplace) -> list[str]:
    """Shards in which mailboxes are due now."""
    targets = read_candidates(workplace.paths.audience)
    now = workplace.clock.now()
    with workplace.database.transaction() as connection:
        domains = load_domains(connection)
        mailboxes, resting = load_mailboxes(connection), resting_lanes(connection, now)
    valid = policy_of(workplace.estate).valid
    due, _ = due_now(targets, mailboxes, domains, resting, now, valid)
    return sorted({domains[candidate.domain].shard for candidate in due})


def verify(workplace: Workplace, patience: timedelta, shard: str | None) -> Summary:
    """Ask the mailboxes of the institutional file that are due.

    Raises:
        CandidatesMissing: the institutional file was not built yet.
        ProbeRefused: the probe address is missing or not apart from the sending ones, or this is `dev`.
    """
    if workplace.environment == "dev":
        raise ProbeRefused("DUALSTREAM_ENV=dev asks nobody: verify in the lab, or in production")
    return run_verification(
        workplace.database,
        workplace.clock,
        workplace.estate,
        _resolver(workplace.endpoints.nameservers),
        workplace.endpoints.smtp_port,
        read_candidates(workplace.paths.audience),
        patience,
        shard,
        reach=reach_of(workplace.estate, workplace.environment),
    )


@dataclass(frozen=True)
class Standing:
    """How the mailboxes of the institutional file stand: counts, no addresses.

    Attributes:
        waiting: not settled, their visit still to come.
        next_visit: the earliest of those visits.
        resting: operators whose lane the block alarm stopped, and until when.
    """

    mailboxes: int
    verdicts: Counter[str]
    due: int
    waiting: int
    next_visit: datetime | None
    resting: dict[str, datetime] = field(default_factory=dict)
    by_operator: list[tuple[str, str, int]] = field(default_factory=list)


def standing(workplace: Workplace) -> Standing:
    """How the mailboxes stand now; asks nobody.

    Raises:
        CandidatesMissing: the institutional file was not built yet.
    """
    targets = read_candidates(workplace.paths.audience)
    now, valid = workplace.clock.now(), policy_of(workplace.estate).valid
    with workplace.database.transaction() as connection:
        mailboxes, resting = load_mailboxes(connection), resting_lanes(connection, now)
        by_operator = counts(connection)
    boxes = [mailboxes.get(c.address) for c in targets]
    open_visits = [b.next_visit for b in boxes if b and b.next_visit and b.next_visit > now]
    return Standing(
        mailboxes=len(boxes),
        verdicts=Counter(b.verdict if b else "not asked yet" for b in boxes),
        due=sum(1 for b in boxes if b is None or b.due_at(valid) <= now),
        waiting=len(open_visits),
        next_visit=min(open_visits, default=None),
        resting=resting,
        by_operator=by_operator,
    )
