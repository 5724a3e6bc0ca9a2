"""Dagster rim of verification: MX lookups, verdicts over operator shards, and the verified file.

Ops of the graph pass shard names only; results are rows in PostgreSQL, which workers share and Dagster's storage
folder is not (facts: architecture section 2). In production nothing is asked unless the run says so.
"""

from datetime import timedelta
from typing import Any, cast

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.resources import Act, WorkplaceParam, look
from dualstream_assets.workplace import Workplace

ROOM = "verification"
LAB_PATIENCE = timedelta(minutes=15)
"""Virtual minutes for which the lab waits for greylists; elsewhere the next visit stays in the table."""


def assets(estate: Estate, environment: str) -> list[dg.AssetsDefinition]:  # noqa: ARG001
    """The assets of this room."""
    return [_mx(environment), _verdicts(environment), _verified(environment)]


def _mx(environment: str) -> dg.AssetsDefinition:
    @dg.asset(
        **look(
            keys.VERIFICATION_MX,
            ROOM,
            what="Where the mail of every institutional domain goes, who runs that, and its shard.",
            red="the institutional file is missing, or no name server can be asked.",
            do="materialize `+audience/institutional`; then `dualstream doctor`.",
            environment=environment,
            kinds=("python", "postgres"),
            columns=(
                ("domain", "string", "mail domain"),
                ("operator", "string", "who runs its best MX host"),
                ("shard", "string", "operators that share nothing with any other shard"),
                ("ruling", "string", "ok, null_mx, nxdomain, nodata, misconfigured or unknown"),
                ("resolved_at", "timestamp", "when it was looked up"),
            ),
        ),
        deps=[list(keys.AUDIENCE_INSTITUTIONAL)],
    )
    def mx(workplace: WorkplaceParam, config: Act) -> dg.MaterializeResult:
        from dualstream_assets.verification import present
        from dualstream_assets.verification.work import look_up

        found = look_up(workplace, act=config.wanted(workplace))
        return dg.MaterializeResult(
            metadata={
                "outcome": f"{found.asked} domains looked up"
                if found.acted
                else f"PLANNED, nobody asked: {found.due} domains are due",
                "domains": found.domains,
                "looked up": found.asked,
                "due": found.due,
                "domains by operator": dg.MetadataValue.md(present.domains_table(found.by_operator)),
            }
        )

    return cast("dg.AssetsDefinition", mx)


def _verdicts(environment: str) -> dg.AssetsDefinition:
    @dg.op(
        ins={"mx": dg.In(dg.Nothing)},
        out=dg.DynamicOut(str),
        description="One output per shard with due mailboxes.",
    )
    def due_shards(workplace: WorkplaceParam, config: Act):
        from dualstream_assets.verification.work import shards_due

        if config.wanted(workplace):
            for shard in shards_due(workplace):
                yield dg.DynamicOutput(shard, mapping_key=shard.replace("-", "_").replace(".", "_"))

    @dg.op(description="Ask the mailboxes of one shard that are due.")
    def verify_shard(context: dg.OpExecutionContext, workplace: WorkplaceParam, shard: str) -> str:
        from dualstream_assets.verification import present
        from dualstream_assets.verification.work import verify

        context.log.info("%s: %s", shard, present.summary_line(verify(workplace, timedelta(0), shard)))
        return shard

    @dg.op(
        ins={"shards": dg.In(list[str])},
        out=dg.Out(dg.Nothing),
        description="In the lab wait for greylists once, for all shards together; then show how all mailboxes stand.",
    )
    def summarise(workplace: WorkplaceParam, config: Act, shards: list[str]):
        from dualstream_assets.verification import present
        from dualstream_assets.verification.work import standing, verify

        if config.wanted(workplace) and _waits(workplace):
            verify(workplace, LAB_PATIENCE, None)
        found = standing(workplace)
        acted = f"{len(shards)} shards asked" if config.wanted(workplace) else "PLANNED, nobody asked"
        yield dg.Output(
            None,
            metadata={
                "outcome": f"{acted}; {present.due_line(found)}",
                **present.numbers(found),
                "by operator": dg.MetadataValue.md(present.counts_table(found.by_operator)),
            },
        )

    @dg.config_mapping
    def one_switch(val: Act) -> dict[str, Any]:
        inner = {"config": {"act": val.act}} if val.act is not None else {}
        return {"due_shards": inner, "summarise": inner}

    seen = look(
        keys.VERIFICATION_VERDICTS,
        ROOM,
        what="Which institutional mailboxes live: SMTP dialogues up to RCPT, never a message, journaled per session.",
        red="an operator blocks us, or the probe address is not apart from the sending ones.",
        do="`dualstream verify status`; a blocked lane rests by itself and is never routed around.",
        environment=environment,
        kinds=("python", "postgres"),
        columns=(
            ("address", "string", "mailbox"),
            (
                "verdict",
                "string",
                "deliverable, catch_all, undeliverable, full, suspended, retry, blocked, …",
            ),
            ("rule", "string", "the rule that fired"),
            ("attempts", "int", "visits that settled nothing, and the last"),
            ("next_visit", "timestamp", "when it is asked again; null: settled"),
        ),
    )

    @dg.graph_asset(
        **seen, ins={"mx": dg.AssetIn(list(keys.VERIFICATION_MX), dagster_type=dg.Nothing)}, config=one_switch
    )
    def verdicts(mx):
        return summarise(due_shards(mx).map(verify_shard).collect())

    return verdicts


def _waits(workplace: Workplace) -> bool:
    return workplace.environment == "lab"


def _verified(environment: str) -> dg.AssetsDefinition:
    @dg.asset(
        **look(
            keys.VERIFIED_INSTITUTIONAL,
            ROOM,
            what=f"`{keys.VERIFIED_CSV}`: the people who may be mailed on the hot stream, in rank order.",
            red="a row's verdict is too old, or the file is not what its manifest says.",
            do="run the job `verify_mailboxes`, then materialize this again.",
            environment=environment,
            kinds=("python", "csv"),
            columns=(
                ("email", "string", "and the other columns of the institutional file"),
                ("verdict", "string", "deliverable (catch_all only by policy)"),
                ("verified_at", "string", "ISO UTC"),
                ("operator", "string", "who runs the MX"),
                ("mx_host", "string", "the host that answered"),
            ),
        ),
        deps=[list(keys.VERIFICATION_VERDICTS), list(keys.AUDIENCE_INSTITUTIONAL)],
    )
    def verified_institutional(workplace: WorkplaceParam) -> dg.MaterializeResult:
        from dualstream_assets.verification.verdicts import write_verified

        done = write_verified(workplace.database, workplace.clock, workplace.estate, workplace.paths.audience)
        left_out = [f"| {verdict} | {count:,} |" for verdict, count in sorted(done.left_out.items())]
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": done.rows,
                "outcome": f"{done.rows:,} people may be mailed, {sum(done.left_out.values()):,} left out",
                "left out": dg.MetadataValue.md("\n".join(["| why | people |", "|---|---:|", *left_out])),
                "file": dg.MetadataValue.path(str(done.path)),
                "sha256": done.sha256,
            }
        )

    return cast("dg.AssetsDefinition", verified_institutional)
