"""What the identity room runs by itself: looking again, every hour. It reads only and it protects, so it is on."""

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.resources import Automation, stream_names


def automation(estate: Estate, environment: str) -> Automation:
    """The job `recheck_identity` and its hourly schedule."""
    names = [keys.of_stream(stream, "identity") for stream in stream_names(estate)]
    job = dg.define_asset_job(
        "recheck_identity",
        selection=dg.AssetSelection.assets(list(keys.DNS_PLAN), *[list(key) for key in names]),
        description="Look at DNS again, both streams, and write fresh evidence.",
        tags={"dualstream/environment": environment},
    )
    hourly = dg.ScheduleDefinition(
        name="recheck_identity_hourly",
        job=job,
        cron_schedule="7 * * * *",
        execution_timezone=str(estate.zone),
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    return Automation(jobs=(job,), schedules=(hourly,))
