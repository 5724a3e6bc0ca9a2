"""What the proofs run by themselves: the report, every morning after the cap was set."""

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.resources import Automation


def automation(estate: Estate, environment: str) -> Automation:
    """The job `write_report` and its daily schedule; it reads only, so it is on."""
    selection = dg.AssetSelection.assets(
        *[list(key) for key in keys.PROOFS], list(keys.PROOF_REPORT), list(keys.BOARD)
    )
    job = dg.define_asset_job(
        "write_report",
        selection=selection,
        description="Prove, write the report page and refresh the board.",
        tags={"dualstream/environment": environment},
    )
    morning = dg.ScheduleDefinition(
        name="write_report_daily",
        job=job,
        cron_schedule="40 7 * * *",
        execution_timezone=str(estate.zone),
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    return Automation(jobs=(job,), schedules=(morning,))
