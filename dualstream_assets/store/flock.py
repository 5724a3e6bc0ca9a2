"""Lock files: `flock`, which the kernel drops on any death of its holder. Nothing here knows what is locked."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHARED = fcntl.LOCK_SH
EXCLUSIVE = fcntl.LOCK_EX
POLL_S = 0.025


def open_lock(path: Path) -> int:
    """A handle on a lock file, made if need be; a program that this process starts does not inherit it."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(handle: int, kind: int, deadline: float = 0.0) -> bool:
    """Take a lock, trying until `deadline` (monotonic seconds); once if that is past."""
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
        else:
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)


def unlock(handle: int) -> None:
    """Drop a lock, for a forked child's copy of the handle too, and keep the handle."""
    fcntl.flock(handle, fcntl.LOCK_UN)


@contextmanager
def locked(path: Path, deadline: float) -> Iterator[bool]:
    """Hold `path` exclusively for the block; yields whether it was had before `deadline` (monotonic seconds)."""
    handle = open_lock(path)
    try:
        yield try_lock(handle, EXCLUSIVE, deadline)
    finally:
        unlock(handle)
        os.close(handle)


def taken(path: Path) -> bool:
    """Whether someone holds `path` exclusively. Looks with a shared lock, so two lookers do not see each other."""
    handle = open_lock(path)
    try:
        return not try_lock(handle, SHARED)
    finally:
        unlock(handle)
        os.close(handle)


def same_file(handle: int, path: Path) -> bool:
    """Whether `path` is still the file that `handle` is open on, not removed or replaced."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
