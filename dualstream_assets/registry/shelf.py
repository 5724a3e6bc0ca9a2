"""Where the tables of the registry lie: Parquet with a JSON of counts beside each, in the state folder.

A second run reads these and no ZIP. Each file is replaced whole; one that belongs to another release is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualstream_assets.estate.model import Limits
from dualstream_assets.registry.chain import FACTS, Chain, open_chain
from dualstream_assets.registry.endpoints import read_endpoints
from dualstream_assets.registry.errors import RegistryError
from dualstream_assets.registry.increments import (
    doubtful,
    merge_endpoints,
    merge_providers,
    outdated,
    read_increment,
)
from dualstream_assets.registry.medicare import (
    EXCLUSION_COLUMNS,
    EXCLUSIONS,
    OPTIONAL,
    ListKind,
    mark_enrolled,
    read_list,
)
from dualstream_assets.registry.providers import read_providers
from dualstream_assets.registry.release import ListFile, list_source
from dualstream_assets.store.files import write_parquet_atomic, write_text_atomic

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class ReleaseTables:
    """A release as read, with its increments: who filed which addresses, and who these NPIs are.

    Attributes:
        facts: what was read, as `Chain.facts` gives it.
        endpoints: candidates, columns of `endpoints.COLUMNS`.
        providers: columns of `providers.COLUMNS`.
        endpoint_counts: counts of the base's endpoint member, as plain data; under `increments` a list of
            `EndpointChange`, so that `increments.candidates_of` them is the number of candidates.
        provider_counts: counts of the base's npidata; under `increments` a list of `ProviderChange`.
    """

    facts: Mapping[str, Any]
    endpoints: pl.DataFrame
    providers: pl.DataFrame
    endpoint_counts: Mapping[str, Any]
    provider_counts: Mapping[str, Any]


@dataclass(frozen=True)
class ListTables:
    """The lists as read. The tables are lazy: of millions of rows only those of the NPIs asked for come into memory.

    Attributes:
        sources: kind -> what was read (`release.list_source`); None means that the list is missing: unknown. An
            optional list that was not given has no entry.
        revalidation: columns of `medicare.REVALIDATION_COLUMNS`; None where the list is missing.
        exclusions: columns of `medicare.EXCLUSION_COLUMNS`, of the lists that there are.
    """

    revalidation: pl.LazyFrame | None
    exclusions: pl.LazyFrame
    sources: Mapping[str, Mapping[str, Any] | None]

    @property
    def missing(self) -> tuple[str, ...]:
        """Kinds of list that were not there."""
        return tuple(kind for kind, source in self.sources.items() if source is None)


def read_release(path: Path, limits: Limits, weeklies: Sequence[Path] = ()) -> ReleaseTables:
    """Read a release and the weeklies that continue it; a stale or doubled one is named in the facts and not used.

    Raises:
        RegistryError: what is wrong with a file, and the cure.
    """
    return read_chain(open_chain(path, limits, weeklies))


def read_chain(chain: Chain) -> ReleaseTables:
    """Read endpoints first, then npidata in one pass for the NPIs that any of the files names.

    Raises:
        RegistryError: damaged member, wrong header.
    """
    import polars as pl

    endpoints, endpoint_counts = read_endpoints(chain.base)
    increments = [read_increment(archive) for archive in chain.increments]
    named = pl.concat([endpoints["npi"], *(one.endpoints["npi"] for one in increments)])
    providers, provider_counts = read_providers(chain.base, named)
    older = outdated(providers, chain.base.day, increments)
    endpoints, endpoint_changes = merge_endpoints(endpoints, increments, older)
    if increments:
        providers, provider_changes = merge_providers(providers, increments, older, endpoints["npi"])
    else:
        provider_changes = []
    return ReleaseTables(
        chain.facts(),
        endpoints,
        providers,
        {**plain(endpoint_counts), "increments": plain(endpoint_changes)},
        {**plain(provider_counts), "increments": plain(provider_changes)},
    )


def read_endpoints_of(chain: Chain) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The endpoints of `read_chain` alone, and their counts.

    Raises:
        RegistryError: damaged member, wrong header.
    """
    endpoints, counts = read_endpoints(chain.base)
    increments = [read_increment(archive) for archive in chain.increments]
    doubt = doubtful(increments, chain.base.day)
    changes = []
    if increments:
        known = read_providers(chain.base, doubt)[0] if len(doubt) else increments[0].providers.clear()
        older = outdated(known, chain.base.day, increments)
        endpoints, changes = merge_endpoints(endpoints, increments, older)
    return endpoints, {**plain(counts), "increments": plain(changes)}


