"""What the mail log runs by itself: reading, every minute. It only looks, and everything else relies on it: on."""

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.resources import Automation


def automation(estate: Estate, environment: str) -> Automation:
    """The job `read_maillog` and its schedule."""
    selection = dg.AssetSelection.assets(
        list(keys.MAILLOG_LOG),
        list(keys.MAILLOG_OUTCOMES),
        *[list(keys.of_stream(stream, "delivery")) for stream in estate.streams],
    )
    job = dg.define_asset_job(
        "read_maillog",
        selection=selection,
        description="Read what is new in the mail log into outcomes, and judge whether the log is complete.",
        tags={"dualstream/environment": environment},
    )
    every_minute = dg.ScheduleDefinition(
        name="read_maillog_every_minute",
        job=job,
        cron_schedule="* * * * *",
        execution_timezone=str(estate.zone),
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    return Automation(jobs=(job,), schedules=(every_minute,))
