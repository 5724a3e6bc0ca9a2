"""Dagster rim of the audience: one step writes the five files that the plan names, all or none."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from dualstream_assets import keys, pictures
from dualstream_assets.audience import decisions
from dualstream_assets.audience.drift import Drift, judge
from dualstream_assets.audience.fit import rebuilding
from dualstream_assets.audience.manifest import COLUMNS, PLAN, Manifest
from dualstream_assets.audience.publish import FILES
from dualstream_assets.estate import Estate
from dualstream_assets.registry.assets import counts_table, one_line
from dualstream_assets.resources import WorkplaceParam, look
from dualstream_assets.workplace import Workplace

ROOM = "audience"
KEYS: dict[str, keys.Key] = {
    "institutional": keys.AUDIENCE_INSTITUTIONAL,
    "consumer": keys.AUDIENCE_CONSUMER,
    "direct": keys.AUDIENCE_DIRECT,
    "review": keys.AUDIENCE_REVIEW,
    "rejects": keys.AUDIENCE_REJECTS,
}
WHAT = {
    "institutional": "Practice-domain mailboxes of active providers: the healthcare stream, before verification.",
    "consumer": "Mailboxes at consumer and access providers: they ride the trucking stream.",
    "direct": "Direct (HISP) addresses, parked: ordinary mail cannot reach them, and no code path mails this file.",
    "review": "Addresses that a rule would not decide on: a person does.",
    "rejects": "Every other candidate, with the reason: input equals output, exactly.",
}
UPSTREAM = (keys.NPPES_ENDPOINTS, keys.NPPES_PROVIDERS, keys.CMS_REVALIDATION, keys.CMS_EXCLUSIONS)


def assets(estate: Estate, environment: str) -> list[dg.AssetsDefinition]:  # noqa: ARG001
    """The assets of this room."""
    specs = [_spec(segment, environment) for segment in FILES]

    @dg.multi_asset(specs=specs, can_subset=True, name="audience_split")
    def audience(
        context: dg.AssetExecutionContext, workplace: WorkplaceParam
    ) -> Iterator[dg.MaterializeResult]:
        from dualstream_assets.audience.drift import set_aside
        from dualstream_assets.audience.split import build_audience
        from dualstream_assets.registry.shelf import load_facts, load_lists, load_release

        folder = workplace.paths.registry
        today = workplace.clock.now().astimezone(workplace.estate.zone).date()
        out, estate = workplace.paths.audience, workplace.estate
        with one_line(), rebuilding(workplace):
            fingerprint, lists = load_facts(folder, "endpoints").get("fingerprint"), load_lists(folder)
            with set_aside(out, fingerprint, lists.sources, estate) as previous:
                manifest = build_audience(load_release(folder), lists, out, estate, today, previous)
        for segment, file in FILES.items():
            if (
                dg.AssetKey(list(KEYS[segment])) in context.selected_asset_keys
            ):  # all five are written in any case
                path = workplace.paths.audience / file
                shown = _metadata(manifest, segment, str(path)) | _more(workplace, manifest, segment)
                yield dg.MaterializeResult(asset_key=list(KEYS[segment]), metadata=shown)

    return [audience]


def _spec(segment: str, environment: str) -> dg.AssetSpec:
    common: Any = look(
        KEYS[segment],
        ROOM,
        what=WHAT[segment],
        red="the split does not add up or a table of the registry is missing; nothing is published then.",
        do="materialize the registry, then this; `dualstream audience rule ADDRESS` explains any ruling.",
        environment=environment,
        kinds=("csv",),
        columns=[(name, "string", text) for name, text in COLUMNS],
    )
    return dg.AssetSpec(**common, deps=[list(key) for key in UPSTREAM])


def _metadata(manifest: Manifest, segment: str, path: str) -> dict[str, Any]:
    counts = manifest.counts
    facts = manifest.files[FILES[segment]]
    rules = counts["rejects"] if segment == "rejects" else counts["rules"][segment]
    shown: dict[str, Any] = {
        "dagster/row_count": facts.rows,
        "path": dg.MetadataValue.path(path),
        "sha256": facts.sha256,
        "release": str(manifest.release.get("name")),
        "counted from": manifest.today,
        "rules": counts_table("reason" if segment == "rejects" else "rule", rules),
        "role accounts": counts["role_accounts"][segment],
        "lists": ", ".join(
            f"{kind} of {source['day']}" if source else f"{kind} MISSING: unknown"
            for kind, source in sorted(manifest.lists.items())
        ),
    }
    if segment in counts["revalidation"]:
        shown["revalidation"] = counts_table("status", counts["revalidation"][segment])
    return shown


def _more(workplace: Workplace, manifest: Manifest, segment: str) -> dict[str, Any]:
    """What only one of the five shows: the funnel and the drift, what waits for a person, what was decided."""
    folder, counts = workplace.paths.audience, manifest.counts
    if segment == "institutional":
        judged = judge(folder, workplace.estate.audience.drift)
        files = {name: rows for name, rows in counts["segments"].items() if name != "rejects"}
        shown = {
            "funnel": dg.MetadataValue.md(
                pictures.in_markdown(
                    "funnel",
                    lambda: pictures.audience_funnel(counts["candidates"], counts["rejects"], files),
                )
            ),
            "candidates to files": counts_table(
                "candidates to files", {"candidates": counts["candidates"], **counts["segments"]}
            ),
            "since the previous release": judged.said,
            "against the plan": plan_table(manifest),
        }
        return shown | ({"drift": drift_picture(judged.drift, workplace.estate)} if judged.drift else {})
    if segment == "review":
        decided = decisions.read(folder)
        return {
            "waiting": dg.MetadataValue.md(waiting_table(folder, decided)),
            "decide": "`dualstream audience decide DOMAIN --segment institutional --reason TEXT` (or consumer, direct,"
            " dropped); `dualstream audience decide` lists what waits",
            "decisions": counts_table("decided to be", decided.facts()["segments"]),
            "rows by a decision": sum(rules.get(decisions.DECIDED, 0) for rules in _all_rules(manifest)),
        }
    return {}


def _all_rules(manifest: Manifest) -> list[dict[str, int]]:
    return [*manifest.counts["rules"].values(), manifest.counts["rejects"]]


def waiting_table(folder: Path, decided: decisions.Decisions, shown: int = 30) -> str:
    """Domains in the review file, most rows first, without their addresses; Markdown."""
    found = decisions.waiting(folder)
    lines = [
        f"| {w.domain} | {w.rows:,} | {', '.join(w.rules)} | {d.segment + ', with the next build' if d else ''} |"
        for w, d in ((w, decided.about(w.domain)) for w in found[:shown])
    ]
    if len(found) > shown:
        lines.append(
            f"| and {len(found) - shown:,} more domains | {sum(w.rows for w in found[shown:]):,} | | |"
        )
    return "\n".join(["| domain | rows | rule | decided |", "|---|---:|---|---|", *lines])


def drift_picture(drift: Drift, estate: Estate) -> dg.MarkdownMetadataValue:
    """What left, came and moved since the release before."""
    files = {name: (f.kept, f.added, f.left, f.moved_in, f.moved_out) for name, f in drift.files.items()}
    moves = sorted(((*pair, count) for pair, count in drift.moves.items()), key=lambda move: -move[2])
    limits = estate.audience.drift
    return dg.MetadataValue.md(
        pictures.in_markdown(
            "drift", lambda: pictures.drift_picture(files, moves, (limits.added, limits.left))
        )
    )


def plan_table(manifest: Manifest) -> dg.MarkdownMetadataValue:
    """Our figures beside the plan's."""
    lines = [
        f"| {name.replace('_', ' ')} | {value:,} | {manifest.plan[name]:,} |" for name, value in PLAN.items()
    ]
    return dg.MetadataValue.md("\n".join(["| figure | plan, May 2026 | ours |", "|---|---:|---:|", *lines]))
