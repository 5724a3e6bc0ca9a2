"""Asset checks of the registry: right bytes, our header, plausible counts, dates that were understood."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.registry.assets import opened_chain
from dualstream_assets.registry.errors import RegistryError
from dualstream_assets.resources import WorkplaceParam
from dualstream_assets.workplace import Workplace

if TYPE_CHECKING:
    from dualstream_assets.registry.known import Finding

COUNT_CHANGE = 0.10
"""Rows may grow or shrink by this share from one release to the next (CMS's own importer expects ±5 %)."""
REPAIRED_SHARE = 0.01
PREFIXES = {"endpoints": "endpoint_pfile", "providers": "npidata_pfile"}
MEMBER_TABLES = ((keys.NPPES_ENDPOINTS, "endpoints"), (keys.NPPES_PROVIDERS, "providers"))
LIST_TABLES = ((keys.CMS_REVALIDATION, "revalidation"), (keys.CMS_EXCLUSIONS, "exclusions"))


def checks(estate: Estate, environment: str) -> list[dg.AssetChecksDefinition]:  # noqa: ARG001
    """The checks of this room; blocking ones keep a bad release from the audience."""
    made = [_header(), _release_fresh()]
    for key, table in MEMBER_TABLES:
        made += [_crc_and_length(key, table), _row_counts(key, table), _repaired(key, table)]
    made.append(_provider_dates())
    for key, table in LIST_TABLES:
        made.append(_lists(key, table))
    return made


def _facts(workplace: Workplace, table: str) -> dict[str, Any]:
    from dualstream_assets.registry.shelf import load_facts

    return load_facts(workplace.paths.registry, table)


def _warn(passed: bool, description: str, **metadata: Any) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=passed, severity=dg.AssetCheckSeverity.WARN, description=description, metadata=metadata
    )


def _header() -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=list(keys.NPPES_RELEASE),
        blocking=True,
        description="Both header rows are the V2 layout, name by name.",
    )
    def header(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.registry.release import check_headers

        try:
            for archive in opened_chain(workplace).archives:
                check_headers(archive)
        except RegistryError as error:
            return dg.AssetCheckResult(passed=False, description=str(error))
        return dg.AssetCheckResult(passed=True, description="330 and 19 columns as expected")

    return header


def _crc_and_length(key: keys.Key, table: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=list(key),
        blocking=True,
        description="The table was read to its end from this release; CRC and length agreed with the directory.",
    )
    def crc_and_length(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.registry.chain import unlike

        try:
            chain = opened_chain(workplace)
        except RegistryError as error:
            return dg.AssetCheckResult(passed=False, description=str(error))
        facts = _facts(workplace, table)
        wrong = unlike(facts, chain, PREFIXES[table])
        read = [facts.get("verified", {}), *facts.get("increments_verified", [])]
        said = "; ".join(
            f"{m.get('member')}: {m.get('bytes', 0):,} bytes, CRC {m.get('crc32')}" for m in read
        )
        return dg.AssetCheckResult(passed=not wrong, description="; ".join(wrong) or said)

    return crc_and_length


def _row_counts(key: keys.Key, table: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=list(key), description="Rows within 10 % of the previous release.")
    def row_counts(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        now = _rows(_facts(workplace, table))
        before = _rows(_facts(workplace, f"{table}.previous"))
        if now is None:
            return _warn(False, "unknown: no counts beside the table")
        if before is None:
            return _warn(True, f"{now:,} rows; no previous release to compare with", rows=now)
        change = (now - before) / max(1, before)
        return _warn(
            abs(change) <= COUNT_CHANGE, f"{before:,} rows before, {now:,} now ({change:+.1%})", rows=now
        )

    return row_counts


def _rows(facts: Mapping[str, Any]) -> int | None:
    return facts.get("counts", {}).get("lines", {}).get("rows")


def _repaired(key: keys.Key, table: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=list(key), description="Lines repaired are few, lines that could not be read are none."
    )
    def repaired(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        lines = _facts(workplace, table).get("counts", {}).get("lines")
        if lines is None:
            return _warn(False, "unknown: no counts beside the table")
        kinds = {kind: lines[kind] for kind in ("stray_quotes", "line_breaks", "unquoted", "cp1252")}
        unreadable, total = len(lines["unreadable"]), sum(kinds.values())
        said = f"{total:,} repaired, {unreadable:,} unreadable of {lines['rows']:,} lines"
        return _warn(not unreadable and total <= REPAIRED_SHARE * max(1, lines["rows"]), said, **kinds)

    return repaired


def _provider_dates() -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=list(keys.NPPES_PROVIDERS), description="Every date that is stated was understood.")
    def dates_parsed(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        counts = _facts(workplace, "providers").get("counts")
        if counts is None:
            return _warn(False, "unknown: no counts beside the table")
        unparsed = counts["unparsed_dates"]
        return _warn(not unparsed, f"{sum(unparsed.values()):,} dates not understood", **unparsed)

    return dates_parsed


def _release_fresh() -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=list(keys.NPPES_RELEASE),
        name="release_fresh",
        description="The release is not of the future, nor older than the estate allows: evidence for every gate.",
    )
    def release_fresh(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.registry.known import look_at_release

        return _known(look_at_release(workplace, keys.text(keys.NPPES_RELEASE)))

    return release_fresh


def _lists(key: keys.Key, table: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=list(key),
        name="lists_known",
        description="Every list is there, whole, not of the future and not too old: evidence for every gate.",
    )
    def lists_known(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.registry.known import look_at_lists

        return _known(look_at_lists(workplace, table, keys.text(key)))

    return lists_known


def _known(found: "Sequence[Finding]") -> dg.AssetCheckResult:
    """What is missing, stale or of the future shuts the gates by its evidence, not the build: a warning here."""
    from dualstream_assets.registry.known import said_of, verdict_of

    verdict = verdict_of(found)
    rows = "\n".join(f"| {f.about} | {f.verdict} | {f.said} | {f.last_day or ''} |" for f in found)
    table = f"| list | verdict | evidence | good until |\n|---|---|---|---|\n{rows}"
    said = said_of(found)
    return _warn(
        verdict == "pass",
        said if verdict == "pass" else f"{verdict}: {said}",
        verdict=str(verdict),
        evidence=dg.MetadataValue.md(table),
    )
