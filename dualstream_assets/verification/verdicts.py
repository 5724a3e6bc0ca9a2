"""The table `mailbox`: verdicts derived from the journal, what is due, and the file of people who may be mailed.

Verified means `deliverable`, and `catch_all` only where the estate's policy says so. Everything else stays out: a
mailbox that could not be asked is not mailed either.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualstream_assets import keys
from dualstream_assets.audience.manifest import read_manifest
from dualstream_assets.estate import Estate
from dualstream_assets.receivers.operators import CONSUMER_OPERATORS
from dualstream_assets.store.files import sha256_of, write_csv_atomic, write_text_atomic
from dualstream_assets.verification.candidates import CandidatesMissing
from dualstream_assets.verification.journal import lane_stops, rests_until, rows_of
from dualstream_assets.verification.judge import Judgement, Policy, judge

if TYPE_CHECKING:
    from psycopg import Connection

    from dualstream_assets.clock import Clock
    from dualstream_assets.store.database import Database

VERIFIED_COLUMNS = ("verdict", "verified_at", "operator", "mx_host")
"""Added to the columns of the institutional file."""
DOMAINS_AT_ONCE = 1000


@dataclass(frozen=True)
class Mailbox:
    """A row of `mailbox`; times are aware UTC, `next_visit` None means final until it is too old."""

    address: str
    domain: str
    operator: str
    mx_host: str | None
    verdict: str
    rule: str
    attempts: int
    observed_at: datetime
    next_visit: datetime | None

    def due_at(self, valid: timedelta) -> datetime:
        """When it is to be asked again."""
        return self.next_visit if self.next_visit is not None else self.observed_at + valid


def policy_of(estate: Estate) -> Policy:
    """The waits that the estate declares."""
    return Policy.of(estate.verification.greylist_retry_s, estate.verification.valid_days)


def derive(connection: Connection[Any], domains: Sequence[str], policy: Policy, shard: str | None) -> int:
    """Read the journal of these domains and write their verdicts; returns how many addresses were judged.

    `shard` None keeps the shard that a row has.
    """
    stops = lane_stops(connection)
    judged = [
        judgement
        for rows in rows_of(connection, domains).values()
        for judgement in judge(rows, stops.get(rows[-1].operator, []), policy)
    ]
    _save(connection, judged, shard)
    return len(judged)


def _save(connection: Connection[Any], judged: Iterable[Judgement], shard: str | None) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into mailbox (address, domain, operator, shard, mx_host, verdict, rule, attempts, journal_id,"
            " observed_at, next_visit) values (%(address)s, %(domain)s, %(operator)s, coalesce(%(shard)s,"
            " (select shard from mail_domain where domain = %(domain)s), ''), %(mx_host)s, %(verdict)s, %(rule)s,"
            " %(attempts)s, %(journal_id)s, %(observed_at)s, %(next_visit)s) on conflict (address) do update set"
            " operator = excluded.operator, shard = excluded.shard, mx_host = excluded.mx_host,"
            " verdict = excluded.verdict, rule = excluded.rule, attempts = excluded.attempts,"
            " journal_id = excluded.journal_id, observed_at = excluded.observed_at,"
            " next_visit = excluded.next_visit",
            [{**asdict(j), "shard": shard} for j in judged],
        )


def rejudge(database: Database, estate: Estate) -> int:
    """Derive every verdict again from the journal, by the rule set in force; asks nobody. Returns how many."""
    policy, count = policy_of(estate), 0
    with database.transaction() as connection:
        found = connection.execute(
            "select distinct domain from probe_journal where probe_kind <> 'session' order by domain"
        ).fetchall()
        domains = [row[0] for row in found]
        for start in range(0, len(domains), DOMAINS_AT_ONCE):
            count += derive(connection, domains[start : start + DOMAINS_AT_ONCE], policy, None)
    return count


def reopen(connection: Connection[Any], operator: str, policy: Policy, shard: str) -> None:
    """Judge the dead mailboxes of a stopped lane again: the stop puts its recent verdicts in doubt."""
    rows = connection.execute(
        "select distinct domain from mailbox where operator = %s and verdict = 'undeliverable'", (operator,)
    ).fetchall()
    derive(connection, [row[0] for row in rows], policy, shard)


def load_mailboxes(connection: Connection[Any]) -> dict[str, Mailbox]:
    """Every verdict by address."""
    rows = connection.execute(
        "select address, domain, operator, mx_host, verdict, rule, attempts, observed_at, next_visit from mailbox"
    ).fetchall()
    return {row[0]: Mailbox(*row) for row in rows}


def resting_lanes(connection: Connection[Any], now: datetime) -> dict[str, datetime]:
    """Operators whose lane rests at this moment, and until when."""
    ends = {operator: rests_until(stops) for operator, stops in lane_stops(connection).items()}
    return {operator: end for operator, end in ends.items() if end is not None and end > now}


def counts(connection: Connection[Any]) -> list[tuple[str, str, int]]:
    """(operator, verdict, mailboxes), large operators by name and all others as `others`."""
    from dualstream_assets.receivers.operators import named_operators

    found: Counter[tuple[str, str]] = Counter()
    named = named_operators() | CONSUMER_OPERATORS
    for operator, verdict, count in connection.execute(
        "select operator, verdict, count(*) from mailbox group by 1, 2"
    ):
        found[operator if operator in named else "others" if operator else "no MX", verdict] += count
    return [(operator, verdict, count) for (operator, verdict), count in sorted(found.items())]


@dataclass(frozen=True)
class VerifiedFile:
    """What was written: rows kept, rows left out by verdict (`not asked yet` for those without one)."""

    path: Path
    rows: int
    left_out: Mapping[str, int]
    sha256: str


def sendable(verdict: str, operator: str, estate: Estate) -> bool:
    """Whether a mailbox may be mailed by the hot stream."""
    if operator in CONSUMER_OPERATORS:
        return False
    return verdict == "deliverable" or (
        verdict == "catch_all" and estate.verification.catch_all_policy == "send"
    )


def write_verified(database: Database, clock: Clock, estate: Estate, audience: Path) -> VerifiedFile:
    """Write the verified file beside the institutional one, in its order, with a manifest; both atomically.

    A verdict older than `verification.valid_days` counts as not asked.

    Raises:
        CandidatesMissing: the institutional file was not built yet, or holds rows of another segment.
    """
    import csv

    source, target = audience / keys.INSTITUTIONAL_CSV, audience / keys.VERIFIED_CSV
    if not source.exists():
        raise CandidatesMissing(
            f"{source.name} is not built yet. Next: dagster asset materialize --select '+audience/institutional'"
            " -m dualstream_assets.definitions"
        )
    with database.transaction() as connection:
        mailboxes = load_mailboxes(connection)
    oldest = clock.now() - timedelta(days=estate.verification.valid_days)
    left_out: Counter[str] = Counter()

    def kept(rows: Iterable[Mapping[str, str]]) -> Iterator[dict[str, str]]:
        for row in rows:
            if row.get("segment") != "institutional":
                raise CandidatesMissing(
                    f"{source.name} holds a row of segment {row.get('segment') or 'missing'}: it is not the file that"
                    " was built. Next: dagster asset materialize --select 'audience/institutional'"
                    " -m dualstream_assets.definitions"
                )
            box = mailboxes.get(row["email"])
            if box is None or box.observed_at < oldest:
                left_out["not asked yet" if box is None else "too old"] += 1
            elif not sendable(box.verdict, box.operator, estate):
                left_out[box.verdict] += 1
            else:
                yield {
                    **row,
                    "verdict": box.verdict,
                    "verified_at": box.observed_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "operator": box.operator,
                    "mx_host": box.mx_host or "",
                }

    source_sha256 = sha256_of(source)  # before it is read: where it changes meanwhile, the copy is of neither
    with source.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        columns = [c for c in reader.fieldnames or () if c not in VERIFIED_COLUMNS]
        rows = write_csv_atomic(target, [*columns, *VERIFIED_COLUMNS], kept(reader))
    done = VerifiedFile(target, rows, dict(left_out), sha256_of(target))
    manifest = {
        "file": target.name,
        "rows": rows,
        "left_out": dict(sorted(left_out.items())),
        "sha256": done.sha256,
        "source_sha256": source_sha256,
        "catch_all_policy": estate.verification.catch_all_policy,
        "written_at": clock.now().isoformat(),
    }
    write_text_atomic(manifest_path(audience), json.dumps(manifest, indent=2) + "\n")
    return done


def published_sha256(audience: Path) -> str | None:
    """The hash of the institutional file that is published now, by its manifest and by its bytes; else None."""
    manifest, path = read_manifest(audience), audience / keys.INSTITUTIONAL_CSV
    stated = manifest.files.get(path.name) if manifest else None
    if stated is None or not path.exists():
        return None
    return stated.sha256 if sha256_of(path) == stated.sha256 else None


def of_another_audience(audience: Path) -> bool:
    """Whether the two manifests say that the verified file is a copy of other bytes than the published ones.

    Reads no file of people: a wave asks this each time. `findings.verified_fresh` looks at the bytes.
    """
    published, copy = read_manifest(audience), copy_manifest(audience)
    stated = published.files.get(keys.INSTITUTIONAL_CSV) if published else None
    return bool(stated and copy and copy.get("source_sha256") != stated.sha256)


def copy_manifest(audience: Path) -> dict[str, Any] | None:
    """The manifest of the verified file; None where there is none, empty where it cannot be read."""
    try:
        found = json.loads(manifest_path(audience).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def manifest_path(audience: Path) -> Path:
    """The manifest of the verified file."""
    return (audience / keys.VERIFIED_CSV).with_suffix(".manifest.json")
