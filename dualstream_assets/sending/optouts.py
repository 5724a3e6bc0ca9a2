"""Opt-outs are global and first: pulled from everywhere into `suppression`, pushed to every listmonk, then one selects.

Sources: unsubscribes, blocklistings, complaints and bounces that each listmonk knows; dead mailboxes (5.1.x) that
receivers told us about mail of ours; and what people enter by hand (already rows of `suppression`). Nobody is deleted
and no status is overwritten: the suppressed are blocklisted, so that old unsubscribe links go on working.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from dualstream_assets.estate import Estate
from dualstream_assets.listmonk.subscribers import OptOut
from dualstream_assets.store.evidence import Evidence, Subject, probing
from dualstream_assets.store.suppression import suppress

if TYPE_CHECKING:
    from psycopg import Connection

    from dualstream_assets.clock import Clock
    from dualstream_assets.store.database import Database

SOURCE = "sending/suppression"
FRESH_FOR = timedelta(hours=1)


class OptOutPort(Protocol):
    """One listmonk, as far as opt-outs go."""

    def pull(self) -> Sequence[OptOut]:
        """Everybody this listmonk knows to have opted out, complained or bounced for good."""
        ...

    def push(self, addresses: Sequence[str]) -> int:
        """Blocklist these people (`@domain`: everybody there), prove it, and return how many were not before."""
        ...

    def not_blocklisted(self, addresses: Sequence[str]) -> int:
        """How many of these people it would still mail."""
        ...


@dataclass(frozen=True)
class Synced:
    """One synchronisation; counts are people.

    Attributes:
        pulled: stream -> opt-outs its listmonk knows; None where it could not be asked.
        added: reason -> new suppressions.
        pushed: stream -> newly blocklisted there; None where it could not be told.
        total: standing suppressions of addresses and domains.
    """

    pulled: Mapping[str, int | None]
    added: Mapping[str, int]
    pushed: Mapping[str, int | None]
    total: int
    faults: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every listmonk was asked and told."""
        return not self.faults


def subjects(estate: Estate) -> tuple[Subject, ...]:
    """The evidence that a synchronisation writes: one fact for every stream."""
    return tuple(Subject(stream, "suppression", "suppression_synced") for stream in estate.streams)


def sync(
    database: Database,
    clock: Clock,
    estate: Estate,
    ports: Mapping[str, OptOutPort],
    source: str = SOURCE,
    *,
    everything: bool = False,
) -> Synced:
    """Pull from every listmonk and the log, then push to every listmonk; writes the evidence of it.

    A listmonk that cannot be asked or told is a fault, not an exception: the evidence then stays `unknown`, the gate
    shuts, and what the others said is kept.

    Args:
        everything: push every standing suppression; otherwise those since the last complete synchronisation, if that
            is less than an hour ago.
    """
    found: dict[str, int | None] = {}
    pushed: dict[str, int | None] = {}
    added: dict[str, int] = {}
    faults: list[str] = []
    with database.transaction() as connection:
        since = None if everything else _last_complete(connection, clock.now())
    with probing(database, clock, subjects(estate), source=source, valid_for=FRESH_FOR) as probe:
        for stream in estate.streams:
            found[stream] = _pull(database, clock, stream, ports.get(stream), added, faults)
        with database.transaction() as connection:
            _count(added, "hard_bounce", suppress_dead(connection, clock.now()))
            total, to_push = len(standing(connection)), standing(connection, since)
        for stream in estate.streams:
            pushed[stream] = _push(stream, ports.get(stream), to_push, faults)
        for subject in subjects(estate):
            if faults:
                probe.found_unknown(subject, "; ".join(faults))
            else:
                probe.found_pass(subject, f"{total} suppressed, known to every listmonk")
    return Synced(found, added, pushed, total, tuple(faults))


def pull_only(database: Database, clock: Clock, estate: Estate, ports: Mapping[str, OptOutPort]) -> Synced:
    """Take in what every listmonk and the log know, and tell nobody: for runs that may not act outside."""
    added: dict[str, int] = {}
    faults: list[str] = []
    found = {s: _pull(database, clock, s, ports.get(s), added, faults) for s in estate.streams}
    with database.transaction() as connection:
        _count(added, "hard_bounce", suppress_dead(connection, clock.now()))
        total = len(standing(connection))
    return Synced(found, added, dict.fromkeys(estate.streams), total, tuple(faults))


