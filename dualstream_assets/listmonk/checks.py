"""Asset checks of the listmonk room: each writes the evidence that a wave needs.

`settings` blocks no edge: opt-outs must go on being pulled from a listmonk that is not as declared. The gate refuses by
the evidence.
"""

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.resources import WorkplaceParam, stream_names

FACTS: tuple[tuple[str, str, str, str], ...] = (
    ("listmonk", "settings", "Everything declared holds and is in force.", "look_at_settings"),
    ("subscribers", "counts", "Everybody who may be imported is there.", "look_at_counts"),
    ("subscribers", "no_optout_revived", "Whoever is suppressed is blocklisted there.", "look_at_optouts"),
)
"""(asset, fact, what it says, the function of `room` that looks)."""


def checks(estate: Estate, environment: str) -> list[dg.AssetChecksDefinition]:  # noqa: ARG001
    """The checks of this room."""
    return [
        _evidence(stream, asset, fact, said, look)
        for stream in stream_names(estate)
        for asset, fact, said, look in FACTS
    ]


def _evidence(stream: str, asset: str, fact: str, said: str, look: str) -> dg.AssetChecksDefinition:
    key = keys.of_stream(stream, asset)

    @dg.asset_check(asset=list(key), name=fact, description=said, blocking=asset != "listmonk")
    def evidence(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.listmonk import room
        from dualstream_assets.store.evidence import Verdict

        found = getattr(room, look)(workplace, stream, f"{keys.text(key)}:{fact}")
        return dg.AssetCheckResult(
            passed=found.verdict is Verdict.PASS,
            description=f"{found.verdict}: {found.evidence}",
            metadata={"verdict": found.verdict.value, "evidence": found.evidence},
        )

    return evidence
