"""What sending needs of a stream's listmonk: prepare a list and a draft for a wave, start it, ask its state.

The protocol is ours; `parts.py` fills it with the listmonk room, tests with a fake.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from dualstream_assets.sending.content import Content
from dualstream_assets.sending.ledger import Wave

if TYPE_CHECKING:
    from psycopg import Connection


class CampaignState(StrEnum):
    """A campaign's status, as listmonk tells it; `missing` where it knows none of that id."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    MISSING = "missing"


TERMINAL = (CampaignState.FINISHED, CampaignState.CANCELLED)
"""States in which listmonk sends nothing more of a campaign, ever."""


@dataclass(frozen=True)
class Prepared:
    """A private list with exactly the wave's members, and a draft campaign on it.

    Attributes:
        subscribers: address -> (listmonk's subscriber id, UUID); fewer than the wave has members where some are not
            in that listmonk or are blocklisted there.
    """

    list_id: int
    campaign_id: int
    campaign_uuid: str
    subscribers: Mapping[str, tuple[int, str]]


class Campaigner(Protocol):
    """One stream's listmonk as waves use it. Every method raises on anything but success."""

    def prepare(self, wave: Wave, addresses: Sequence[str], content: Content) -> Prepared:
        """Make the list and the draft; sends nothing."""
        ...

    def start(self, wave: Wave, permit_id: int, commit: Callable[[Connection[Any]], None]) -> None:
        """Consume the permit and call `commit` in one transaction, then set the campaign running."""
        ...

    def resume(self, campaign_id: int) -> None:
        """Set a draft running whose wave is already released (the permit was consumed before a crash)."""
        ...

    def state(self, campaign_id: int) -> CampaignState:
        """The campaign's status."""
        ...

    def cancel(self, campaign_id: int) -> None:
        """Make sure that a running or paused campaign sends nothing more."""
        ...
