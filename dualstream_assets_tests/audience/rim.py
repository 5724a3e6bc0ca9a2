"""Runs of both rooms in this process, and what they left."""

import dagster as dg

from dualstream_assets.audience.assets import assets as audience_assets
from dualstream_assets.audience.checks import checks as audience_checks
from dualstream_assets.registry.assets import assets as registry_assets
from dualstream_assets.registry.checks import checks as registry_checks
from dualstream_assets.workplace import Workplace


def run(workplace: Workplace, **options: object) -> dg.ExecuteInProcessResult:
    parts = {"estate": workplace.estate, "environment": "lab"}
    return dg.materialize(
        [
            *registry_assets(**parts),
            *audience_assets(**parts),
            *registry_checks(**parts),
            *audience_checks(**parts),
        ],
        resources={"workplace": workplace},
        raise_on_error=False,
        **options,  # pyright: ignore[reportArgumentType]
    )


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {
        f"{e.asset_key.to_user_string()} {e.check_name}": e.passed
        for e in result.get_asset_check_evaluations()
    }
