"""Whether the published audience may be mailed: looked at again in its files, and written down for the gate.

The looks read what is published, not what the step believed. `audience_fit` is evidence of every stream (D8, D12): it
is unknown while the audience is built and until somebody has looked at the new files, and it counts no longer than the
release and the lists that it was built from. `verified_fresh` is about a copy of the institutional file: other bytes
make it unknown too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualstream_assets import keys
from dualstream_assets.audience.classify import Classifier
from dualstream_assets.audience.decisions import DECIDED, SENT_ON, Decisions, read, says_direct
from dualstream_assets.audience.drift import Drift, judge
from dualstream_assets.audience.manifest import Manifest, read_manifest
from dualstream_assets.audience.publish import FILES, unfit
from dualstream_assets.audience.tables import self_and_parents
from dualstream_assets.registry.changed import AUDIENCE_FIT, subjects
from dualstream_assets.store.evidence import Evidence, Probe, Subject, Verdict, newest, probing, record

if TYPE_CHECKING:
    import polars as pl

    from dualstream_assets.workplace import Workplace

SOURCE = f"{keys.text(keys.AUDIENCE_INSTITUTIONAL)}:{AUDIENCE_FIT}"
VERIFIED_AGAIN = "the audience was built again since; materialize verification/verified_institutional"
MAILED = ("institutional", "consumer")
NOTHING = "nothing is published: dagster asset materialize --select 'group:audience' -m dualstream_assets.definitions"


@dataclass(frozen=True)
class Look:
    """The answer of one check."""

    passed: bool
    said: str
    drift: Drift | None = None


@dataclass(frozen=True)
class Published:
    """The narrow columns of the published files, each read once."""

    folder: Path

    @cached_property
    def rows(self) -> Mapping[str, pl.DataFrame]:
        """Segment -> `email`, `domain`, `rule`, all text; rejects only as a count."""
        import polars as pl

        return {
            segment: pl.read_csv(
                self.folder / file, infer_schema=False, columns=["email", "domain", "rule"]
            ).with_columns(pl.all().fill_null(""))
            for segment, file in FILES.items()
        }


def looks(workplace: Workplace, manifest: Manifest) -> dict[tuple[str, str], Look]:
    """(segment, name of the check) -> answer, for the checks that make up the evidence."""
    published = Published(workplace.paths.audience)
    classifier = Classifier.of(workplace.estate)
    decided = read(workplace.paths.audience)
    disjoint = _disjoint(workplace, manifest, published)
    found = {}
    for segment in MAILED:
        rows = published.rows[segment]
        found[segment, "disjoint_and_conserving"] = disjoint
        found[segment, "giants_gone"] = _giants_gone(rows, classifier)
        found[segment, "segment_again"] = _segment_again(segment, rows, classifier, decided)
    judged = judge(workplace.paths.audience, workplace.estate.audience.drift)
    found["institutional", "drift"] = Look(judged.passed, judged.said, judged.drift)
    found["institutional", "inputs_of_today"] = _inputs_of_today(workplace, manifest)
    return found


def look_again(workplace: Workplace) -> dict[tuple[str, str], Look]:
    """All looks at what is published now, written down as `audience_fit`; empty where nothing is published."""
    folder, estate = workplace.paths.audience, workplace.estate
    nothing = timedelta(0)
    with probing(workplace.database, workplace.clock, subjects(estate), source=SOURCE, valid_for=nothing):
        manifest = read_manifest(folder)
        found = looks(workplace, manifest) if manifest else {}
        red = [f"{segment} {name}: {look.said}" for (segment, name), look in found.items() if not look.passed]
        fit: bool | None = bool(found) and not red
        said = "; ".join(red) if red else _named(manifest) if manifest else NOTHING
        if read_manifest(folder) != manifest:
            fit, said = None, "built again while it was looked at"
        valid_for = _valid_for(workplace, manifest) if manifest and fit else nothing
        probe = Probe(workplace.database, workplace.clock, SOURCE, valid_for)
        for subject in subjects(estate):
            probe.found_that(subject, fit, said)
    return found


@contextmanager
def rebuilding(workplace: Workplace) -> Iterator[None]:
    """Around a build: what was known of the old files, and of copies of them, does not hold for the new ones.

    A build that fails and leaves the old files in place leaves their evidence as it was, unless somebody looked since.
    """
    folder, fit = workplace.paths.audience, subjects(workplace.estate)
    copies = [
        Subject(name, "verification", "verified_fresh")
        for name, stream in workplace.estate.streams.items()
        if stream.segment == "institutional"
    ]
    old = read_manifest(folder)
    taken = _take(workplace, [*fit, *copies])
    try:
        yield
    except Exception:
        if read_manifest(folder) == old and not unfit(folder):
            _give_back(workplace, taken, [*fit, *copies])
        raise
    probe = Probe(workplace.database, workplace.clock, SOURCE, timedelta(0))
    for subject in fit:
        probe.found_unknown(subject, "built again, and not looked at since")
    if (was := _institutional(old)) and was == _institutional(read_manifest(folder)):
        _give_back(workplace, taken, copies)
    else:
        for subject in copies:
            probe.found_unknown(subject, VERIFIED_AGAIN)


@dataclass(frozen=True)
class _Taken:
    """Evidence that was made unknown: as it was, and the id of our own row."""

    before: Evidence | None
    mine: int


def _take(workplace: Workplace, mine: Iterable[Subject]) -> dict[Subject, _Taken]:
    now, taken = workplace.clock.now(), {}
    with workplace.database.transaction() as connection:
        for subject in mine:
            before = newest(connection, subject.stream).get(subject)
            row = record(connection, subject, Verdict.UNKNOWN, "being built again", SOURCE, now, timedelta(0))
            taken[subject] = _Taken(before, row.id)
    return taken


def _give_back(workplace: Workplace, taken: Mapping[Subject, _Taken], mine: Iterable[Subject]) -> None:
    """What was known before counts again, where our own row is still the newest."""
    now = workplace.clock.now()
    with workplace.database.transaction() as connection:
        for subject in mine:
            e, current = taken[subject].before, newest(connection, subject.stream)[subject]
            if e is not None and current.id == taken[subject].mine:
                record(connection, subject, e.verdict, e.evidence, e.source, now, e.expires_at - now)


def _institutional(manifest: Manifest | None) -> str | None:
    file = manifest.files.get(keys.INSTITUTIONAL_CSV) if manifest else None
    return file.sha256 if file else None


def _named(manifest: Manifest) -> str:
    digest = hashlib.sha256(manifest.text().encode()).hexdigest()[:12]
    return f"{manifest.release.get('name')}, manifest {digest}: whole, disjoint, ruled again, drift seen"


def _valid_for(workplace: Workplace, manifest: Manifest) -> timedelta:
    """Until the first of the release and the lists that it was built from is too old.

    How the lists are besides is `lists_known`, of the same lists (`_inputs_of_today`).
    """
    from dualstream_assets.registry.known import list_finding, release_finding
    from dualstream_assets.registry.medicare import ListKind

    now, estate = workplace.clock.now(), workplace.estate
    today = now.astimezone(estate.zone).date()
    last = release_finding(manifest.release, today, estate.limits).last_day
    if last is None:
        return timedelta(0)
    lists = [
        list_finding(ListKind(kind), source, today, estate.limits, floors={}).last_day
        for kind, source in manifest.lists.items()
        if source
    ]
    first = min([last, *(day for day in lists if day)])
    end = datetime.combine(first + timedelta(days=1), time(), estate.zone)
    return end.astimezone(UTC) - now


def _inputs_of_today(workplace: Workplace, manifest: Manifest) -> Look:
    """Built from the release and the lists that the registry holds now."""
    from dualstream_assets.registry.medicare import OPTIONAL, ListKind
    from dualstream_assets.registry.shelf import load_facts

    folder, wrong = workplace.paths.registry, []
    for table in ("release", "endpoints"):
        facts = load_facts(folder, table)
        if not facts or facts.get("fingerprint") != manifest.release.get("fingerprint"):
            name = facts.get("name", "none") if facts else "none"
            wrong.append(f"{table}: built from {manifest.release.get('name')}, the registry has {name}")
    tables = ("revalidation", "exclusions")
    shelf = {kind: s for table in tables for kind, s in load_facts(folder, table).get("sources", {}).items()}
    for kind in ListKind:
        mine, there = manifest.lists.get(kind), shelf.get(kind)
        if mine != there:
            wrong.append(f"{kind}: built with {_file(mine)}, the registry has {_file(there)}")
        elif mine is None and kind not in OPTIONAL:
            wrong.append(f"{kind} is missing: unknown")
    if wrong:
        return Look(passed=False, said="; ".join(wrong) + ". Put what is missing there and build again")
    return Look(passed=True, said=f"{manifest.release.get('name')} and {len(manifest.lists)} lists, as there")


def _file(source: Mapping[str, Any] | None) -> str:
    if not source:
        return "none"
    return f"{source['file']} of {source['day']} ({source['rows']:,} rows, {source.get('sha256', '')[:8]})"


def _disjoint(workplace: Workplace, manifest: Manifest, published: Published) -> Look:
    import polars as pl

    from dualstream_assets.registry.increments import candidates_of
    from dualstream_assets.registry.shelf import load_facts

    if found := unfit(published.folder):
        return Look(passed=False, said="; ".join(found))
    addresses = pl.concat([f["email"] for s, f in published.rows.items() if s != "rejects"])
    rows = len(addresses) + published.rows["rejects"].height
    twice = len(addresses) - addresses.n_unique()
    endpoints = load_facts(workplace.paths.registry, "endpoints")
    counts = endpoints.get("counts", {})
    candidates = candidates_of(counts)
    same_release = endpoints.get("fingerprint") == manifest.release.get("fingerprint")
    said = f"{candidates:,} candidates, {rows:,} rows, {twice:,} addresses twice"
    return Look(
        passed=not twice and same_release and rows == candidates,
        said=said if same_release else f"{said}; the endpoints are of another release",
    )


def _giants_gone(rows: pl.DataFrame, classifier: Classifier) -> Look:
    dropped = classifier.tables.dropped
    counts = rows.group_by("domain").len()
    hits = sum(
        count for name, count in counts.iter_rows() if any(p in dropped for p in self_and_parents(name))
    )
    return Look(passed=not hits, said=f"{hits:,} of {rows.height:,} rows are a giant's")


def _segment_again(segment: str, rows: pl.DataFrame, classifier: Classifier, decisions: Decisions) -> Look:
    """A decided row holds while the decision stands and the tables still leave it to a person; no drop stands."""
    import polars as pl

    ruled = rows.filter(pl.col("rule") != DECIDED)["domain"].unique().to_list()
    wrong = [r.segment for r in map(classifier.classify_domain, ruled) if r.segment != segment]
    decided = rows.filter(pl.col("rule") == DECIDED).select("email", "domain")
    for address, domain in decided.iter_rows():
        decision = decisions.about(address)
        if decision is None or decision.segment != segment or segment not in SENT_ON:
            wrong.append("decided otherwise since")
        elif decision.subject != address and says_direct(address):
            wrong.append("decided by its domain, and the left side says direct")
        elif (now := classifier.classify_domain(domain).segment) not in ("review", "institutional"):
            wrong.append(now)
    dropped = [name for name, d in decisions.standing.items() if d.segment == "dropped"]
    about = rows.filter(pl.col("email").is_in(dropped) | pl.col("domain").is_in(dropped))["email"]
    for address in about:
        decision = decisions.about(address)
        if decision is not None and decision.segment == "dropped":
            wrong.append("decided to be dropped, not built since")
    kinds = ", ".join(f"{kind} {wrong.count(kind)}" for kind in sorted(set(wrong)))
    said = f"{len(ruled):,} domains ruled again, {decided.height:,} decided rows"
    return Look(passed=not wrong, said=f"{said}; wrong: {kinds}" if wrong else f"{said}, all right")
