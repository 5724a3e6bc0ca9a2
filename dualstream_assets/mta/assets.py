"""Assets of the Postfix room: what is rendered, what is deployed (with the plan), and what has drifted since."""

from typing import Any, cast

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.resources import Act, WorkplaceParam, look

_COLUMNS = (
    ("change", "string", "add, change or delete"),
    ("target", "string", "file on the Postfix host"),
    ("before", "string", "as deployed"),
    ("after", "string", "as rendered"),
)


class Apply(Act):
    """Whether to apply, and the hash of the plan that was read (needed everywhere but in the lab)."""

    plan_hash: str | None = None


def assets(estate: Estate, environment: str) -> list[dg.AssetsDefinition]:  # noqa: ARG001
    """`mta/config`, `mta/deployed`, `mta/drift`."""
    return [_config(environment), _deployed(environment), _drift(environment)]


def _config(environment: str) -> dg.AssetsDefinition:
    @dg.asset(
        **look(
            keys.MTA_CONFIG,
            "mta",
            what="The Postfix configuration as the estate renders it: services, tables and kernel guards.",
            red="an address, transport or port serves two streams.",
            do="change the estate; review the render under infra/postfix; materialize mta/deployed.",
            environment=environment,
            kinds=("python", "postfix"),
            columns=(
                ("place", "string", "file or block on the Postfix host"),
                ("text", "string", "its text"),
            ),
        )
    )
    def config(workplace: WorkplaceParam) -> dg.MaterializeResult:
        from dualstream_assets.mta.render import config_hash, render

        files = render(workplace.estate, workplace.environment)
        shown = "\n\n".join(f"`{place}`\n```\n{text.rstrip()}\n```" for place, text in files.items())
        return dg.MaterializeResult(
            metadata={
                "config": dg.MetadataValue.md(shown or "no stream has ports of its own"),
                "config_hash": config_hash(files),
                "places": len(files),
            },
            data_version=dg.DataVersion(config_hash(files)),
        )

    return cast("dg.AssetsDefinition", config)


def _deployed(environment: str) -> dg.AssetsDefinition:
    @dg.asset(
        **look(
            keys.MTA_DEPLOYED,
            "mta",
            what="The rendered configuration on the Postfix host: the plan, and with `act` its application.",
            red="what is deployed differs, a port accepts Yahoo, or a source address is down.",
            do="read the plan; run the job apply_changes with its plan_hash; materialize this again.",
            environment=environment,
            kinds=("python", "postfix"),
            columns=_COLUMNS,
        ),
        deps=[list(keys.MTA_CONFIG)],
    )
    def deployed(workplace: WorkplaceParam, config: Apply) -> dg.MaterializeResult:
        from dualstream_assets.mta.apply import apply_mta
        from dualstream_assets.mta.live import MtaError, target_for
        from dualstream_assets.mta.probes import look_at_plan
        from dualstream_assets.outside.plan import PlanError
        from dualstream_assets.outside.ssh import RunnerError

        plan, why = look_at_plan(workplace)
        metadata: dict[str, Any] = _plan_metadata(plan, why)
        if config.wanted(workplace):
            try:
                applied = apply_mta(workplace, target_for(workplace), config.plan_hash)
            except (MtaError, PlanError, RunnerError) as error:
                raise dg.Failure(str(error), metadata=metadata, allow_retries=False) from error
            metadata["applied"] = len(applied.plan.changes)
            metadata["applied_row"] = applied.row_id or "nothing to apply"
        else:
            metadata["applied"] = 0
        return dg.MaterializeResult(metadata=metadata)

    return cast("dg.AssetsDefinition", deployed)


def _drift(environment: str) -> dg.AssetsDefinition:
    @dg.asset(
        **look(
            keys.MTA_DRIFT,
            "mta",
            what="What has changed on the Postfix host since it was reviewed, and what main.cf assumes otherwise.",
            red="somebody changed a file of ours, or main.cf is not as Stage A assumes.",
            do="find out who; read the plan; apply it, or take the change into the estate.",
            environment=environment,
            kinds=("python", "postfix"),
            columns=_COLUMNS,
        ),
        deps=[list(keys.MTA_DEPLOYED)],
    )
    def drift(workplace: WorkplaceParam) -> dg.MaterializeResult:
        from dualstream_assets.mta.probes import look_at_live, look_at_plan

        plan, why = look_at_plan(workplace)
        live, _ = look_at_live(workplace)
        bound = (
            "\n".join(f"- {name}: {address}" for name, address in sorted(live.bound.items())) if live else ""
        )
        return dg.MaterializeResult(
            metadata=_plan_metadata(plan, why) | {"bound": dg.MetadataValue.md(bound or "nothing is bound")}
        )

    return cast("dg.AssetsDefinition", drift)


def _plan_metadata(plan: Any, why: str) -> dict[str, Any]:
    """A plan as metadata; where there is none, why."""
    if plan is None:
        return {"plan": dg.MetadataValue.md(f"unknown: {why}"), "state": "unknown"}
    return {
        "plan": dg.MetadataValue.md(plan.render_diff()),
        "plan_hash": plan.plan_hash,
        "differences": len(plan.changes),
        "state": "as declared" if plan.empty else "differs",
    }
