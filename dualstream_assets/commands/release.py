"""Releases and lists: `release add|inspect`. `inspect` needs no database and no lab."""

from __future__ import annotations

from pathlib import Path

import click

from dualstream_assets.commands.arguments import declared_estate


@click.group()
def release() -> None:
    """NPPES releases and CMS lists."""


@release.command("inspect")
@click.argument("zip_path", metavar="ZIP", type=click.Path(path_type=Path))
def release_inspect(zip_path: Path) -> None:
    """Read a release and show counts per endpoint type, rule, repair and reject."""
    from dualstream_assets.audience.split import inspect_release

    for line in inspect_release(zip_path, declared_estate()).lines():
        click.echo(line)


@release.command("add")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def release_add(files: tuple[Path, ...]) -> None:
    """Check FILES (a release ZIP, CMS and OIG lists) and put them into the inbox."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.registry.release import add

    workplace = open_workplace()
    for path in add(files, workplace.endpoints.inbox, workplace.estate.limits):
        click.echo(path)