def look(
    database: Database, clock: Clock, estate: Estate, ports: Mapping[str, OptOutPort]
) -> dict[Subject, Evidence]:
    """Whether every listmonk refuses everybody who is suppressed, and we know all its opt-outs. Changes nothing."""
    with probing(database, clock, subjects(estate), source=SOURCE, valid_for=FRESH_FOR) as probe:
        said: list[str] = []
        unknown: list[str] = []
        with database.transaction() as connection:
            everybody = standing(connection)
        for stream in estate.streams:
            port = ports.get(stream)
            if port is None:
                unknown.append(f"listmonk of {stream} cannot be reached")
                continue
            try:
                ours, theirs = port.not_blocklisted(everybody), {one.address for one in port.pull()}
            except Exception as error:  # noqa: BLE001  # whatever it is: that listmonk was not asked
                unknown.append(f"listmonk of {stream} did not answer ({type(error).__name__})")
                continue
            not_ours = len(theirs - set(everybody))
            said += [f"{ours} suppressed people could be mailed by {stream}'s listmonk"] if ours else []
            said += (
                [f"{not_ours} opt-outs of {stream}'s listmonk are not suppressed here"] if not_ours else []
            )
        text = "; ".join([*said, *unknown]) or f"{len(everybody)} suppressed, known to every listmonk"
        for subject in subjects(estate):
            probe.found_that(subject, False if said else None if unknown else True, text)
    return probe.found


def _last_complete(connection: Connection[Any], now: datetime) -> datetime | None:
    """Since when suppressions may be unknown to a listmonk; None: ask everything."""
    row = connection.execute(
        "select max(observed_at) from evidence where fact = 'suppression_synced' and verdict = 'pass'"
        " and observed_at > %s",
        (now - FRESH_FOR,),
    ).fetchone()
    return row[0] - timedelta(minutes=5) if row and row[0] else None


def _pull(
    database: Database,
    clock: Clock,
    stream: str,
    port: OptOutPort | None,
    added: dict[str, int],
    faults: list[str],
) -> int | None:
    if port is None:
        faults.append(f"listmonk of {stream} cannot be reached")
        return None
    try:
        opted_out = port.pull()
    except Exception as error:  # noqa: BLE001  # whatever it is: this listmonk was not asked, and the gate must know
        faults.append(f"listmonk of {stream} did not tell its opt-outs ({type(error).__name__})")
        return None
    with database.transaction() as connection:
        known = _already(connection, [person.address.lower() for person in opted_out])
        for person in opted_out:
            if person.address.lower() in known:
                continue
            new = suppress(
                connection, "address", person.address, person.reason, f"listmonk:{stream}", clock.now()
            )
            _count(added, person.reason, int(new))
    return len(opted_out)


def _already(connection: Connection[Any], addresses: Sequence[str]) -> set[str]:
    """Which of these have a standing suppression of their own: asked once, not person by person."""
    rows = connection.execute(
        "select value from suppression where kind = 'address' and lifted_at is null and value = any(%s)",
        (list(addresses),),
    ).fetchall()
    return {row[0] for row in rows}


def _push(stream: str, port: OptOutPort | None, everybody: Sequence[str], faults: list[str]) -> int | None:
    if port is None:
        return None  # already a fault
    try:
        return port.push(everybody)
    except Exception as error:  # noqa: BLE001  # as above
        faults.append(f"listmonk of {stream} did not take the suppressed ({type(error).__name__})")
        return None


def _count(counts: dict[str, int], key: str, value: int) -> None:
    if value:
        counts[key] = counts.get(key, 0) + value


def suppress_dead(connection: Connection[Any], now: datetime) -> int:
    """Suppress mailboxes that a receiver called dead (5.1.x) for a message of ours; returns how many are new."""
    rows = connection.execute(
        "select distinct lower(d.recipient) from delivery d where d.wave_id is not null and d.status = 'bounced'"
        " and d.enhanced_code like '5.1.%%' and not exists (select 1 from suppression s where s.kind = 'address'"
        " and s.value = lower(d.recipient))"
    ).fetchall()
    return sum(
        bool(suppress(connection, "address", address, "hard_bounce", "maillog", now)) for (address,) in rows
    )


def standing(connection: Connection[Any], since: datetime | None = None) -> list[str]:
    """Suppressed addresses (and `@domain` for domains), all of them or those on record since a moment."""
    rows = connection.execute(
        "select case kind when 'domain' then '@' || value else value end from suppression where lifted_at is null"
        " and (%s::timestamptz is null or since >= %s) order by id",
        (since, since),
    ).fetchall()
    return [row[0] for row in rows]
