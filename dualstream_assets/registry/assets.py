"""Dagster rim of the registry: the release in the inbox, its two tables, and the CMS and OIG lists, as Parquet."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.registry.chain import Chain, Skipped, find_chain, open_chain, verified_facts
from dualstream_assets.registry.endpoints import COLUMNS as ENDPOINT_COLUMNS
from dualstream_assets.registry.errors import RegistryError, ReleaseMissing
from dualstream_assets.registry.medicare import EXCLUSION_COLUMNS, EXCLUSIONS, REVALIDATION_COLUMNS, ListKind
from dualstream_assets.registry.providers import COLUMNS as PROVIDER_COLUMNS
from dualstream_assets.resources import WorkplaceParam, look
from dualstream_assets.workplace import Workplace

ROOM = "registry"
ADD = "`dualstream release add FILE…` (the published names are kept), then materialize again."
asset: Any = dg.asset  # no type checker finds its overload through `**look(...)`


@contextmanager
def one_line() -> Iterator[None]:
    """An error of ours ends the step with its one line, and is not tried again: the file would be the same."""
    try:
        yield
    except RegistryError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def opened_chain(workplace: Workplace) -> Chain:
    """The release that `nppes/release` found, with its increments.

    Raises:
        RegistryError: it was not looked for yet, or a file has changed since.
    """
    from dualstream_assets.registry.shelf import load_facts

    facts = load_facts(workplace.paths.registry, "release")
    again = "Next: dagster asset materialize --select 'nppes/release' -m dualstream_assets.definitions"
    if not facts:
        raise RegistryError(f"nppes/release was not looked for yet. {again}")
    path, *weeklies = [Path(text) for text in facts["paths"]]
    try:
        chain = open_chain(path, workplace.estate.limits, weeklies)
    except ReleaseMissing as error:
        raise RegistryError(f"{error}. It was there when nppes/release looked. {again}") from error
    if chain.fingerprint != facts["fingerprint"]:
        raise RegistryError(f"{path.name} or its increments are not what nppes/release found. {again}")
    return replace(chain, skipped=tuple(Skipped(**one) for one in facts["skipped"]))


def counts_table(title: str, counts: Mapping[str, int]) -> dg.MarkdownMetadataValue:
    """Counts as a table, most first."""
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    body = "\n".join(f"| {name or '(empty)'} | {count:,} |" for name, count in rows)
    return dg.MetadataValue.md(f"| {title} | count |\n|---|---:|\n{body}")


def rows_table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> dg.MarkdownMetadataValue:
    """Rows as a table."""
    names = list(columns)
    lines = [names, ["---"] * len(names), *rows]
    return dg.MetadataValue.md("\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines))


def assets(estate: Estate, environment: str) -> list[dg.AssetsDefinition]:  # noqa: ARG001
    """The assets of this room."""
    return [
        _release(environment),
        _endpoints(environment),
        _providers(environment),
        _list_asset(
            keys.CMS_REVALIDATION,
            (ListKind.REVALIDATION, ListKind.PPEF),
            REVALIDATION_COLUMNS,
            environment,
            "Medicare's revalidation due dates, one row per NPI.",
        ),
        _list_asset(
            keys.CMS_EXCLUSIONS,
            EXCLUSIONS,
            EXCLUSION_COLUMNS,
            environment,
            "Who may not be written to: deactivated, excluded (LEIE), revoked; and who has opted out of Medicare.",
        ),
    ]


def repairs(counts: Mapping[str, Any]) -> dict[str, int]:
    """Repairs of lines by kind, from a member's counts as plain data."""
    return {kind: found for kind, found in counts["lines"].items() if kind not in ("rows", "unreadable")}


def _of(chain: Chain) -> dict[str, Any]:
    return {"release": chain.base.path.name, "increments": len(chain.increments), "data of": str(chain.day)}


