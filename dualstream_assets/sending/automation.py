"""What sending runs by itself. What protects is on (cap at 07:20, drift, brakes); what sends is off outside the lab."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.resources import Act, Automation, WorkplaceParam

LATE = timedelta(hours=2)
"""A cap schedule that fires later than this (the daemon was down) is left to the drift sensor and to tomorrow."""
MINUTE = 60


def automation(estate: Estate, environment: str) -> Automation:
    """Jobs, the cap's schedule, and three sensors."""
    set_rampcap = _acting(
        "set_rampcap", estate, environment, ("rampcap",), "Decide today's caps and write them."
    )
    release_wave = _acting(
        "release_wave",
        estate,
        environment,
        ("waves",),
        "Release the next wave of each stream, if the gate is open.",
    )
    send_today = _send_today(estate, environment)
    lower_caps = _lower_caps(estate, environment)
    return Automation(
        jobs=(set_rampcap, release_wave, send_today, lower_caps, _engage_brake(environment)),
        schedules=(_at_0720(estate, set_rampcap),),
        sensors=(
            _drift(estate, lower_caps),
            _brakes(estate),
            _waves_due(estate, release_wave, environment),
        ),
    )


def _acts(estate: Estate, names: tuple[str, ...], *shared: keys.Key) -> dg.RunConfig:
    """Run config that sets `act`: only these jobs have it."""
    acting = [keys.of_stream(stream, name) for stream in estate.streams for name in names]
    return dg.RunConfig(ops={"__".join(key): Act(act=True) for key in (*acting, *shared)})


def _acting(name: str, estate: Estate, environment: str, of: tuple[str, ...], text: str) -> Any:
    selected = [list(keys.of_stream(stream, asset)) for stream in estate.streams for asset in of]
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(*selected),
        config=_acts(estate, of),
        description=text,
        tags={"dualstream/environment": environment, "dualstream/acts": name, "dagster/max_retries": "0"},
    )


def _send_today(estate: Estate, environment: str) -> Any:
    names = ("identity", "campaign", "rampcap", "gate", "waves")
    selected = [list(keys.of_stream(stream, name)) for stream in estate.streams for name in names]
    return dg.define_asset_job(
        "send_today",
        selection=dg.AssetSelection.assets(*selected, list(keys.SUPPRESSION), list(keys.MAILLOG_OUTCOMES)),
        config=_acts(estate, ("rampcap", "waves"), keys.SUPPRESSION),
        description="Look at identity, content, caps and opt-outs again, then release one wave per stream.",
        tags={
            "dualstream/environment": environment,
            "dualstream/acts": "release_wave",
            "dagster/max_retries": "0",
        },
    )


def _lower_caps(estate: Estate, environment: str) -> dg.JobDefinition:
    @dg.op(name="lower_caps_op")
    def lower(context: dg.OpExecutionContext, workplace: WorkplaceParam) -> None:
        from dualstream_assets.sending.caplook import look_at_cap
        from dualstream_assets.sending.parts import lower_cap

        for stream in estate.streams:
            context.log.info(lower_cap(workplace, stream).headline)
            look_at_cap(workplace, stream, timedelta(hours=26))

    @dg.job(
        name="lower_caps",
        description="Lower every cap that is wider than the ramp allows; raises none.",
        tags={"dualstream/environment": environment},
    )
    def lower_caps() -> None:
        lower()

    return lower_caps


class BrakeOn(dg.Config):
    """Which stream to hold, and why."""

    stream: str
    reason: str


