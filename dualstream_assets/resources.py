"""What every rim shares: the workplace as a Dagster resource, the common look of an asset, the acting switch.

A room's own client (listmonk, the prober) is made in that room, not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.workplace import Workplace

WorkplaceParam = dg.ResourceParam[Workplace]
"""Annotate a parameter `workplace: WorkplaceParam` to be handed the workplace."""

OWNER = "team:operations"


class Act(dg.Config):
    """Whether this run may act outside. None: yes in the lab, no anywhere else (only the acting jobs set it)."""

    act: bool | None = None

    def wanted(self, workplace: Workplace) -> bool:
        """Whether to act in this workplace."""
        return workplace.acts_by_default if self.act is None else self.act


@dataclass(frozen=True)
class Automation:
    """What a room runs by itself."""

    jobs: Sequence[Any] = field(default_factory=tuple)
    schedules: Sequence[dg.ScheduleDefinition] = field(default_factory=tuple)
    sensors: Sequence[dg.SensorDefinition] = field(default_factory=tuple)


def look(
    key: keys.Key,
    room: str,
    *,
    what: str,
    red: str,
    do: str,
    environment: str,
    stream: str | None = None,
    kinds: Sequence[str] = ("python",),
    columns: Sequence[tuple[str, str, str]] = (),
) -> dict[str, Any]:
    """Keyword arguments that every asset has: key, group, owner, kinds, tags, description, column schema.

    Args:
        what: one sentence, what the asset is.
        red: what makes it red.
        do: what the operator does then (a command or a runbook page).
        columns: (name, type, description) of the table behind it.
    """
    tags = {"dualstream/environment": environment}
    if stream:
        tags["dualstream/stream"] = stream
    metadata: dict[str, Any] = {"runbook": "docs/runbook.md"}
    if columns:
        metadata["dagster/column_schema"] = dg.TableSchema(
            [dg.TableColumn(name, kind, description=text) for name, kind, text in columns]
        )
    return {
        "key": list(key),
        "group_name": room,
        "owners": [OWNER],
        "kinds": set(kinds),
        "tags": tags,
        "metadata": metadata,
        "description": (
            f"{what}\n\n**Red when** {red}\n\n**Then** {do}\n\n"
            f"Environment: {environment}. Front door: [operations/board](/assets/operations/board)."
        ),
    }


def stream_names(estate: Estate) -> tuple[str, ...]:
    """The estate's streams, in declared order."""
    return tuple(estate.streams)
