"""Open a V2 release ZIP where it lies and check what its directory says; `inflate` reads the bytes."""

from __future__ import annotations

import hashlib
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Literal

from dualstream_assets.estate.model import Limits
from dualstream_assets.registry.errors import (
    PAGE,
    DamagedMember,
    MemberMissing,
    NotAZip,
    OverLimit,
    ReleaseMissing,
    TruncatedZip,
    VersionOneRelease,
)

MONTHLY_START = "20050523"
"""The first day of NPPES: every monthly member begins with it, a weekly one with its own week."""

PREFIXES = ("npidata_pfile", "endpoint_pfile")
OPTIONAL_PREFIXES = ("othername_pfile", "pl_pfile")

_ENCRYPTED = 0x1
_RELEASE_NAME = re.compile(r"^nppes_data_dissemination_", re.IGNORECASE)


@dataclass(frozen=True)
class Member:
    """One file inside the archive, as the central directory states it (sizes in bytes)."""

    name: str
    prefix: str
    bytes: int
    compressed_bytes: int
    crc32: int
    offset: int
    method: int


@dataclass(frozen=True)
class Archive:
    """A release that was opened and found whole in its directory.

    Attributes:
        kind: `monthly` (the full registry) or `weekly` (changes of one week).
        day: last day of the data, from the members' names; None where they do not say.
        fingerprint: hash of names, sizes and CRCs: the same content gives the same fingerprint.
        record_bytes: the longest line that the estate allows.
    """

    path: Path
    kind: Literal["monthly", "weekly"]
    day: date | None
    members: Mapping[str, Member]
    fingerprint: str
    record_bytes: int

    def member(self, prefix: str) -> Member:
        """The data member with this prefix."""
        return self.members[prefix]


def refuse_version_one(path: Path) -> None:
    """Refuse a release whose name lacks `_V2`.

    Raises:
        VersionOneRelease: the name is CMS's, without `_V2`.
    """
    if _RELEASE_NAME.match(path.name) and "_v2" not in path.stem.lower():
        raise VersionOneRelease(
            f"{path.name}: a V1 release (no _V2 in its name); V1 ended on 2026-03-03."
            f" Take {path.stem}_V2.zip from {PAGE}"
        )


def open_archive(path: Path, limits: Limits) -> Archive:
    """Open a release and read its directory; inflates nothing.

    Raises:
        RegistryError: no file, not a ZIP, truncated, V1, a member missing, or beyond the estate's limits.
    """
    if not path.is_file():
        raise ReleaseMissing(f"{path}: no such file; give the path of NPPES_Data_Dissemination_…_V2.zip")
    refuse_version_one(path)
    found: dict[str, Member] = {}
    for info in _directory(path):
        prefix = _prefix(info.filename)
        if prefix is None:
            continue
        if prefix in found:
            raise MemberMissing(
                f"{path.name}: two {prefix} members ({found[prefix].name} and {info.filename}); give one release a ZIP"
            )
        if info.flag_bits & _ENCRYPTED:
            raise DamagedMember(f"{path.name}: {info.filename} is encrypted; take the file from {PAGE}")
        found[prefix] = Member(
            info.filename,
            prefix,
            info.file_size,
            info.compress_size,
            info.CRC,
            info.header_offset,
            info.compress_type,
        )
    for prefix in PREFIXES:
        if prefix not in found:
            raise MemberMissing(
                f"{path.name}: no {prefix} member (a CSV that is not a fileheader);"
                f" give a data release as on {PAGE}, not a report or a part of one"
            )
    _refuse_beyond(path, found, limits)
    first, last = _days(found["npidata_pfile"].name)
    return Archive(
        path=path,
        kind="monthly" if first in (MONTHLY_START, None) else "weekly",
        day=last or _days(found["endpoint_pfile"].name)[1],
        members=found,
        fingerprint=_fingerprint(found),
        record_bytes=limits.record_bytes,
    )


def _directory(path: Path) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, EOFError, struct.error, NotImplementedError) as error:
        with path.open("rb") as file:
            start = file.read(64).lstrip()
        if start.startswith(b"PK\x03\x04"):
            raise TruncatedZip(
                f"{path.name}: the ZIP ends too early ({path.stat().st_size:,} bytes, no directory at its end);"
                f" download it again from {PAGE}"
            ) from error
        kind = "an HTML page" if start[:5].lower() in (b"<!doc", b"<html") else "not a ZIP file"
        raise NotAZip(
            f"{path.name}: {kind}; download NPPES_Data_Dissemination_…_V2.zip from {PAGE}"
        ) from error


def _prefix(name: str) -> str | None:
    """Which table a member holds; None for fileheaders, readmes and the like. Case does not matter."""
    base = name.rsplit("/", 1)[-1].lower()
    if not base.endswith(".csv") or "fileheader" in base:
        return None
    return next((prefix for prefix in PREFIXES + OPTIONAL_PREFIXES if base.startswith(prefix)), None)


def _days(name: str) -> tuple[str | None, date | None]:
    """(first day as text, last day) of `npidata_pfile_20050523-20261108.csv`."""
    found = re.search(r"_(\d{8})-(\d{8})", name)
    if found is None:
        return None, None
    try:
        return found[1], datetime.strptime(found[2], "%Y%m%d").date()  # noqa: DTZ007
    except ValueError:
        return found[1], None


def _refuse_beyond(path: Path, members: Mapping[str, Member], limits: Limits) -> None:
    total = sum(member.bytes for member in members.values())
    if total > limits.zip_bytes:
        raise OverLimit(
            f"{path.name}: would unpack to {total:,} bytes, above limits.zip_bytes = {limits.zip_bytes:,}"
            " of the estate; raise the limit if this release is genuine"
        )
    for member in members.values():
        ratio = member.bytes / max(1, member.compressed_bytes)
        if ratio > limits.zip_ratio:
            raise OverLimit(
                f"{path.name}: {member.name} unpacks {ratio:.0f} times its size, above limits.zip_ratio ="
                f" {limits.zip_ratio:g} of the estate (a real one: about 11); do not trust this file"
            )


def _fingerprint(members: Mapping[str, Member]) -> str:
    listing = "\n".join(
        f"{m.name} {m.bytes} {m.crc32:08x}" for m in sorted(members.values(), key=lambda m: m.name)
    )
    return hashlib.sha256(listing.encode()).hexdigest()[:32]
