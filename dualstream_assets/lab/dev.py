"""`make dev`: the Dagster UI with the lab behind it, started so that one Ctrl-C ends everything."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
from importlib import resources
from pathlib import Path

from dualstream_assets.entry import open_workplace
from dualstream_assets.settings import Settings


def dagster_home(state: Path) -> Path:
    """A DAGSTER_HOME below the state folder, with this project's dagster.yaml in it."""
    home = state / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(
        Path(str(resources.files("dualstream_assets.store") / "dagster.yaml")), home / "dagster.yaml"
    )
    return home


def dagster_environment(settings: Settings) -> dict[str, str]:
    """The environment in which Dagster's own commands find this lab and our storage."""
    return os.environ | {
        "DUALSTREAM_ENV": settings.environment,
        "DUALSTREAM_STATE": str(settings.state),
        "DAGSTER_HOME": str(dagster_home(settings.state)),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }


class PortTaken(RuntimeError):
    """Somebody listens there already."""


def _free(port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortTaken(
                f"port {port} on 127.0.0.1 is taken ({error.strerror}): dualstream lab dev --port {port + 1}"
            ) from None


def _as_child() -> None:
    """In the child, before it runs: Ctrl-C works, and the kernel ends it if we are killed."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


PR_SET_PDEATHSIG = 1


def run_dev(settings: Settings, port: int) -> int:
    """Serve the UI until Ctrl-C; returns dagster's exit code.

    `dagster dev` maps SIGTERM to whatever SIGINT is, so it is started in a session of its own with SIGINT reset; on
    Ctrl-C that whole session is told to stop, and what remains of it is ended.
    """
    _free(port)
    workplace = open_workplace(settings)
    _ = workplace.endpoints
    command = [
        sys.executable, "-m", "dagster", "dev", "-m", "dualstream_assets.definitions",
        "-h", "127.0.0.1", "-p", str(port),
    ]  # fmt: skip
    for stopping in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # both may be ignored where a shell put us in the background
        signal.signal(stopping, signal.default_int_handler)
    child = subprocess.Popen(
        command,
        env=dagster_environment(settings),
        start_new_session=True,
        preexec_fn=_as_child,  # noqa: PLW1509
    )
    try:
        return child.wait()
    except KeyboardInterrupt:
        os.killpg(child.pid, signal.SIGTERM)
        try:
            return child.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            return child.wait()
