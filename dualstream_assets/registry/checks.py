"""Asset checks of the registry: right bytes, our header, plausible counts, dates that were understood."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.registry.assets import opened
from dualstream_assets.registry.errors import RegistryError
from dualstream_assets.resources import WorkplaceParam
from dualstream_assets.workplace import Workplace

COUNT_CHANGE = 0.10
"""Rows may grow or shrink by this share from one release to the next (CMS's own importer expects ±5 %)."""
REPAIRED_SHARE = 0.01
MEMBER_TABLES = ((keys.NPPES_ENDPOINTS, "endpoints"), (keys.NPPES_PROVIDERS, "providers"))
LIST_TABLES = ((keys.CMS_REVALIDATION, "revalidation"), (keys.CMS_EXCLUSIONS, "exclusions"))


def checks(estate: Estate, environment: str) -> list[dg.AssetChecksDefinition]:  # noqa: ARG001
    """The checks of this room; blocking ones keep a bad release from the audience."""
    made = [_header()]
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
            check_headers(opened(workplace))
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
        try:
            archive = opened(workplace)
        except RegistryError as error:
            return dg.AssetCheckResult(passed=False, description=str(error))
        facts = _facts(workplace, table)
        said = facts.get("verified", {})
        member = next((m for m in archive.members.values() if m.name == said.get("member")), None)
        same = member is not None and said == {
            "member": member.name,
            "bytes": member.bytes,
            "crc32": f"{member.crc32:08x}",
        }
        passed = same and facts.get("fingerprint") == archive.fingerprint
        text = f"{said.get('member', 'nothing')}: {said.get('bytes', 0):,} bytes, CRC {said.get('crc32', 'unknown')}"
        return dg.AssetCheckResult(
            passed=passed, description=text if passed else f"{table} is not of {archive.path.name}: {text}"
        )

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


def _lists(key: keys.Key, table: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=list(key),
        description="Every list is there, not older than the estate allows, and its dates were understood.",
    )
    def lists_known(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.registry.release import PUBLISHED_NAMES

        sources = _facts(workplace, table).get("sources", {})
        today = workplace.clock.now().astimezone(workplace.estate.zone).date()
        oldest = workplace.estate.limits.list_age_days
        found = [] if sources else ["unknown: nothing was read"]
        for kind, source in sources.items():
            if source is None:
                published = {k.value: name for k, name in PUBLISHED_NAMES.items()}[kind]
                found.append(f"{kind} is missing: unknown (dualstream release add {published})")
                continue
            age = (today - date.fromisoformat(source["day"])).days
            if age > oldest:
                found.append(f"{kind} is {age} days old, limits.list_age_days is {oldest}")
            if source["unparsed_dates"]:
                found.append(f"{kind}: {source['unparsed_dates']:,} dates not understood")
        return _warn(not found, "; ".join(found) or f"{len(sources)} lists, all known")

    return lists_known
