"""The inbox: releases and lists as files. Their published names, the newest of each, checking and adding new ones."""

from __future__ import annotations

import calendar
import filecmp
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from dualstream_assets.estate.model import Limits
from dualstream_assets.registry.archive import Archive, open_archive, refuse_version_one
from dualstream_assets.registry.columns import ENDPOINT_LAYOUT, NPIDATA_LAYOUT, check_header
from dualstream_assets.registry.errors import (
    PAGE,
    ListUnreadable,
    RegistryError,
    ReleaseMissing,
    VersionOneRelease,
)
from dualstream_assets.registry.inflate import read_blocks
from dualstream_assets.registry.lines import without_bom
from dualstream_assets.registry.medicare import ListKind, ListTable, read_list
from dualstream_assets.registry.sizes import shrunk, too_few
from dualstream_assets.store.files import atomic, sha256_of

LAYOUTS = (ENDPOINT_LAYOUT, NPIDATA_LAYOUT)
HEADER_BYTES = 1 << 16
ADD = "dualstream release add FILE…"
_MONTHS = tuple(name.lower() for name in calendar.month_name)
_MONTHLY = re.compile(r"^nppes_data_dissemination_([a-z]+)_(20\d\d)(?:_v2)?\.zip$", re.IGNORECASE)
_WEEKLY = re.compile(r"^nppes_data_dissemination_(\d{6})_(\d{6})_weekly(?:_v2)?\.zip$", re.IGNORECASE)
_V1_REPORT = re.compile(r"^nppes[_ ]deactivated[_ ]npi[_ ]report(?!.*_v2).*\.zip$", re.IGNORECASE)
_LIST_NAMES: Mapping[ListKind, re.Pattern[str]] = {
    kind: re.compile(pattern, re.IGNORECASE)
    for kind, pattern in {
        ListKind.REVALIDATION: r"^(?:medicare[_ ])?revalidation(?!.*(?:clinic|reassign)).*\.csv$",
        ListKind.DEACTIVATED: r"^nppes[_ ]deactivated[_ ]npi[_ ]report.*(?:_v2.*\.zip|\.xlsx)$",
        ListKind.LEIE: r"^(?:updated|leie).*\.csv$",
        ListKind.REVOKED: r"^(?:revoked|revocation).*\.csv$",
        ListKind.OPT_OUT: r"^opt[_ -]?out.*\.csv$",
        ListKind.PPEF: r"^ppef[_ ]enrollment.*\.csv$",
    }.items()
}
PUBLISHED_NAMES: Mapping[ListKind, str] = {
    ListKind.REVALIDATION: "revalidation_base.csv",
    ListKind.DEACTIVATED: "NPPES_Deactivated_NPI_Report_MMDDYY_V2.zip",
    ListKind.LEIE: "UPDATED.csv",
    ListKind.REVOKED: "Revocation_Extract_YYYY.MM.DD.csv",
    ListKind.OPT_OUT: "Opt_Out_Affidavits_YYYY.MM.DD.csv",
    ListKind.PPEF: "PPEF_Enrollment_Extract_YYYY.MM.DD.csv",
}


@dataclass(frozen=True)
class ListFile:
    """A list found in the inbox. `day` is how old it is; `day_from` says how we know: `name` or `file`."""

    kind: ListKind
    path: Path
    day: date
    day_from: str


@dataclass(frozen=True)
class Added:
    """What became of a file that was given.

    Attributes:
        said: `added`, `replaced`, or `already there` (the same bytes).
        kind: which list it is, None for a release.
        source: what was read of a list (`list_source`), None for a release.
    """

    path: Path
    said: str
    kind: ListKind | None = None
    source: Mapping[str, Any] | None = None


def find_release(inbox: Path) -> Path:
    """The newest monthly V2 release in a folder, by the month in its name.

    Raises:
        ReleaseMissing: there is none; says what to do.
        VersionOneRelease: there are only V1 files.
    """
    found = [(day, path) for path in _files(inbox) if (day := month_of(path.name))]
    v2 = [(day, path) for day, path in found if "_v2" in path.stem.lower()]
    if v2:
        return max(v2)[1]
    if found:
        refuse_version_one(max(found)[1])
    raise ReleaseMissing(
        f"no NPPES release (NPPES_Data_Dissemination_…_V2.zip) in {inbox}; next: {ADD}, from {PAGE}"
    )


def find_weeklies(inbox: Path, after: date) -> list[Path]:
    """The weekly V2 increments in a folder whose last day is later than `after`, in the order of their last days."""
    found = [(days[::-1], path) for path in _files(inbox) if (days := weekly_days(path.name))]
    return [path for days, path in sorted(found) if days[0] > after]


def weekly_days(name: str) -> tuple[date, date] | None:
    """First and last day of a weekly V2 increment, from its name; None for every other name."""
    found = _WEEKLY.match(name)
    if found is None or "_v2" not in name.lower():
        return None
    try:
        first, last = (datetime.strptime(part, "%m%d%y").date() for part in found.groups())  # noqa: DTZ007
    except ValueError:
        return None
    return first, last


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


def check_release(path: Path, limits: Limits) -> None:
    """Headers, CRC and length of the two members that we read, without keeping anything.

    Raises:
        RegistryError: what is wrong with the file, and the cure.
    """
    archive = open_archive(path, limits)
    named = "weekly" if weekly_days(path.name) else "monthly" if month_of(path.name) else archive.kind
    if archive.kind != named:
        raise RegistryError(
            f"{path.name}: {named} by its name, {archive.kind} by its members; give the file under its published name"
        )
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


