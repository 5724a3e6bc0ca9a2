"""Where CMS and OIG publish releases and lists, and which file is the newest (facts/nppes sections 1.1 and 2)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from dualstream_assets.registry.errors import PAGE, DownloadFailed
from dualstream_assets.registry.medicare import OPTIONAL, ListKind
from dualstream_assets.registry.release import ADD, day_in, list_kind, month_of, weekly_days

CATALOGUE = "https://data.cms.gov/data.json"
LEIE = "https://oig.hhs.gov/exclusions/downloadables/UPDATED.csv"

RELEASES = ("monthly", "weekly")
EVERYTHING = (*RELEASES, *(kind.value for kind in ListKind if kind not in OPTIONAL))
"""What `all` fetches; a kind of list or of release."""

_DATASETS: Mapping[ListKind, tuple[str, str]] = {
    ListKind.REVALIDATION: ("3746498e-874d-45d8-9c69-68603cafea60", "Medicare Revalidation Due Date List"),
    ListKind.REVOKED: ("a6496a7d-4e19-479a-a9ad-d4c0a49e07c3", "Revoked Medicare Providers and Suppliers"),
    ListKind.OPT_OUT: ("", "Opt Out Affidavits"),
    ListKind.PPEF: ("", "Medicare Fee-For-Service Public Provider Enrollment"),
}
"""Kind -> identifier (where known) and title in the catalogue of data.cms.gov."""
_STEMS: Mapping[ListKind, str] = {
    ListKind.REVALIDATION: "revalidation_base",
    ListKind.REVOKED: "Revocation_Extract",
    ListKind.OPT_OUT: "Opt_Out_Affidavits",
    ListKind.PPEF: "PPEF_Enrollment_Extract",
}


@dataclass(frozen=True)
class Sources:
    """Where to ask; tests name a server of their own."""

    page: str = PAGE
    catalogue: str = CATALOGUE
    leie: str = LEIE


@dataclass(frozen=True)
class Remote:
    """A file to fetch, and the name it gets in the inbox."""

    url: str
    name: str


def find(kind: str, sources: Sources, read: Callable[[str], str]) -> list[Remote]:
    """What to fetch for a kind: the newest file, for `weekly` all that the page links.

    Args:
        kind: `monthly`, `weekly`, or a `ListKind`.
        read: gives the text of a page.

    Raises:
        DownloadFailed: the page or the catalogue does not name such a file.
    """
    if kind == ListKind.LEIE:
        return [Remote(sources.leie, "UPDATED.csv")]
    if kind in _DATASETS:
        return [_in_catalogue(ListKind(kind), sources.catalogue, read)]
    links = [
        Remote(urljoin(sources.page, link), unquote(link).rsplit("/", 1)[-1])
        for link in re.findall(r"""href\s*=\s*['"]([^'"]+\.zip)['"]""", read(sources.page), re.IGNORECASE)
    ]
    found = [remote for remote in links if "_v2" in remote.name.lower()]
    if kind == "weekly":
        found = [remote for remote in found if weekly_days(remote.name)]
    elif kind == "monthly":
        found = _newest(found, month_of)
    else:
        found = _newest([remote for remote in found if list_kind(remote.name) == kind], day_in)
    if not found:
        raise DownloadFailed(f"{sources.page} links no {kind} V2 file; look there yourself, then {ADD}")
    return list(dict.fromkeys(found))


def _newest(found: Sequence[Remote], day_of: Callable[[str], date | None]) -> list[Remote]:
    dated = [(day, remote) for remote in found if (day := day_of(remote.name))]
    return [max(dated, key=lambda one: one[0])[1]] if dated else []


def _in_catalogue(kind: ListKind, url: str, read: Callable[[str], str]) -> Remote:
    """The newest CSV of a dataset: data.cms.gov keeps the older ones in the same entry."""
    identifier, title = _DATASETS[kind]
    text = read(url)
    try:
        datasets = json.loads(text)["dataset"]
        entries = [
            one
            for dataset in datasets
            if (identifier and identifier in dataset.get("identifier", ""))
            or dataset.get("title", "").strip() == title
            for one in dataset.get("distribution", [])
            if one.get("downloadURL") and one.get("mediaType") == "text/csv"
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DownloadFailed(
            f"{url}: not the catalogue we know; download {title} yourself, then {ADD}"
        ) from error
    if not entries:
        raise DownloadFailed(f"{url} has no CSV of {title}; download it yourself, then {ADD}")
    if kind is ListKind.PPEF:  # its entry holds several files
        entries = [one for one in entries if list_kind(_name(one)) is kind] or entries
    newest = max(entries, key=_age_key)
    name = _name(newest)
    if list_kind(name) is not kind:
        day = str(newest.get("modified", ""))[:10].replace("-", ".")
        name = f"{_STEMS[kind]}_{day}.csv" if day else f"{_STEMS[kind]}.csv"
    return Remote(urljoin(url, newest["downloadURL"]), name)


def _name(entry: Mapping[str, Any]) -> str:
    return unquote(urlsplit(entry["downloadURL"]).path).rsplit("/", 1)[-1]


def _age_key(entry: Mapping[str, Any]) -> tuple[str, str]:
    return str(entry.get("temporal", "")).rpartition("/")[2], str(entry.get("modified", ""))
