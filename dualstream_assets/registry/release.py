"""Releases and lists as files: find the newest in an inbox, put new ones there, and say what a release holds."""

from __future__ import annotations

import calendar
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dualstream_assets.estate.model import Limits
from dualstream_assets.registry.archive import Archive, open_archive, refuse_version_one
from dualstream_assets.registry.columns import ENDPOINT_LAYOUT, NPIDATA_LAYOUT, check_header
from dualstream_assets.registry.endpoints import EndpointCounts, read_endpoints
from dualstream_assets.registry.errors import PAGE, ReleaseMissing
from dualstream_assets.registry.inflate import read_blocks
from dualstream_assets.registry.lines import without_bom
from dualstream_assets.registry.medicare import ListKind, read_list
from dualstream_assets.registry.providers import ProviderCounts, read_providers
from dualstream_assets.store.files import atomic

if TYPE_CHECKING:
    import polars as pl

LAYOUTS = (ENDPOINT_LAYOUT, NPIDATA_LAYOUT)
HEADER_BYTES = 1 << 16
ADD = "dualstream release add FILE…"
_MONTHS = tuple(name.lower() for name in calendar.month_name)
_MONTHLY = re.compile(r"^nppes_data_dissemination_([a-z]+)_(20\d\d)(?:_v2)?\.zip$", re.IGNORECASE)
_WEEKLY = re.compile(r"^nppes_data_dissemination_\d{6}_(\d{6})_weekly(?:_v2)?\.zip$", re.IGNORECASE)
_LIST_NAMES: Mapping[ListKind, re.Pattern[str]] = {
    kind: re.compile(pattern, re.IGNORECASE)
    for kind, pattern in {
        ListKind.REVALIDATION: r"^(?:medicare[_ ])?revalidation(?!.*(?:clinic|reassign)).*\.csv$",
        ListKind.DEACTIVATED: r"^nppes[_ ]deactivated[_ ]npi[_ ]report.*\.(?:zip|xlsx)$",
        ListKind.LEIE: r"^(?:updated|leie).*\.csv$",
        ListKind.REVOKED: r"^(?:revoked|revocation).*\.csv$",
        ListKind.OPT_OUT: r"^opt[_ -]?out.*\.csv$",
    }.items()
}
PUBLISHED_NAMES: Mapping[ListKind, str] = {
    ListKind.REVALIDATION: "revalidation_base.csv",
    ListKind.DEACTIVATED: "NPPES_Deactivated_NPI_Report_MMDDYY_V2.zip",
    ListKind.LEIE: "UPDATED.csv",
    ListKind.REVOKED: "Revocation_Extract_YYYY.MM.DD.csv",
    ListKind.OPT_OUT: "Opt_Out_Affidavits_YYYY.MM.DD.csv",
}


@dataclass(frozen=True)
class ListFile:
    """A list found in the inbox. `day` is how old it is; `day_from` says how we know: `name` or `file`."""

    kind: ListKind
    path: Path
    day: date
    day_from: str


@dataclass(frozen=True)
class ReleaseReport:
    """What one release holds, and what had to be done to read it. Counts only, no address.

    Attributes:
        members: data member -> bytes.
        rules: rule of the classifier -> addresses; empty where no classifier was given.
    """

    name: str
    kind: str
    day: date | None
    fingerprint: str
    members: Mapping[str, int]
    endpoints: EndpointCounts
    providers: ProviderCounts
    rules: Mapping[str, int] = field(default_factory=dict)

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
        said += [f"  unreadable npidata line {u.line}: {u.why}" for u in p.lines.unreadable[:20]]
        said.append(
            f"  npidata rows {p.lines.rows:,}; of the {p.wanted:,} NPIs with an @: {p.found:,} found,"
            f" {p.missing:,} missing, {p.persons:,} persons, {p.organisations:,} organisations,"
            f" {p.deactivated:,} deactivated, {p.reactivated:,} reactivated, {p.duplicates:,} repeated rows"
        )
        said.append(
            f"  primary taxonomy by switch {p.primary_by_switch:,}, by first slot {p.primary_by_first_slot:,}"
        )
        return said


def find_release(inbox: Path) -> Path:
    """The newest monthly V2 release in a folder, by the month in its name.

    Raises:
        ReleaseMissing: there is none; says what to do.
        VersionOneRelease: there are only V1 files.
    """
    found = [(day, path) for path in _files(inbox) if (day := _month_of(path.name))]
    v2 = [(day, path) for day, path in found if "_v2" in path.stem.lower()]
    if v2:
        return max(v2)[1]
    if found:
        refuse_version_one(max(found)[1])
    raise ReleaseMissing(
        f"no NPPES release (NPPES_Data_Dissemination_…_V2.zip) in {inbox}; next: {ADD}, from {PAGE}"
    )


