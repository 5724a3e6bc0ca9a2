"""The audience: `audience build|rule|decide|accept`. They start no lab.

Only a build into our own state folder needs the database: it tells the gate that the files are new.
"""

from __future__ import annotations

import getpass
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dualstream_assets.commands.arguments import declared_estate
from dualstream_assets.settings import Settings

if TYPE_CHECKING:
    from dualstream_assets.audience.decisions import Decision, Decisions
    from dualstream_assets.clock import Clock

OUT = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    help="Folder of the published audience. Default: the one in our state folder.",
)
BY = click.option("--by", default=getpass.getuser, help="Who decides. Default: the login name.")


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
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the CSVs.",
)
@click.option("--fresh", is_flag=True, help="Read the files again, whatever was kept of an earlier run.")
def audience_build(zip_path: Path, lists: Path | None, out: Path, fresh: bool) -> None:
    """Split a release into the files of the plan, with a manifest; all of them or none.

    Weeklies beside the ZIP that continue it are applied. What was read is kept, so that a second run takes a second.
    """
    from datetime import UTC, datetime

    from dualstream_assets.audience.fit import rebuilding
    from dualstream_assets.audience.split import build_audience_from_zip
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.registry.cache import Cache

    estate = declared_estate()
    cache = Cache(
        Settings.read().state / "cache" / "releases", fresh, lambda line: click.echo(line, err=True)
    )
    today = datetime.now(UTC).astimezone(estate.zone).date()
    ours = out.resolve() == _folder(None).resolve()
    with rebuilding(open_workplace()) if ours else nullcontext():
        manifest = build_audience_from_zip(zip_path, out, estate, lists, today=today, cache=cache)
    for name, facts in manifest.files.items():
        click.echo(f"{facts.rows:>9,}  {name}")
    for name in manifest.missing_lists:
        click.echo(f"  unknown  {name}: the list was not there, so nobody was dropped by it")
    click.echo(f"           {out / 'manifest.json'}")


@audience.command("rule")
@click.argument("address_or_domain")
@OUT
def audience_rule(address_or_domain: str, out: Path | None) -> None:
    """Say which segment an ADDRESS or DOMAIN falls into, by which rule, on what evidence; and what was decided."""
    from dualstream_assets.audience import decisions
    from dualstream_assets.audience.classify import Classifier
    from dualstream_assets.registry.addresses import Refused, extract

    is_address = "@" in address_or_domain
    texts = extract(address_or_domain if is_address else f"a@{address_or_domain.strip()}")
    if not is_address and any(isinstance(one, Refused) for one in texts):
        raise click.UsageError(
            f"{address_or_domain!r} is neither an address nor a domain such as clinic.example"
        )
    classifier, decided = Classifier.of(declared_estate()), decisions.read(_folder(out))
    for one in texts:
        if isinstance(one, Refused):
            meant = f" (meant {one.suggestion}?)" if one.suggestion else ""
            click.echo(f"dropped  rule refused-{one.reason.replace('_', '-')}  {one.text}{meant}")
            continue
        if is_address and one.address != address_or_domain:
            click.echo(f"{one.address} ({', '.join(one.repairs) or 'found in the text'})")
        subject = one.address if is_address else one.address.rpartition("@")[2]
        ruling = (classifier.classify_address if is_address else classifier.classify_domain)(subject)
        click.echo(f"{ruling.segment}  rule {ruling.rule}  {ruling.evidence}")
        if found := decided.about(subject):
            holds = decisions.may(ruling.segment, found.segment)
            not_so = "" if holds else f"  (not applied to what the tables rule {ruling.segment})"
            click.echo(_decided(found) + not_so)


@audience.command("decide")
@click.argument("subject", required=False)
@click.option("--segment", type=click.Choice(["institutional", "consumer", "direct", "dropped", "review"]))
@click.option("--reason", help="Why, for the record; it becomes the evidence of the rows.")
@click.option("--addresses", is_flag=True, help="List the waiting addresses too.")
@BY
@OUT
def audience_decide(
    subject: str | None, segment: str | None, reason: str | None, addresses: bool, by: str, out: Path | None
) -> None:
    """Decide what becomes of SUBJECT, an address or a domain in the review file. Without it: list what waits.

    Only what the tables leave to a person can be sent to a file; anything can be dropped; review takes a decision
    back. An address beats its domain, the newest decision beats older ones.
    """
    from dualstream_assets.audience import decisions
    from dualstream_assets.audience.classify import Classifier

    if subject is None:
        if segment or reason:
            raise click.UsageError("say whom: dualstream audience decide SUBJECT --segment … --reason …")
        _list(_folder(out), decisions.read(_folder(out)), addresses=addresses)
        return
    if segment is None or reason is None:
        raise click.UsageError("a decision needs --segment and --reason")
    folder, clock = _place(out)
    classifier = Classifier.of(declared_estate())
    row = decisions.decide(folder, subject, segment, reason, by, clock.now(), classifier)
    build = (
        f"dualstream audience build --release ZIP --out {out}"
        if out
        else "dagster asset materialize --select 'group:audience' -m dualstream_assets.definitions"
    )
    click.echo(_decided(row))
    click.echo(f"takes effect with the next build: {build}")


@audience.command("accept")
@click.option("--reason", required=True, help="Why the release may differ as it does, for the record.")
@BY
@OUT
def audience_accept(reason: str, by: str, out: Path | None) -> None:
    """Accept the drift of the published release: this release, and only what is found now."""
    from dualstream_assets.audience.drift import accept

    folder, clock = _place(out)
    row = accept(folder, reason, by, clock.now(), declared_estate().audience.drift)
    click.echo(f"accepted for {row.release}: {row.findings}")
    if out is None:
        click.echo(
            "the gate sees it when the checks run again: dagster asset materialize --select"
            " 'group:audience' -m dualstream_assets.definitions"
        )


def _folder(out: Path | None) -> Path:
    """The folder to read from; nothing is made."""
    return out or Settings.read().state / "audience"


def _place(out: Path | None) -> tuple[Path, Clock]:
    """The folder to write into, and whose time it is there."""
    from dualstream_assets.clock import SystemClock
    from dualstream_assets.entry import open_workplace

    if out is not None:
        return out, SystemClock()
    workplace = open_workplace()
    return workplace.paths.audience, workplace.clock


def _list(folder: Path, decided: Decisions, *, addresses: bool) -> None:
    from dualstream_assets.audience.decisions import waiting

    found = waiting(folder)
    for w in found:
        row = decided.about(w.domain)
        next_time = f"  decided {row.segment}, with the next build" if row else ""
        click.echo(f"{w.rows:>7,}  {w.domain}  {', '.join(w.rules)}  {w.evidence}{next_time}")
        for address in w.addresses if addresses else ():
            click.echo(f"         {address}")
    if not found:
        click.echo(f"nothing waits in {folder}")
    hidden = 0
    for row in decided.rows:
        if "@" in row.subject and not addresses:
            hidden += 1
        else:
            click.echo(f"{row.decided_at[:10]}  {row.subject}  {_decided(row)}")
    if hidden:
        click.echo(f"decisions about single addresses: {hidden:,} (--addresses shows them)")


def _decided(row: Decision) -> str:
    return f"decided {row.segment}: {row.evidence}"