def _release(environment: str) -> dg.AssetsDefinition:
    @asset(
        **look(
            keys.NPPES_RELEASE,
            ROOM,
            what="The newest monthly NPPES release in the inbox and the weekly increments that continue it: their"
            " directories, read and within the estate's limits.",
            red="there is none, or one that is to be applied is V1, truncated, or larger than the estate allows.",
            do=ADD,
            environment=environment,
            kinds=("zip",),
        )
    )
    def release(workplace: WorkplaceParam) -> dg.MaterializeResult:
        from dualstream_assets.registry.changed import void_if_changed
        from dualstream_assets.registry.shelf import load_facts, save_facts

        with one_line():
            chain = find_chain(workplace.endpoints.inbox, workplace.estate.limits)
        base = chain.base
        members = {m.prefix: m.bytes for m in base.members.values()}
        paths = [str(archive.path) for archive in chain.archives]
        facts = {**chain.facts(), "paths": paths, "members": members}
        before = load_facts(workplace.paths.registry, "release")
        void_if_changed(workplace, before, facts, "fingerprint", keys.text(keys.NPPES_RELEASE))
        save_facts(workplace.paths.registry, "release", facts)
        weeklies = [(archive.path.name, "applied", "") for archive in chain.increments]
        weeklies += [(one.name, "skipped", one.why) for one in chain.skipped]
        return dg.MaterializeResult(
            metadata={
                "release": base.path.name,
                "data of": str(chain.day),
                "kind": base.kind,
                "content": chain.fingerprint,
                "path": dg.MetadataValue.path(str(base.path)),
                "zip bytes": base.path.stat().st_size,
                **{f"{prefix} bytes": size for prefix, size in members.items()},
                "increments": len(chain.increments),
                "weekly files": rows_table(("file", "", "why"), weeklies),
                "days not covered": ", ".join(f"{first} to {last}" for first, last in chain.gaps) or "none",
            }
        )

    return release


def _endpoints(environment: str) -> dg.AssetsDefinition:
    @asset(
        **look(
            keys.NPPES_ENDPOINTS,
            ROOM,
            what="Every address that a provider filed, under any endpoint type, in the endpoint or its description.",
            red="the member is damaged or its header is not the one we know; nothing is published then.",
            do="download the release again, `dualstream release add FILE`, materialize again.",
            environment=environment,
            kinds=("parquet",),
            columns=ENDPOINT_COLUMNS,
        ),
        deps=[list(keys.NPPES_RELEASE)],
    )
    def endpoints(workplace: WorkplaceParam) -> dg.MaterializeResult:
        from dualstream_assets.registry.columns import ENDPOINT_LAYOUT
        from dualstream_assets.registry.shelf import read_endpoints_of, save

        with one_line():
            chain = opened_chain(workplace)
            frame, counts = read_endpoints_of(chain)
        facts = {**chain.facts(), "counts": counts, **verified_facts(chain, ENDPOINT_LAYOUT.prefix)}
        save(workplace.paths.registry, "endpoints", frame, facts)
        return dg.MaterializeResult(
            metadata={
                **_of(chain),
                "dagster/row_count": frame.height,
                "endpoint rows": counts["lines"]["rows"],
                "addresses": counts["addresses"],
                "only in the description": counts["only_in_description"],
                "unreadable lines": len(counts["lines"]["unreadable"]),
                "types": counts_table("endpoint type, all rows", counts["types"]),
                "normalised": counts_table("normalisation", counts["repairs"]),
                "refused": counts_table("reason", counts["refusals"]),
                "repaired lines": counts_table("repair", repairs(counts)),
                "by increments": rows_table(
                    columns := ("name", "used", "outdated", "replaced", "replaced_npis", "kept_npis"),
                    ([one[column] for column in columns] for one in counts["increments"]),
                ),
            }
        )

    return endpoints


