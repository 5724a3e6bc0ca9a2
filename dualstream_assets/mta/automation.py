"""What the Postfix room runs by itself: looking for drift, every hour. Applying is a job that a person starts."""

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.resources import Automation


def automation(estate: Estate, environment: str) -> Automation:
    """`plan_changes` and `apply_changes` (by hand), `recheck_postfix` (hourly, on: it only looks)."""
    tags = {"dualstream/environment": environment}
    everything = dg.AssetSelection.assets(
        list(keys.MTA_CONFIG), list(keys.MTA_DEPLOYED), list(keys.MTA_DRIFT)
    )
    looking = {"ops": {"mta__deployed": {"config": {"act": False}}}}
    plan = dg.define_asset_job(
        "plan_changes",
        selection=everything,
        config=looking,
        tags=tags,
        description="Show what would change on the Postfix host. Changes nothing.",
    )
    apply = dg.define_asset_job(
        "apply_changes",
        selection=dg.AssetSelection.assets(list(keys.MTA_DEPLOYED)),
        config={"ops": {"mta__deployed": {"config": {"act": True}}}},
        tags=tags,
        description="Apply the plan whose plan_hash you add to the run config; refuses if it changed since.",
    )
    recheck = dg.define_asset_job(
        "recheck_postfix",
        selection=everything,
        config={"ops": looking["ops"] | {"mta__deployed_backstop": {"config": {"act": True}}}},
        tags=tags,
        description="Look for drift, try the backstop and the source addresses, write fresh evidence.",
    )
    hourly = dg.ScheduleDefinition(
        name="recheck_postfix_hourly",
        job=recheck,
        cron_schedule="12 * * * *",
        execution_timezone=str(estate.zone),
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    return Automation(jobs=(plan, apply, recheck), schedules=(hourly,))
