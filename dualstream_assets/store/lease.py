"""A server that lives exactly as long as somebody needs it, whatever dies.

Three lock files in the server's folder, all flock, which the kernel drops on any death:

- `lease`: each user of the server holds it *shared* for its life.
- `gate`: starters hold it exclusively, so that only one starts.
- `owner`: the detached supervisor holds it exclusively; it starts the server, and stops it once it gets `lease`
  exclusively, which means that nobody uses it any more.

Prototyped with racing starters and kill -9 of client, server and supervisor (facts: architecture, section 3).
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

FAILURE = "failure"
LOG = "server.log"
POLL_S = 0.02
IDLE_POLL_S = 0.2


class ServerFailed(RuntimeError):
    """The server did not start; the message is the supervisor's own, in one line."""


class Lease:
    """A shared lock on a server, dropped by `release` or by the end of this process."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def release(self) -> None:
        """Stop needing the server."""
        self._file.close()


_HELD: list[Lease] = []
"""Leases of this process: held until it ends, so that a server does not stop between two uses."""


def share(
    folder: Path,
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    ready_file: str,
    timeout_s: float,
) -> Lease:
    """Use the server of `folder`; start it by `command` (with the folder as last word) if nobody has.

    Returns once `ready_file` was written by the present owner. The lease is held for the life of this process.

    Raises:
        ServerFailed: it did not start in `timeout_s` seconds, or said why not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lease = _open(folder / "lease")
    if _locked(lease, fcntl.LOCK_SH) and _owned(folder) and (folder / ready_file).exists():
        return _keep(lease)
    with _open(folder / "gate") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(lease, fcntl.LOCK_SH)  # waits while a supervisor is stopping
        deadline = time.monotonic() + timeout_s
        child: subprocess.Popen[bytes] | None = None
        while not (_owned(folder) and (folder / ready_file).exists()):
            if child is None and not _owned(folder):
                child = _spawn(folder, command, environment, ready_file)
            elif child is not None and child.poll() is not None and not _owned(folder):
                raise ServerFailed(_failure(folder))
            if time.monotonic() > deadline:
                raise ServerFailed(f"{folder.name}: not ready after {timeout_s:.0f} s; see {folder / LOG}")
            time.sleep(POLL_S)
    return _keep(lease)


def _keep(lease: TextIO) -> Lease:
    held = Lease(lease)
    _HELD.append(held)
    return held


def _open(path: Path) -> TextIO:
    return path.open("a+")


def _locked(file: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owned(folder: Path) -> bool:
    """Whether a supervisor lives. Shared, so that two who ask do not look like owners to each other."""
    with _open(folder / "owner") as owner:
        return not _locked(owner, fcntl.LOCK_SH)


def _spawn(
    folder: Path, command: Sequence[str], environment: Mapping[str, str], ready_file: str
) -> subprocess.Popen[bytes]:
    for stale in (ready_file, FAILURE):
        (folder / stale).unlink(missing_ok=True)
    with (folder / LOG).open("ab") as log:
        return subprocess.Popen(
            [*command, str(folder)],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )


def _failure(folder: Path) -> str:
    said = folder / FAILURE
    if said.exists():
        return said.read_text(encoding="utf-8").strip()
    log = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{folder.name} did not start: {log[-1] if log else 'no reason given'} (see {folder / LOG})"


def serve_while_leased(
    folder: Path,
    start: Callable[[], None],
    stop: Callable[[], None],
    ready_file: str,
    ready_text: Callable[[], str],
    alive: Callable[[], bool] = lambda: True,
) -> None:
    """The supervisor: start the server, say so in `ready_file`, stop it when nobody leases it any more.

    A server that died (`alive` is false) is started again, three times at most.
    """
    with _open(folder / "owner") as owner:
        deadline = time.monotonic() + 5
        while not _locked(owner, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                return  # another supervisor owns the folder
            time.sleep(POLL_S)
        with _failure_told(folder):
            start()
            _publish(folder / ready_file, ready_text())
        try:
            _wait_until_unleased(folder, start, alive)
        finally:
            (folder / ready_file).unlink(missing_ok=True)
            stop()


@contextmanager
def _failure_told(folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        _publish(folder / FAILURE, " ".join(str(error).split()) or type(error).__name__)
        raise


def _publish(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _wait_until_unleased(folder: Path, start: Callable[[], None], alive: Callable[[], bool]) -> None:
    restarts = 0
    lease = _open(folder / "lease")  # stays locked until this process ends: a starter waits for that
    os.set_inheritable(lease.fileno(), False)
    _SUPERVISED.append(lease)
    while not _locked(lease, fcntl.LOCK_EX):
        if not alive():
            restarts += 1
            if restarts > 3:  # noqa: PLR2004
                return
            start()
        time.sleep(IDLE_POLL_S)


_SUPERVISED: list[TextIO] = []
"""The exclusive lease of a supervisor that is stopping, kept open until the process ends."""


def wait_until_free(folder: Path, timeout_s: float) -> None:
    """Wait until no supervisor owns `folder`.

    Raises:
        ServerFailed: somebody still uses the server after `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while folder.exists() and _owned(folder):
        if time.monotonic() > deadline:
            raise ServerFailed(f"{folder} is still in use by another process: stop that one first")
        time.sleep(POLL_S)
