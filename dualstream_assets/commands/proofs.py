"""What is proved and reported: `proof`, `report`."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.argument("name", default="all")
def proof(name: str) -> None:
    """Prove NAME (isolation, identity, deliverability, cap, no_regression) or all; exit 1 unless all hold."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.proofs.collect import collect
    from dualstream_assets.proofs.witness import Proved

    found = collect(open_workplace())
    shown = [p for p in found.proofs if name in ("all", p.name)]
    if not shown:
        raise click.UsageError(f"no proof {name!r}; there are {', '.join(p.name for p in found.proofs)}")
    for one in shown:
        click.echo(f"{one.outcome:8} {one.name}: {one.sentence}")
        for figure, value in one.figures.items():
            click.echo(f"           {figure} {value}")
        click.echo(f"           cannot see: {one.unseen}")
    sys.exit(any(one.outcome is not Proved.PASS for one in shown))


@click.group()
def report() -> None:
    """The report page."""


@report.command("write")
@click.option(
    "--out", type=click.Path(path_type=Path), default=None, help="Default: the state folder's reports/."
)
def report_write(out: Path | None) -> None:
    """Write the page and print where it is."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.proofs.report import write_report

    workplace = open_workplace()
    click.echo(write_report(workplace, out or workplace.paths.reports / "report.html"))


@report.command("open")
def report_open() -> None:
    """Write the page and open it in a browser."""
    import webbrowser

    from dualstream_assets.entry import open_workplace
    from dualstream_assets.proofs.report import write_report

    workplace = open_workplace()
    path = write_report(workplace, workplace.paths.reports / "report.html")
    click.echo(path)
    webbrowser.open(path.as_uri())
