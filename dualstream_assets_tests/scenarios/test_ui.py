"""The Dagster UI with the lab behind it: the gate refuses a launch from the UI too; pages render in Chromium."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from dualstream_assets.clock import LabClock
from dualstream_assets.estate.load import load_estate, packaged_lab_estate
from dualstream_assets.lab.dns import clear_override, set_override
from dualstream_assets_tests.scenarios.conftest import ROOT, Demo, environment, processes_naming, wait_until

CHROMIUM = shutil.which("chromium")
LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
RUN = """
query Run($id: ID!) {
  runOrError(runId: $id) { ... on Run { status eventConnection { events { __typename
    ... on ExecutionStepFailureEvent { error { message cause { message } } } } } } }
}
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Ui:
    """A running `dualstream lab dev`."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/server_info", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def ask(self, query: str, **variables: object) -> dict:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())["data"]

    def launch(self, *path: str) -> str:
        params = {
            "selector": {
                "repositoryName": "__repository__",
                "repositoryLocationName": "dualstream_assets.definitions",
                "pipelineName": "__ASSET_JOB",
                "assetSelection": [{"path": list(path)}],
                "assetCheckSelection": [],
            },
            "mode": "default",
            "runConfigData": {},
        }
        launched = self.ask(LAUNCH, params=params)["launchPipelineExecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return launched["run"]["runId"]

    def ended(self, run_id: str) -> dict:
        found: dict = {}

        def over() -> bool:
            nonlocal found
            found = self.ask(RUN, id=run_id)["runOrError"]
            return found["status"] in ("SUCCESS", "FAILURE", "CANCELED")

        assert wait_until(over, 120), found.get("status")
        return found


@pytest.fixture(scope="module")
def ui(demo: Demo) -> Iterator[Ui]:
    """The UI on the demo's own state, on the third virtual morning."""
    state = demo.folder / "state"
    clock = LabClock(state / "lab" / "clock")
    morning = (clock.now() + timedelta(days=1)).replace(hour=14, minute=0)
    clock.move_to(max(morning, datetime(2026, 12, 2, 14, 0, tzinfo=UTC)))
    address = str(load_estate(packaged_lab_estate()).pool("healthcare")[0].ip)
    pointer = f"PTR {'.'.join(reversed(address.split('.')))}.in-addr.arpa"
    set_override(
        state / "lab", pointer, []
    )  # so that no wave, of the UI's or the sensor's, finds an open gate
    port = free_port()
    child = subprocess.Popen(
        [sys.executable, "-m", "dualstream_assets", "lab", "dev", "--port", str(port)],
        env=environment(state),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    found = Ui(port)
    try:
        assert wait_until(found.answers, 120)
        yield found
    finally:
        clear_override(state / "lab", pointer)
        child.send_signal(signal.SIGINT)
        child.wait(timeout=60)
        # Dagster's own: PostgreSQL and the lab live on by lease while this test process uses them.
        assert wait_until(lambda: not [p for p in processes_naming(str(state)) if "-m dagster" in p], 30)


def test_a_wave_launched_from_the_ui_is_refused_by_the_gate(ui):
    found = ui.ended(ui.launch("healthcare", "waves"))
    said = json.dumps(found["eventConnection"])
    assert found["status"] == "FAILURE"
    assert "healthcare: gate shut: 127.124.0.107 fcrdns" in said
    assert "Next: " in said


def page(ui: Ui, path: str, tmp_path, wanted: str) -> str:
    """The text of a page as Chromium shows it, waited for by content."""
    text = ""
    for _ in range(4):
        shown = subprocess.run(
            [
                str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000", "--timeout=40000",
                "--dump-dom", f"{ui.url}{path}" if path.startswith("/") else path,
            ],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
            env=os.environ | {"HOME": str(tmp_path)},
        )  # fmt: skip
        text = re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<(script|style).*?</\1>", " ", shown.stdout))
        if wanted in text:
            break
        time.sleep(1)
    return text


needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Debian's chromium (installed by make test as root)"
)


@needs_chromium
def test_the_board_renders(ui, tmp_path):
    assert "The front door" in page(ui, "/assets/operations/board", tmp_path, "The front door")


@needs_chromium
def test_the_graph_renders(ui, tmp_path):
    assert "audience" in page(ui, "/asset-groups", tmp_path, "audience")


@needs_chromium
def test_a_check_page_renders(ui, tmp_path):
    assert "holds" in page(ui, "/assets/proofs/isolation?view=checks", tmp_path, "holds")


@needs_chromium
def test_the_report_page_renders_without_a_network(demo, ui, tmp_path):
    text = page(ui, (demo.folder / "report.html").as_uri(), tmp_path, "Five proofs")
    assert "What the auditor found" in text
    assert "opted out but mailed" in text
