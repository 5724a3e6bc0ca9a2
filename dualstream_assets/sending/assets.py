"""Dagster rim of sending: suppression, forecast, and per stream rampcap, campaign, gate, waves, engagement."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.resources import Act, WorkplaceParam, look

ROOM = "sending"
asset: Any = dg.asset  # no type checker finds its overload through `**look(...)`


def assets(estate: Estate, environment: str) -> list[dg.AssetsDefinition]:
    """The assets of this room."""
    made = [_suppression(estate, environment), _forecast(estate, environment)]
    for stream in estate.streams:
        made += [
            _rampcap(stream, environment),
            _campaign(stream, environment),
            _gate(stream, environment),
            _waves(stream, environment),
            _engagement(stream, environment),
        ]
    return made


def _metadata(shown: Mapping[str, Any]) -> dict[str, Any]:
    from dualstream_assets.sending import showing

    return {
        name: dg.MetadataValue.md(value) if isinstance(value, showing.Table) else value
        for name, value in shown.items()
    }


def _result(shown: Mapping[str, Any]) -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata=_metadata(shown))


def _suppression(estate: Estate, environment: str) -> dg.AssetsDefinition:
    @asset(
        **look(
            keys.SUPPRESSION,
            ROOM,
            what="The one list, across all streams, of people and domains never to mail again.",
            red="a listmonk could not be asked or told: then nothing is selected.",
            do="look at that listmonk, then materialize this again; `dualstream suppress ADDRESS` adds by hand.",
            environment=environment,
            kinds=("postgres",),
            columns=(
                ("kind", "string", "address or domain"),
                ("value", "string", "lower case; only in the database"),
                (
                    "reason",
                    "string",
                    "unsubscribed, complaint, hard_bounce, reply, manual, excluded, blocklisted",
                ),
                ("source", "string", "where we learnt of it"),
                ("since", "timestamp", "when we learnt of it, UTC"),
            ),
        ),
        deps=[list(keys.MAILLOG_OUTCOMES), *(list(keys.of_stream(s, "listmonk")) for s in estate.streams)],
    )
    def suppression(workplace: WorkplaceParam, config: Act) -> dg.MaterializeResult:
        from dualstream_assets.sending import showing
        from dualstream_assets.sending.parts import sync_optouts

        return _result(showing.of_synced(sync_optouts(workplace, act=config.wanted(workplace))))

    return suppression


def _forecast(estate: Estate, environment: str) -> dg.AssetsDefinition:
    @asset(
        **look(
            keys.FORECAST,
            ROOM,
            what="From today: caps by date, when the full ceiling comes, when the verified stock is drained.",
            red="it never is; it assumes that every send day earns its step.",
            do="`dualstream forecast` prints it.",
            environment=environment,
        ),
        deps=[
            *(list(keys.of_stream(s, "rampcap")) for s in estate.streams),
            list(keys.VERIFIED_INSTITUTIONAL),
        ],
    )
    def forecast(workplace: WorkplaceParam) -> dg.MaterializeResult:
        from dualstream_assets.sending import showing

        return _result(showing.of_forecasts(workplace))

    return forecast


def _rampcap(stream: str, environment: str) -> dg.AssetsDefinition:
    @asset(
        **look(
            keys.of_stream(stream, "rampcap"),
            ROOM,
            what=f"The cap that {stream} has earned, decided once a day at 07:20 and set in its listmonk.",
            red="the stamp cannot be read, another program writes the cap, or listmonk does not hold it.",
            do=f"read the row of the ramp in the metadata; `dualstream rampcap show {stream}`.",
            environment=environment,
            stream=stream,
            kinds=("postgres", "listmonk"),
        ),
        deps=[list(keys.of_stream(stream, "delivery")), list(keys.of_stream(stream, "listmonk"))],
    )
    def rampcap(workplace: WorkplaceParam, config: Act) -> dg.MaterializeResult:
        from dualstream_assets.sending import showing
        from dualstream_assets.sending.parts import set_cap

        done = set_cap(workplace, stream, act=config.wanted(workplace))
        return _result(showing.of_cap(workplace, done))

    return rampcap


def _campaign(stream: str, environment: str) -> dg.AssetsDefinition:
    @asset(
        **look(
            keys.of_stream(stream, "campaign"),
            ROOM,
            what=f"The message that {stream} sends: subject, HTML and text, as listmonk gets them.",
            red="it is not lawful to send: the address, the opt-out or the notice is missing, a link is local.",
            do="the findings name the key of the estate; `dualstream doctor --questions` lists what is open.",
            environment=environment,
            stream=stream,
            kinds=("html",),
        )
    )
    def campaign(workplace: WorkplaceParam) -> dg.MaterializeResult:
        from dualstream_assets.sending import showing
        from dualstream_assets.sending.content import render

        return _result(showing.of_content(render(workplace.estate, stream)))

    return campaign


def _gate(stream: str, environment: str) -> dg.AssetsDefinition:
    upstream = ("identity", "message_score", "campaign", "subscribers", "rampcap")

    @asset(
        **look(
            keys.of_stream(stream, "gate"),
            ROOM,
            what=f"May {stream} send? Every requirement, its evidence, its age and its cure.",
            red="it never is: it shows. A shut gate refuses the waves, not this asset.",
            do="each shut line ends with its next command.",
            environment=environment,
            stream=stream,
            kinds=("postgres",),
        ),
        deps=[
            *(list(keys.of_stream(stream, name)) for name in upstream),
            list(keys.MTA_DEPLOYED),
            list(keys.MTA_DRIFT),
            list(keys.SUPPRESSION),
        ],
    )
    def gate(workplace: WorkplaceParam) -> dg.MaterializeResult:
        from dualstream_assets.sending import showing
        from dualstream_assets.sending.gate import assess

        with workplace.database.transaction() as connection:
            report = assess(
                connection,
                workplace.estate,
                stream,
                workplace.clock.now(),
                environment=workplace.environment,
            )
        return _result(showing.of_gate(report))

    return gate


def _waves(stream: str, environment: str) -> dg.AssetsDefinition:
    upstream = ("gate", "subscribers", "rampcap", "identity", "campaign")

    @asset(
        **look(
            keys.of_stream(stream, "waves"),
            ROOM,
            what=f"The next small wave of {stream}: planned; released only where this run may act.",
            red="the gate refused the wave, or a step of its release failed. Nothing was sent then.",
            do="the message names the evidence and the next command.",
            environment=environment,
            stream=stream,
            kinds=("postgres", "listmonk"),
        ),
        deps=[
            *(list(keys.of_stream(stream, name)) for name in upstream),
            list(keys.MAILLOG_OUTCOMES),
            list(keys.SUPPRESSION),
            list(keys.MTA_DEPLOYED),
        ],
    )
    def waves(workplace: WorkplaceParam, config: Act) -> dg.MaterializeResult:
        from dualstream_assets.sending import showing
        from dualstream_assets.sending.parts import NotReachableError, read_mail_log, tick

        act = config.wanted(workplace)
        try:
            if act:
                read_mail_log(workplace)
            result = tick(workplace, stream, act=act)
        except NotReachableError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        shown = showing.of_tick(workplace, result)
        if result.outcome in ("refused", "failed"):
            raise dg.Failure(
                result.headline.removeprefix("PLANNED, nothing sent: "),
                metadata=_metadata(shown),
                allow_retries=False,
            )
        return _result(shown)

    return waves


def _engagement(stream: str, environment: str) -> dg.AssetsDefinition:
    @asset(
        **look(
            keys.of_stream(stream, "engagement"),
            ROOM,
            what=f"Views, clicks and opt-outs of {stream}'s waves: shown, never trusted, never fed to a brake.",
            red="it never is. Views at zero: look at root_url.",
            do="`docs/runbook.md`: tracking shows zero.",
            environment=environment,
            stream=stream,
            kinds=("listmonk",),
        ),
        deps=[list(keys.of_stream(stream, "listmonk"))],
    )
    def engagement(workplace: WorkplaceParam) -> dg.MaterializeResult:
        from dualstream_assets.sending import showing
        from dualstream_assets.sending.engagement import engagement as of_stream
        from dualstream_assets.sending.parts import instances

        with workplace.database.transaction() as connection:
            found = of_stream(connection, stream, instances(workplace).get(stream))
        return _result(showing.of_engagement(found))

    return engagement
