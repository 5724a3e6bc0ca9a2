"""Production settings with the whole outside within reach: no acting asset touches it unless the run says so.

The outside is the demo's lab: two listmonks, a submission host, DNS and mail hosts that would answer.
"""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest
import requests

from dualstream_assets.definitions import build_defs
from dualstream_assets.entry import open_workplace
from dualstream_assets.estate import load_estate
from dualstream_assets.settings import Settings
from dualstream_assets.workplace import Endpoints, Workplace
from dualstream_assets_tests.scenarios.conftest import ROOT, environment
from dualstream_assets_tests.scenarios.test_production_is_quiet import ANSWERS

ACTING = (
    "verification/mx",
    "verification/verdicts",
    "healthcare/message_score",
    "trucking/message_score",
    "mta/deployed",
    "healthcare/listmonk",
    "trucking/listmonk",
    "healthcare/subscribers",
    "trucking/subscribers",
    "sending/suppression",
    "healthcare/rampcap",
    "trucking/rampcap",
    "healthcare/waves",
    "trucking/waves",
)
TABLES = (
    "wave",
    "permit",
    "probe_journal",
    "mailbox",
    "mail_domain",
    "applied_plan",
    "cap_history",
    "policy_use",
)


@pytest.fixture(scope="module")
def outside(demo) -> Endpoints:
    """Endpoints of the demo's lab, started again."""
    return open_workplace(Settings.read(environment(demo.folder / "state"))).endpoints


@pytest.fixture
def production(demo, outside, database, tmp_path) -> Workplace:
    """A production workplace on that outside, with the demo's audience files."""
    text = (ROOT / "infra" / "estate.toml").read_text()
    for old, new in ANSWERS:
        text = text.replace(old, new, 1)
    path = tmp_path / "estate.toml"
    path.write_text(text)
    state = tmp_path / "state"
    state.mkdir()
    (state / "audience").symlink_to(demo.folder / "state" / "audience")
    (state / "registry").symlink_to(demo.folder / "state" / "registry")
    settings = Settings.read(environment(state, DUALSTREAM_ENV="production", DUALSTREAM_ESTATE=str(path)))
    return Workplace(settings, load_estate(path), given_endpoints=outside, given_database=database)


def seen_outside(outside: Endpoints, workplace: Workplace) -> dict[str, object]:
    """Everything an act would change: what we keep, what was sent, and both listmonks."""
    with workplace.database.transaction() as connection:
        rows = {t: connection.execute(f"select count(*) from {t}".encode()).fetchone()[0] for t in TABLES}
    assert outside.sinks is not None
    assert outside.maillog is not None
    listmonks = {}
    for stream, at in outside.listmonk.items():
        headers = {"Authorization": f"token {at.user}:{at.token}"}
        settings = requests.get(f"{at.url}/api/settings", headers=headers, timeout=10).json()["data"]
        people = requests.get(f"{at.url}/api/subscribers?per_page=1", headers=headers, timeout=10).json()
        campaigns = requests.get(f"{at.url}/api/campaigns?per_page=1", headers=headers, timeout=10).json()
        listmonks[stream] = (
            json.dumps(settings, sort_keys=True),
            people["data"]["total"],
            campaigns["data"]["total"],
        )
    return {
        "rows": rows,
        "sinks": outside.sinks.stat().st_size,
        "log": len(Path(outside.maillog).read_bytes()),
        "listmonks": listmonks,
    }


def materialise(workplace: Workplace, key: str, config: dict | None = None) -> bool:
    """Materialize one asset alone, as the UI's button does; whether its step ran."""
    defs = build_defs(workplace.estate, workplace.settings, workplace=workplace)
    job = defs.resolve_implicit_global_asset_job_def()
    done = job.execute_in_process(
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}, **(config or {})},
        instance=dg.DagsterInstance.ephemeral(),
        asset_selection=[dg.AssetKey(key.split("/"))],
        raise_on_error=False,
    )
    return any(event.is_step_start for event in done.all_events)


@pytest.mark.parametrize("key", ACTING)
def test_it_runs_and_touches_nothing(production, outside, key):
    before = seen_outside(outside, production)
    assert materialise(production, key)
    assert seen_outside(outside, production) == before


def test_the_same_asset_told_to_act_does_act(production, outside):
    """The control: what the tests above look at does change when a run says so."""
    before = seen_outside(outside, production)
    materialise(
        production, "healthcare/listmonk", {"ops": {"healthcare__listmonk": {"config": {"act": True}}}}
    )
    assert seen_outside(outside, production) != before
