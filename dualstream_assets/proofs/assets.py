"""Dagster rim of the proofs: five proofs, the report page, and the board that every description points to."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.resources import WorkplaceParam, look

if TYPE_CHECKING:
    from dualstream_assets.proofs.board import Board
    from dualstream_assets.proofs.witness import Proof

ROOM = "proofs"
asset: Any = dg.asset  # no type checker finds its overload through `**look(...)`
WHAT = {
    keys.PROOF_ISOLATION: "No message ever left on the other stream's IP.",
    keys.PROOF_IDENTITY: "PTR, SPF, DKIM and DMARC hold for every sending IP, and a real message scored.",
    keys.PROOF_DELIVERABILITY: "Receivers accept what we send, operator by operator.",
    keys.PROOF_CAP: "No cap, hourly or daily, was ever exceeded, and each cap is its ramp's.",
    keys.PROOF_NO_REGRESSION: "The old stream delivers as it did before the new one began.",
}


def proof_metadata(proof: "Proof") -> dict[str, Any]:
    """A proof as Dagster metadata: the sentence first, then plain numbers under stable keys."""
    return {
        "outcome": proof.outcome.value,
        "finding": proof.sentence,
        "cannot see": proof.unseen,
        **dict(proof.figures),
    }


def board_markdown(board: "Board") -> str:
    """The board as markdown: one sentence, ramp, gates, what waits for a person."""
    lines = [
        f"**{board.environment.upper()}** {board.sentence}",
        "",
        "| stream | gate | cap/h | cap/day | sent today | brake | last wave |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {s.stream} | {'open' if s.gate.open else 'SHUT'} | {s.cap_per_hour} | {s.cap_per_day} | {s.sent_today}"
        f" | {s.brake or 'off'} | {s.last_wave} |"
        for s in board.streams
    ]
    lines += ["", "| proof | outcome | finding |", "|---|---|---|"]
    lines += [f"| {p.name} | {p.outcome} | {p.sentence} |" for p in board.proofs]
    for s in board.streams:
        shut = [row for row in s.gate.rows if row.verdict != "pass"]
        if shut:
            lines += [
                "",
                f"**{s.stream}: what keeps the gate shut**",
                "",
                "| evidence | says | next |",
                "|---|---|---|",
            ]
            lines += [f"| {r.subject} {r.fact} | {r.verdict}: {r.evidence} | `{r.cure}` |" for r in shut]
    lines += ["", f"Runway: {board.unmailed:,} verified people not yet mailed."]
    lines += (
        ["", "**Waiting for you**", "", *[f"- {line}" for line in board.waiting]] if board.waiting else []
    )
    if board.environment == "production":
        lines += ["", "Arming is not offered here, on purpose: `dualstream arm STREAM --reason … --until …`"]
    return "\n".join(lines)


def assets(estate: Estate, environment: str) -> list[dg.AssetsDefinition]:
    """The assets of this room."""
    identities = [list(keys.of_stream(s, "identity")) for s in estate.streams]
    scores = [list(keys.of_stream(s, "message_score")) for s in estate.streams]
    deliveries = [list(keys.of_stream(s, "delivery")) for s in estate.streams]
    caps = [list(keys.of_stream(s, "rampcap")) for s in estate.streams]
    deps_of = {
        keys.PROOF_ISOLATION: [list(keys.MAILLOG_OUTCOMES), list(keys.MTA_DRIFT)],
        keys.PROOF_IDENTITY: [*identities, *scores],
        keys.PROOF_DELIVERABILITY: deliveries,
        keys.PROOF_CAP: [list(keys.MAILLOG_OUTCOMES), *caps],
        keys.PROOF_NO_REGRESSION: deliveries,
    }
    made = [_proof_asset(key, deps, environment) for key, deps in deps_of.items()]
    gates = [list(keys.of_stream(s, "gate")) for s in estate.streams]
    proofs = [list(key) for key in keys.PROOFS]

    @asset(
        **look(
            keys.BOARD,
            "operations",
            what="The front door: today in one sentence, gates, caps, proofs, and what waits for you.",
            red="it never is; it shows what is.",
            do="read the gate table: each shut line ends with its next command.",
            environment=environment,
        ),
        deps=[*gates, *proofs],
    )
    def board(workplace: WorkplaceParam) -> dg.MaterializeResult:
        from dualstream_assets.proofs.collect import collect

        found = collect(workplace)
        return dg.MaterializeResult(
            metadata={
                "board": dg.MetadataValue.md(board_markdown(found.board)),
                "verified not yet mailed": found.board.unmailed,
                **{f"{s.stream} sent today": s.sent_today for s in found.board.streams},
                **{f"{s.stream} cap per hour": s.cap_per_hour for s in found.board.streams},
            }
        )

    @asset(
        **look(
            keys.PROOF_REPORT,
            ROOM,
            what="The report page: one self-contained HTML file for the founder's morning.",
            red="it cannot be written.",
            do="`dualstream report write`.",
            environment=environment,
            kinds=("html",),
        ),
        deps=proofs,
    )
    def report(workplace: WorkplaceParam) -> dg.MaterializeResult:
        from dualstream_assets.proofs.report import write_report

        path = write_report(workplace, workplace.paths.reports / "report.html")
        return dg.MaterializeResult(
            metadata={
                "page": dg.MetadataValue.path(str(path)),
                "dagster/uri": path.as_uri(),
                "bytes": path.stat().st_size,
            }
        )

    return [*made, report, board]


def _proof_asset(key: keys.Key, deps: list[list[str]], environment: str) -> dg.AssetsDefinition:
    @asset(
        **look(
            key,
            ROOM,
            what=WHAT[key],
            red="a witness shows otherwise, or two witnesses disagree, or one is missing (unknown).",
            do=f"`dualstream proof {key[1]}` prints the figures; the runbook has the page.",
            environment=environment,
        ),
        deps=deps,
    )
    def proof(workplace: WorkplaceParam) -> dg.MaterializeResult:
        from dualstream_assets.proofs.collect import prove

        return dg.MaterializeResult(metadata=proof_metadata(prove(workplace, key[1])))

    return proof
