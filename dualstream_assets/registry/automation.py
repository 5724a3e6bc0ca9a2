"""What the registry runs by itself: the job that builds the audience, and a sensor that notices a new release."""

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.resources import Automation, WorkplaceParam

ASSETS = (
    keys.NPPES_RELEASE,
    keys.NPPES_ENDPOINTS,
    keys.NPPES_PROVIDERS,
    keys.CMS_REVALIDATION,
    keys.CMS_EXCLUSIONS,
    keys.AUDIENCE_INSTITUTIONAL,
    keys.AUDIENCE_CONSUMER,
    keys.AUDIENCE_DIRECT,
    keys.AUDIENCE_REVIEW,
    keys.AUDIENCE_REJECTS,
)


def automation(estate: Estate, environment: str) -> Automation:  # noqa: ARG001
    """The job `build_audience` and its sensor.

    It only reads the inbox and writes our own files, so in production it is on; elsewhere a person starts it.
    """
    job = dg.define_asset_job(
        "build_audience",
        selection=dg.AssetSelection.assets(*[list(key) for key in ASSETS]),
        description="Read the newest release and lists in the inbox and write the audience files.",
        tags={"dualstream/environment": environment},
    )

    @dg.sensor(
        name="new_release",
        job=job,
        minimum_interval_seconds=300,
        default_status=(
            dg.DefaultSensorStatus.RUNNING if environment == "production" else dg.DefaultSensorStatus.STOPPED
        ),
        description="A release that was not built yet lies in the inbox.",
    )
    def new_release(context: dg.SensorEvaluationContext, workplace: WorkplaceParam) -> dg.SensorResult:
        from dualstream_assets.registry.archive import open_archive
        from dualstream_assets.registry.errors import RegistryError
        from dualstream_assets.registry.release import find_release

        try:
            archive = open_archive(find_release(workplace.endpoints.inbox), workplace.estate.limits)
        except RegistryError as error:
            return dg.SensorResult(skip_reason=str(error))
        if context.cursor == archive.fingerprint:
            return dg.SensorResult(skip_reason=f"{archive.path.name} was built already")
        request = dg.RunRequest(run_key=archive.fingerprint, tags={"dualstream/release": archive.path.name})
        return dg.SensorResult(run_requests=[request], cursor=archive.fingerprint)

    return Automation(jobs=(job,), sensors=(new_release,))
