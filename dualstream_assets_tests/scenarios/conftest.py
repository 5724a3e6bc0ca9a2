"""Whole-estate runs: the demo once per session, and commands as a user would type them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def text(self) -> str:
        return self.out + self.err


def environment(state: Path, **more: str) -> dict[str, str]:
    """A clean environment for a command with this state folder."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DUALSTREAM_", "DAGSTER_"))}
    return kept | {"DUALSTREAM_STATE": str(state), "DAGSTER_DISABLE_TELEMETRY": "1"} | more


def say(*words: str, state: Path, cwd: Path = ROOT, timeout: float = 180, **more: str) -> Said:
    """Run `python -m words…` and return what it said."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", *words],
        env=environment(state, **more),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def start(*words: str, state: Path) -> subprocess.Popen[str]:
    """Start `python -m words…` as a terminal would: Ctrl-C reaches it, also where this test run ignores SIGINT."""
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        env=environment(state),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )


def processes_naming(text: str) -> list[str]:
    """Command lines of living processes that name `text`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in command and int(folder.name) != os.getpid():
            found.append(command)
    return found


def wait_until(true: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@dataclass(frozen=True)
class Demo:
    """One run of the demo."""

    folder: Path
    said: Said
    summary: dict[str, Any]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo, run once as a user runs it."""
    folder = tmp_path_factory.mktemp("demo")
    said = say("dualstream_assets", "demo", "--folder", str(folder), state=folder / "unused", timeout=400)
    summary = folder / "summary.json"
    return Demo(folder, said, json.loads(summary.read_text()) if summary.exists() else {})
