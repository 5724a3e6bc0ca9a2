"""Where the tables of the registry lie: Parquet with a JSON of counts beside each, in the state folder.

A second run reads these and no ZIP. Each file is replaced whole; one that belongs to another release is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualstream_assets.estate.model import Limits
from dualstream_assets.registry.archive import Archive, open_archive
from dualstream_assets.registry.endpoints import read_endpoints
from dualstream_assets.registry.errors import RegistryError
from dualstream_assets.registry.medicare import (
    EXCLUSION_COLUMNS,
    EXCLUSIONS,
    ListKind,
    newest_day,
    read_list,
)
from dualstream_assets.registry.providers import read_providers
from dualstream_assets.registry.release import ListFile
from dualstream_assets.store.files import write_parquet_atomic, write_text_atomic

if TYPE_CHECKING:
    import polars as pl

TABLES = ("endpoints", "providers", "revalidation", "exclusions")


@dataclass(frozen=True)
class ReleaseTables:
    """A release as read: who filed which addresses, and who these NPIs are.

    Attributes:
        facts: name, kind, day (ISO or None) and fingerprint of the release.
        endpoints: candidates, columns of `endpoints.COLUMNS`.
        providers: columns of `providers.COLUMNS`.
        endpoint_counts: counts of the endpoint member, as plain data.
    """

    facts: Mapping[str, Any]
    endpoints: pl.DataFrame
    providers: pl.DataFrame
    endpoint_counts: Mapping[str, Any]
    provider_counts: Mapping[str, Any]


@dataclass(frozen=True)
class ListTables:
    """The lists as read. `sources` has an entry for every kind; None means that the list is missing: unknown.

    Attributes:
        revalidation: columns of `medicare.REVALIDATION_COLUMNS`; None where the list is missing.
        exclusions: columns of `medicare.EXCLUSION_COLUMNS`, of the lists that there are.
    """

    revalidation: pl.DataFrame | None
    exclusions: pl.DataFrame
    sources: Mapping[str, Mapping[str, Any] | None]

    @property
    def missing(self) -> tuple[str, ...]:
        """Kinds of list that were not there."""
        return tuple(kind for kind, source in self.sources.items() if source is None)


def release_facts(archive: Archive) -> dict[str, Any]:
    """What identifies a release, as plain data."""
    return {
        "name": archive.path.name,
        "kind": archive.kind,
        "day": archive.day.isoformat() if archive.day else None,
        "fingerprint": archive.fingerprint,
    }


def read_release(path: Path, limits: Limits) -> ReleaseTables:
    """Read a release: endpoints first, then one pass over npidata for the NPIs that they name.

    Raises:
        RegistryError: what is wrong with the file, and the cure.
    """
    archive = open_archive(path, limits)
    endpoints, endpoint_counts = read_endpoints(archive)
    providers, provider_counts = read_providers(archive, endpoints["npi"])
    return ReleaseTables(
        release_facts(archive), endpoints, providers, plain(endpoint_counts), plain(provider_counts)
    )


def read_lists(files: Mapping[ListKind, ListFile]) -> ListTables:
    """Read the lists that there are.

    Raises:
        ListUnreadable: a list is there and is not in the form we know.
    """
    import polars as pl

    sources: dict[str, Mapping[str, Any] | None] = dict.fromkeys(kind.value for kind in ListKind)
    frames: dict[ListKind, pl.DataFrame] = {}
    for kind, file in files.items():
        table = read_list(kind, file.path)
        day, day_from = file.day, file.day_from
        if day_from == "file" and (newest := newest_day(table)):
            day, day_from = newest, "newest entry"
        frames[kind] = table.frame
        sources[kind.value] = {
            "file": file.path.name,
            "day": day.isoformat(),
            "day_from": day_from,
            "rows": table.rows,
            "unparsed_dates": table.unparsed_dates,
            "bad_npis": table.bad_npis,
        }
    empty = pl.DataFrame(
        schema={name: pl.Date if kind == "date" else pl.String for name, kind, _ in EXCLUSION_COLUMNS}
    )
    exclusions = pl.concat(
        [empty, *(frames[kind].select(empty.columns) for kind in EXCLUSIONS if kind in frames)]
    )
    return ListTables(frames.get(ListKind.REVALIDATION), exclusions, sources)


def save(folder: Path, table: str, frame: pl.DataFrame, facts: Mapping[str, Any]) -> None:
    """Put a table and its facts on the shelf."""
    write_parquet_atomic(frame, folder / f"{table}.parquet")
    save_facts(folder, table, facts)


def save_facts(folder: Path, name: str, facts: Mapping[str, Any]) -> None:
    """Put facts on the shelf; the former ones are kept as `NAME.previous.json` when the release changed."""
    path = folder / f"{name}.json"
    text = json.dumps(plain(facts), indent=2, sort_keys=True)
    if path.exists() and (before := load_facts(folder, name)).get("fingerprint") != facts.get("fingerprint"):
        write_text_atomic(folder / f"{name}.previous.json", json.dumps(before, indent=2, sort_keys=True))
    write_text_atomic(path, text + "\n")


def load_facts(folder: Path, name: str) -> dict[str, Any]:
    """Facts from the shelf; empty where there are none."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def load(folder: Path, table: str) -> pl.DataFrame:
    """A table from the shelf.

    Raises:
        RegistryError: it is not there; names the next command.
    """
    import polars as pl

    path = folder / f"{table}.parquet"
    if not path.exists():
        key = f"nppes/{table}" if table in ("endpoints", "providers") else f"cms/{table}"
        raise RegistryError(
            f"{key} was not built yet."
            f" Next: dagster asset materialize --select '{key}' -m dualstream_assets.definitions"
        )
    return pl.read_parquet(path)


def load_release(folder: Path) -> ReleaseTables:
    """Both tables of the release.

    Raises:
        RegistryError: a table is missing, or they are of different releases.
    """
    endpoints, providers = load(folder, "endpoints"), load(folder, "providers")
    facts, of_providers = load_facts(folder, "endpoints"), load_facts(folder, "providers")
    if facts.get("fingerprint") != of_providers.get("fingerprint"):
        raise RegistryError(
            f"endpoints are of {facts.get('name')}, providers of {of_providers.get('name')}. Next: dagster asset"
            " materialize --select 'group:registry' -m dualstream_assets.definitions"
        )
    return ReleaseTables(
        {name: facts.get(name) for name in ("name", "kind", "day", "fingerprint")},
        endpoints,
        providers,
        facts.get("counts", {}),
        of_providers.get("counts", {}),
    )


def load_lists(folder: Path) -> ListTables:
    """The lists from the shelf.

    Raises:
        RegistryError: the assets of the lists were not built yet.
    """
    exclusions = load(folder, "exclusions")
    sources = {
        **load_facts(folder, "revalidation").get("sources", {}),
        **load_facts(folder, "exclusions").get("sources", {}),
    }
    known = {kind.value: sources.get(kind.value) for kind in ListKind}
    has_dates = known[ListKind.REVALIDATION.value] is not None
    return ListTables(load(folder, "revalidation") if has_dates else None, exclusions, known)


def plain(value: Any) -> Any:
    """Counts as data for JSON: dataclasses and counters as dicts (`asdict` breaks counters), dates as ISO."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value
