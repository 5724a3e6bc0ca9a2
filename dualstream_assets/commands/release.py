"""Releases and lists: `release add|fetch|inspect`. `inspect` needs no database and no lab."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dualstream_assets.registry.release import Added
    from dualstream_assets.workplace import Workplace

KINDS = ("monthly", "weekly", "deactivated", "leie", "revalidation", "revoked", "opt-out", "ppef", "all")


@click.group()
def release() -> None:
    """NPPES releases and CMS lists."""


@release.command("inspect")
@click.argument("zip_path", metavar="ZIP", type=click.Path(path_type=Path))
def release_inspect(zip_path: Path) -> None:
    """Read a release: counts per endpoint type, rule, repair and reject; and how the lists beside it stand.

    Given a list instead of a ZIP: how that list stands.
    """
    from dualstream_assets.audience.split import inspect_release
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.registry.known import list_lines
    from dualstream_assets.registry.release import check_file, list_kind
    from dualstream_assets.registry.sizes import floors_of

    workplace = open_workplace()
    estate = workplace.estate
    if list_kind(zip_path.name):
        click.echo(_stands(check_file(zip_path, estate.limits), workplace))
        return
    report = inspect_release(zip_path, estate)
    lists = list_lines(zip_path.parent, _today(workplace), estate.limits, floors_of(workplace.environment))
    for line in replace(report, lists=lists).lines():
        click.echo(line)


@release.command("add")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def release_add(files: tuple[Path, ...]) -> None:
    """Check FILES (releases, CMS and OIG lists) and put them into the inbox, all or none."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.registry.release import add

    workplace = open_workplace()
    for one in add(files, workplace.endpoints.inbox, workplace.estate.limits):
        click.echo(f"{one.path}: {one.said}")
        if one.kind is not None:
            click.echo(f"  {_stands(one, workplace)}")


@release.command("fetch")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), default=("all",), show_default=True)
@click.option(
    "--to", "folder", type=click.Path(path_type=Path, file_okay=False), help="Instead of the inbox."
)
def release_fetch(kinds: tuple[str, ...], folder: Path | None) -> None:
    """Download the newest files from CMS and OIG, check them, put them into the inbox. `all` is all but ppef."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.registry.download import fetch
    from dualstream_assets.registry.published import EVERYTHING

    workplace = open_workplace()
    if folder is None and workplace.environment == "lab":
        raise click.UsageError("the lab publishes a release of its own: name a folder with --to")
    wanted = dict.fromkeys(
        one for kind in kinds for one in (EVERYTHING if kind == "all" else (kind.replace("-", "_"),))
    )
    inbox = folder or workplace.endpoints.inbox
    fetch(tuple(wanted), inbox, workplace.estate.limits, say=click.echo)


def _stands(one: Added, workplace: Workplace) -> str:
    """How a list stands by itself, as `lists_known` will judge it."""
    from dualstream_assets.registry.known import list_finding
    from dualstream_assets.registry.medicare import ListKind
    from dualstream_assets.registry.sizes import floors_of

    found = list_finding(
        ListKind(one.kind or ""),
        one.source,
        _today(workplace),
        workplace.estate.limits,
        floors=floors_of(workplace.environment),
    )
    return f"{found.verdict}: {found.said}"


def _today(workplace: Workplace) -> date:
    return workplace.clock.now().astimezone(workplace.estate.zone).date()
