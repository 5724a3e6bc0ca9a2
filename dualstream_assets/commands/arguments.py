"""Arguments that several commands share."""

from __future__ import annotations

import click


class StreamName(click.ParamType):
    """A stream that the estate of this process declares."""

    name = "stream"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, or a usage error that lists the right ones."""
        from dualstream_assets.entry import open_estate
        from dualstream_assets.settings import Settings

        known = open_estate(Settings.read()).streams
        if value not in known:
            self.fail(f"no stream {value!r}; the estate has {', '.join(known)}", param, ctx)
        return value


STREAM = click.argument("stream", type=StreamName())
