"""The faults that the demo shows red and then green. Each returns a line for the summary, or raises DemoFailed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from dualstream_assets.lab.dev import dagster_environment
from dualstream_assets.lab.dns import clear_override, set_override

if TYPE_CHECKING:
    from dualstream_assets.workplace import Workplace

HOT = "healthcare"


class DemoFailed(RuntimeError):
    """Something that the demo promises did not happen."""


def expect(truth: bool, what: str) -> None:
    """Raise unless a promise of the demo holds."""
    if not truth:
        raise DemoFailed(f"the demo promises that {what}; it was not so")


def run_child(workplace: Workplace, words: list[str]) -> tuple[int, str]:
    """Run a command against this lab; returns its exit code and everything it said."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        env=dagster_environment(workplace.settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def break_fcrdns(workplace: Workplace) -> str:
    """Take the PTR of one hot egress away in the lab's DNS; returns its address."""
    address = str(workplace.estate.pool(HOT)[0].ip)
    set_override(workplace.paths.lab, f"PTR {_reverse(address)}", [])
    return address


def mend_fcrdns(workplace: Workplace) -> None:
    """Give the PTR back."""
    clear_override(workplace.paths.lab, f"PTR {_reverse(str(workplace.estate.pool(HOT)[0].ip))}")


def _reverse(address: str) -> str:
    return ".".join(reversed(address.split("."))) + ".in-addr.arpa"


def kill_mid_wave(workplace: Workplace) -> str:
    """Start a wave in a process of its own and kill -9 it as soon as the wave is released; returns the wave's state.

    Released means that the permit is consumed and the ledger committed, while listmonk may not have been told to start.
    """
    with workplace.database.transaction() as connection:
        row = connection.execute("select coalesce(max(id), 0) from wave").fetchone()
    before = row[0] if row else 0
    child = subprocess.Popen(
        [sys.executable, "-m", "dualstream_assets", "wave", "release", HOT],
        env=dagster_environment(workplace.settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    state = ""
    while state != "released" and child.poll() is None and time.monotonic() < deadline:
        with workplace.database.transaction() as connection:
            found = connection.execute(
                "select state from wave where id > %s order by id", (before,)
            ).fetchone()
        state = found[0] if found else ""
    if child.poll() is None:
        os.kill(child.pid, signal.SIGKILL)
    killed = child.wait() == -signal.SIGKILL
    expect(killed and state == "released", "the process of a released wave was killed with -9")
    return state
