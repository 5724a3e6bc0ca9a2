"""Dagster keeps its runs in our PostgreSQL, unconfigured, in every kind of process it starts."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import yaml

from dualstream_assets.settings import Settings
from dualstream_assets.store.lease import Lease, wait_until_free
from dualstream_assets.store.postgres import server_url
from dualstream_assets_tests.store.processes import (
    ROOT,
    environment,
    lives,
    nothing_runs,
    postmaster,
    supervisor,
    until,
)

CODE = """
import os, signal, time
from pathlib import Path
import dagster as dg

@dg.asset
def one() -> None: ...

@dg.asset
def survives(context: dg.AssetExecutionContext) -> None:
    os.kill(int(os.environ["SUPERVISOR"]), signal.SIGKILL)
    server = Path(f"/proc/{os.environ['SERVER']}/cmdline")
    while server.exists() and server.read_bytes():
        time.sleep(0.01)

defs = dg.Definitions([one, survives], executor=dg.EXECUTOR)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a code file and our dagster.yaml, as a checkout has it."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "here.py").write_text(CODE.replace("EXECUTOR", "in_process_executor"))
    (folder / "spawning.py").write_text(CODE.replace("EXECUTOR", "multiprocess_executor"))
    shutil.copy(ROOT / "dagster.yaml", folder / "dagster.yaml")
    return folder


def materialize(project: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "dagster", "asset", "materialize", *words],
        cwd=project,
        env=environment(DAGSTER_DISABLE_TELEMETRY="1", **more),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """One state for the module: Dagster's tables take two seconds to make."""
    state = tmp_path_factory.mktemp("dagster") / "state"
    yield Settings.read({**environment(), "DUALSTREAM_STATE": str(state)})
    leave(state)


def leave(state: Path) -> None:
    if (state / "pg").exists():
        Lease((state / "pg").resolve(), "").release()
        wait_until_free(state / "pg", 15)


def newest_run(settings: Settings) -> tuple[str, list[str]]:
    """Its status, and what it materialized."""
    with psycopg.connect(server_url(settings, "dagster")) as connection:
        run = connection.execute("select run_id, status from runs order by id desc limit 1").fetchone()
        assert run
        made = connection.execute(
            "select asset_key from event_logs where run_id = %s and dagster_event_type = 'ASSET_MATERIALIZATION'",
            (run[0],),
        ).fetchall()
    return run[1], [key for (key,) in made]


def test_a_materialization_is_kept_in_our_database_and_leaves_no_server(project: Path, own: Settings) -> None:
    home = {"DAGSTER_HOME": str(project), "DUALSTREAM_STATE": str(own.state)}
    done = materialize(project, "--select", "one", "-f", "here.py", **home)
    assert done.returncode == 0, done.stderr[-2000:]
    until(lambda: nothing_runs(own.state), "nothing is left running")
    assert newest_run(own) == ("SUCCESS", ['["one"]'])


def test_a_step_process_and_a_missing_dagster_home_find_the_same_database(
    project: Path, own: Settings
) -> None:
    done = materialize(project, "--select", "one", "-f", "spawning.py", DUALSTREAM_STATE=str(own.state))
    assert done.returncode == 0, done.stderr[-2000:]
    assert newest_run(own) == ("SUCCESS", ['["one"]'])


def test_a_run_outlives_the_loss_of_supervisor_and_server(project: Path, own: Settings) -> None:
    server_url(own, "dagster")
    server = postmaster(own.state)
    lost = {"SUPERVISOR": str(supervisor(own.state)), "SERVER": str(server)}
    home = {"DAGSTER_HOME": str(project), "DUALSTREAM_STATE": str(own.state)}
    done = materialize(project, "--select", "survives", "-f", "here.py", **home, **lost)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not lives(server)
    assert newest_run(own) == ("SUCCESS", ['["survives"]'])


def test_an_unreachable_database_is_one_line_within_three_seconds_of_dagsters_own(project: Path) -> None:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import dagster, dagster._cli"], check=True)
    bare = time.monotonic() - began
    began = time.monotonic()
    url = "postgresql://who:secret@127.0.0.1:1/"
    done = materialize(project, "--select", "one", "-f", "here.py", DUALSTREAM_PG_URL=url)
    took = time.monotonic() - began
    assert done.returncode == 1
    said = [
        line for line in done.stderr.splitlines() if "Supersession" not in line and "callback(" not in line
    ]
    assert len(said) == 1, done.stderr
    assert said[0].startswith("Error: DUALSTREAM_PG_URL: no connection to PostgreSQL at 127.0.0.1:1 (")
    assert took < 3 + 2 * bare


def test_dagsters_settings_protect_what_must_not_repeat() -> None:
    told = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    assert told["run_retries"]["retry_on_asset_or_op_failure"] is False
    assert told["concurrency"]["runs"]["tag_concurrency_limits"] == [{"key": "dualstream/sends", "limit": 1}]
    assert told["telemetry"]["enabled"] is told["nux"]["enabled"] is False
    assert told["python_logs"]["managed_python_loggers"] == ["dualstream_assets"]


def test_the_workspace_names_the_one_code_location() -> None:
    (place,) = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    assert place == {
        "python_module": {
            "module_name": "dualstream_assets.definitions",
            "location_name": "dualstream_assets",
        }
    }
