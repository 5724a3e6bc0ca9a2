"""Dagster rim of the registry: the release in the inbox, its two tables, and the CMS and OIG lists, as Parquet."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.registry.archive import Archive, Member, open_archive
from dualstream_assets.registry.endpoints import COLUMNS as ENDPOINT_COLUMNS
from dualstream_assets.registry.errors import RegistryError
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


def opened(workplace: Workplace) -> Archive:
    """The release that `nppes/release` found.

    Raises:
        RegistryError: it was not looked for yet, or the file has changed since.
    """
    from dualstream_assets.registry.shelf import load_facts

    facts = load_facts(workplace.paths.registry, "release")
    again = "Next: dagster asset materialize --select 'nppes/release' -m dualstream_assets.definitions"
    if not facts:
        raise RegistryError(f"nppes/release was not looked for yet. {again}")
    archive = open_archive(Path(facts["path"]), workplace.estate.limits)
    if archive.fingerprint != facts["fingerprint"]:
        raise RegistryError(f"{archive.path.name} is not the file that nppes/release found. {again}")
    return archive


def verified(member: Member) -> dict[str, Any]:
    """What the directory says of a member: recorded only after its bytes were read and agreed."""
    return {"member": member.name, "bytes": member.bytes, "crc32": f"{member.crc32:08x}"}


def counts_table(title: str, counts: Mapping[str, int]) -> dg.MarkdownMetadataValue:
    """Counts as a table, most first."""
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    body = "\n".join(f"| {name or '(empty)'} | {count:,} |" for name, count in rows)
    return dg.MetadataValue.md(f"| {title} | count |\n|---|---:|\n{body}")


def assets(estate: Estate, environment: str) -> list[dg.AssetsDefinition]:  # noqa: ARG001
    """The assets of this room."""
    return [
        _release(environment),
        _endpoints(environment),
        _providers(environment),
        _list_asset(
            keys.CMS_REVALIDATION,
            (ListKind.REVALIDATION,),
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


def _release(environment: str) -> dg.AssetsDefinition:
    @asset(
        **look(
            keys.NPPES_RELEASE,
            ROOM,
            what="The newest monthly NPPES release in the inbox: its directory, read and within the estate's limits.",
            red="there is none, it is a V1 release, truncated, or larger than the estate allows.",
            do=ADD,
            environment=environment,
            kinds=("zip",),
        )
    )
    def release(workplace: WorkplaceParam) -> dg.MaterializeResult:
        from dualstream_assets.registry.release import find_release
        from dualstream_assets.registry.shelf import release_facts, save_facts

        with one_line():
            archive = open_archive(find_release(workplace.endpoints.inbox), workplace.estate.limits)
        members = {m.prefix: m.bytes for m in archive.members.values()}
        facts = {**release_facts(archive), "path": str(archive.path), "members": members}
        save_facts(workplace.paths.registry, "release", facts)
        return dg.MaterializeResult(
            metadata={
                "release": archive.path.name,
                "data of": str(archive.day),
                "kind": archive.kind,
                "content": archive.fingerprint,
                "path": dg.MetadataValue.path(str(archive.path)),
                "zip bytes": archive.path.stat().st_size,
                **{f"{prefix} bytes": size for prefix, size in members.items()},
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
        from dualstream_assets.registry.endpoints import read_endpoints
        from dualstream_assets.registry.shelf import plain, release_facts, save

        with one_line():
            archive = opened(workplace)
            frame, counts = read_endpoints(archive)
        member = archive.member(ENDPOINT_LAYOUT.prefix)
        facts = {**release_facts(archive), "counts": plain(counts), "verified": verified(member)}
        save(workplace.paths.registry, "endpoints", frame, facts)
        return dg.MaterializeResult(
            metadata={
                "release": archive.path.name,
                "dagster/row_count": frame.height,
                "endpoint rows": counts.lines.rows,
                "addresses": counts.addresses,
                "only in the description": counts.only_in_description,
                "unreadable lines": len(counts.lines.unreadable),
                "types": counts_table("endpoint type, all rows", counts.types),
                "normalised": counts_table("normalisation", counts.repairs),
                "refused": counts_table("reason", counts.refusals),
                "repaired lines": counts_table("repair", counts.lines.repairs()),
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
        from dualstream_assets.registry.providers import read_providers
        from dualstream_assets.registry.shelf import load, plain, release_facts, save

        with one_line():
            archive = opened(workplace)
            frame, counts = read_providers(archive, load(workplace.paths.registry, "endpoints")["npi"])
        member = archive.member(NPIDATA_LAYOUT.prefix)
        facts = {**release_facts(archive), "counts": plain(counts), "verified": verified(member)}
        save(workplace.paths.registry, "providers", frame, facts)
        return dg.MaterializeResult(
            metadata={
                "release": archive.path.name,
                "dagster/row_count": frame.height,
                "npidata rows": counts.lines.rows,
                "NPIs without a row": counts.missing,
                "persons": counts.persons,
                "organisations": counts.organisations,
                "deactivated": counts.deactivated,
                "deactivated and back": counts.reactivated,
                "repeated rows": counts.duplicates,
                "primary taxonomy by switch": counts.primary_by_switch,
                "primary taxonomy by first slot": counts.primary_by_first_slot,
                "unparsed dates": sum(counts.unparsed_dates.values()),
                "repaired lines": counts_table("repair", counts.lines.repairs()),
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
        from dualstream_assets.registry.release import find_lists
        from dualstream_assets.registry.shelf import read_lists, save

        found = find_lists(workplace.endpoints.inbox)
        with one_line():
            tables = read_lists({kind: found[kind] for kind in kinds if kind in found})
        frame = tables.exclusions if key == keys.CMS_EXCLUSIONS else tables.revalidation
        sources = {kind.value: tables.sources[kind.value] for kind in kinds}
        if frame is None:
            import polars as pl

            frame = pl.DataFrame(schema={name: pl.String for name, _, _ in columns})
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
