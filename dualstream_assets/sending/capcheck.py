"""Is the cap in force the ramp's, and did setting it leave the other streams' caps alone? Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dualstream_assets.estate import Estate
from dualstream_assets.sending.ramp import Caps
from dualstream_assets.sending.rampcap import OURS, WITNESS, CapPort, belt_of, belt_rate_of, belt_text

if TYPE_CHECKING:
    from psycopg import Connection


@dataclass(frozen=True)
class CapFinding:
    """Result of one look at caps: True holds, False does not, None could not be told."""

    holds: bool | None
    said: str


def cap_is_ramp(estate: Estate, stream: str, caps: Caps, port: CapPort | None) -> CapFinding:
    """Whether the stream's listmonk holds exactly the belt that the ramp allows."""
    writer = estate.streams[stream].ramp.cap_writer
    if port is None:
        return CapFinding(None, f"listmonk of {stream} cannot be reached")
    belt = port.read()
    wanted = belt_of(caps.cap_per_hour)
    if writer != OURS:
        return CapFinding(holds=False, said=f"written by {writer}: {belt_text(belt)}")
    if belt != wanted:
        return CapFinding(
            holds=False,
            said=f"{belt_text(belt)}, the ramp allows {belt_text(wanted)} ({caps.cap_per_hour}/h)",
        )
    return CapFinding(
        holds=True, said=f"{belt_text(belt)} for {caps.cap_per_hour}/h and {caps.cap_per_day}/day: {caps.why}"
    )


def other_cap_untouched(
    connection: Connection[Any], estate: Estate, stream: str, ports: Mapping[str, CapPort]
) -> CapFinding:
    """Whether every other stream's belt was the same before and after each of our writes to this one.

    And, where we are that stream's writer too, whether its belt is still the one we set for it.
    """
    said: list[str] = []
    for other in (name for name in estate.streams if name != stream):
        port = ports.get(other)
        if port is None:
            return CapFinding(None, f"listmonk of {other} cannot be reached")
        changed = connection.execute(
            "select set_at, reason from cap_history where stream = %s and writer = %s"
            " and previous is distinct from read_back order by id desc limit 1",
            (other, f"{WITNESS}{stream}"),
        ).fetchone()
        if changed:
            return CapFinding(
                holds=False, said=f"{other}'s cap changed while {stream}'s was set: {changed[1]}"
            )
        ours = connection.execute(
            "select read_back from cap_history where stream = %s and writer = %s order by id desc limit 1",
            (other, OURS),
        ).fetchone()
        belt = port.read()
        if ours and estate.streams[other].ramp.cap_writer == OURS and belt_rate_of(belt) != ours[0]:
            return CapFinding(holds=False, said=f"{other}'s belt is {belt_text(belt)}, {OURS} set {ours[0]}")
        said.append(f"{other}: {belt_text(belt)}, untouched")
    return CapFinding(holds=True, said="; ".join(said) or "there is no other stream")