def _engage_brake(environment: str) -> dg.JobDefinition:
    @dg.op(name="engage_brake_op")
    def engage(context: dg.OpExecutionContext, workplace: WorkplaceParam, config: BrakeOn) -> None:
        from dualstream_assets.sending.brake import Brake
        from dualstream_assets.sending.brake import engage as put_on

        if config.stream not in workplace.estate.streams:
            raise dg.Failure(f"no stream {config.stream!r} in the estate", allow_retries=False)
        brake = Brake(config.stream, "manual", config.reason, "job engage_brake", workplace.clock.now())
        with workplace.database.transaction() as connection:
            new = put_on(connection, brake)
        context.log.info("%s: brake %s", config.stream, "on" if new else "was on already")

    @dg.job(
        name="engage_brake",
        description="Hold a stream at once. Releasing it is a command: dualstream brake off STREAM --reason …",
        tags={"dualstream/environment": environment},
    )
    def engage_brake() -> None:
        engage()

    return engage_brake


def _at_0720(estate: Estate, job: Any) -> dg.ScheduleDefinition:
    @dg.schedule(
        name="rampcap_at_0720",
        cron_schedule="20 7 * * *",
        execution_timezone=str(estate.zone),
        job=job,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Decides each stream's cap for the local date and writes it. Skips when more than 2 h late.",
    )
    def at_0720(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        due = context.scheduled_execution_time
        late = datetime.now(UTC) - due
        if late > LATE:
            return dg.SkipReason(
                f"{late} late: today's caps stay as they are; `dualstream rampcap set STREAM`"
            )
        return dg.RunRequest(run_key=f"rampcap {due.date()}", tags={"dualstream/date": str(due.date())})

    return at_0720


def _drift(estate: Estate, job: Any) -> dg.SensorDefinition:
    @dg.sensor(
        name="cap_drift",
        job=job,
        minimum_interval_seconds=MINUTE,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Notices a cap that is wider than the ramp allows, or a changed stamp. It may only lower.",
    )
    def cap_drift(workplace: WorkplaceParam) -> dg.RunRequest | dg.SkipReason:
        from dualstream_assets.sending.caplook import drifted

        found = [stream for stream in estate.streams if drifted(workplace, stream)]
        if not found:
            return dg.SkipReason("no cap is wider than allowed")
        return dg.RunRequest(tags={"dualstream/streams": ",".join(found)})

    return cap_drift


def _brakes(estate: Estate) -> dg.SensorDefinition:
    @dg.sensor(
        name="brakes",
        minimum_interval_seconds=MINUTE,
        default_status=dg.DefaultSensorStatus.RUNNING,
        target=None,
        description="Looks at what receivers answered and puts a brake on by itself; the gate then refuses.",
    )
    def brakes(workplace: WorkplaceParam) -> dg.SkipReason:
        from dualstream_assets.sending.brake import watch

        said = []
        for stream in estate.streams:
            with workplace.database.transaction() as connection:
                brake = watch(connection, workplace.estate, stream, workplace.clock.now())
            said += [f"{stream}: {brake.kind} brake on: {brake.reason}"] if brake else []
        return dg.SkipReason("; ".join(said) or "no brake came on")

    return brakes


def _waves_due(estate: Estate, job: Any, environment: str) -> dg.SensorDefinition:
    on = dg.DefaultSensorStatus.RUNNING if environment == "lab" else dg.DefaultSensorStatus.STOPPED

    @dg.sensor(
        name="wave_due",
        job=job,
        minimum_interval_seconds=MINUTE,
        default_status=on,
        description="Asks every minute whether a wave is due; a run starts only then. Off until a person turns it on.",
    )
    def wave_due(workplace: WorkplaceParam) -> list[dg.RunRequest] | dg.SkipReason:
        from dualstream_assets.sending.parts import NotReachableError, sender_of
        from dualstream_assets.sending.tick import is_due

        requests, said = [], []
        for stream in estate.streams:
            try:
                due, why_not = is_due(sender_of(workplace, stream))
            except NotReachableError as error:
                due, why_not = False, str(error)
            if due:
                waves = dg.AssetKey(list(keys.of_stream(stream, "waves")))
                requests.append(dg.RunRequest(asset_selection=[waves], tags={"dualstream/stream": stream}))
            else:
                said.append(f"{stream}: {why_not}")
        return requests or dg.SkipReason("; ".join(said))

    return wave_due