def _providers(environment: str) -> dg.AssetsDefinition:
    @asset(
        **look(
            keys.NPPES_PROVIDERS,
            ROOM,
            what="Who the NPIs behind these addresses are: names, primary taxonomy, practice state, whether active.",
            red="the member is damaged or its header is not the one we know; nothing is published then.",
            do="download the release again, `dualstream release add FILE`, materialize again.",
            environment=environment,
            kinds=("parquet",),
            columns=PROVIDER_COLUMNS,
        ),
        deps=[list(keys.NPPES_RELEASE), list(keys.NPPES_ENDPOINTS)],
    )
    def providers(workplace: WorkplaceParam) -> dg.MaterializeResult:
        from dualstream_assets.registry.columns import NPIDATA_LAYOUT
        from dualstream_assets.registry.shelf import load, read_providers_of, save

        with one_line():
            chain = opened_chain(workplace)
            wanted = load(workplace.paths.registry, "endpoints")["npi"]
            frame, counts = read_providers_of(chain, wanted)
        facts = {**chain.facts(), "counts": counts, **verified_facts(chain, NPIDATA_LAYOUT.prefix)}
        save(workplace.paths.registry, "providers", frame, facts)
        return dg.MaterializeResult(
            metadata={
                **_of(chain),
                "dagster/row_count": frame.height,
                "npidata rows": counts["lines"]["rows"],
                "NPIs without a row": wanted.drop_nulls().n_unique() - frame.height,
                "persons": counts["persons"],
                "organisations": counts["organisations"],
                "deactivated": counts["deactivated"],
                "deactivated and back": counts["reactivated"],
                "repeated rows": counts["duplicates"],
                "primary taxonomy by switch": counts["primary_by_switch"],
                "primary taxonomy by first slot": counts["primary_by_first_slot"],
                "unparsed dates": sum(counts["unparsed_dates"].values()),
                "repaired lines": counts_table("repair", repairs(counts)),
                "by increments": rows_table(
                    columns := ("name", "npis", "replaced", "added", "outdated", "deactivated"),
                    ([one[column] for column in columns] for one in counts["increments"]),
                ),
            }
        )

    return providers


def _list_asset(
    key: keys.Key,
    kinds: tuple[ListKind, ...],
    columns: tuple[tuple[str, str, str], ...],
    environment: str,
    what: str,
) -> dg.AssetsDefinition:
    @asset(
        **look(
            key,
            ROOM,
            what=what,
            red="a list is there and is not in the form we know; a missing one is shown as unknown.",
            do=ADD,
            environment=environment,
            kinds=("parquet",),
            columns=columns,
        ),
        deps=[list(keys.NPPES_RELEASE)],
    )
    def lists(workplace: WorkplaceParam) -> dg.MaterializeResult:
        from dualstream_assets.registry.changed import void_if_changed
        from dualstream_assets.registry.release import find_lists
        from dualstream_assets.registry.shelf import load_facts, plain, read_lists, save

        found = find_lists(workplace.endpoints.inbox)
        with one_line():
            tables = read_lists(
                {kind: found[kind] for kind in kinds if kind in found}, workplace.estate.limits
            )
        frame = tables.exclusions if key == keys.CMS_EXCLUSIONS else tables.revalidation
        sources = {kind: source for kind, source in tables.sources.items() if kind in kinds}
        if frame is None:
            import polars as pl

            frame = pl.LazyFrame(schema={name: pl.String for name, _, _ in columns})
        frame = frame.collect()
        before = load_facts(workplace.paths.registry, key[1])
        void_if_changed(workplace, before, plain({"sources": sources}), "sources", keys.text(key))
        save(workplace.paths.registry, key[1], frame, {"sources": sources})
        lines = [
            f"| {kind} | {source['file']} | {source['day']} ({source['day_from']}) | {source['rows']:,} |"
            if source
            else f"| {kind} | **missing: unknown** | | |"
            for kind, source in sources.items()
        ]
        table = "\n".join(["| list | file | as of | rows |", "|---|---|---|---:|", *lines])
        return dg.MaterializeResult(
            metadata={"lists": dg.MetadataValue.md(table), "dagster/row_count": frame.height}
        )

    return lists
