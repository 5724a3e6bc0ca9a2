"""Checks of the Postfix room: four that write the gate's evidence and block, one that only shows."""

from typing import Any

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.resources import Act, WorkplaceParam


def checks(estate: Estate, environment: str) -> list[dg.AssetChecksDefinition]:  # noqa: ARG001
    """`pools_disjoint`, `live_is_reviewed`, `backstop`, `source_addresses`; `main_cf_as_assumed`."""
    return [
        _pools_disjoint(),
        _live_is_reviewed(),
        _backstop(),
        _source_addresses(),
        _main_cf_as_assumed(environment),
    ]


def _pools_disjoint() -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=list(keys.MTA_CONFIG),
        blocking=True,
        description="No address, transport or port serves two streams: declared, rendered and deployed.",
    )
    def pools_disjoint(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.mta.probes import probe_pools

        found, declared_is_right = probe_pools(workplace, "mta/config:pools_disjoint")
        # A fault of what is deployed shuts the gate by its evidence; it must not block the apply that cures it.
        severity = dg.AssetCheckSeverity.WARN if declared_is_right else dg.AssetCheckSeverity.ERROR
        return _result(found, severity)

    return pools_disjoint


def _live_is_reviewed() -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=list(keys.MTA_DEPLOYED),
        blocking=True,
        description="What is deployed is what the estate renders, byte for byte.",
    )
    def live_is_reviewed(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.mta.probes import probe_live

        return _result(probe_live(workplace, "mta/deployed:live_is_reviewed"))

    return live_is_reviewed


def _backstop() -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=list(keys.MTA_DEPLOYED),
        blocking=True,
        description="Every healthcare port refuses a Yahoo recipient, asked now, without DATA.",
    )
    def backstop(workplace: WorkplaceParam, config: Act) -> dg.AssetCheckResult:
        from dualstream_assets.mta.probes import last_backstop, probe_backstop_ports

        if not config.wanted(
            workplace
        ):  # "Materialize all" asks no port; the job recheck_postfix does, every hour
            return _result(last_backstop(workplace))
        return _result(probe_backstop_ports(workplace, "mta/deployed:backstop"))

    return backstop


def _source_addresses() -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=list(keys.MTA_DEPLOYED),
        blocking=True,
        description="Every active egress address is up on the Postfix host.",
    )
    def source_addresses(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.mta.probes import probe_addresses

        found = probe_addresses(workplace, "mta/deployed:source_addresses")
        return dg.AssetCheckResult(
            passed=all(str(g.verdict) == "pass" for g in found.values()),
            description="; ".join(f"{stream}: {g.verdict}: {g.evidence}" for stream, g in found.items()),
        )

    return source_addresses


def _main_cf_as_assumed(environment: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=list(keys.MTA_DRIFT),
        description="main.cf is as Stage A assumes; differences are shown and never changed by us.",
    )
    def main_cf_as_assumed(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.mta.live import assumptions
        from dualstream_assets.mta.probes import look_at_live

        if environment != "production":
            return dg.AssetCheckResult(
                passed=True, description=f"the {environment} has no main.cf of its own"
            )
        live, why = look_at_live(workplace)
        faults = [f"unknown: {why}"] if live is None else list(assumptions(live.main))
        return dg.AssetCheckResult(
            passed=not faults,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(faults) or "as assumed",
            metadata={"differences": len(faults)},
        )

    return main_cf_as_assumed


def _result(found: Any, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=str(found.verdict) == "pass",
        severity=severity,
        description=f"{found.verdict}: {found.evidence}",
    )
