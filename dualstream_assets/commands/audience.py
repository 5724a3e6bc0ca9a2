"""The audience: `audience build|rule`. They need no database and no lab."""

from __future__ import annotations

import re
from pathlib import Path

import click

from dualstream_assets.commands.arguments import declared_estate


@click.group()
def audience() -> None:
    """Who may be written to, and on which stream."""


@audience.command("build")
@click.option(
    "--release", "zip_path", required=True, type=click.Path(path_type=Path), help="A V2 release ZIP."
)
@click.option(
    "--lists",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=None,
    help="Folder with CMS and OIG lists. Default: beside the ZIP.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the CSVs.")
def audience_build(zip_path: Path, lists: Path | None, out: Path) -> None:
    """Split a release into the files of the plan, with a manifest; all of them or none."""
    from datetime import UTC, datetime

    from dualstream_assets.audience.split import build_audience_from_zip

    estate = declared_estate()
    today = datetime.now(UTC).astimezone(estate.zone).date()
    manifest = build_audience_from_zip(zip_path, out, estate, lists_folder=lists, today=today)
    for name, facts in manifest.files.items():
        click.echo(f"{facts.rows:>9,}  {name}")
    for name in manifest.missing_lists:
        click.echo(f"  unknown  {name}: the list was not there, so nobody was dropped by it")
    click.echo(f"           {out / 'manifest.json'}")


@audience.command("rule")
@click.argument("address_or_domain")
def audience_rule(address_or_domain: str) -> None:
    """Say which segment an ADDRESS or DOMAIN falls into, by which rule, on what evidence."""
    from dualstream_assets.audience.classify import Classifier

    if not re.fullmatch(r"(?:[^@\s]+@)?[^@\s.]+(?:\.[^@\s.]+)+", address_or_domain.strip()):
        raise click.UsageError(
            f"{address_or_domain!r} is neither an address nor a domain such as clinic.example"
        )
    classifier = Classifier.of(declared_estate())
    classify = classifier.classify_address if "@" in address_or_domain else classifier.classify_domain
    ruling = classify(address_or_domain)
    click.echo(f"{ruling.segment}  rule {ruling.rule}  {ruling.evidence}")
