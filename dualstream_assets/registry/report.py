"""What a release holds and what had to be done to read it: the report of `dualstream release inspect`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from dualstream_assets.estate.model import Limits
from dualstream_assets.registry.archive import open_archive
from dualstream_assets.registry.columns import ENDPOINT_LAYOUT, NPIDATA_LAYOUT
from dualstream_assets.registry.endpoints import EndpointCounts, read_endpoints
from dualstream_assets.registry.mending import LineCounts
from dualstream_assets.registry.providers import ProviderCounts, read_providers

if TYPE_CHECKING:
    import polars as pl

UNREADABLE_SHOWN = 20


@dataclass(frozen=True)
class ReleaseReport:
    """What one release holds, and what had to be done to read it. Counts only, no address.

    Attributes:
        members: data member -> bytes.
        rules: rule of the classifier -> addresses; empty where no classifier was given.
        lists: how the lists beside the release stand, one a line (`known.list_lines`).
    """

    name: str
    kind: str
    day: date | None
    fingerprint: str
    members: Mapping[str, int]
    endpoints: EndpointCounts
    providers: ProviderCounts
    rules: Mapping[str, int] = field(default_factory=dict)
    lists: Sequence[str] = ()

    def lines(self) -> list[str]:
        """The report for a terminal, one finding a line."""
        e, p = self.endpoints, self.providers
        said = [
            f"{self.name}: {self.kind}, data of {self.day or 'an unknown day'}, content {self.fingerprint}"
        ]
        said += [
            f"  member {name}: {size:,} bytes, CRC and length right" for name, size in self.members.items()
        ]
        said += [
            f"  type {kind or '(empty)'}: {rows:,} rows, {e.types_with_text[kind]:,} with an @"
            for kind, rows in e.types.most_common()
        ]
        tables: tuple[tuple[str, Mapping[str, int]], ...] = (
            ("rule", self.rules),
            ("normalised", e.repairs),
            ("refused", e.refusals),
            ("line repaired in endpoint_pfile", e.lines.repairs()),
            ("line repaired in npidata_pfile", p.lines.repairs()),
            ("unparsed date", p.unparsed_dates),
        )
        said += [
            f"  {title} {name}: {count:,}"
            for title, table in tables
            for name, count in sorted(table.items())
            if count
        ]
        said += [*_unreadable("endpoint_pfile", e.lines), *_unreadable("npidata_pfile", p.lines)]
        said.append(
            f"  endpoint rows {e.lines.rows:,}; {e.addresses:,} addresses accepted,"
            f" {sum(e.refusals.values()):,} texts refused"
        )
        said.append(
            f"  npidata rows {p.lines.rows:,}; of the {p.wanted:,} NPIs with an @: {p.found:,} found,"
            f" {p.missing:,} missing, {p.persons:,} persons, {p.organisations:,} organisations,"
            f" {p.deactivated:,} deactivated, {p.reactivated:,} reactivated, {p.duplicates:,} repeated rows"
        )
        said.append(
            f"  primary taxonomy by switch {p.primary_by_switch:,}, by first slot {p.primary_by_first_slot:,}"
        )
        return [*said, *(f"  list {line}" for line in self.lists)]


def inspect(
    path: Path, limits: Limits, *, rules: Callable[[pl.DataFrame], Mapping[str, int]] | None = None
) -> ReleaseReport:
    """Read a whole release and report; publishes nothing.

    Args:
        rules: counts rulings over the candidates (`audience.split.count_rules`), where the caller has a classifier.

    Raises:
        RegistryError: what is wrong with the file, and the cure.
    """
    archive = open_archive(path, limits)
    candidates, endpoint_counts = read_endpoints(archive)
    _, provider_counts = read_providers(archive, candidates["npi"])
    return ReleaseReport(
        name=path.name,
        kind=archive.kind,
        day=archive.day,
        fingerprint=archive.fingerprint,
        members={
            layout.prefix: archive.member(layout.prefix).bytes for layout in (ENDPOINT_LAYOUT, NPIDATA_LAYOUT)
        },
        endpoints=endpoint_counts,
        providers=provider_counts,
        rules=dict(rules(candidates)) if rules else {},
    )


def _unreadable(member: str, counts: LineCounts) -> Iterator[str]:
    """Numbers of lines that could not be repaired; their text may be a person's and is not shown."""
    for one in counts.unreadable[:UNREADABLE_SHOWN]:
        yield f"  unreadable {member} line {one.line:,}: {one.why}"
    if len(counts.unreadable) > UNREADABLE_SHOWN:
        yield f"  unreadable {member} lines: {len(counts.unreadable):,} in all"
