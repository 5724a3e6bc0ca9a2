"""What the registry runs by itself: the job that builds the audience, and a sensor that notices new data.

The sensor's cursor says "a run was requested for these very files", never "they were processed": that is told by the
facts beside the tables, which a step writes after it has read everything. So a run that failed is not repeated every
five minutes on the same bad file; it is requested again as soon as a file changes (also one put again with the same
content), or a person launches `build_audience`.
"""

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
        description="A release or a weekly increment that no run was requested for lies in the inbox.",
    )
    def new_release(context: dg.SensorEvaluationContext, workplace: WorkplaceParam) -> dg.SensorResult:
        from dualstream_assets.registry.chain import find_chain, stamp_of
        from dualstream_assets.registry.errors import RegistryError
        from dualstream_assets.registry.shelf import load_facts

        try:
            chain = find_chain(workplace.endpoints.inbox, workplace.estate.limits)
        except RegistryError as error:
            return dg.SensorResult(skip_reason=str(error))
        wanted = f"{chain.fingerprint}-{stamp_of(archive.path for archive in chain.archives)}"
        name = " + ".join(archive.path.name for archive in chain.archives)
        if context.cursor == wanted:
            built = load_facts(workplace.paths.registry, "providers").get("fingerprint") == chain.fingerprint
            said = (
                f"{name} was built already"
                if built
                else f"a run for {name} was requested already and its tables are not there yet. If it failed:"
                " put the file right (dualstream release add FILE…), or launch the job build_audience"
            )
            return dg.SensorResult(skip_reason=said)
        request = dg.RunRequest(
            run_key=wanted,
            tags={"dualstream/release": chain.base.path.name, "dualstream/day": str(chain.day)},
        )
        return dg.SensorResult(run_requests=[request], cursor=wanted)

    return Automation(jobs=(job,), sensors=(new_release,))
