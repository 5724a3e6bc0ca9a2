"""Real processes for the tests of what outlives processes: clients, their server, its supervisor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]

CLIENT = """
import sys
from dualstream_assets.settings import Settings
from dualstream_assets.store.database import open_database
database = open_database(Settings.read())
with database.transaction() as connection:
    connection.execute("select pg_advisory_xact_lock(1)")  # `if not exists` races
    connection.execute("create table if not exists kept (number int)")
    connection.execute("insert into kept values (1)")
print(database.url, flush=True)
sys.stdin.readline()
"""


def until(holds: Callable[[], object], what: str, seconds: float = 15) -> None:
    """Wait for a condition, bounded."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def environment(**more: str) -> dict[str, str]:
    """For a child that runs this checkout."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("DUALSTREAM_", "DAGSTER_"))}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


@contextmanager
def running(*words: str, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A Python child with pipes; ended at the end of the block."""
    child = subprocess.Popen(
        [sys.executable, *words],
        env=dict(env or environment()),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            dismiss(child)


def dismiss(child: subprocess.Popen[str]) -> None:
    """Let a child that waits for a line end."""
    with suppress(BrokenPipeError):
        child.communicate("\n", timeout=30)


@contextmanager
def client(state: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that uses the embedded database of `state` until it is told to go."""
    with running("-c", CLIENT, env=environment(DUALSTREAM_STATE=str(state))) as child:
        assert child.stdout is not None
        said = child.stdout.readline()
        assert said.startswith("postgresql://"), said + child.stdout.read()
        yield child


def kill(pid: int) -> None:
    """kill -9."""
    os.kill(pid, signal.SIGKILL)


def lives(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def processes_of(folder: Path, *words: str) -> list[int]:
    """Processes whose command line has the folder and every one of the words."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in line and all(word in line for word in words) and lives(int(entry.name)):
                found.append(int(entry.name))
    return found


def supervisor(state: Path) -> int:
    """The one supervisor of the embedded server of `state`."""
    (pid,) = processes_of(state.resolve() / "pg", "dualstream_assets.store.cluster")
    return pid


def postmaster(state: Path) -> int:
    """The one server process of `state`; 0 while it is starting."""
    try:
        first = (state / "pg" / "data" / "postmaster.pid").read_text().split("\n")[0]
    except FileNotFoundError:
        return 0
    return int(first or 0)


def nothing_runs(state: Path) -> bool:
    """Whether neither server nor supervisor is left."""
    return not processes_of(state.resolve() / "pg")
