"""The lab submission host's queue: one message file and one small state file a message, in a folder.

A message is in the folder before its 250 is given, and gone when its last recipient is final, so a kill at any moment
loses nothing. Other processes look and ask through the folder too: `listing`, `ask`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

State = Literal["active", "deferred", "hold"]
Wish = Literal["delete", "release"]


@dataclass(frozen=True)
class Queued:
    """One message in the queue; times are lab time, seconds since the epoch.

    Attributes:
        port: the estate's submission port that took it.
        recipients: those not yet final.
        attempts: delivery attempts so far.
        next_at: not tried before this moment.
        reason: why it is deferred or held.
    """

    queue_id: str
    port: int
    sender: str
    recipients: tuple[str, ...]
    size: int
    arrived: float
    state: State = "active"
    attempts: int = 0
    next_at: float = 0.0
    reason: str = ""

    @property
    def arrived_at(self) -> datetime:
        """When it was taken, lab time, UTC."""
        return datetime.fromtimestamp(self.arrived, UTC)


@dataclass
class Queue:
    """The queue in memory, backed by its folder."""

    folder: Path
    entries: dict[str, Queued] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "wishes").mkdir(parents=True, exist_ok=True)
        self.entries = {entry.queue_id: entry for entry in listing(self.folder)}

    def add(self, entry: Queued, message: bytes) -> None:
        """Keep a message; it counts from the moment its state file is there."""
        self._message(entry.queue_id).write_bytes(message)
        self.put(entry)

    def put(self, entry: Queued) -> None:
        """Keep a message's new state."""
        path = self._state(entry.queue_id)
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(asdict(entry)), encoding="utf-8")
        draft.replace(path)
        self.entries[entry.queue_id] = entry

    def change(self, queue_id: str, **changes: object) -> Queued:
        """Change some fields of a message's state."""
        entry = replace(self.entries[queue_id], **changes)  # type: ignore[arg-type]
        self.put(entry)
        return entry

    def drop(self, queue_id: str) -> None:
        """Forget a message."""
        self.entries.pop(queue_id, None)
        self._state(queue_id).unlink(missing_ok=True)
        self._message(queue_id).unlink(missing_ok=True)

    def message(self, queue_id: str) -> bytes:
        """The message as it will be sent."""
        return self._message(queue_id).read_bytes()

    def due(self, now: float) -> list[Queued]:
        """Messages whose time has come, oldest first."""
        found = [e for e in self.entries.values() if e.state != "hold" and e.next_at <= now]
        return sorted(found, key=lambda entry: (entry.next_at, entry.arrived))

    def wishes(self) -> Iterator[tuple[str, Wish]]:
        """What other processes asked for since the last look: (queue id, wish)."""
        for path in sorted((self.folder / "wishes").iterdir()):
            queue_id, _, wish = path.name.partition(".")
            path.unlink(missing_ok=True)
            if wish in ("delete", "release") and queue_id in self.entries:
                yield queue_id, wish  # type: ignore[misc]

    def _state(self, queue_id: str) -> Path:
        return self.folder / f"{queue_id}.json"

    def _message(self, queue_id: str) -> Path:
        return self.folder / f"{queue_id}.eml"


def listing(folder: Path) -> list[Queued]:
    """What is in a queue folder now, oldest first; also from outside the host's process."""
    found = []
    for path in folder.glob("*.json"):
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:  # delivered at this moment
            continue
        found.append(Queued(**{**raw, "recipients": tuple(raw["recipients"])}))
    return sorted(found, key=lambda entry: entry.arrived)


def ask(folder: Path, queue_id: str, wish: Wish) -> None:
    """Ask a running host to delete a message or to release it from hold, as `postsuper -d` and `-H` do."""
    (folder / "wishes" / f"{queue_id}.{wish}").touch()
