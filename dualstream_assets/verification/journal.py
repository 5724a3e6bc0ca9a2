"""The journal of probes: one row per answer, committed with the verdicts of its session before QUIT is sent.

Verdicts are derived from it alone, so resuming after a crash is reading it, and a better rule set judges again without
asking anybody. Block replies and stopped lanes are read from it too: a restart forgets nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from dualstream_assets.receivers.replies import RULESET, Reply, enhanced_code, rule_reply
from dualstream_assets.verification.dialogue import Answer

if TYPE_CHECKING:
    from psycopg import Connection

BLOCK_ALARM = 3
BLOCK_WINDOW = timedelta(hours=1)
LANE_RESTS = (timedelta(hours=1), timedelta(hours=4), timedelta(hours=24))
"""How long a stopped lane rests: the first, second, third time within two days (facts: verification section 4.4)."""
LANE_MEMORY = timedelta(hours=48)


@dataclass(frozen=True)
class JournalRow:
    """One row of `probe_journal`, as far as verdicts need it."""

    id: int
    domain: str
    operator: str
    mx_host: str | None
    probe_kind: str
    address: str | None
    stage: str
    reply_code: int | None
    reply_text: str
    attempt: int
    rule: str
    ruling: str
    observed_at: datetime


@dataclass(frozen=True)
class Run:
    """What all rows of one session's commit share."""

    run_id: str
    shard: str
    operator: str
    source: str


def append(
    connection: Connection[Any], run: Run, answers: Iterable[Answer], attempts: Mapping[str, int]
) -> None:
    """Write answers; `attempts` has the number of the visit per address (a random probe is visit 1)."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into probe_journal (run_id, shard, domain, operator, mx_host, mx_address, source_address,"
            " probe_kind, address, stage, reply_code, enhanced_code, reply_text, attempt, rule, ruleset, ruling,"
            " observed_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    run.run_id,
                    run.shard,
                    a.domain,
                    run.operator,
                    a.host.name if a.host else None,
                    a.host.address if a.host else None,
                    run.source if a.host else None,
                    a.kind,
                    a.address,
                    a.stage,
                    a.code,
                    enhanced_code(a.text, a.code) if a.code else None,
                    a.text,
                    attempts.get(a.address, 1),
                    a.ruling.rule,
                    RULESET,
                    a.ruling.ruling,
                    a.at,
                )
                for a in answers
            ],
        )


def rows_of(connection: Connection[Any], domains: Sequence[str]) -> dict[str, list[JournalRow]]:
    """Every row about these domains' mailboxes, oldest first."""
    found: defaultdict[str, list[JournalRow]] = defaultdict(list)
    rows = connection.execute(
        "select id, domain, operator, mx_host, probe_kind, address, stage, reply_code, reply_text, attempt, rule,"
        " ruling, observed_at from probe_journal where domain = any(%s) and probe_kind in ('real', 'random')"
        " order by id",
        (list(domains),),
    )
    for row in rows:
        found[row[1]].append(JournalRow(*row))
    return found


def block_replies(connection: Connection[Any], operator: str, now: datetime) -> int:
    """Replies of the last hour that were about us, since the lane was last stopped.

    One reply before RCPT is written once per address that it settled; it counts once.
    """
    row = connection.execute(
        "select count(distinct (mx_address, observed_at, case when stage = 'rcpt' then id end)) from probe_journal"
        " where operator = %(op)s and ruling = 'blocked' and reply_code is not null and observed_at > %(since)s"
        " and id > coalesce((select max(id) from probe_journal where probe_kind = 'session'"
        " and rule = 'lane_stopped' and domain = %(op)s), 0)",
        {"op": operator, "since": now - BLOCK_WINDOW},
    ).fetchone()
    return int(row[0]) if row else 0


def stop_lane(connection: Connection[Any], run: Run, blocks: int, now: datetime) -> None:
    """Write that the lane is stopped; it rests from now on."""
    connection.execute(
        "insert into probe_journal (run_id, shard, domain, operator, probe_kind, stage, reply_text, attempt, rule,"
        " ruleset, ruling, observed_at) values (%s, %s, %s, %s, 'session', 'closed', %s, 0, 'lane_stopped', %s,"
        " 'blocked', %s)",
        (
            run.run_id,
            run.shard,
            run.operator,
            run.operator,
            f"{blocks} block replies within an hour",
            RULESET,
            now,
        ),
    )


def lane_stops(connection: Connection[Any]) -> dict[str, list[datetime]]:
    """Operator -> moments at which its lane was stopped, oldest first."""
    found: defaultdict[str, list[datetime]] = defaultdict(list)
    for operator, at in connection.execute(
        "select operator, observed_at from probe_journal where probe_kind = 'session' and rule = 'lane_stopped'"
        " order by id"
    ):
        found[operator].append(at)
    return found


def rests_until(stops: Sequence[datetime]) -> datetime | None:
    """Until when a lane with these stops rests; None if it was never stopped."""
    if not stops:
        return None
    recent = sum(1 for at in stops if at > stops[-1] - LANE_MEMORY)
    return stops[-1] + LANE_RESTS[min(recent, len(LANE_RESTS)) - 1]


def ruled_again(row: JournalRow) -> tuple[str, str]:
    """(ruling, rule) of a row by the rule set in force now; rows without a reply keep theirs."""
    if row.reply_code is None or row.stage not in ("banner", "ehlo", "mail", "rcpt"):
        return row.ruling, row.rule
    again = rule_reply(Reply(row.stage, row.reply_code, row.reply_text, row.operator))
    return again.ruling, again.rule
