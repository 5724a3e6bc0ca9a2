"""Mailbox verification: `verify start|status`. Asks MX hosts with RCPT and never sends."""

from __future__ import annotations

import subprocess
import sys

import click


@click.group()
def verify() -> None:
    """Prove which mailboxes exist."""


@verify.command("start")
def verify_start() -> None:
    """Run the job `verify_mailboxes` here and now."""
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "dualstream_assets.definitions"]
    sys.exit(subprocess.run([*command, "-j", "verify_mailboxes"], check=False).returncode)


@verify.command("status")
def verify_status() -> None:
    """Mailboxes per verdict, and how many are due for a visit."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.proofs.figures import verdict_counts

    workplace = open_workplace()
    with workplace.database.transaction() as connection:
        counts = verdict_counts(connection)
        for verdict, count in counts.items():
            click.echo(f"{count:>8,}  {verdict}")
        due = connection.execute(
            "select count(*), min(next_visit) from mailbox where next_visit is not null"
        ).fetchone()
    if not counts:
        click.echo("nothing verified yet: dualstream verify start")
    if due and due[0]:
        click.echo(f"{due[0]:>8,}  wait for another visit, the first at {due[1]:%Y-%m-%d %H:%M} UTC")