def read_providers_of(chain: Chain, wanted: pl.Series) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The providers of `read_chain` alone, and their counts; `wanted` are the NPIs of the merged endpoints.

    Raises:
        RegistryError: damaged member, wrong header.
    """
    providers, counts = read_providers(chain.base, wanted)
    increments = [read_increment(archive) for archive in chain.increments]
    changes = []
    if increments:
        older = outdated(providers, chain.base.day, increments)
        providers, changes = merge_providers(providers, increments, older, wanted)
    return providers, {**plain(counts), "increments": plain(changes)}


def read_lists(files: Mapping[ListKind, ListFile], limits: Limits | None = None) -> ListTables:
    """Read the lists that there are; `limits` bound what an archive may unpack to.

    Raises:
        ListUnreadable: a list is there and is not in the form we know.
    """
    import polars as pl

    tables = {kind: read_list(kind, file.path, limits) for kind, file in files.items()}
    frames = {kind: table.frame for kind, table in tables.items()}
    empty = pl.DataFrame(
        schema={name: pl.Date if kind == "date" else pl.String for name, kind, _ in EXCLUSION_COLUMNS}
    )
    exclusions = pl.concat(
        [empty, *(frames[kind].select(empty.columns) for kind in EXCLUSIONS if kind in frames)]
    )
    revalidation = frames.get(ListKind.REVALIDATION)
    if revalidation is not None and ListKind.PPEF in frames:
        revalidation = mark_enrolled(revalidation, frames[ListKind.PPEF])
    found = {kind.value: list_source(files[kind], table) for kind, table in tables.items()}
    dates = None if revalidation is None else revalidation.lazy()
    return ListTables(dates, exclusions.lazy(), _sources(found))


def _sources(found: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Mapping[str, Any] | None]:
    return {kind.value: found.get(kind) for kind in ListKind if found.get(kind) or kind not in OPTIONAL}


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
    return scan(folder, table).collect()


def scan(folder: Path, table: str) -> pl.LazyFrame:
    """`load`, not yet read."""
    import polars as pl

    path = folder / f"{table}.parquet"
    if not path.exists():
        key = f"nppes/{table}" if table in ("endpoints", "providers") else f"cms/{table}"
        raise RegistryError(
            f"{key} was not built yet."
            f" Next: dagster asset materialize --select '{key}' -m dualstream_assets.definitions"
        )
    return pl.scan_parquet(path)


def save_release(folder: Path, tables: ReleaseTables) -> None:
    """Put both tables of a release on a shelf; `load_release` reads them."""
    save(folder, "endpoints", tables.endpoints, {**tables.facts, "counts": tables.endpoint_counts})
    save(folder, "providers", tables.providers, {**tables.facts, "counts": tables.provider_counts})


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
        {name: facts.get(name) for name in FACTS},
        endpoints,
        providers,
        facts.get("counts", {}),
        of_providers.get("counts", {}),
    )


def save_lists(folder: Path, tables: ListTables) -> None:
    """Put the lists on a shelf; `load_lists` reads them."""
    dated = (ListKind.REVALIDATION, ListKind.PPEF)
    dates = {kind: source for kind, source in tables.sources.items() if kind in dated}
    others = {kind: source for kind, source in tables.sources.items() if kind not in dated}
    save_facts(folder, "revalidation", {"sources": dates})
    if tables.revalidation is not None:
        save(folder, "revalidation", tables.revalidation.collect(), {"sources": dates})
    save(folder, "exclusions", tables.exclusions.collect(), {"sources": others})


def load_lists(folder: Path) -> ListTables:
    """The lists from the shelf.

    Raises:
        RegistryError: the assets of the lists were not built yet.
    """
    exclusions = scan(folder, "exclusions")
    sources = {
        **load_facts(folder, "revalidation").get("sources", {}),
        **load_facts(folder, "exclusions").get("sources", {}),
    }
    known = _sources(sources)
    has_dates = known[ListKind.REVALIDATION] is not None
    return ListTables(scan(folder, "revalidation") if has_dates else None, exclusions, known)


def plain(value: Any) -> Any:
    """Counts as data for JSON: dataclasses and counters as dicts (`asdict` breaks counters), dates as ISO."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value
