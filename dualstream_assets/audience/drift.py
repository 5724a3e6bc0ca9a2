"""Whether the published audience is near that of the release before, or a person accepted that it is not.

The former rows are kept, narrow, when another release, or the same one by other tables or lists, is about to replace
them. One whose drift was neither within the estate's limits nor accepted does not become the measure of the next one.
"""

from __future__ import annotations

import errno
import io
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualstream_assets.audience.changes import (
    COLUMNS,
    PREVIOUS_ROWS,
    SEGMENTS,
    UNMEASURED,
    Drift,
    Finding,
    PreviousUnreadable,
    compare,
    published_rows,
)
from dualstream_assets.audience.classify import Classifier
from dualstream_assets.audience.manifest import Manifest, read_manifest
from dualstream_assets.audience.publish import FILES, no_room, unfit
from dualstream_assets.audience.records import (
    RecordRefused,
    RecordUnreadable,
    append_row,
    one_line,
    read_rows,
)
from dualstream_assets.estate import Estate
from dualstream_assets.estate.model import Drift as Limits
from dualstream_assets.store.files import atomic, sha256_of

if TYPE_CHECKING:
    import polars as pl

ACCEPTED = "accepted.csv"
_FINDINGS = re.compile(r"[^;]+: -?\d+(?:; [^;]+: -?\d+)*")


@contextmanager
def set_aside(
    folder: Path, fingerprint: str | None, lists: Mapping[str, Any], estate: Estate
) -> Iterator[Path | None]:
    """Around a build: the narrow rows of the published audience in a file of their own, which `publish` puts in place.

    None, and the older rows stay the measure, where nothing is published, where it is of this very release, tables and
    lists, or where its drift was neither within the limits nor accepted. Where files lie that are not their manifest's,
    and there are no older rows, it is a mark: the new audience counts as unmeasured, not as the first one.

    Enter it before the new release is read, since each of the two needs its memory.

    Raises:
        DiskFull: no room.
    """
    path = None
    try:
        path = _kept(folder, fingerprint, lists, estate)
        yield path
    finally:
        if path:
            path.unlink(missing_ok=True)


def _kept(folder: Path, fingerprint: str | None, lists: Mapping[str, Any], estate: Estate) -> Path | None:
    import polars as pl

    manifest = read_manifest(folder)
    if manifest and _made_of(manifest) == (fingerprint, Classifier.of(estate).tables.version, _plain(lists)):
        return None
    if wrong := unfit(folder):
        if (folder / PREVIOUS_ROWS).exists() or not any((folder / name).exists() for name in FILES.values()):
            return None
        release = {"name": "files nobody can vouch for", UNMEASURED: f"what was here before: {wrong[0]}"}
        return _write(folder, pl.DataFrame(schema=dict.fromkeys(COLUMNS, pl.String)), release)
    if manifest is None or not judge(folder, estate.audience.drift).passed:
        return None
    return _write(folder, published_rows(folder), manifest.release)


def _write(folder: Path, rows: pl.DataFrame, release: Mapping[str, Any]) -> Path:
    path = folder / f".previous-{uuid.uuid4().hex}.parquet"
    buffer = io.BytesIO()  # on a full disk polars speaks of a damaged format
    rows.write_parquet(buffer, compression="zstd", metadata={"release": json.dumps(dict(release))})
    try:
        with atomic(path) as part:
            part.write_bytes(buffer.getbuffer())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise no_room(folder, 0) from error
        raise
    return path


def _made_of(manifest: Manifest) -> tuple[str | None, str, Mapping[str, Any]]:
    return manifest.release.get("fingerprint"), manifest.tables, manifest.lists


def _plain(lists: Mapping[str, Any]) -> Mapping[str, Any]:
    """As a manifest gives them back."""
    return json.loads(json.dumps(dict(lists)))


@dataclass(frozen=True)
class Acceptance:
    """One row of `accepted.csv`: a person looked at the drift of one release and lets it stand.

    Attributes:
        accepted_at: ISO, UTC, whole seconds.
        release, fingerprint: which release; another one is not covered.
        against: hash of the rows it was measured against; against others it is not covered.
        findings: `name: addresses` of what was accepted, joined by `; `: other or larger ones are not covered.
    """

    accepted_at: str
    by: str
    release: str
    fingerprint: str
    against: str
    findings: str
    reason: str

    def covers(self, finding: Finding) -> bool:
        """Whether this was accepted, at this size and in this direction."""
        for text in self.findings.split("; "):
            name, _, count = text.rpartition(": ")
            if name == finding.name and abs(finding.count) <= abs(int(count)):
                return (finding.count < 0) == (int(count) < 0)
        return False


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
    this = (drift.now.get("fingerprint"), sha256_of(folder / PREVIOUS_ROWS))
    mine = [a for a in accepted(folder) if (a.fingerprint, a.against) == this]
    open_ones = tuple(f for f in found if not any(a.covers(f) for a in mine))
    if not open_ones:
        last = mine[-1]
        words = f"accepted by {last.by} on {last.accepted_at[:10]}: {last.reason}"
        return Judged(passed=True, said=f"{said}; {_said(found)}; {words}", drift=drift)
    cure = "look at the tables; if it is right: dualstream audience accept --reason TEXT"
    return Judged(passed=False, said=f"{said}; {_said(open_ones)}; {cure}", drift=drift, open=open_ones)


def accepted(folder: Path) -> list[Acceptance]:
    """All acceptances, oldest first.

    Raises:
        RecordUnreadable: the file is not in our form.
    """
    path = folder / ACCEPTED
    rows = read_rows(path, [f.name for f in fields(Acceptance)])
    if bad := [row for row in rows if not _FINDINGS.fullmatch(row["findings"])]:
        raise RecordUnreadable(f"{path}: {bad[0]['findings']!r} is no list of findings; mend the row by hand")
    return [Acceptance(**row) for row in rows]


def accept(folder: Path, reason: str, by: str, now: datetime, limits: Limits) -> Acceptance:
    """Record that the published release may differ as it does: this release, in these findings, by so many at most.

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
        against=sha256_of(folder / PREVIOUS_ROWS),
        findings="; ".join(f"{f.name}: {f.count}" for f in found.open),
        reason=one_line(reason, "reason"),
    )
    append_row(folder / ACCEPTED, [f.name for f in fields(Acceptance)], asdict(row))
    return row


def _said(findings: tuple[Finding, ...]) -> str:
    return "; ".join(f.said for f in findings)
