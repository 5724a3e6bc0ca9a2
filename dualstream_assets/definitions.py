"""The code location: assembles the rooms, decides nothing.

Importing this module reads one file, the estate, and touches neither network nor database. `build_defs` takes fakes
in tests. Which estate: `DUALSTREAM_ESTATE`, else the lab's (packaged) or `infra/estate.toml` (dev, production).
"""

import gc
from collections.abc import Mapping
from typing import Any

import dagster as dg

from dualstream_assets.entry import open_estate
from dualstream_assets.estate import Estate
from dualstream_assets.settings import Settings
from dualstream_assets.workplace import Workplace


def build_defs(
    estate: Estate, settings: Settings | None = None, *, workplace: Workplace | None = None, **overrides: Any
) -> dg.Definitions:
    """Assemble the code location.

    Args:
        estate: the declared estate.
        settings: the process environment; read when not given.
        workplace: a ready workplace (tests); made from `settings` when not given.
        overrides: resources by name, in place of ours.
    """
    from dualstream_assets.audience.assets import assets as audience_assets
    from dualstream_assets.audience.checks import checks as audience_checks
    from dualstream_assets.identity.assets import assets as identity_assets
    from dualstream_assets.identity.automation import automation as identity_automation
    from dualstream_assets.identity.checks import checks as identity_checks
    from dualstream_assets.listmonk.assets import assets as listmonk_assets
    from dualstream_assets.listmonk.checks import checks as listmonk_checks
    from dualstream_assets.maillog.assets import assets as maillog_assets
    from dualstream_assets.maillog.automation import automation as maillog_automation
    from dualstream_assets.maillog.checks import checks as maillog_checks
    from dualstream_assets.mta.assets import assets as mta_assets
    from dualstream_assets.mta.automation import automation as mta_automation
    from dualstream_assets.mta.checks import checks as mta_checks
    from dualstream_assets.proofs.assets import assets as proofs_assets
    from dualstream_assets.proofs.automation import automation as proofs_automation
    from dualstream_assets.proofs.checks import checks as proofs_checks
    from dualstream_assets.registry.assets import assets as registry_assets
    from dualstream_assets.registry.automation import automation as registry_automation
    from dualstream_assets.registry.checks import checks as registry_checks
    from dualstream_assets.sending.assets import assets as sending_assets
    from dualstream_assets.sending.automation import automation as sending_automation
    from dualstream_assets.sending.checks import checks as sending_checks
    from dualstream_assets.verification.assets import assets as verification_assets
    from dualstream_assets.verification.automation import automation as verification_automation
    from dualstream_assets.verification.checks import checks as verification_checks

    settings = settings or Settings.read()
    environment = settings.environment
    parts = {"estate": estate, "environment": environment}
    automations = [
        automation(**parts)
        for automation in (
            registry_automation,
            verification_automation,
            identity_automation,
            mta_automation,
            maillog_automation,
            sending_automation,
            proofs_automation,
        )
    ]
    resources: Mapping[str, Any] = {
        "workplace": workplace or Workplace(settings, estate, send_probe=_send_probe),
        **overrides,
    }
    return dg.Definitions(
        assets=[
            asset
            for assets in (
                registry_assets,
                audience_assets,
                verification_assets,
                identity_assets,
                mta_assets,
                listmonk_assets,
                maillog_assets,
                sending_assets,
                proofs_assets,
            )
            for asset in assets(**parts)
        ],
        asset_checks=[
            check
            for checks in (
                registry_checks,
                audience_checks,
                verification_checks,
                identity_checks,
                mta_checks,
                listmonk_checks,
                maillog_checks,
                sending_checks,
                proofs_checks,
            )
            for check in checks(**parts)
        ],
        jobs=[job for a in automations for job in a.jobs],
        schedules=[schedule for a in automations for schedule in a.schedules],
        sensors=[sensor for a in automations for sensor in a.sensors],
        resources=dict(resources),
        executor=dg.in_process_executor,
    )


def _send_probe(workplace: Workplace, stream: str) -> int:
    from dualstream_assets.sending.probe import send_probe

    return send_probe(workplace, stream)


def _load() -> dg.Definitions:
    settings = Settings.read()
    # Everything made here lives as long as the process; the collector would walk all of Dagster for nothing meanwhile
    # (a tenth of the load, docs/benchmarks.md).
    gc.disable()
    try:
        return build_defs(open_estate(settings), settings)
    finally:
        gc.enable()


defs = _load()
