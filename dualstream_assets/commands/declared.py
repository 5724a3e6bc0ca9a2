"""What is declared: `estate check|show`, `doctor`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dualstream_assets.estate import Estate, EstateError, find_estate, load_estate
from dualstream_assets.estate.questions import questions, unanswered
from dualstream_assets.settings import Settings


def _found(path: Path | None) -> tuple[Path, str]:
    settings = Settings.read()
    if path is not None:
        return path, "named on the command line"
    found = find_estate(settings.environment, settings.estate_path)
    return found.path, found.why


@click.group()
def estate() -> None:
    """Check and show what is declared in estate.toml."""


@estate.command("check")
@click.argument("path", required=False, type=click.Path(path_type=Path))
def estate_check(path: Path | None) -> None:
    """Print every finding at once; exit 1 if there is one."""
    file, why = _found(path)
    try:
        found = load_estate(file)
    except EstateError as error:
        for finding in error.findings:
            click.echo(f"{file.name}: {finding}")
        click.echo(f"{len(error.findings)} findings in {file} ({why})", err=True)
        sys.exit(1)
    waiting = len(unanswered(found))
    click.echo(f"{file.name}: no finding ({why})" + (f"; {waiting} questions open" if waiting else ""))


@estate.command("show")
@click.argument("path", required=False, type=click.Path(path_type=Path))
def estate_show(path: Path | None) -> None:
    """Print the estate as tables."""
    file, why = _found(path)
    _show(load_estate(file), f"{file.name} ({why})")


def _show(found: Estate, title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(f"[bold]{found.organisation.name}[/], domain {found.organisation.domain}: {title}")
    egress = Table(title="Egresses")
    for column in ("IP", "HELO", "transport", "stream", "state", "port", "submission name", "was"):
        egress.add_column(column)
    for e in found.egress:
        egress.add_row(
            str(e.ip), e.helo, e.transport, e.stream, e.state, str(e.port or ""), e.submit_name or "",
            e.former_transport or "",
        )  # fmt: skip
    console.print(egress)
    streams = Table(title="Streams")
    for column in ("stream", "segment", "share", "mode", "caps by day (hour/day)", "window", "cap writer"):
        streams.add_column(column)
    for name, s in found.streams.items():
        stages = ", ".join(f"{g.from_day}+: {g.cap_per_hour}/{g.cap_per_day}" for g in s.ramp.stages)
        window = f"{s.window.days[0]}-{s.window.days[-1]} {s.window.start:%H:%M}-{s.window.end:%H:%M}"
        streams.add_row(name, s.segment, f"{s.share:.0%}", s.ramp.mode, stages, window, s.ramp.cap_writer)
    console.print(streams)
    hosts = Table(title="Hosts and zones")
    for column in ("name", "role", "address", "SSH", "zones"):
        hosts.add_column(column)
    for name, h in found.hosts.items():
        zones = ", ".join(z.name for z in found.dns.zones if z.host == name)
        hosts.add_row(name, h.role, h.address or "?", f"{h.ssh_user}@:{h.ssh_port}", zones)
    console.print(hosts)
    waiting = unanswered(found)
    if waiting:
        console.print(f"{len(waiting)} questions open: dualstream doctor --questions")


@click.command()
@click.option("--questions", "only_questions", is_flag=True, help="List what only you can answer.")
def doctor(only_questions: bool) -> None:
    """Look at this machine and say what is missing; exit 1 if something is."""
    if only_questions:
        _questions()
        return
    from dualstream_assets.entry import open_workplace

    workplace = open_workplace()
    click.echo(f"environment  {workplace.environment}")
    click.echo(f"estate       {workplace.estate.organisation.name}")
    click.echo(f"state        {workplace.settings.state}")
    with workplace.database.transaction() as connection:
        row = connection.execute("show server_version").fetchone()
    click.echo(f"database     PostgreSQL {row[0] if row else '?'}, migrated")
    endpoints = workplace.endpoints
    click.echo(f"mail log     {'readable' if endpoints.maillog else 'MISSING: /var/log/mail.log'}")
    missing = [name for name in workplace.estate.streams if name not in endpoints.listmonk]
    for name in missing:
        variable = workplace.estate.streams[name].listmonk.token_variable
        click.echo(f"listmonk     {name}: MISSING token in {variable}, or its url in the estate")
    open_questions = len(unanswered(workplace.estate))
    click.echo(f"questions    {open_questions} open" + (": doctor --questions" if open_questions else ""))
    sys.exit(bool(missing) or endpoints.maillog is None)


def _asked_estate() -> tuple[Path, str]:
    """The questions are production's: its estate is shown also where this process is the lab."""
    settings = Settings.read()
    if settings.environment == "lab" and settings.estate_path is None:
        try:
            found = find_estate("production", None)
        except EstateError:
            return _found(None)  # a wheel far from any checkout: only the lab's estate is there
        return found.path, found.why
    return _found(None)


def _questions() -> None:
    file, why = _asked_estate()
    found = load_estate(file)
    click.echo(f"What we need from you, for {file.name} ({why}):\n")
    for question in questions(found):
        mark = "answered" if question.answered(found) else "OPEN"
        click.echo(f"  [{mark:8}] {question.key}\n             {question.question} ({question.why})")
    click.echo(
        f"\n{len(unanswered(found))} open. Production refuses to start until each has a value in the estate."
    )
