"""One person: `trace`, `suppress`, `unsuppress`. Command line only: run config and Dagster's log are plaintext."""

from __future__ import annotations

import sys

import click


@click.command()
@click.argument("address")
def trace(address: str) -> None:
    """Did we mail this person? Source row, rule, verdict, suppression, waves, deliveries."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.proofs.trace import trace_address

    found = trace_address(open_workplace(), address)
    for line in found:
        click.echo(line)
    if not found:
        click.echo("never seen: neither in the audience files nor in the database", err=True)
    sys.exit(not found)


@click.command()
@click.argument("address_or_domain")
@click.option("--reason", required=True, help="Why, for the record: 'asked by phone'.")
def suppress(address_or_domain: str, reason: str) -> None:
    """Never mail ADDRESS_OR_DOMAIN again, on either stream, from the next wave on."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.store.suppression import suppress as put

    workplace = open_workplace()
    kind = "address" if "@" in address_or_domain else "domain"
    with workplace.database.transaction() as connection:
        new = put(
            connection, kind, address_or_domain, "manual", f"command line: {reason}", workplace.clock.now()
        )
    click.echo(
        f"{kind} {'suppressed' if new else 'was suppressed already'}; it is pushed to both listmonks before a wave"
    )


@click.command()
@click.argument("address_or_domain")
@click.option("--reason", required=True, help="Why this may be mailed again, for the record.")
def unsuppress(address_or_domain: str, reason: str) -> None:
    """Lift a suppression. listmonk keeps its own blocklist: lift it there by hand, on purpose."""
    from dualstream_assets.entry import open_workplace
    from dualstream_assets.store.suppression import lift

    workplace = open_workplace()
    kind = "address" if "@" in address_or_domain else "domain"
    with workplace.database.transaction() as connection:
        was = lift(connection, kind, address_or_domain, reason, workplace.clock.now())
    click.echo(f"{kind} {'lifted here; both listmonks still blocklist it' if was else 'was not suppressed'}")
    sys.exit(not was)
