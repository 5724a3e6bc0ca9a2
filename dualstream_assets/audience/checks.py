"""Asset checks of the audience: one step looks at the published files, answers every check, and tells the gate."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from dualstream_assets.audience.assets import KEYS, drift_picture, plan_table
from dualstream_assets.audience.fit import MAILED, NOTHING, Look, look_again
from dualstream_assets.audience.manifest import PLAN, Manifest, read_manifest
from dualstream_assets.estate import Estate
from dualstream_assets.resources import WorkplaceParam

PLAN_TOLERANCE = 0.25
_WORDS = {
    "disjoint_and_conserving": "The files are the manifest's, no address is in two, and candidates in are rows out.",
    "giants_gone": "No row of an organisation that is no prospect.",
    "segment_again": "Ruled again from the file, every domain belongs to this segment, or a person decided so.",
    "drift": "Against the previous release: added, left, moved and per rule within the estate's limits, or accepted.",
    "inputs_of_today": "Built from the release and the very lists that the registry holds, none of them missing.",
    "against_plan": "Our figures beside the plan's measurement of May 2026.",
}
_OF_THE_WHOLE = ("drift", "inputs_of_today", "against_plan")
_WARN = ("inputs_of_today", "against_plan")
"""These do not stop a run: the first shuts the gate by the evidence, the second is only shown."""
_NAMES = [
    *((segment, name) for segment in MAILED for name in _WORDS if name not in _OF_THE_WHOLE),
    *(("institutional", name) for name in _OF_THE_WHOLE),
]


def checks(estate: Estate, environment: str) -> list[dg.AssetChecksDefinition]:
    """The checks of this room. All but `against_plan` make up the evidence `audience_fit`."""
    specs = [
        dg.AssetCheckSpec(
            name, asset=list(KEYS[segment]), blocking=name not in _WARN, description=_WORDS[name]
        )
        for segment, name in _NAMES
    ]

    @dg.multi_asset_check(specs=specs, can_subset=True, name="audience_looked_at")
    def looked_at(
        context: dg.AssetCheckExecutionContext, workplace: WorkplaceParam
    ) -> Iterator[dg.AssetCheckResult]:
        found = look_again(workplace)  # all of them, also when few are asked for: the gate wants the whole
        manifest = read_manifest(workplace.paths.audience)
        for segment, name in _NAMES:
            asset = dg.AssetKey(list(KEYS[segment]))
            if dg.AssetCheckKey(asset, name) not in context.selected_asset_check_keys:
                continue
            if manifest is None or not found:
                answer: dict[str, Any] = {"passed": False, "description": NOTHING}
            elif name == "against_plan":
                answer = _against_plan(manifest, environment)
            else:
                answer = _answer(found[segment, name], estate)
            if name in _WARN:
                answer["severity"] = dg.AssetCheckSeverity.WARN
            yield dg.AssetCheckResult(asset_key=asset, check_name=name, **answer)

    return [looked_at]


def _answer(look: Look, estate: Estate) -> dict[str, Any]:
    shown: dict[str, Any] = {"passed": look.passed, "description": look.said}
    if look.drift is not None:
        shown["metadata"] = {
            "picture": drift_picture(look.drift, estate),
            **{title: dg.MetadataValue.md(table) for title, table in look.drift.tables().items()},
        }
    return shown


def _against_plan(manifest: Manifest, environment: str) -> dict[str, Any]:
    off = [n for n, plan in PLAN.items() if abs(manifest.plan[n] - plan) > PLAN_TOLERANCE * plan]
    if environment == "lab":
        said = "the lab's world is small: shown, not judged"
    elif off:
        said = f"more than {PLAN_TOLERANCE:.0%} off: {', '.join(off)}"
    else:
        said = "every figure is near the plan's"
    return {
        "passed": environment == "lab" or not off,
        "description": said,
        "metadata": {"figures": plan_table(manifest)},
    }
