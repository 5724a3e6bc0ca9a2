"""Dagster rim of the listmonk room: per stream its settings and its subscribers."""

from typing import Any

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.resources import Act, WorkplaceParam, look, stream_names

ROOM = "listmonk"
asset: Any = dg.asset  # no type checker finds its overload through `**look(...)`


def assets(estate: Estate, environment: str) -> list[dg.AssetsDefinition]:
    """The assets of this room."""
    made: list[dg.AssetsDefinition] = []
    for stream in stream_names(estate):
        made += [_settings(stream, environment), _subscribers(estate, stream, environment)]
    return made


def _settings(stream: str, environment: str) -> dg.AssetsDefinition:
    @asset(
        **look(
            keys.of_stream(stream, "listmonk"),
            ROOM,
            what=f"The settings of {stream}'s listmonk, held as the estate declares them; shown as a diff first.",
            red="it cannot be asked, a campaign runs while something differs, or a write did not take.",
            do="read the diff in the metadata; `dualstream check listmonk` looks again.",
            environment=environment,
            stream=stream,
            kinds=("listmonk",),
        )
    )
    def settings(workplace: WorkplaceParam, config: Act) -> dg.MaterializeResult:
        from dualstream_assets.listmonk.room import hold_settings

        held = hold_settings(workplace, stream, act=config.wanted(workplace))
        return dg.MaterializeResult(
            metadata={
                "diff": dg.MetadataValue.md(held.found.plan.render_diff()),
                "differences": len(held.found.changed),
                "written": held.written,
                "why not": held.why_not or "",
                "version": held.version,
                "not in this version": ", ".join(held.found.absent),
            }
        )

    return settings


def _subscribers(estate: Estate, stream: str, environment: str) -> dg.AssetsDefinition:
    verified = estate.streams[stream].segment == "institutional"
    people = keys.VERIFIED_INSTITUTIONAL if verified else keys.AUDIENCE_CONSUMER
    whom = (
        "verified people only"
        if verified
        else "consumer mailboxes, unverified: the practice of this warm stream"
    )

    @asset(
        **look(
            keys.of_stream(stream, "subscribers"),
            ROOM,
            what=f"The people in {stream}'s listmonk: {whom}, imported without ever changing a status.",
            red="a row may not be imported (then nobody is), or the counts do not add up afterwards.",
            do="materialize the upstream assets again and look at their checks; an import is safe to repeat.",
            environment=environment,
            stream=stream,
            kinds=("listmonk",),
        ),
        deps=[list(keys.of_stream(stream, "listmonk")), list(keys.SUPPRESSION), list(people)],
    )
    def subscribers(workplace: WorkplaceParam, config: Act) -> dg.MaterializeResult:
        from dualstream_assets.listmonk.room import import_people, shown_counts, shown_left_out

        done = import_people(workplace, stream, act=config.wanted(workplace))
        metadata: dict[str, Any] = {**shown_counts(done.counts), "why not": done.why_not or ""}
        if done.imported:
            metadata |= {
                "in the audience file": done.imported.asked,
                "imported now": done.imported.imported,
                "listed": done.imported.listed_after,
                "left out": shown_left_out(done.imported.left_out),
            }
        return dg.MaterializeResult(metadata=metadata)

    return subscribers
