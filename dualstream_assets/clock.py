"""Time as an argument: the system's clock in production, a shared virtual clock in the lab.

Time is aware UTC inside; the estate's zone is applied at the edge. Nothing else in the package calls
`datetime.now` or `time.sleep` for a decision.
"""

from __future__ import annotations

import fcntl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol, TextIO


class Clock(Protocol):
    """What a room needs to know of time."""

    def now(self) -> datetime:
        """The present moment, aware, UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass on this clock."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The present moment, aware, UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Really wait."""
        time.sleep(max(0.0, seconds))


class FixedClock:
    """A clock for tests: it moves only when told to."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        """The moment last set."""
        return self.at

    def sleep(self, seconds: float) -> None:
        """Move on by `seconds` at once."""
        self.at += timedelta(seconds=seconds)


class LabClock:
    """The lab's clock: real time plus an offset in a file that every process of one lab reads.

    Sleeping moves the offset, so an hour of waiting takes no time. It never goes back.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def now(self) -> datetime:
        """The lab's present moment, aware, UTC."""
        return datetime.now(UTC) + timedelta(seconds=self._offset())

    def sleep(self, seconds: float) -> None:
        """Move the lab's time on by `seconds`."""
        if seconds <= 0:
            return
        with self._locked() as file:
            offset = float(file.read() or 0) + seconds
            file.seek(0)
            file.truncate()
            file.write(f"{offset:.6f}")

    def move_to(self, at: datetime) -> None:
        """Move on to `at`; a moment already past changes nothing."""
        self.sleep((at - self.now()).total_seconds())

    def start(self, epoch: datetime) -> None:
        """Give a new lab its first moment; a clock that already runs is left alone."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked() as file:
            if not file.read():
                file.write(f"{(epoch - datetime.now(UTC)).total_seconds():.6f}")

    def _offset(self) -> float:
        try:
            with self.path.open() as file:
                fcntl.flock(file, fcntl.LOCK_SH)
                return float(file.read() or 0)
        except FileNotFoundError:
            return 0.0

    def _locked(self) -> TextIO:
        file = self.path.open("a+")  # closing it, at the end of the caller's `with`, drops the lock
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        return file
