"""What the audience was built from has changed: until somebody has looked again, nothing is known of its files.

The gate's fact `audience_fit` is the audience's own; here it is only voided, since a list or a release that is read
between two builds makes the published files old without touching them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dualstream_assets.estate import Estate
from dualstream_assets.store.evidence import Subject, probing

if TYPE_CHECKING:
    from dualstream_assets.workplace import Workplace

AUDIENCE_FIT = "audience_fit"


def subjects(estate: Estate) -> list[Subject]:
    """What the gate asks for, per stream."""
    return [Subject(stream, "audience", AUDIENCE_FIT) for stream in estate.streams]


def void_if_changed(
    workplace: Workplace, before: Mapping[str, Any], now: Mapping[str, Any], what: str, source: str
) -> bool:
    """Write `audience_fit` as unknown for every stream where the facts of an earlier look differ in `what`."""
    if not before or before.get(what) == now.get(what):
        return False
    mine = subjects(workplace.estate)
    with probing(workplace.database, workplace.clock, mine, source=source, valid_for=timedelta(0)) as probe:
        for subject in mine:
            probe.found_unknown(
                subject, f"{source} has changed since: build the audience again, or look again"
            )
    return True
