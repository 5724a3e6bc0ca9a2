"""What moves mail or stops it: `rampcap`, `wave`, `brake`, `arm`, `disarm`, `stop`."""

from __future__ import annotations

import getpass
import sys
from datetime import datetime

import click

from dualstream_assets.commands.arguments import STREAM


@click.group()
def rampcap() -> None:
    """The cap of a stream in its listmonk."""


@rampcap.command("show")
@STREAM
def rampcap_show(stream: str) -> None:
    """Show the last decision of the ramp and its reason."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.sending.ramp_days import last_decision

    with open_workplace().database.transaction() as connection:
        decision = last_decision(connection, stream)
    click.echo(f"{stream}: {decision.said if decision else 'not decided yet: the lowest stage holds'}")


@rampcap.command("set")
@STREAM
def rampcap_set(stream: str) -> None:
    """Decide for today and write the cap, as the schedule does at 07:20; idempotent per local date."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.sending.parts import set_cap

    done = set_cap(open_workplace(), stream)
    click.echo(done.headline)


@click.group()
def wave() -> None:
    """Small batches: plan, release."""


@wave.command("plan")
@STREAM
def wave_plan(stream: str) -> None:
    """Show the next wave; sends nothing."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.sending.parts import tick

    click.echo(tick(open_workplace(), stream, act=False).headline)


@wave.command("release")
@STREAM
def wave_release(stream: str) -> None:
    """Release the next wave if one is due and the gate is open; exit 1 if it was refused."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.sending.parts import read_mail_log, tick

    workplace = open_workplace()
    read_mail_log(workplace)
    result = tick(workplace, stream)
    click.echo(result.headline)
    sys.exit(result.outcome in ("refused", "failed"))


@click.group()
def brake() -> None:
    """Hold a stream, or let it go on."""


@brake.command("on")
@STREAM
@click.option("--reason", required=True)
def brake_on(stream: str, reason: str) -> None:
    """Hold STREAM at once: no wave is released while the brake is on."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.sending.brake import Brake, engage

    workplace = open_workplace()
    with workplace.database.transaction() as connection:
        new = engage(connection, Brake(stream, "manual", reason, "command line", workplace.clock.now()))
    click.echo(f"{stream}: brake {'on' if new else 'was on already'}")


@brake.command("off")
@STREAM
@click.option("--reason", required=True)
def brake_off(stream: str, reason: str) -> None:
    """Release every brake of STREAM; the reason stays on record."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.sending.brake import release_brake

    workplace = open_workplace()
    with workplace.database.transaction() as connection:
        count = release_brake(connection, stream, reason, workplace.clock.now())
    click.echo(f"{stream}: {count} brake{'s' if count != 1 else ''} off")


@brake.command("show")
def brake_show() -> None:
    """Show the brakes that are on."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.sending.brake import brake_on as on

    workplace = open_workplace()
    with workplace.database.transaction() as connection:
        for stream in workplace.estate.streams:
            found = on(connection, stream)
            click.echo(f"{stream}: {f'{found.kind} brake: {found.reason}' if found else 'off'}")


@click.command()
@STREAM
@click.option("--reason", required=True)
@click.option(
    "--until", required=True, type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"]), help="Local time."
)
def arm(stream: str, reason: str, until: datetime) -> None:
    """Let STREAM send in production until a moment. Not offered in the UI, on purpose."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.sending.arming import arm as put

    workplace = open_workplace()
    with workplace.database.transaction() as connection:
        arming = put(
            connection,
            workplace.estate,
            stream,
            reason=reason,
            ends_at=until.replace(tzinfo=workplace.estate.zone),
            armed_by=getpass.getuser(),
            now=workplace.clock.now(),
            environment=workplace.environment,
        )
    click.echo(f"{stream} is armed until {arming.ends_at:%Y-%m-%d %H:%M %Z}: {reason}")


@click.command()
@STREAM
def disarm(stream: str) -> None:
    """End the arming of STREAM now."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.sending.arming import disarm as end

    workplace = open_workplace()
    with workplace.database.transaction() as connection:
        was = end(connection, stream, workplace.clock.now())
    click.echo(f"{stream} {'is disarmed' if was else 'was not armed'}")


@click.group()
def stop() -> None:
    """Stops of a stream: a leak, a wrong recipient at a port."""


@stop.command("show")
def stop_show() -> None:
    """Show stops that nobody acknowledged."""
    from dualstream_assets.entry import open_workplace

    with open_workplace().database.transaction() as connection:
        rows = connection.execute(
            "select id, stream, reason, at from stream_stop where acknowledged_at is null order by id"
        ).fetchall()
    for number, stream, reason, at in rows:
        click.echo(f"{number}  {stream}  since {at:%Y-%m-%d %H:%M} UTC: {reason}")
    if not rows:
        click.echo("none")


@stop.command("acknowledge")
@click.argument("number", type=int)
@click.option("--reason", required=True, help="What was found and mended.")
def stop_acknowledge(number: int, reason: str) -> None:
    """Acknowledge stop NUMBER; the gate may open again after that."""
    from dualstream_assets.entry import open_workplace

    workplace = open_workplace()
    with workplace.database.transaction() as connection:
        done = connection.execute(
            "update stream_stop set acknowledged_at = %s, acknowledged_reason = %s"
            " where id = %s and acknowledged_at is null",
            (workplace.clock.now(), reason, number),
        ).rowcount
    click.echo("acknowledged" if done else f"no open stop {number}: dualstream stop show")
    sys.exit(not done)