def check_file(path: Path, limits: Limits) -> Added:
    """Whether a file is what its name says; puts nothing anywhere.

    Raises:
        RegistryError: missing, unknown by its name, V1, an error page, cut off, empty, or not in the form we know.
    """
    if not path.is_file():
        raise ReleaseMissing(f"{path}: no such file")
    _refuse_version_one(path)
    kind = list_kind(path.name)
    if kind is not None:
        table = read_list(kind, path, limits)
        if empty := too_few(kind, table.rows, {}):
            raise ListUnreadable(f"{path.name}: {empty}; download it again")
        return Added(path, "checked", kind, list_source(_list_file(kind, path), table))
    if not month_of(path.name) and not weekly_days(path.name):
        known = ", ".join(("NPPES_Data_Dissemination_…_V2.zip", *PUBLISHED_NAMES.values()))
        raise ReleaseMissing(f"{path.name}: not a name that CMS or OIG uses; keep the published one: {known}")
    check_release(path, limits)
    return Added(path, "checked")


def add(files: Sequence[Path], inbox: Path, limits: Limits) -> list[Added]:
    """Check files and put them into the inbox, all or none; what is there already, byte for byte, is left alone.

    A file of the same name with other content is replaced, unless the one in the inbox is newer.

    Raises:
        RegistryError: a file is not what its name says, given twice, older than the one of its name in the inbox, or a
            list far shorter than the one of its kind there.
    """
    twice = [name for name, count in Counter(path.name for path in files).items() if count > 1]
    if twice:
        raise RegistryError(f"{twice[0]}: given twice; give one file of a name")
    checked = [(path, inbox / path.name, check_file(path, limits)) for path in files]
    results: list[Added] = []
    with ExitStack() as parts:  # every copy is made before the first is put in its place
        for path, target, found in checked:
            said = "added"
            if target.exists():
                said = "already there" if filecmp.cmp(path, target, shallow=False) else "replaced"
            if said == "replaced":
                _refuse_older(path, target, found, limits)
            if said != "already there":
                _refuse_shorter(path, found, inbox, limits)
            if said != "already there":
                part = parts.enter_context(atomic(target))
                shutil.copyfile(path, part)
                shutil.copystat(path, part)  # its time may be all that tells a list's age
            results.append(replace(found, path=target, said=said))
    return results


def _refuse_version_one(path: Path) -> None:
    refuse_version_one(path)
    if _V1_REPORT.match(path.name):
        raise VersionOneRelease(
            f"{path.name}: a V1 report (no _V2 in its name); V1 ended on 2026-03-03."
            f" Take {path.stem}_V2.zip from {PAGE}"
        )


def list_source(file: ListFile, table: ListTable) -> dict[str, Any]:
    """What was read of a list, as plain data: `file` and its `sha256`, `day` (ISO), `day_from`, counts of `ListTable`.

    `day_from` says what tells the day: `name`, `newest entry` or `file`.
    """
    day, day_from = file.day, file.day_from
    if day_from == "file" and table.newest:
        day, day_from = table.newest, "newest entry"
    return {
        "file": file.path.name,
        "day": day.isoformat(),
        "day_from": day_from,
        "sha256": sha256_of(file.path),
        "rows": table.rows,
        "npis": table.npis,
        "bad_npis": table.bad_npis,
        "dates": table.dates,
        "unparsed_dates": table.unparsed_dates,
        "ragged": table.ragged,
    }


def _refuse_older(path: Path, target: Path, found: Added, limits: Limits) -> None:
    """A file of this name is in the inbox with other content: it must not be the newer one."""
    try:
        if found.kind is None:
            new, old = open_archive(path, limits).day, open_archive(target, limits).day
        else:
            there = check_file(target, limits).source
            new, old = (
                date.fromisoformat(source["day"]) if source else None for source in (found.source, there)
            )
    except RegistryError:
        return  # what is there is of no use
    if new and old and new < old:
        raise RegistryError(
            f"{path.name}: of {new}, older than the one in the inbox ({old}); remove {target} first if you mean it"
        )


def _refuse_shorter(path: Path, found: Added, inbox: Path, limits: Limits) -> None:
    """The list of this kind that the inbox uses now must not be far longer."""
    there = find_lists(inbox).get(found.kind) if found.kind else None
    if there is None or found.kind is None or found.source is None:
        return
    try:
        before = read_list(found.kind, there.path, limits).rows
    except RegistryError:
        return  # what is there is of no use
    rows = found.source["rows"]
    if shrunk(rows, before):
        raise RegistryError(
            f"{path.name}: has {rows:,} rows, {there.path.name} in the inbox has {before:,}: a part of the list, or cut"
            f" off; download it again, or remove {there.path} first if it is whole"
        )


def _files(inbox: Path) -> list[Path]:
    return sorted(path for path in inbox.iterdir() if path.is_file()) if inbox.is_dir() else []


def month_of(name: str) -> date | None:
    """First day of the month in a monthly release's name."""
    found = _MONTHLY.match(name)
    if found is None or found[1].lower() not in _MONTHS:
        return None
    return date(int(found[2]), _MONTHS.index(found[1].lower()), 1)


def _list_file(kind: ListKind, path: Path) -> ListFile:
    day = day_in(path.name)
    if day is not None:
        return ListFile(kind, path, day, "name")
    return ListFile(kind, path, datetime.fromtimestamp(path.stat().st_mtime, UTC).date(), "file")


def day_in(name: str) -> date | None:
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
