"""What a person decided about the review file, and what a decision may change.

A decision fails closed. It may send on what the tables leave to a person (`review`), and it may drop anything; it never
makes a Direct, consumer or dropped ruling mailable: that is a change of the estate's tables (`[audience]`). The same
rule is applied again at each build, so a decision loses its force when the tables come to know better. What is sent on
by a domain are the addresses that wait for that domain alone: one that has a reason of its own is decided on its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, fields
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from dualstream_assets import keys
from dualstream_assets.audience.classify import Classifier, classify_address
from dualstream_assets.audience.manifest import read_manifest
from dualstream_assets.audience.records import (
    RecordRefused,
    RecordUnreadable,
    append_row,
    one_line,
    read_rows,
)
from dualstream_assets.estate.model import Segment

if TYPE_CHECKING:
    import polars as pl

FILE = "decisions.csv"
DECIDED = "decided"
"""The rule of a row that a person decided."""
SENT_ON: tuple[Segment, ...] = ("institutional", "consumer", "direct")
"""Where something in review may be sent."""
_SUBJECT = re.compile(r"(?:[^@\s'\",;<>]+@)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)+")


class DecisionRefused(RecordRefused):
    """A decision that the rules do not allow."""


@dataclass(frozen=True)
class Decision:
    """One row of `decisions.csv`.

    Attributes:
        decided_at: ISO, UTC, whole seconds.
        by: who decided.
        subject: an address or a domain, lower case. A domain stands for its own addresses, not for those below it.
        segment: `institutional`, `consumer`, `direct`, `dropped`; `review` takes back what was decided before.
        reason: for the record; becomes the evidence of the rows.
    """

    decided_at: str
    by: str
    subject: str
    segment: Segment
    reason: str

    @property
    def evidence(self) -> str:
        """What a row shows: reason, person, day."""
        return f"{self.reason} ({self.by}, {self.decided_at[:10]})"


COLUMNS = tuple(field.name for field in fields(Decision))


@dataclass(frozen=True)
class Decisions:
    """All decisions of a folder, oldest first."""

    rows: tuple[Decision, ...] = ()

    @cached_property
    def standing(self) -> Mapping[str, Decision]:
        """Subject -> its newest decision; also those that take back (`review`), since an address beats its domain."""
        return {row.subject: row for row in self.rows}

    def about(self, address_or_domain: str) -> Decision | None:
        """What counts for a domain, or for an address (its own, else its domain's); None where nothing does."""
        subject = _plain(address_or_domain)
        found = self.standing.get(subject) or self.standing.get(subject.rpartition("@")[2])
        return None if found is None or found.segment == "review" else found

    def facts(self, ruled: pl.DataFrame | None = None) -> dict[str, Any]:
        """For the manifest: a hash of what stands, and how many decisions there are per segment.

        Given the frame that `apply` returned, also how many of them took effect (`applied`, with `addresses`), are
        about something that the tables rule otherwise now (`not_applied`), or about nothing in this release (`absent`).
        """
        standing = sorted(astuple(d) for d in self.standing.values() if d.segment != "review")
        segments = [d.segment for d in self.standing.values() if d.segment != "review"]
        facts: dict[str, Any] = {
            "sha256": hashlib.sha256(repr(standing).encode()).hexdigest(),
            "standing": len(standing),
            "segments": {segment: segments.count(segment) for segment in sorted(set(segments))},
        }
        if ruled is not None:
            facts |= _effect(ruled, self)
        return facts


def read(folder: Path) -> Decisions:
    """The decisions beside a published audience; none where there is no file.

    Raises:
        RecordUnreadable: the file is not in our form, or has fewer decisions than stood when the audience was built.
    """
    path = folder / FILE
    rows: list[Any] = read_rows(path, COLUMNS)
    for row in rows:
        if row["segment"] not in get_args(Segment) or row["subject"] != _plain(row["subject"]):
            raise RecordUnreadable(
                f"{path}: {row['segment']!r} is no segment, or a subject is not lower case; mend the row by hand"
            )
    manifest = read_manifest(folder)
    stood = manifest.decisions.get("standing", 0) if manifest else 0
    if len(rows) < stood:
        gone = f"has {len(rows)} decisions" if path.exists() else "is gone"
        raise RecordUnreadable(f"{path} {gone}, and {stood} stood at the last build; put back a backup")
    return Decisions(tuple(Decision(**row) for row in rows))


def decide(
    folder: Path, subject: str, segment: str, reason: str, by: str, now: datetime, classifier: Classifier
) -> Decision:
    """Record a decision about an address or a domain; `segment` `review` takes an earlier one back.

    Raises:
        DecisionRefused: the rules do not allow it; says what would be needed.
        RecordRefused: the reason or the name cannot stand.
    """
    name = _plain(subject)
    if not _SUBJECT.fullmatch(name):
        raise DecisionRefused(f"{subject!r} is neither an address nor a domain such as clinic.example")
    before = read(folder)
    if segment == "review":
        if before.about(name) is None:
            raise DecisionRefused(f"nothing was decided about {name}: there is nothing to take back")
    elif segment in SENT_ON:
        _must_be_in_review(folder, name, segment, classifier)
    elif segment != "dropped":
        raise DecisionRefused(f"{segment!r} is no segment; one of {', '.join(SENT_ON)}, dropped, review")
    row = Decision(
        decided_at=now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        by=one_line(by, "name"),
        subject=name,
        segment=segment,  # pyright: ignore[reportArgumentType]
        reason=one_line(reason, "reason"),
    )
    append_row(folder / FILE, COLUMNS, asdict(row))
    return row


def _must_be_in_review(folder: Path, name: str, segment: str, classifier: Classifier) -> None:
    """Raises `DecisionRefused` unless the tables of today leave this to a person."""
    ruling = (classifier.classify_address if "@" in name else classifier.classify_domain)(name)
    if ruling.segment == "review":
        return
    if ruling.segment != "institutional":
        raise DecisionRefused(
            f"{name} is {ruling.segment} by rule {ruling.rule} ({ruling.evidence}); a decision may only drop it."
            f" To make it {segment}, change [audience] in the estate: that holds for every release, and is reviewed"
        )
    # An address may wait because of its left side or its description, which a domain alone does not show.
    found = [w for w in waiting(folder) if name in (w.domain, *w.addresses)]
    if found and "@" not in name:
        raise DecisionRefused(
            f"{name} is institutional and only single addresses of it wait, each for a reason of its own; decide on"
            " these (dualstream audience decide --addresses lists them), or only drop the domain"
        )
    if not found:
        raise DecisionRefused(
            f"{name} is institutional and no row of it is in {keys.REVIEW_CSV}; a decision may only drop it"
        )


def may(ruled: str, to: str) -> bool:
    """Whether a decision can take something from the segment that the tables say to another."""
    return ruled == "review" if to in SENT_ON else to == "dropped" and ruled != "dropped"


def says_direct(address: str) -> bool:
    """Whether the left side alone says that this is a Direct mailbox, whatever the domain."""
    local = address.rpartition("@")[0]
    return classify_address(f"{local}@clinic.example").rule == "review-direct-local-part"


def apply(ruled: pl.DataFrame, decisions: Decisions, classifier: Classifier) -> pl.DataFrame:
    """The rulings of a release with the decisions that hold: columns and order of `ruled` (`rulings.rulings`).

    A row that is decided has rule `decided` and the reason as evidence. A decision about a domain sends on only what
    the domain alone is ruled by, and no left side that says direct; it drops all.
    """
    import polars as pl

    subjects = list(decisions.standing)
    if not subjects:
        return ruled
    about = pl.col("address").is_in(subjects) | pl.col("domain").is_in(subjects)
    hits = ruled.with_row_index("row").filter(about).select("row", "address", "segment", "rule")

    def of_its_domain(address: str, rule: str) -> bool:
        domain = address.rpartition("@")[2]
        return classifier.classify_domain(domain).rule == rule and not says_direct(address)

    places: list[int] = []
    holding: list[Decision] = []
    for row, address, segment, rule in hits.iter_rows():
        decision = decisions.about(address)
        if decision is None or not may(segment, decision.segment):
            continue
        if decision.segment == "dropped" or decision.subject == address or of_its_domain(address, rule):
            places.append(row)
            holding.append(decision)
    new = {
        "segment": [decision.segment for decision in holding],
        "rule": [DECIDED] * len(holding),
        "evidence": [decision.evidence for decision in holding],
    }
    return ruled.with_columns(ruled[name].scatter(places, values) for name, values in new.items())


def _effect(ruled: pl.DataFrame, decisions: Decisions) -> dict[str, int]:
    import polars as pl

    subjects = [d.subject for d in decisions.standing.values() if d.segment != "review"]
    mine = ruled.filter(pl.col("address").is_in(subjects) | pl.col("domain").is_in(subjects))
    decided = mine.filter(pl.col("rule") == DECIDED)
    here, done = ({*frame["address"], *frame["domain"]} for frame in (mine, decided))
    applied = sum(subject in done for subject in subjects)
    absent = sum(subject not in here for subject in subjects)
    return {
        "applied": applied,
        "addresses": decided["address"].n_unique(),
        "not_applied": len(subjects) - applied - absent,
        "absent": absent,
    }


@dataclass(frozen=True)
class Waiting:
    """A domain with rows in the review file: which rules put them there, one example of evidence, the addresses."""

    domain: str
    rows: int
    rules: tuple[str, ...]
    evidence: str
    addresses: tuple[str, ...]


def waiting(folder: Path) -> list[Waiting]:
    """What the published review file holds, most rows first; nothing where nothing is published.

    Raises:
        RecordUnreadable: the file is damaged.
    """
    import polars as pl

    path = folder / keys.REVIEW_CSV
    if not path.exists():
        return []
    columns = ["domain", "email", "rule", "evidence"]
    try:
        rows = pl.read_csv(path, infer_schema=False, columns=columns)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise RecordUnreadable(f"{path} is damaged: build the audience again") from error
    grouped = (
        rows.group_by("domain")
        .agg(
            pl.len().alias("rows"),
            pl.col("rule").unique().sort(),
            pl.col("evidence").first(),
            pl.col("email").sort(),
        )
        .sort("rows", "domain", descending=[True, False])
    )
    return [
        Waiting(domain, rows, tuple(rules), evidence or "", tuple(emails))
        for domain, rows, rules, evidence, emails in grouped.iter_rows()
    ]


def _plain(subject: str) -> str:
    return subject.strip().rstrip(".").lower()
