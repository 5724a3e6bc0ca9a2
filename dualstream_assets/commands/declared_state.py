"""Bring the outside into its declared state: `mta`, `dns`, `listmonk` (plan, then apply by hash); `probe`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from dualstream_assets.commands.arguments import STREAM

if TYPE_CHECKING:
    from dualstream_assets.outside.plan import Plan

HASH = click.option("--hash", "plan_hash", required=True, help="The hash that `plan` printed.")


def _show(plan: Plan) -> None:
    click.echo(plan.render_diff())
    if not plan.empty:
        click.echo(f"\nhash {plan.plan_hash}")


@click.group()
def mta() -> None:
    """Postfix: what the estate declares against what is live."""


@mta.command("plan")
def mta_plan() -> None:
    """Show the diff and its hash; changes nothing."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.mta.live import plan_mta, target_for

    workplace = open_workplace()
    _show(plan_mta(workplace.estate, workplace.environment, target_for(workplace)))


@mta.command("apply")
@HASH
def mta_apply(plan_hash: str) -> None:
    """Apply the plan that was read, and read it back; refuses if the plan changed meanwhile."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.mta.apply import apply_mta
    from dualstream_assets.mta.live import target_for

    workplace = open_workplace()
    applied = apply_mta(workplace, target_for(workplace), plan_hash)
    click.echo(f"applied as row {applied.row_id}: read back, nothing more to change")


@mta.command("drift")
def mta_drift() -> None:
    """Exit 1 if live differs from declared."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.mta.live import plan_mta, target_for

    workplace = open_workplace()
    plan = plan_mta(workplace.estate, workplace.environment, target_for(workplace))
    _show(plan)
    sys.exit(not plan.empty)


@click.group()
def dns() -> None:
    """DNS records: what the estate declares against what is published."""


@dns.command("plan")
def dns_plan() -> None:
    """Show the diff with the Hestia commands; exit 1 if something could not be looked at."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.identity.probes import resolver_of
    from dualstream_assets.identity.zones import plan_dns

    workplace = open_workplace()
    found = plan_dns(resolver_of(workplace), workplace.estate)
    _show(found.plan)
    for name in found.unknown:
        click.echo(f"unknown: {name}")
    sys.exit(bool(found.unknown))


@click.group()
def listmonk() -> None:
    """Settings of a stream's listmonk: what the estate declares against what is set."""


@listmonk.command("plan")
@STREAM
def listmonk_plan(stream: str) -> None:
    """Show the diff and its hash; secrets are never shown."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.listmonk.room import hold_settings

    _show(hold_settings(open_workplace(), stream, act=False).found.plan)


@listmonk.command("apply")
@STREAM
@HASH
def listmonk_apply(stream: str, plan_hash: str) -> None:
    """Apply the plan that was read; waits for the restart and reads back."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.listmonk.room import hold_settings
    from dualstream_assets.outside.plan import PlanChanged

    workplace = open_workplace()
    if hold_settings(workplace, stream, act=False).found.plan.plan_hash != plan_hash:
        raise PlanChanged(f"the plan changed since you read it. Next: dualstream listmonk plan {stream}")
    held = hold_settings(workplace, stream, act=True)
    click.echo("applied and read back" if held.written else held.why_not or "as declared, nothing to change")


@click.group()
def probe() -> None:
    """Messages to our own seeds."""


@probe.command("message")
@STREAM
def probe_message(stream: str) -> None:
    """Send the campaign's message to the estate's seeds, under a probe permit."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.sending.probe import send_probe

    click.echo(f"{send_probe(open_workplace(), stream)} accepted. Next: dualstream check identity")
