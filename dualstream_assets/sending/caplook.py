"""Looks at the caps of one workplace, and the evidence they leave: `cap_is_ramp`, `other_cap_untouched`, drift."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from dualstream_assets.listmonk.errors import ListmonkError
from dualstream_assets.sending.capcheck import CapFinding, cap_is_ramp, other_cap_untouched
from dualstream_assets.sending.parts import instances, lower_cap
from dualstream_assets.sending.ramp_days import caps_in_force
from dualstream_assets.sending.rampcap import OURS, stamp_of, wider
from dualstream_assets.store.evidence import Subject, probing

if TYPE_CHECKING:
    from dualstream_assets.workplace import Workplace


def drifted(workplace: Workplace, stream: str) -> bool:
    """Whether a cap of ours is wider than the ramp allows, looked at now; a listmonk that cannot be asked is none."""
    declared = workplace.estate.streams[stream]
    if (
        declared.ramp.cap_writer != OURS
        or not declared.listmonk.managed
        or stream not in instances(workplace)
    ):
        return False
    try:
        found = lower_cap(workplace, stream, act=False)
    except ListmonkError:
        return False
    return found.before is None or wider(found.before, found.wanted)


def look_at_cap(workplace: Workplace, stream: str, valid_for: timedelta) -> CapFinding:
    """Write the evidence `cap_is_ramp` of a stream."""
    estate, now = workplace.estate, workplace.clock.now()
    subject = Subject(stream, "rampcap", "cap_is_ramp")
    source = f"{stream}/rampcap:cap_is_ramp"
    with probing(workplace.database, workplace.clock, [subject], source=source, valid_for=valid_for) as probe:
        stamp = stamp_of(estate, stream, workplace.endpoints.stamps, now)
        with workplace.database.transaction() as connection:
            caps = caps_in_force(connection, estate, stream, stamp, now)
        found = _asked(lambda: cap_is_ramp(estate, stream, caps, instances(workplace).get(stream)))
        probe.found_that(subject, found.holds, found.said)
    return found


def look_at_other_caps(workplace: Workplace, stream: str, valid_for: timedelta) -> CapFinding:
    """Write the evidence `other_cap_untouched` of a stream."""
    subject = Subject(stream, "rampcap", "other_cap_untouched")
    source = f"{stream}/rampcap:other_cap_untouched"
    with probing(workplace.database, workplace.clock, [subject], source=source, valid_for=valid_for) as probe:
        with workplace.database.transaction() as connection:
            found = _asked(
                lambda: other_cap_untouched(connection, workplace.estate, stream, instances(workplace))
            )
        probe.found_that(subject, found.holds, found.said)
    return found


def _asked(look: Callable[[], CapFinding]) -> CapFinding:
    try:
        return look()
    except ListmonkError as error:
        return CapFinding(None, str(error))
