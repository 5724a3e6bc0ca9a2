"""The command `dualstream`, and `pw-hc-rampcap`. Each command is imported only when it is called.

Errors of our own are for people: they are printed as one line and end with exit code 1. Anything else is a bug and
keeps its traceback.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

COMMANDS: dict[str, str] = {
    "demo": "world",
    "lab": "world",
    "doctor": "declared",
    "estate": "declared",
    "release": "release",
    "audience": "audience",
    "verify": "mailboxes",
    "trace": "people",
    "suppress": "people",
    "unsuppress": "people",
    "status": "today",
    "gate": "today",
    "check": "today",
    "forecast": "today",
    "rampcap": "send",
    "wave": "send",
    "brake": "send",
    "arm": "send",
    "disarm": "send",
    "stop": "send",
    "mta": "declared_state",
    "dns": "declared_state",
    "listmonk": "declared_state",
    "probe": "declared_state",
    "proof": "proofs",
    "report": "proofs",
}
"""Command -> module of `dualstream_assets.commands` that holds it."""

POLARS_ALLOCATOR = "narenas:1,dirty_decay_ms:30,muzzy_decay_ms:0"
"""Polars' allocator keeps freed memory for ten seconds; a small machine needs it at once."""


class _Lazy(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"dualstream_assets.commands.{COMMANDS[cmd_name]}")
        return getattr(module, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        import difflib

        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            raise click.UsageError(
                error.message + (f" Did you mean {close[0]!r}?" if close else ""), ctx
            ) from None


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="dualstream-assets")
def cli() -> None:
    """Run two streams of outbound mail from one machine, so that neither can harm the other."""


def explained(error: BaseException) -> str | None:
    """The text for people, if this error is one of ours; None for a bug."""
    if type(error).__module__.startswith("dualstream_assets"):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}. Give a place that this user may use"
    return None


@contextmanager
def _for_people() -> Iterator[None]:
    """Print our own errors as one line and exit with 1; a bug keeps its traceback."""
    try:
        yield
    except Exception as error:
        text = explained(error)
        if text is None:
            raise
        click.echo(text, err=True)
        sys.exit(1)


def main() -> None:
    """Entry point of `dualstream`."""
    os.environ.setdefault("_RJEM_MALLOC_CONF", POLARS_ALLOCATOR)
    try:
        with _for_people():
            cli(standalone_mode=True)
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
        sys.exit(130)


def rampcap_main() -> None:
    """Entry point of `pw-hc-rampcap`: set the healthcare cap for today, also while the database is away."""
    from dualstream_assets.sending.rampcap_entry import rampcap_command

    with _for_people():
        sys.exit(rampcap_command(sys.argv[1:]))
