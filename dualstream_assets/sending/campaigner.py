"""What sending needs of a stream's listmonk: prepare a list and a draft for a wave, start it, ask its state.

The protocol is ours; `parts.py` fills it with the listmonk room, tests with a fake.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dualstream_assets.listmonk.campaigns import Prepared, Status
from dualstream_assets.sending.content import Content
from dualstream_assets.sending.ledger import Wave

TERMINAL = (Status.FINISHED, Status.CANCELLED)
"""States in which listmonk sends nothing more of a campaign, ever."""


class Campaigner(Protocol):
    """One stream's listmonk as waves use it. Every method raises on anything but success."""

    def prepare(self, wave: Wave, addresses: Sequence[str], content: Content) -> Prepared:
        """Make a private list with exactly these people and a draft on it; sends nothing.

        Raises where somebody cannot be listed (opted out, blocklisted, never imported).
        """
        ...

    def start(self, wave: Wave, permit_id: int, prepared: Prepared) -> None:
        """Consume the permit and commit the wave as released, in one transaction; then set the campaign running."""
        ...

    def resume(self, campaign_id: int) -> None:
        """Set a draft running whose wave is already released (the permit was consumed before a crash)."""
        ...

    def state(self, campaign_id: int) -> Status | None:
        """The campaign's status; None where listmonk knows none of that id."""
        ...

    def cancel(self, campaign_id: int) -> None:
        """Make sure that a paused campaign sends nothing more."""
        ...

    def archive(self, list_id: int) -> None:
        """Put the list of a settled wave out of sight. Never deletes: opt-outs hang on it."""
        ...
