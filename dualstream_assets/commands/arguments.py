"""Arguments that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dualstream_assets.estate import Estate


def declared_estate() -> Estate:
    """The estate of this process; touches no database and starts no lab."""
    from dualstream_assets.entry import open_estate
    from dualstream_assets.settings import Settings

    return open_estate(Settings.read())


class StreamName(click.ParamType):
    """A stream that the estate of this process declares."""

    name = "stream"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, or a usage error that lists the right ones."""
        known = declared_estate().streams
        if value not in known:
            self.fail(f"no stream {value!r}; the estate has {', '.join(known)}", param, ctx)
        return value


STREAM = click.argument("stream", type=StreamName())
