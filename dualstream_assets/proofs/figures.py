"""Numbers of the report page, read from the database and the files; no address leaves this module."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.proofs.witness import Arrival, by_stream

if TYPE_CHECKING:
    from psycopg import Connection


@dataclass(frozen=True)
class Funnel:
    """From candidates to delivered: (name, count) in order; counts are addresses."""

    steps: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class WaveLine:
    """One released wave for the table; counts are people."""

    id: int
    stream: str
    released: str
    size: int
    delivered: int
    deferred: int
    failed: int
    state: str


@dataclass(frozen=True)
class OptOuts:
    """Opt-outs by reason."""

    by_reason: tuple[tuple[str, int], ...]
    total: int


def rows_of(path: Path) -> int:
    """Data rows of a CSV file; 0 where it does not exist."""
    if not path.exists():
        return 0
    with path.open(newline="", encoding="utf-8") as file:
        return max(0, sum(1 for _ in csv.reader(file)) - 1)


def segment_rows(audience: Path) -> dict[str, int]:
    """Rows of each file that the plan names."""
    names = (
        ("institutional", keys.INSTITUTIONAL_CSV),
        ("consumer", keys.CONSUMER_CSV),
        ("direct", keys.DIRECT_CSV),
        ("review", keys.REVIEW_CSV),
        ("rejects", keys.REJECTS_CSV),
        ("verified", keys.VERIFIED_CSV),
    )
    return {segment: rows_of(audience / name) for segment, name in names}


def verdict_counts(connection: Connection[Any]) -> dict[str, int]:
    """Mailboxes per verdict."""
    rows = connection.execute(
        "select verdict, count(*) from mailbox group by verdict order by 2 desc"
    ).fetchall()
    return {verdict: int(count) for verdict, count in rows}


def funnel(connection: Connection[Any], audience: Path) -> Funnel:
    """NPPES candidates to delivered people of the institutional segment."""
    rows = segment_rows(audience)
    reached = connection.execute(
        "select count(distinct m.address) filter (where m.state not in ('reserved', 'not_sent')),"
        " count(distinct m.address) filter (where m.state = 'delivered')"
        " from wave_member m join wave w on w.id = m.wave_id where w.stream = 'healthcare'"
    ).fetchone() or (0, 0)
    candidates = sum(rows[s] for s in ("institutional", "consumer", "direct", "review", "rejects"))
    return Funnel(
        (
            ("candidates in NPPES", candidates),
            ("institutional", rows["institutional"]),
            ("verified", rows["verified"]),
            ("handed to Postfix", int(reached[0])),
            ("delivered", int(reached[1])),
        )
    )


def wave_lines(connection: Connection[Any], estate: Estate) -> list[WaveLine]:
    """Released waves, newest first."""
    rows = connection.execute(
        "select w.id, w.stream, w.released_at, w.size, w.state,"
        " count(*) filter (where m.state = 'delivered'),"
        " count(*) filter (where m.state in ('deferred', 'queued', 'held', 'released')),"
        " count(*) filter (where m.state in ('bounced', 'expired', 'refused', 'deleted'))"
        " from wave w join wave_member m on m.wave_id = w.id where w.released_at is not null"
        " group by w.id order by w.id desc"
    ).fetchall()
    return [
        WaveLine(r[0], r[1], r[2].astimezone(estate.zone).strftime("%a %H:%M"), r[3], r[5], r[6], r[7], r[4])
        for r in rows
    ]


def by_operator(connection: Connection[Any]) -> list[tuple[str, int, int, int]]:
    """(operator, delivered, waiting, failed) of our messages, most first."""
    rows = connection.execute(
        "select operator, count(*) filter (where status = 'sent'), count(*) filter (where status = 'deferred'),"
        " count(*) filter (where status in ('bounced', 'expired')) from ("
        "  select distinct on (queue_id, recipient) operator, status from delivery where wave_id is not null"
        "  order by queue_id, recipient, at desc, id desc) last group by operator order by 2 desc"
    ).fetchall()
    return [(r[0], int(r[1]), int(r[2]), int(r[3])) for r in rows]


def opt_outs(connection: Connection[Any]) -> OptOuts:
    """Standing suppressions by reason."""
    rows = connection.execute(
        "select reason, count(*) from suppression where lifted_at is null group by reason order by 2 desc"
    ).fetchall()
    counted = tuple((reason, int(count)) for reason, count in rows)
    return OptOuts(counted, sum(count for _, count in counted))


def egress_counts(arrivals: Sequence[Arrival], estate: Estate) -> dict[str, int]:
    """Deliveries per egress IP as a witness saw them; every active egress is a key."""
    counts = Counter(arrival.source for arrival in arrivals)
    return {str(e.ip): counts.pop(str(e.ip), 0) for e in estate.egress if e.state == "active"} | dict(counts)


def hourly(
    arrivals: Sequence[Arrival], estate: Estate, campaigns: dict[str, str]
) -> dict[str, list[tuple[datetime, int]]]:
    """Messages per local clock hour and stream, for the picture."""
    found: dict[str, list[tuple[datetime, int]]] = {}
    for stream, of_stream in by_stream(arrivals, estate, campaigns).items():
        hours = Counter(
            a.at.astimezone(estate.zone).replace(minute=0, second=0, microsecond=0) for a in of_stream
        )
        found[stream] = sorted(hours.items())
    return found


def manifest(audience: Path) -> dict[str, Any]:
    """The audience manifest; empty where nothing was built yet."""
    path = audience / "manifest.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
