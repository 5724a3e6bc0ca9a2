"""Asset checks of sending; each writes the evidence that the gate asks for, in two rows."""

from datetime import timedelta

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.resources import WorkplaceParam

CONTENT_FOR = timedelta(hours=26)
CAPS_FOR = timedelta(hours=26)


def checks(estate: Estate, environment: str) -> list[dg.AssetChecksDefinition]:  # noqa: ARG001
    """The checks of this room."""
    made = [_suppression_synced()]
    for stream in estate.streams:
        made += [_content_lawful(stream), _cap_is_ramp(stream), _other_cap_untouched(stream)]
    return made


def _suppression_synced() -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=list(keys.SUPPRESSION),
        name="suppression_synced",
        blocking=True,
        description="Every listmonk refuses everybody who is suppressed, and we know all its opt-outs.",
    )
    def suppression_synced(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.sending.optouts import look
        from dualstream_assets.sending.parts import instances, only_one
        from dualstream_assets.store.evidence import Verdict

        with only_one(workplace):
            found = look(workplace.database, workplace.clock, workplace.estate, instances(workplace))
        said = next(iter(found.values())).evidence
        return dg.AssetCheckResult(
            passed={evidence.verdict for evidence in found.values()} == {Verdict.PASS}, description=said
        )

    return suppression_synced


def _content_lawful(stream: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=list(keys.of_stream(stream, "campaign")),
        name="content_lawful",
        blocking=True,
        description="CAN-SPAM, RFC 8058 and the bulk-sender rules, as far as the content can tell.",
    )
    def content_lawful(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.sending.content import lawful, render
        from dualstream_assets.store.evidence import Subject, probing

        subject = Subject(stream, "content", "content_lawful")
        source = f"{stream}/campaign:content_lawful"
        with probing(
            workplace.database, workplace.clock, [subject], source=source, valid_for=CONTENT_FOR
        ) as probe:
            findings = lawful(render(workplace.estate, stream), workplace.estate)
            said = "; ".join(map(str, findings)) or "postal address, opt-out, notice, From, Reply-To, links"
            probe.found_that(subject, not findings, said)
        return dg.AssetCheckResult(
            passed=not findings, description=said, metadata={"findings": len(findings)}
        )

    return content_lawful


def _cap_is_ramp(stream: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=list(keys.of_stream(stream, "rampcap")),
        name="cap_is_ramp",
        blocking=True,
        description="The stream's listmonk holds the belt of the ramp's cap, read back.",
    )
    def cap_is_ramp(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.sending.caplook import look_at_cap

        found = look_at_cap(workplace, stream, CAPS_FOR)
        return dg.AssetCheckResult(passed=found.holds is True, description=found.said)

    return cap_is_ramp


def _other_cap_untouched(stream: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=list(keys.of_stream(stream, "rampcap")),
        name="other_cap_untouched",
        blocking=True,
        description="Setting this cap left every other stream's cap as it was.",
    )
    def other_cap_untouched(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.sending.caplook import look_at_other_caps

        found = look_at_other_caps(workplace, stream, CAPS_FOR)
        return dg.AssetCheckResult(passed=found.holds is True, description=found.said)

    return other_cap_untouched
