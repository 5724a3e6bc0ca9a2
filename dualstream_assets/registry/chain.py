"""Which weekly increments continue a monthly release: newer ones only, in the order of their days, each once.

CMS publishes one full release a month and one file of changes a week (facts: nppes 1.1). A weekly whose last day is not
after what is covered already is stale: it is named with its reason and never applied, because an old weekly over newer
data is the defect that loaders of NPPES have had most (section 6).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from dualstream_assets.estate.model import Limits
from dualstream_assets.registry.archive import Archive, open_archive
from dualstream_assets.registry.errors import RegistryError
from dualstream_assets.registry.release import ADD, find_release, find_weeklies, weekly_days

FACTS = ("name", "kind", "day", "whole_until", "base_day", "fingerprint", "increments", "skipped", "gaps")
"""Keys of `Chain.facts`."""
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Skipped:
    """A weekly file that is not applied, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Chain:
    """A base release and the increments that are applied on it, in this order.

    Attributes:
        gaps: (first, last) days that neither the base nor an increment covers.
    """

    base: Archive
    increments: tuple[Archive, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    gaps: tuple[tuple[date, date], ...] = ()

    @property
    def archives(self) -> tuple[Archive, ...]:
        """The base, then the increments."""
        return (self.base, *self.increments)

    @property
    def day(self) -> date | None:
        """The last day covered."""
        return self.archives[-1].day

    @property
    def fingerprint(self) -> str:
        """The base's own where no increment is applied, else a hash of all of them in order."""
        if not self.increments:
            return self.base.fingerprint
        return hashlib.sha256("\n".join(a.fingerprint for a in self.archives).encode()).hexdigest()[:32]

    def facts(self) -> dict[str, Any]:
        """What identifies the data, as plain data; keys as in `FACTS`.

        `name` and `kind` are the base's, `day` is the last day covered and `whole_until` the last one before a gap,
        `increments` are names of files.
        """
        whole_until = self.gaps[0][0] - _ONE_DAY if self.gaps else self.day
        return {
            "name": self.base.path.name,
            "kind": self.base.kind,
            "day": self.day.isoformat() if self.day else None,
            "whole_until": whole_until.isoformat() if whole_until else None,
            "base_day": self.base.day.isoformat() if self.base.day else None,
            "fingerprint": self.fingerprint,
            "increments": [archive.path.name for archive in self.increments],
            "skipped": [{"name": one.name, "why": one.why} for one in self.skipped],
            "gaps": [[first.isoformat(), last.isoformat()] for first, last in self.gaps],
        }


def choose(base: Archive, weeklies: Iterable[Archive]) -> Chain:
    """Put the weeklies that continue the base in order; what is stale, doubled or undated is skipped with its reason.

    Of two weeklies that end on one day the one that begins first is taken: it covers more.
    """
    used: list[Archive] = []
    skipped: list[Skipped] = []
    gaps: list[tuple[date, date]] = []
    seen = {base.fingerprint: base.path.name}
    last = base
    for archive in sorted(weeklies, key=_order):
        why = _why_not(archive, last, seen)
        if why is not None:
            skipped.append(Skipped(archive.path.name, why))
            continue
        first = first_day(archive)
        if first and last.day and first > last.day + _ONE_DAY:
            gaps.append((last.day + _ONE_DAY, first - _ONE_DAY))
        seen[archive.fingerprint] = archive.path.name
        used.append(archive)
        last = archive
    return Chain(base, tuple(used), tuple(skipped), tuple(gaps))


def open_chain(path: Path, limits: Limits, weeklies: Sequence[Path] = ()) -> Chain:
    """Open a release and the weeklies that may continue it; reads their directories only.

    A weekly that is stale by its name is not even opened. One that must be applied and is broken is an error: the
    deactivations of its week would be missing, and nobody would see it.

    Raises:
        RegistryError: what is wrong with a file, and the cure.
    """
    base = open_archive(path, limits)
    if base.kind != "monthly":
        raise RegistryError(
            f"{path.name}: changes of one week by its members, not the full registry; next: {ADD}, the monthly release"
        )
    stale, newer = [], []
    for weekly in weeklies:
        days = weekly_days(weekly.name)
        if days and base.day and days[1] <= base.day:
            stale.append(Skipped(weekly.name, _stale(days[1], base)))
        else:
            newer.append(open_archive(weekly, limits))
    chain = choose(base, newer)
    return replace(chain, skipped=(*stale, *chain.skipped))


def find_chain(inbox: Path, limits: Limits) -> Chain:
    """The newest monthly release of a folder with the weeklies that lie beside it.

    Raises:
        RegistryError: there is no release, or what is wrong with a file, and the cure.
    """
    return open_chain(find_release(inbox), limits, find_weeklies(inbox, date.min))


def verified(archive: Archive, prefix: str) -> dict[str, Any]:
    """What the directory says of a member: recorded only after its bytes were read and agreed."""
    member = archive.member(prefix)
    return {"member": member.name, "bytes": member.bytes, "crc32": f"{member.crc32:08x}"}


def verified_facts(chain: Chain, prefix: str) -> dict[str, Any]:
    """`verified` of the base's member, and of each increment's with the name of its file."""
    return {
        "verified": verified(chain.base, prefix),
        "increments_verified": [
            {"release": archive.path.name, **verified(archive, prefix)} for archive in chain.increments
        ],
    }


def unlike(facts: Mapping[str, Any], chain: Chain, prefix: str) -> list[str]:
    """Where a table's facts do not fit the files: another release, or a member whose bytes were not read and agreed."""
    found = []
    if facts.get("fingerprint") != chain.fingerprint:
        names = " + ".join(archive.path.name for archive in chain.archives)
        found.append(f"the table is of {facts.get('name')}, day {facts.get('day')}, not of {names}")
    for key, wanted in verified_facts(chain, prefix).items():
        if facts.get(key, []) != wanted:
            found.append(f"{key}: {facts.get(key, 'nothing')}, the directory says {wanted}")
    return found


def first_day(archive: Archive) -> date | None:
    """First day of the data, from the name of the npidata member; None where it does not say."""
    found = re.search(r"_(\d{8})-\d{8}", archive.member("npidata_pfile").name)
    try:
        return datetime.strptime(found[1], "%Y%m%d").date() if found else None  # noqa: DTZ007
    except ValueError:
        return None


def stamp_of(paths: Iterable[Path]) -> str:
    """Hash of where files lie, their sizes and their times of change (mtime and ctime, ns); reads none of them."""
    lines = []
    for path in paths:
        stat = path.stat()
        lines.append(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


def _order(archive: Archive) -> tuple[date, date, str]:
    return archive.day or date.min, first_day(archive) or date.min, archive.path.name


def _why_not(archive: Archive, last: Archive, seen: dict[str, str]) -> str | None:
    if archive.kind != "weekly":
        return "not a weekly increment: its members begin with the first day of NPPES"
    if archive.fingerprint in seen:
        return f"the same content as {seen[archive.fingerprint]}"
    if archive.day is None:
        return "the names of its members state no day"
    if last.day is None:
        return f"the names in {last.path.name} state no day, so nothing tells what is newer"
    return _stale(archive.day, last) if archive.day <= last.day else None


def _stale(day: date, last: Archive) -> str:
    return f"stale: ends on {day}, and {last.path.name} covers the days up to {last.day}"
