"""Asset checks of the proofs: green only when the proof holds; unknown is shown as such and is not green."""

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.proofs.assets import proof_metadata
from dualstream_assets.resources import WorkplaceParam


def checks(estate: Estate, environment: str) -> list[dg.AssetChecksDefinition]:  # noqa: ARG001
    """One check per proof, and the auditor on the report."""
    return [*(_holds(key) for key in keys.PROOFS), _auditor()]


def _holds(key: keys.Key) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=list(key), name="holds", description="The proof holds on every witness.")
    def holds(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.proofs.collect import prove
        from dualstream_assets.proofs.witness import Proved

        proof = prove(workplace, key[1])
        severity = dg.AssetCheckSeverity.ERROR if proof.outcome is Proved.FAIL else dg.AssetCheckSeverity.WARN
        return dg.AssetCheckResult(
            passed=proof.outcome is Proved.PASS,
            severity=severity,
            description=f"{proof.outcome}: {proof.sentence}",
            metadata=proof_metadata(proof),
        )

    return holds


def _auditor() -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=list(keys.PROOF_REPORT),
        name="auditor",
        description="Leaked, over cap, handed over twice, lost, opted out but mailed: all zero.",
    )
    def auditor(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dataclasses import asdict

        from dualstream_assets.proofs.collect import collect

        found = collect(workplace).audit
        said = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in asdict(found).items())
        return dg.AssetCheckResult(passed=found.clean, description=said, metadata=dict(asdict(found)))

    return auditor