def find_lists(inbox: Path) -> dict[ListKind, ListFile]:
    """The newest file of each kind of list in a folder; a kind that is missing is absent from the result."""
    found: dict[ListKind, ListFile] = {}
    for path in _files(inbox):
        kind = list_kind(path.name)
        if kind is None:
            continue
        one = _list_file(kind, path)
        if kind not in found or (one.day, one.path.name) > (found[kind].day, found[kind].path.name):
            found[kind] = one
    return found


def list_kind(name: str) -> ListKind | None:
    """Which list a file name belongs to."""
    return next((kind for kind, pattern in _LIST_NAMES.items() if pattern.match(name)), None)


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
        members={layout.prefix: archive.member(layout.prefix).bytes for layout in LAYOUTS},
        endpoints=endpoint_counts,
        providers=provider_counts,
        rules=dict(rules(candidates)) if rules else {},
    )


def check_release(path: Path, limits: Limits) -> None:
    """Headers, CRC and length of the two members that we read, without keeping anything.

    Raises:
        RegistryError: what is wrong with the file, and the cure.
    """
    archive = open_archive(path, limits)
    check_headers(archive)
    for layout in LAYOUTS:
        for _ in read_blocks(archive, archive.member(layout.prefix)):
            pass  # the last step of the iteration compares CRC and length


def check_headers(archive: Archive) -> None:
    """The header rows of the two members that we read; inflates only their beginning.

    Raises:
        WrongHeader, DamagedMember: what differs, and the cure.
    """
    for layout in LAYOUTS:
        with closing(read_blocks(archive, archive.member(layout.prefix), HEADER_BYTES)) as blocks:
            header = without_bom(next(blocks, b"")).partition(b"\n")[0]
        check_header(header.decode("cp1252", errors="replace").rstrip("\r"), layout, archive.path.name)


def add(files: Sequence[Path], inbox: Path, limits: Limits) -> list[Path]:
    """Check files and copy them into the inbox; all are checked before the first is copied. Returns their new paths.

    Raises:
        RegistryError: a file is missing, unknown by its name, or not what its name says.
    """
    for path in files:
        if not path.is_file():
            raise ReleaseMissing(f"{path}: no such file")
        kind = list_kind(path.name)
        if kind is not None:
            read_list(kind, path)
        elif _month_of(path.name) or _WEEKLY.match(path.name):
            check_release(path, limits)
        else:
            known = ", ".join(("NPPES_Data_Dissemination_…_V2.zip", *PUBLISHED_NAMES.values()))
            raise ReleaseMissing(
                f"{path.name}: not a name that CMS or OIG uses; keep the published one: {known}"
            )
    added = []
    for path in files:
        target = inbox / path.name
        if target.resolve() != path.resolve():
            with atomic(target) as part:
                shutil.copyfile(path, part)
        added.append(target)
    return added


def _files(inbox: Path) -> list[Path]:
    return sorted(path for path in inbox.iterdir() if path.is_file()) if inbox.is_dir() else []


def _month_of(name: str) -> date | None:
    """First day of the month in a monthly release's name."""
    found = _MONTHLY.match(name)
    if found is None or found[1].lower() not in _MONTHS:
        return None
    return date(int(found[2]), _MONTHS.index(found[1].lower()), 1)


def _list_file(kind: ListKind, path: Path) -> ListFile:
    day = _day_in(path.name)
    if day is not None:
        return ListFile(kind, path, day, "name")
    return ListFile(kind, path, datetime.fromtimestamp(path.stat().st_mtime, UTC).date(), "file")


def _day_in(name: str) -> date | None:
    """The day a list's name states: `…_110826_V2.zip` (MMDDYY), `…_2026.11.08.csv`, `…-20261108.csv`, `…_2026_11`."""
    for pattern, order in (
        (r"_(\d\d)(\d\d)(\d\d)_v2", "mdy"),
        (r"(20\d\d)[._-]?(\d\d)[._-]?(\d\d)(?!\d)", "ymd"),
        (r"(20\d\d)[._-](\d\d)(?!\d)", "ym"),
    ):
        found = re.search(pattern, name, re.IGNORECASE)
        if found:
            parts = {name: int(part) for name, part in zip(order, found.groups(), strict=True)}
            year = parts["y"] + (2000 if parts["y"] < 100 else 0)  # noqa: PLR2004
            try:
                return date(year, parts["m"], parts.get("d", 1))
            except ValueError:
                continue
    return None
