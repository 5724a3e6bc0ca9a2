"""Asset checks of the audience: they look at the published files again, not at what the step believed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

from dualstream_assets.audience.assets import KEYS, plan_table
from dualstream_assets.audience.manifest import PLAN, PREVIOUS, Manifest, read_manifest
from dualstream_assets.audience.publish import FILES
from dualstream_assets.estate import Estate
from dualstream_assets.resources import WorkplaceParam
from dualstream_assets.workplace import Workplace

PLAN_TOLERANCE = 0.25
DRIFT = 0.15
"""A file may grow or shrink by this share from one release to the next."""
NOTHING = "nothing is published: dagster asset materialize --select 'group:audience' -m dualstream_assets.definitions"


def checks(estate: Estate, environment: str) -> list[dg.AssetChecksDefinition]:  # noqa: ARG001
    """The checks of this room."""
    mailed = ("institutional", "consumer")
    return [
        *(_check(segment, "disjoint_and_conserving", _disjoint, blocking=True) for segment in mailed),
        *(_check(segment, "giants_gone", _giants, blocking=True) for segment in mailed),
        *(_check(segment, "segment_again", _segment_again(segment), blocking=True) for segment in mailed),
        _check("institutional", "against_plan", _against_plan(environment), blocking=False),
        _check("institutional", "drift", _drift, blocking=False),
    ]


_WORDS = {
    "disjoint_and_conserving": "The files are the manifest's, no address is in two, and candidates in are rows out.",
    "giants_gone": "No row of an organisation that is no prospect.",
    "segment_again": "Ruled again from the file, every domain belongs to this segment: no consumer or Direct one.",
    "against_plan": "Our figures beside the plan's measurement of May 2026.",
    "drift": "Rows per file within 15 % of the previous release.",
}


def _check(
    segment: str, name: str, look: Callable[[Workplace, Manifest], dg.AssetCheckResult], *, blocking: bool
) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=list(KEYS[segment]), name=name, blocking=blocking, description=_WORDS[name])
    def check(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        manifest = read_manifest(workplace.paths.audience)
        if manifest is None:
            return dg.AssetCheckResult(passed=False, description=NOTHING)
        return look(workplace, manifest)

    return check


def _column(folder: Path, segment: str, name: str) -> list[str]:
    import polars as pl

    return (
        pl.read_csv(folder / FILES[segment], infer_schema=False, columns=[name])[name].fill_null("").to_list()
    )


def _disjoint(workplace: Workplace, manifest: Manifest) -> dg.AssetCheckResult:
    from dualstream_assets.audience.publish import unfit
    from dualstream_assets.registry.shelf import load_facts

    folder = workplace.paths.audience
    if found := unfit(folder):
        return dg.AssetCheckResult(passed=False, description="; ".join(found))
    addresses = [a for segment in FILES if segment != "rejects" for a in _column(folder, segment, "email")]
    rows = len(addresses) + len(_column(folder, "rejects", "rule"))
    twice = len(addresses) - len(set(addresses))
    endpoints = load_facts(workplace.paths.registry, "endpoints")
    counts = endpoints.get("counts", {})
    candidates = counts.get("addresses", 0) + sum(counts.get("refusals", {}).values())
    same_release = endpoints.get("fingerprint") == manifest.release.get("fingerprint")
    passed = not twice and same_release and rows == candidates
    said = f"{candidates:,} candidates, {rows:,} rows, {twice:,} addresses twice"
    return dg.AssetCheckResult(
        passed=passed, description=said if same_release else f"{said}; the endpoints are of another release"
    )


def _giants(workplace: Workplace, manifest: Manifest) -> dg.AssetCheckResult:  # noqa: ARG001
    from dualstream_assets.audience.classify import Classifier

    dropped = Classifier.of(workplace.estate).tables.dropped
    names = [
        d
        for segment in ("institutional", "consumer")
        for d in _column(workplace.paths.audience, segment, "domain")
    ]
    hits = sum(any(name == giant or name.endswith(f".{giant}") for giant in dropped) for name in names)
    return dg.AssetCheckResult(passed=not hits, description=f"{hits:,} of {len(names):,} rows are a giant's")


def _segment_again(segment: str) -> Callable[[Workplace, Manifest], dg.AssetCheckResult]:
    def look(workplace: Workplace, manifest: Manifest) -> dg.AssetCheckResult:  # noqa: ARG001
        from dualstream_assets.audience.classify import Classifier

        classifier = Classifier.of(workplace.estate)
        names = set(_column(workplace.paths.audience, segment, "domain"))
        wrong = [r.segment for r in map(classifier.classify_domain, names) if r.segment != segment]
        kinds = ", ".join(f"{kind} {wrong.count(kind)}" for kind in sorted(set(wrong)))
        said = f"{len(names):,} domains ruled again" + (f"; wrong: {kinds}" if wrong else ", all right")
        return dg.AssetCheckResult(passed=not wrong, description=said)

    return look


def _against_plan(environment: str) -> Callable[[Workplace, Manifest], dg.AssetCheckResult]:
    def look(workplace: Workplace, manifest: Manifest) -> dg.AssetCheckResult:  # noqa: ARG001
        off = [n for n, plan in PLAN.items() if abs(manifest.plan[n] - plan) > PLAN_TOLERANCE * plan]
        if environment == "lab":
            said = "the lab's world is small: shown, not judged"
        else:
            said = (
                f"more than {PLAN_TOLERANCE:.0%} off: {', '.join(off)}"
                if off
                else "every figure is near the plan's"
            )
        return dg.AssetCheckResult(
            passed=environment == "lab" or not off,
            severity=dg.AssetCheckSeverity.WARN,
            description=said,
            metadata={"figures": plan_table(manifest)},
        )

    return look


def _drift(workplace: Workplace, manifest: Manifest) -> dg.AssetCheckResult:
    before = read_manifest(workplace.paths.audience, PREVIOUS)
    now = manifest.counts["segments"]
    warn: Any = {"severity": dg.AssetCheckSeverity.WARN}
    if before is None:
        return dg.AssetCheckResult(passed=True, description="no previous release to compare with", **warn)
    was = before.counts["segments"]
    lines = [f"| {s} | {was[s]:,} | {now[s]:,} | {(now[s] - was[s]) / max(1, was[s]):+.1%} |" for s in FILES]
    moved = [s for s in FILES if abs(now[s] - was[s]) > DRIFT * max(1, was[s])]
    table = "\n".join(["| file | before | now | change |", "|---|---:|---:|---:|", *lines])
    return dg.AssetCheckResult(
        passed=not moved,
        description=f"moved by more than {DRIFT:.0%}: {', '.join(moved)}"
        if moved
        else "every file near the last one",
        metadata={"files": dg.MetadataValue.md(table)},
        **warn,
    )
