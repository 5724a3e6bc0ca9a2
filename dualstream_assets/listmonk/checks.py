"""Asset checks of the listmonk room: each writes the evidence that a wave needs.

`settings` blocks no edge: opt-outs must go on being pulled from a listmonk that is not as declared. The gate refuses by
the evidence.
"""

from collections.abc import Callable

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.listmonk import room
from dualstream_assets.resources import WorkplaceParam, stream_names
from dualstream_assets.store.evidence import Evidence, Verdict
from dualstream_assets.workplace import Workplace

Look = Callable[[Workplace, str, str], Evidence]

FACTS: tuple[tuple[str, str, str, Look], ...] = (
    ("listmonk", "settings", "Everything declared holds and is in force.", room.look_at_settings),
    ("subscribers", "counts", "Everybody who may be imported is there.", room.look_at_counts),
    ("subscribers", "no_optout_revived", "Whoever is suppressed is blocklisted there.", room.look_at_optouts),
)
"""(asset, fact, what it says, the look)."""


def checks(estate: Estate, environment: str) -> list[dg.AssetChecksDefinition]:  # noqa: ARG001
    """The checks of this room."""
    return [
        _evidence(stream, asset, fact, said, look)
        for stream in stream_names(estate)
        for asset, fact, said, look in FACTS
    ]


def _evidence(stream: str, asset: str, fact: str, said: str, look: Look) -> dg.AssetChecksDefinition:
    key = keys.of_stream(stream, asset)

    @dg.asset_check(asset=list(key), name=fact, description=said, blocking=asset != "listmonk")
    def evidence(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        found = look(workplace, stream, f"{keys.text(key)}:{fact}")
        return dg.AssetCheckResult(
            passed=found.verdict is Verdict.PASS,
            description=f"{found.verdict}: {found.evidence}",
            metadata={"verdict": found.verdict.value, "evidence": found.evidence},
        )

    return evidence
