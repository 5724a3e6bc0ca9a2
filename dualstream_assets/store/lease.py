"""A server that several processes share and nobody has to stop: the generic part, for PostgreSQL and for the lab.

Three locks in the server's folder, all `flock`, so that the kernel drops them on any death:

- `lease`: every user holds it *shared* for its life. Once the supervisor gets it *exclusively*, nobody is left.
- `gate`: a starter holds it exclusively while it looks whether a server must be started, so one of many starts it.
- `owner`: the supervisor, a detached process in a session of its own, holds it for its life.

What belongs here: locks, the detached start, readiness. What the server is, its callers say.
"""

from __future__ import annotations

import errno
import os
import pwd
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from dualstream_assets.store.flock import (
    EXCLUSIVE,
    SHARED,
    locked,
    open_lock,
    same_file,
    taken,
    try_lock,
    unlock,
)

POLL_S = 0.05
LINGER_S = 1.5
"""How long a server waits for a next user: commands typed one after the other find it warm."""
RESTARTS_PER_MINUTE = 3
_LOG = "server.log"
_FAILED = "failed"


class ServerFailed(RuntimeError):
    """The shared server cannot be had; one line that says why, and where to look."""


class StateUnusable(ServerFailed):
    """The folder cannot be used by this user; one line with the cure."""


_held: dict[Path, int] = {}
_guard = threading.Lock()


@dataclass(frozen=True)
class Lease:
    """This process's share in a running server; `ready` is the text of its ready file."""

    folder: Path
    ready: str

    def release(self) -> None:
        """Give the share back before the process ends."""
        with _guard:
            handle = _held.pop(self.folder, None)
        if handle is not None:
            os.close(handle)


