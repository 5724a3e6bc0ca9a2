"""Assets of the identity room: the DNS plan, and per stream what DNS tells and what a delivered message scores."""

from typing import cast

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.resources import Act, WorkplaceParam, look, stream_names


def assets(estate: Estate, environment: str) -> list[dg.AssetsDefinition]:
    """`identity/dns_plan`, `<stream>/identity`, `<stream>/message_score`."""
    streams = stream_names(estate)
    return [
        _dns_plan(environment),
        *(_identity(stream, environment) for stream in streams),
        *(_message_score(stream, environment) for stream in streams),
    ]


def _dns_plan(environment: str) -> dg.AssetsDefinition:
    @dg.asset(
        **look(
            keys.DNS_PLAN,
            "identity",
            what="The difference between the DNS records that the estate declares and those that are published.",
            red="a name server cannot be asked; then nothing is concluded.",
            do="run the Hestia commands of the plan on the name server, then look again.",
            environment=environment,
            kinds=("python", "dns"),
            columns=(
                ("change", "string", "add, change or delete"),
                ("target", "string", "record type and name"),
                ("before", "string", "as published"),
                ("after", "string", "as declared"),
                ("command", "string", "the Hestia command"),
            ),
        )
    )
    def dns_plan(workplace: WorkplaceParam) -> dg.MaterializeResult:
        from dualstream_assets.identity.probes import resolver_of
        from dualstream_assets.identity.zones import plan_dns

        found = plan_dns(resolver_of(workplace), workplace.estate)
        return dg.MaterializeResult(
            metadata={
                "plan": dg.MetadataValue.md(found.plan.render_diff()),
                "plan_hash": found.plan.plan_hash,
                "changes": len(found.plan.changes),
                "record_sets": found.looked_at,
                "unknown": len(found.unknown),
                "not_answered": dg.MetadataValue.md(
                    "\n".join(f"- {name}" for name in found.unknown) or "none"
                ),
            }
        )

    return cast("dg.AssetsDefinition", dns_plan)


def _identity(stream: str, environment: str) -> dg.AssetsDefinition:
    @dg.asset(
        **look(
            keys.of_stream(stream, "identity"),
            "identity",
            what=f"What DNS tells about {stream}: PTR, A and HELO of every egress, SPF, DKIM, DMARC.",
            red="a record is missing, wrong, or could not be asked.",
            do="publish the record that the finding names (identity/dns_plan), then materialize this again.",
            environment=environment,
            stream=stream,
            kinds=("python", "dns"),
            columns=(
                ("subject", "string", "egress IP or domain"),
                ("fact", "string", "fcrdns, helo, spf, dkim, dmarc"),
                ("verdict", "string", "pass, fail or unknown"),
                ("evidence", "string", "what was seen, and the cure"),
            ),
        ),
        deps=[list(keys.DNS_PLAN)],
    )
    def identity(workplace: WorkplaceParam) -> dg.MaterializeResult:
        from dualstream_assets.identity.finding import table, worst
        from dualstream_assets.identity.probes import identity_findings, resolver_of
        from dualstream_assets.store.evidence import Verdict

        found = identity_findings(resolver_of(workplace), workplace.estate, stream)
        verdicts = [f.verdict for f in found]
        return dg.MaterializeResult(
            metadata={
                "evidence": dg.MetadataValue.md(table(found)),
                "verdict": str(worst(verdicts)),
                **{str(verdict): verdicts.count(verdict) for verdict in Verdict},
            }
        )

    return cast("dg.AssetsDefinition", identity)


def _message_score(stream: str, environment: str) -> dg.AssetsDefinition:
    @dg.asset(
        **look(
            keys.of_stream(stream, "message_score"),
            "identity",
            what=f"The newest message of {stream} at a seed mailbox, judged as a receiver would.",
            red="SPF, DKIM, DMARC, one-click or content fails, or no message has arrived for a week.",
            do="cure the first finding; send a probe; materialize this again.",
            environment=environment,
            stream=stream,
            kinds=("python", "email"),
            columns=(
                ("fact", "string", "the criterion"),
                ("verdict", "string", "pass, fail or unknown"),
                ("evidence", "string", "what was seen, and the cure"),
            ),
        ),
        deps=[
            list(keys.of_stream(stream, "identity")),
            list(keys.of_stream(stream, "campaign")),
            list(keys.MTA_DEPLOYED),
        ],
    )
    def message_score(workplace: WorkplaceParam, config: Act) -> dg.MaterializeResult:
        from dualstream_assets.identity.probes import newest_score, wait_for_probe

        probed = "not asked for"
        if workplace.send_probe and config.wanted(workplace):
            since = workplace.clock.now()
            try:
                probed = f"{workplace.send_probe(workplace, stream)} sent"
            except RuntimeError as error:  # the gate's or the port's refusal: shown, the score stays
                probed = str(error)
            else:
                wait_for_probe(workplace, stream, since)
        message, score, why = newest_score(workplace, stream)
        metadata: dict[str, dg.MetadataValue | str | int] = {
            "verdict": str(score.verdict) if score else "unknown",
            "summary": score.said if score else why,
            "probe": probed,
        }
        if score:
            metadata |= {
                "score": dg.MetadataValue.md(score.table),
                "criteria_passed": score.passed,
                "criteria": len(score.findings),
            }
        if message:
            metadata |= {"peer": message.peer, "helo": message.helo, "arrived": message.at.isoformat()}
        return dg.MaterializeResult(metadata=metadata)

    return cast("dg.AssetsDefinition", message_score)
