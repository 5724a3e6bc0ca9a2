"""Whether the published audience is near that of the release before, or a person accepted that it is not.

The former rows are kept, narrow, when a new release is about to replace them. A release whose drift was neither within
the estate's limits nor accepted does not become the measure of the next one.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from dualstream_assets.audience.changes import (
    PREVIOUS_ROWS,
    SEGMENTS,
    Drift,
    Finding,
    PreviousUnreadable,
    compare,
    published_rows,
)
from dualstream_assets.audience.manifest import read_manifest
from dualstream_assets.audience.publish import unfit
from dualstream_assets.audience.records import RecordRefused, append_row, one_line, read_rows
from dualstream_assets.estate.model import Drift as Limits

ACCEPTED = "accepted.csv"


def set_aside(folder: Path, fingerprint: str | None, limits: Limits) -> Path | None:
    """Before another release is published over it: the narrow rows of the published audience, in a file of their own.

    None, and the older rows stay the measure, where nothing whole is published, where it is of the release
    `fingerprint` itself, or where its drift was neither within the limits nor accepted. `publish` puts the file in its
    place. This comes before the new release is read, since each of the two needs its memory.

    Raises:
        OSError: no room.
    """
    manifest = read_manifest(folder)
    if manifest is None or manifest.release.get("fingerprint") == fingerprint:
        return None
    if unfit(folder) or not judge(folder, limits).passed:
        return None
    path = folder / f".{PREVIOUS_ROWS}"
    with path.open("wb") as file:
        published_rows(folder).write_parquet(
            file, compression="zstd", metadata={"release": json.dumps(dict(manifest.release))}
        )
        file.flush()
        os.fsync(file.fileno())
    return path


@dataclass(frozen=True)
class Acceptance:
    """One row of `accepted.csv`: a person looked at the drift of one release and lets it stand.

    Attributes:
        accepted_at: ISO, UTC, whole seconds.
        release, fingerprint: which release; another one is not covered.
        findings: names of what was accepted, joined by `; `: what is found later is not covered.
    """

    accepted_at: str
    by: str
    release: str
    fingerprint: str
    findings: str
    reason: str


@dataclass(frozen=True)
class Judged:
    """The answer of the check.

    Attributes:
        drift: None where there was no release before.
        open: findings that nobody accepted.
        said: one line with the numbers.
    """

    passed: bool
    said: str
    drift: Drift | None = None
    open: tuple[Finding, ...] = ()


def judge(folder: Path, limits: Limits) -> Judged:
    """Whether the published release is near the one before, or a person accepted that it is not."""
    try:
        drift = compare(folder)
    except PreviousUnreadable as error:
        return Judged(passed=False, said=str(error))
    if drift is None:
        return Judged(passed=True, said="the first release here: there is nothing to compare with")
    found = drift.findings(limits)
    counts = " · ".join(f"{s} {drift.files[s].before:,} → {drift.files[s].now:,}" for s in SEGMENTS)
    said = f"against {drift.before.get('name')}: {counts}"
    if not found:
        return Judged(passed=True, said=f"{said}; within the limits", drift=drift)
    mine = [a for a in accepted(folder) if a.fingerprint == drift.now.get("fingerprint")]
    covered = {name for a in mine for name in a.findings.split("; ")}
    open_ones = tuple(f for f in found if f.name not in covered)
    if not open_ones:
        last = mine[-1]
        words = f"accepted by {last.by} on {last.accepted_at[:10]}: {last.reason}"
        return Judged(passed=True, said=f"{said}; {_said(found)}; {words}", drift=drift)
    cure = "look at the tables; if it is right: dualstream audience accept --reason TEXT"
    return Judged(passed=False, said=f"{said}; {_said(open_ones)}; {cure}", drift=drift, open=open_ones)


def accepted(folder: Path) -> list[Acceptance]:
    """All acceptances, oldest first."""
    columns = [f.name for f in fields(Acceptance)]
    return [Acceptance(**row) for row in read_rows(folder / ACCEPTED, columns)]


def accept(folder: Path, reason: str, by: str, now: datetime, limits: Limits) -> Acceptance:
    """Record that the published release may differ as it does, exactly this release in exactly these findings.

    Raises:
        RecordRefused: there is nothing to accept, or the reason cannot stand.
    """
    if read_manifest(folder) is None:
        raise RecordRefused(f"nothing is published in {folder}: build the audience first")
    found = judge(folder, limits)
    if found.drift is None or not found.open:
        raise RecordRefused(f"there is no drift to accept: {found.said}")
    release = found.drift.now
    row = Acceptance(
        accepted_at=now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        by=one_line(by, "name"),
        release=str(release.get("name")),
        fingerprint=str(release.get("fingerprint")),
        findings="; ".join(f.name for f in found.open),
        reason=one_line(reason, "reason"),
    )
    append_row(folder / ACCEPTED, [f.name for f in fields(Acceptance)], asdict(row))
    return row


def _said(findings: tuple[Finding, ...]) -> str:
    return "; ".join(f.said for f in findings)
