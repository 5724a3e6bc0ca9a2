"""Who may be mailed on a stream: the verified file for institutional mailboxes, the consumer file for the rest.

Reads the audience's CSVs (columns in docs: `email, domain, operator, rank`, all strings) and leaves out who is
suppressed, who is in this campaign already, and, on the hot stream, everybody whose MX a consumer operator runs.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from dualstream_assets import keys
from dualstream_assets.estate import Segment
from dualstream_assets.sending.plan import DomainLimits, Person
from dualstream_assets.sending.window import midnight
from dualstream_assets.verification.verdicts import of_another_audience

if TYPE_CHECKING:
    from psycopg import Connection

CHUNK = 5000
FEW = 50
MX_IS_FRESH_FOR = timedelta(hours=24)
ASKED_AT_MOST = 3
"""A person proved `not_sent` this often in one campaign is not asked again: something refuses them each time."""


MxOperators = Callable[[tuple[str, ...]], Mapping[str, str | None]]
"""Resolves domains now: domain -> operator, None where the look did not complete."""


class StockMissing(FileNotFoundError):
    """The file of the stream's people is not there or has not its columns; the message names the next command."""


class StockUnsafe(StockMissing):
    """The file holds people who may not be mailed, or may not any more: nobody of it is."""


@dataclass(frozen=True)
class Stock:
    """A stream's people in rank order, and how many each domain has."""

    people: tuple[Person, ...]
    domains: Counter[str]

    @classmethod
    def empty(cls) -> Stock:
        """Nobody: where no wave is due, no file is read."""
        return cls((), Counter())


def stock_path(audience: Path, segment: Segment) -> Path:
    """The file that holds the people of a segment who may be mailed."""
    return audience / (keys.VERIFIED_CSV if segment == "institutional" else keys.CONSUMER_CSV)