def share(
    folder: Path,
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    ready_file: str,
    timeout_s: float,
) -> Lease:
    """Take a share in the server of `folder` for this process's life; start it where nobody has.

    `command`, with the folder appended, must call `serve_while_leased`. It runs detached: own session, no terminal,
    output in `folder/server.log`. Calling this again is cheap and starts a server that was killed anew.

    Raises:
        StateUnusable: the folder is another user's, or cannot be written.
        ServerFailed: the server did not start (in its own words), or took longer than `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    folder = usable(folder)
    _hold(folder, deadline)
    ready = _ready_text(folder, ready_file)
    if ready is None:
        with locked(folder / "gate", deadline) as at_the_gate:
            if not at_the_gate:
                raise ServerFailed(f"another process has held {folder / 'gate'} for too long: is it stopped?")
            ready = _ready_text(folder, ready_file) or _start(
                folder, command, environment, ready_file, deadline
            )
    return Lease(folder, ready)


def running(folder: Path) -> bool:
    """Whether a supervisor lives in `folder`."""
    return (folder / "owner").exists() and taken(folder / "owner")


def wait_until_free(folder: Path, timeout_s: float) -> None:
    """Wait until no supervisor owns `folder`.

    Raises:
        ServerFailed: somebody still uses the server after `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while running(folder):
        if time.monotonic() > deadline:
            raise ServerFailed(f"{folder} is still in use by another process: stop that one first")
        time.sleep(POLL_S)


def serve_while_leased(
    folder: Path,
    start: Callable[[], None],
    stop: Callable[[], None],
    ready_file: str,
    ready_text: Callable[[], str],
    alive: Callable[[], bool] = lambda: True,
    *,
    linger_s: float = LINGER_S,
) -> None:
    """The supervisor's side: start, say ready, and stop once nobody shares any more (or on SIGTERM).

    Call it from the main thread. A server that is found dead (`alive`) is started again, a few times a minute at
    most. What `start` raises reaches the starter as one line.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    owner = open_lock(folder / "owner")
    if not try_lock(owner, EXCLUSIVE, time.monotonic() + 5):
        raise SystemExit(0)  # another supervisor was quicker
    lease = open_lock(folder / "lease")
    try:
        _start_and_say(folder, start, ready_file, ready_text)
        starts = [time.monotonic()]
        while not _idle(folder, lease, alive, linger_s):
            (folder / ready_file).unlink(missing_ok=True)
            starts = [at for at in starts if at > time.monotonic() - 60] + [time.monotonic()]
            if len(starts) > RESTARTS_PER_MINUTE:
                raise SystemExit(f"the server in {folder} keeps dying; its last words are in {folder / _LOG}")
            _start_and_say(folder, start, ready_file, ready_text)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (folder / ready_file).unlink(missing_ok=True)
        stop()  # still holding both locks: a newcomer waits, then starts afresh


def _leave(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _start_and_say(
    folder: Path, start: Callable[[], None], ready_file: str, ready_text: Callable[[], str]
) -> None:
    try:
        start()
        text = ready_text()
    except Exception as error:
        _replace(folder / _FAILED, " ".join(str(error).split()) or type(error).__name__)
        raise
    _replace(folder / ready_file, text)


def _idle(folder: Path, lease: int, alive: Callable[[], bool], linger_s: float) -> bool:
    """Wait until nobody has shared for `linger_s` (True, and `lease` is ours alone) or the server died (False)."""
    free_since: float | None = None
    while True:
        time.sleep(POLL_S * 2)
        if not same_file(lease, folder / "lease"):
            return True  # the folder was removed or replaced under us
        if not alive():
            return False
        if not try_lock(lease, EXCLUSIVE):
            free_since = None
        elif free_since is None:
            free_since = time.monotonic()
            unlock(lease)
        elif time.monotonic() - free_since >= linger_s:
            return True
        else:
            unlock(lease)


def usable(folder: Path) -> Path:
    """The folder, made if need be, resolved, and ours; else the cure."""
    me = os.geteuid()
    for place in (folder.parent, folder):
        # Root could write into another user's state, and would leave files there that its owner cannot use.
        if (place == folder or me == 0) and _owner(place) not in (None, me):
            raise _not_ours(place)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.close(open_lock(folder / "lease"))
    except OSError as error:
        there = next(place for place in (folder, *folder.parents) if _owner(place) is not None)
        if error.errno in (errno.EACCES, errno.EPERM) and _owner(there) != me:
            raise _not_ours(there) from None
        raise StateUnusable(
            f"cannot write in {there} ({error.strerror}): set DUALSTREAM_STATE to a folder that {_user(me)} may write"
        ) from None
    return folder.resolve()


def _owner(place: Path) -> int | None:
    """The uid that owns it; None where it is missing or out of sight."""
    try:
        return place.stat().st_uid
    except OSError:
        return None


def _not_ours(place: Path) -> StateUnusable:
    owner, me = _user(_owner(place)), _user(os.geteuid())
    return StateUnusable(
        f"{place} belongs to {owner}, and you are {me}: run this as {owner}, or set DUALSTREAM_STATE to a folder of"
        " your own"
    )


def _user(uid: int | None) -> str:
    try:
        return pwd.getpwuid(uid).pw_name if uid is not None else "nobody we can see"
    except KeyError:
        return f"uid {uid}"


def _hold(folder: Path, deadline: float) -> None:
    """Hold `lease` shared for the rest of this process's life."""
    with _guard:
        handle = _held.get(folder)
        if handle is not None and same_file(handle, folder / "lease"):
            return
        handle = open_lock(folder / "lease")
        if not try_lock(handle, SHARED, deadline):
            os.close(handle)
            raise ServerFailed(f"a server in {folder} has been stopping for too long; see {folder / _LOG}")
        _held[folder] = handle


def _forget_after_fork() -> None:
    """A forked child has no share: the inherited copies would keep the server for the child's life.

    Closing a copy leaves the parent's lock alone; a child that needs the server takes a share of its own.
    """
    global _guard  # noqa: PLW0603
    _guard = threading.Lock()
    for handle in _held.values():
        os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_forget_after_fork)


def _start(
    folder: Path, command: Sequence[str], environment: Mapping[str, str], ready_file: str, deadline: float
) -> str:
    """Under the gate: start a supervisor where none owns the folder, then wait for its ready file."""
    child: subprocess.Popen[bytes] | None = None
    while time.monotonic() < deadline:
        ready = _ready_text(folder, ready_file)
        if ready is not None:
            return ready
        if child is None and not running(folder):
            (folder / ready_file).unlink(missing_ok=True)
            (folder / _FAILED).unlink(missing_ok=True)
            child = _detach(folder, [*command, str(folder)], environment)
        elif child is not None and child.poll() is not None and not running(folder):
            raise ServerFailed(_last_words(folder))
        time.sleep(POLL_S / 2)
    raise ServerFailed(f"the server in {folder} was not ready in time; see {folder / _LOG}")


def _detach(folder: Path, words: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    log = folder / _LOG
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    package = Path(__file__).parents[2]
    paths = [p for p in environment.get("PYTHONPATH", "").split(os.pathsep) if p]
    if not package.is_relative_to(sys.prefix) and str(package) not in paths:
        paths.append(str(package))  # a checkout that is on this process's path only
    with log.open("wb") as out:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=folder,
            env={**environment, **({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})},
            start_new_session=True,
        )
    threading.Thread(target=child.wait, daemon=True).start()  # no zombie is left to its starter
    return child


def _last_words(folder: Path) -> str:
    for name in (_FAILED, _LOG):
        file = folder / name
        lines = file.read_text(errors="replace").split("\n") if file.exists() else []
        said = [line.strip() for line in lines if line.strip()]
        if said:
            return said[-1]
    return f"the server in {folder} died without a word"


def _ready_text(folder: Path, ready_file: str) -> str | None:
    """The ready file, if it is the present owner's: a starter removes a dead one's before it starts another."""
    if not running(folder):
        return None
    try:
        return (folder / ready_file).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
