"""What the checks of this room find, as plain Python: whether it holds, and the sentence with the cure."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from dualstream_assets import keys
from dualstream_assets.receivers.operators import named_operators
from dualstream_assets.store.files import sha256_of
from dualstream_assets.verification.journal import lane_stops
from dualstream_assets.verification.targets import probe_ip_fault
from dualstream_assets.verification.verdicts import (
    copy_manifest,
    load_mailboxes,
    published_sha256,
    sendable,
)
from dualstream_assets.workplace import Workplace

ALARM_LOOKS_BACK = timedelta(hours=24)
BLOCKED_SHARE = 0.10
BLOCKED_MINIMUM = 50
VERIFY = "Next: run the job verify_mailboxes, or `dualstream verify start`"


@dataclass(frozen=True)
class Finding:
    """Whether a fact holds (None: unknown), what was seen, and its numbers."""

    holds: bool | None
    text: str
    numbers: Mapping[str, int] = field(default_factory=dict)


def probe_apart(workplace: Workplace) -> Finding:
    """The probe address is declared and apart from every sending address and its /24."""
    fault = probe_ip_fault(workplace.estate)
    return Finding(fault is None, fault or f"{workplace.estate.probe.ip} sends no mail, and its /24 neither")


def block_alarm(workplace: Workplace) -> Finding:
    """No lane of a large operator was stopped lately, and not too many mailboxes answer with a block.

    A single small host that blocks us stops its own lane and is no alarm: among thousands some always do.
    """
    since = workplace.clock.now() - ALARM_LOOKS_BACK
    with workplace.database.transaction() as connection:
        stops = lane_stops(connection)
        seen, blocked = connection.execute(
            "select count(*), count(*) filter (where verdict = 'blocked') from mailbox where observed_at > %s",
            (since,),
        ).fetchone() or (0, 0)
    stopped = sorted(op for op, moments in stops.items() if moments[-1] > since)
    large = [operator for operator in stopped if operator in named_operators()]
    figures = {"lanes stopped": len(stopped), "asked in 24 h": seen, "blocked": blocked}
    if large:
        return Finding(
            False,
            f"the lane of {', '.join(large)} was stopped after block replies: it rests, and its recent dead verdicts"
            " are open again. Look at the probe address on blocklists before the next run",
            figures,
        )
    if seen >= BLOCKED_MINIMUM and blocked > seen * BLOCKED_SHARE:
        return Finding(
            False,
            f"{blocked} of {seen} mailboxes asked in 24 h answered with a block: the probe address is listed"
            " somewhere. Stop, look at blocklists, never route around it",
            figures,
        )
    return Finding(True, f"{blocked} of {seen} mailboxes asked in 24 h answered with a block", figures)


def verified_fresh(workplace: Workplace) -> Finding:
    """The verified file is whole and of the audience of now, has people, each with a young, sendable verdict."""
    path = workplace.paths.audience / keys.VERIFIED_CSV
    manifest = copy_manifest(workplace.paths.audience)
    if not path.exists() or manifest is None:
        return Finding(False, f"{path.name} or its manifest is missing. {VERIFY}")
    asset = keys.text(keys.VERIFIED_INSTITUTIONAL)
    again = f"dagster asset materialize --select '{asset}' -m dualstream_assets.definitions"
    if manifest.get("sha256") != sha256_of(path):
        return Finding(
            False, f"{path.name} is not what its manifest says: somebody changed it. Next: {again}"
        )
    if manifest.get("source_sha256") != published_sha256(workplace.paths.audience):
        return Finding(
            False,
            f"{path.name} is a copy of another {keys.INSTITUTIONAL_CSV} than the published one: the audience was built"
            f" again since. Next: {again}",
        )
    estate = workplace.estate
    oldest = workplace.clock.now() - timedelta(days=estate.verification.valid_days)
    with workplace.database.transaction() as connection:
        mailboxes = load_mailboxes(connection)
    with path.open(newline="", encoding="utf-8") as file:
        boxes = [mailboxes.get(row["email"]) for row in csv.DictReader(file)]
    stale = sum(1 for box in boxes if box is None or box.observed_at < oldest)
    changed = sum(1 for box in boxes if box and not sendable(box.verdict, box.operator, estate))
    figures = {"people": len(boxes), "too old": stale, "no longer sendable": changed}
    if not boxes:
        return Finding(False, f"nobody is verified yet. {VERIFY}", figures)
    if stale or changed:
        return Finding(
            False,
            f"of {len(boxes)} people {stale} have an old verdict, {changed} a worse one. {VERIFY}",
            figures,
        )
    return Finding(
        True, f"{len(boxes)} people, every verdict within {estate.verification.valid_days} days", figures
    )
