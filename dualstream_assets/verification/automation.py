"""What verification runs by itself: the job `verify_mailboxes`, which alone may ask in production."""

from typing import Any

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.resources import Automation

ACTING = (keys.VERIFICATION_MX, keys.VERIFICATION_VERDICTS)


def automation(estate: Estate, environment: str) -> Automation:
    """The job, and an hourly schedule that goes on until the retry ladder is empty. It asks strangers: off at first."""
    selection = dg.AssetSelection.assets(*[list(key) for key in (*ACTING, keys.VERIFIED_INSTITUTIONAL)])
    config: dict[str, Any] = {"ops": {"__".join(key): {"config": {"act": True}} for key in ACTING}}
    job = dg.define_asset_job(
        "verify_mailboxes",
        selection=selection,
        config=config,
        description="Look up MX hosts, ask every mailbox that is due, write the verified file. Sends nothing.",
        tags={"dualstream/environment": environment},
    )
    hourly = dg.ScheduleDefinition(
        name="verify_mailboxes_hourly",
        job=job,
        cron_schedule="17 * * * *",
        execution_timezone=str(estate.zone),
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )
    return Automation(jobs=(job,), schedules=(hourly,))