def read_stock(audience: Path, segment: Segment) -> Stock:
    """Read the people of a segment, in rank order.

    Raises:
        StockMissing: the file was not built yet, or lacks a column.
        StockUnsafe: a row of it is of another segment (Direct, review, dropped, …), or it is a copy of an audience that
            was built again since.
    """
    path = stock_path(audience, segment)
    try:
        status = path.stat()
    except FileNotFoundError as error:
        asset = "verification/verified_institutional" if segment == "institutional" else "audience/consumer"
        raise StockMissing(
            f"{path.name} is not built yet. Next: dagster asset materialize --select '+{asset}'"
            " -m dualstream_assets.definitions"
        ) from error
    if segment == "institutional" and of_another_audience(audience):
        raise StockUnsafe(
            f"{path.name} is a copy of an audience that was built again since. Next: dagster asset materialize --select"
            f" '{keys.text(keys.VERIFIED_INSTITUTIONAL)}' -m dualstream_assets.definitions"
        )
    return _read(path, segment, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, segment: Segment, _mtime_ns: int, _size: int) -> Stock:
    """Remembered by path, time and size: a tick a minute must not parse 90,000 rows each time."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        try:
            names = ("email", "domain", "rank", "segment")
            email, domain, rank, of = (header.index(name) for name in names)
        except ValueError as error:
            raise StockMissing(f"{path.name} lacks a column: {error}") from error
        operator = header.index("operator") if "operator" in header else None
        people = []
        for row in rows:
            if row[of] != segment:
                raise StockUnsafe(
                    f"{path.name} holds a row of segment {row[of] or 'missing'!r}, not {segment}: it is not the file"
                    " that was built, and nobody of it is mailed. Build the audience and its copy again"
                )
            run_by = (row[operator] if operator is not None else "") or row[domain]
            people.append(Person(row[email], row[domain], run_by, int(row[rank] or 0)))
    people.sort(key=lambda person: (person.rank, person.address))
    return Stock(tuple(people), Counter(person.domain for person in people))


def candidates(
    connection: Connection[Any],
    stock: Stock,
    campaign: str,
    *,
    leave_out_operators: frozenset[str] = frozenset(),
    suspended: frozenset[str] = frozenset(),
    operators: Callable[[Sequence[Person]], Mapping[str, str | None]] | None = None,
) -> Iterator[Person]:
    """People who may be put into a wave, in rank order, asked of the database a chunk at a time.

    Args:
        leave_out_operators: operators that this stream may never mail (consumer operators on the hot stream).
        suspended: operators that asked for a pause.
        operators: who runs the MX of these people's domains today: domain -> operator, None where it could not be
            told (such a person waits). Not given: as the file says.
    """
    from dualstream_assets.store.suppression import suppressed

    for chunk in _chunks(stock.people):
        taken = _taken(connection, campaign, [person.address for person in chunk])
        free = [person for person in chunk if person.address not in taken]
        for some in _chunks(free, FEW):
            opted_out = suppressed(connection, [person.address for person in some])
            few = [person for person in some if person.address not in opted_out]
            today = operators(few) if operators else {person.domain: person.operator for person in few}
            for person in few:
                operator = today.get(person.domain)
                if operator is not None and operator not in leave_out_operators | suspended:
                    yield replace(person, operator=operator)


def _chunks(people: Iterable[Person], size: int = CHUNK) -> Iterator[list[Person]]:
    rest = iter(people)
    while chunk := list(islice(rest, size)):
        yield chunk


def _taken(connection: Connection[Any], campaign: str, addresses: Sequence[str]) -> set[str]:
    """Who is in this campaign already, or was asked in vain too often."""
    rows = connection.execute(
        "select m.address from wave_member m join wave w on w.id = m.wave_id"
        " where m.campaign = %s and m.address = any(%s) and (m.state <> 'not_sent' or w.state <> 'abandoned')"
        " group by m.address having bool_or(m.state <> 'not_sent') or count(*) >= %s",
        (campaign, list(addresses), ASKED_AT_MOST),
    ).fetchall()
    return {row[0] for row in rows}


def domain_limits(
    connection: Connection[Any], stock: Stock, stream: str, zone: ZoneInfo, now: datetime
) -> DomainLimits:
    """What every domain already had on this local date."""
    rows = connection.execute(
        "select m.domain, count(*) from wave_member m join wave w on w.id = m.wave_id where w.stream = %s"
        " and coalesce(w.released_at, w.reserved_at) >= %s and m.state <> 'not_sent' group by m.domain",
        (stream, midnight(zone, now.astimezone(zone).date())),
    ).fetchall()
    return DomainLimits(Counter({domain: int(count) for domain, count in rows}), stock.domains)


def operators_today(
    connection: Connection[Any], resolve: MxOperators | None, now: datetime
) -> Callable[[Sequence[Person]], Mapping[str, str | None]]:
    """Who runs a domain's MX: as resolved in the last 24 hours, else looked up now (facts: operations section 4).

    Without a resolver, what verification saw last, else what the file says.
    """

    def look(people: Sequence[Person]) -> Mapping[str, str | None]:
        domains = sorted({person.domain for person in people})
        rows = connection.execute(
            "select domain, operator, resolved_at > %s from mail_domain where domain = any(%s)",
            (now - MX_IS_FRESH_FOR, domains),
        ).fetchall()
        known: dict[str, str | None] = {domain: operator for domain, operator, _ in rows}
        fresh = {domain for domain, _, is_fresh in rows if is_fresh}
        old = tuple(domain for domain in domains if domain not in fresh)
        if resolve is not None and old:
            looked = resolve(old)
            return known | {domain: looked.get(domain) for domain in old}
        return {person.domain: person.operator for person in people} | known

    return look


def unmailed(connection: Connection[Any], stock: Stock, campaign: str) -> int:
    """How many people of the stock are neither suppressed nor in the campaign."""
    return sum(1 for _ in candidates(connection, stock, campaign))
