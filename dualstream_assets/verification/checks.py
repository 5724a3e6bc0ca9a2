"""Asset checks of verification: the block alarm, the age of verdicts, and a probe address apart from sending ones."""

from datetime import timedelta

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.resources import WorkplaceParam
from dualstream_assets.store.evidence import Subject, probing

VALID_FOR = timedelta(days=3)


def checks(estate: Estate, environment: str) -> list[dg.AssetChecksDefinition]:  # noqa: ARG001
    """The checks of this room; the two on the verified file write the evidence that a wave needs."""
    streams = [name for name, stream in estate.streams.items() if stream.segment == "institutional"]
    return [
        _block_alarm(),
        _evidence(
            streams,
            "probe_ip_apart",
            "Mailboxes are asked from an address that never sends, outside every sending /24.",
            "probe_apart",
        ),
        _evidence(
            streams,
            "verified_fresh",
            "Every row of the verified file has a sendable verdict of today's table, young enough.",
            "verified_fresh",
        ),
    ]


def _block_alarm() -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=list(keys.VERIFICATION_VERDICTS),
        name="block_alarm",
        blocking=True,
        description="No large operator's lane was stopped in the last day, and few mailboxes answer with a block.",
    )
    def alarm(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.verification.findings import block_alarm

        found = block_alarm(workplace)
        return dg.AssetCheckResult(
            passed=bool(found.holds), description=found.text, metadata=dict(found.numbers)
        )

    return alarm


def _evidence(streams: list[str], fact: str, description: str, finding: str) -> dg.AssetChecksDefinition:
    """`finding` names the function of `findings` that looks."""
    asset = keys.VERIFIED_INSTITUTIONAL

    @dg.asset_check(asset=list(asset), name=fact, blocking=True, description=description)
    def evidence(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.verification import findings

        subjects = [Subject(stream, "verification", fact) for stream in streams]
        source = f"{keys.text(asset)}:{fact}"
        with probing(
            workplace.database, workplace.clock, subjects, source=source, valid_for=VALID_FOR
        ) as probe:
            found = getattr(findings, finding)(workplace)
            for subject in subjects:
                probe.found_that(subject, found.holds, found.text)
        return dg.AssetCheckResult(
            passed=bool(found.holds), description=found.text, metadata=dict(found.numbers)
        )

    return evidence
