"""The pretend internet: `demo`, `lab up|run|release|dev`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click

from dualstream_assets.settings import Settings


@click.command()
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("demo"), help="Where everything is put."
)
@click.option("--seed", type=int, default=None, help="Another world: another seed.")
def demo(folder: Path, seed: int | None) -> None:
    """Run the whole operation in a pretend internet over two virtual days, then write the report page."""
    from dualstream_assets.demo.show import run_demo

    sys.exit(run_demo(folder, seed=seed))


@click.group()
def lab() -> None:
    """The pretend internet: DNS, MX hosts, two listmonks, a submission host. Needs no root."""


def lab_settings() -> Settings:
    """The settings of this process, which must be the lab's."""
    settings = Settings.read()
    if settings.environment != "lab":
        raise click.UsageError(
            f"DUALSTREAM_ENV is {settings.environment}; the lab needs it to be lab or unset"
        )
    return settings


@lab.command("up")
def lab_up() -> None:
    """Start the lab and stay in the foreground; Ctrl-C stops it."""
    from dualstream_assets.lab.serve import run_foreground

    run_foreground(lab_settings())


@lab.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def lab_run(command: tuple[str, ...]) -> None:
    """Run COMMAND with the lab behind it: dualstream lab run -- dagster asset materialize ..."""
    from dualstream_assets.entry import open_workplace

    workplace = open_workplace(lab_settings())
    _ = workplace.endpoints  # starts the lab; our lease keeps it up while COMMAND runs
    environment = os.environ | {"DUALSTREAM_ENV": "lab", "DUALSTREAM_STATE": str(workplace.settings.state)}
    sys.exit(subprocess.run(command, env=environment, check=False).returncode)


@lab.command("release")
@click.option("--out", type=click.Path(path_type=Path), default=Path(), help="Folder to write into.")
@click.option("--seed", type=int, default=None)
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=None,
    help="A release of this many providers (the real one: 9400000) instead of the lab's small world.",
)
@click.option(
    "--endpoints",
    type=click.IntRange(min=1),
    default=None,
    help="With --rows: rows of endpoint_pfile. Default: in proportion, 600000 for 9400000.",
)
def lab_release(out: Path, seed: int | None, rows: int | None, endpoints: int | None) -> None:
    """Write the lab's NPPES release and lists: one seed, one world, byte for byte.

    With --rows a release of full scale, and what a reader has to find in it in OUT/truth.
    """
    from dualstream_assets.entry import open_estate
    from dualstream_assets.lab.release import write_release
    from dualstream_assets.lab.world import World, release_day_of

    estate = open_estate(lab_settings())
    assert estate.lab is not None  # noqa: S101  # open_estate refuses a lab without it
    seed = estate.lab.seed if seed is None else seed
    if rows is None:
        if endpoints is not None:
            raise click.UsageError("--endpoints needs --rows")
        click.echo(write_release(World.build(seed, estate.lab.domains, estate), out))
        return
    from dualstream_assets.lab.bulk import write_bulk

    try:
        made = write_bulk(
            out,
            rows=rows,
            endpoints=endpoints,
            seed=seed,
            release_day=release_day_of(estate.lab.epoch.date()),
            say=click.echo,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    click.echo(made.path)
    click.echo(made.truth)


@lab.command("dev")
@click.option("--port", type=int, default=3000, show_default=True)
def lab_dev(port: int) -> None:
    """Serve the Dagster UI on 127.0.0.1 with the lab behind it; Ctrl-C stops both."""
    from dualstream_assets.lab.dev import run_dev

    sys.exit(run_dev(lab_settings(), port))
