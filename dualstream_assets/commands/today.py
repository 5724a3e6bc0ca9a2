"""What is so today: `status`, `gate`, `check`, `forecast`. They read; `check` runs a room's checks again."""

from __future__ import annotations

import sys

import click

from dualstream_assets.commands.arguments import STREAM, StreamName


@click.command()
def status() -> None:
    """The board in the terminal: today in one sentence, caps, gates, proofs, what waits for you."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.proofs.collect import collect

    board = collect(open_workplace()).board
    click.echo(f"[{board.environment}] {board.sentence}")
    for s in board.streams:
        gate = "open" if s.gate.open else "SHUT"
        click.echo(
            f"  {s.stream:12} gate {gate}  {s.cap_per_hour}/h {s.cap_per_day}/day  sent {s.sent_today}  {s.last_wave}"
        )
        if not s.gate.open:
            click.echo(f"               {s.gate.refusal}")
    for proof in board.proofs:
        click.echo(f"  proof {proof.name:15} {proof.outcome}: {proof.sentence}")
    for line in board.waiting:
        click.echo(f"  waiting for you: {line}")


@click.command()
@STREAM
def gate(stream: str) -> None:
    """Every requirement of STREAM's gate, its evidence, its age and its cure; exit 1 while it is shut."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.sending.gate import assess

    workplace = open_workplace()
    with workplace.database.transaction() as connection:
        report = assess(
            connection, workplace.estate, stream, workplace.clock.now(), environment=workplace.environment
        )
    for row in report.rows:
        click.echo(f"{row.verdict:8} {row.subject} {row.fact}: {row.evidence}")
        if row.verdict != "pass":
            click.echo(f"         next: {row.cure}")
    click.echo(report.refusal or f"{stream}: gate open")
    sys.exit(not report.open)


ROOMS = {
    "identity": ("{stream}/identity", "{stream}/message_score"),
    "postfix": ("mta/config", "mta/deployed", "mta/drift"),
    "listmonk": ("{stream}/listmonk", "{stream}/subscribers"),
    "maillog": ("maillog/log", "maillog/outcomes"),
    "caps": ("{stream}/rampcap",),
}


@click.command()
@click.argument("what", type=click.Choice(sorted(ROOMS)))
def check(what: str) -> None:
    """Run one room's assets and checks now; changes nothing outside unless this is the lab."""
    import subprocess

    from dualstream_assets.entry import open_workplace

    streams = open_workplace().estate.streams
    chosen = dict.fromkeys(name.format(stream=s) for name in ROOMS[what] for s in streams)
    selection = " or ".join(f'key:"{name}"' for name in chosen)
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "--select", selection]
    sys.exit(subprocess.run([*command, "-m", "dualstream_assets.definitions"], check=False).returncode)


@click.command()
@click.option("--stream", type=StreamName(), default="healthcare", show_default=True)
@click.option("--days", type=click.IntRange(1), default=14, show_default=True)
def forecast(stream: str, days: int) -> None:
    """From today on: caps by date, when the full ceiling comes, when the verified stock is drained."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.proofs.collect import collect
    from dualstream_assets.sending.forecast import forecast as look_ahead

    workplace = open_workplace()
    stock = collect(workplace).board.unmailed
    with workplace.database.transaction() as connection:
        found = look_ahead(connection, workplace.estate, stream, workplace.clock.now(), stock)
    for day in found.days[:days]:
        click.echo(f"{day.date}  {day.cap_per_hour:>5}/h {day.cap_per_day:>6}/day  would send {day.sends}")
    click.echo(
        f"ceiling {found.ceiling_date or 'not before the stock ends'}; stock of {stock} drained {found.drain_date}"
    )
