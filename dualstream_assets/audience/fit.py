"""Whether the published audience may be mailed: looked at again in its files, and written down for the gate.

The looks read what is published, not what the step believed. `audience_fit` is evidence of every stream (D8, D12): it
is unknown while the audience is built and until somebody has looked at the new files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dualstream_assets import keys
from dualstream_assets.audience.classify import Classifier
from dualstream_assets.audience.decisions import DECIDED, SENT_ON, Decisions, read
from dualstream_assets.audience.drift import Drift, judge
from dualstream_assets.audience.manifest import Manifest, read_manifest
from dualstream_assets.audience.publish import FILES, unfit
from dualstream_assets.estate import Estate
from dualstream_assets.store.evidence import Subject, newest, probing, record

if TYPE_CHECKING:
    import polars as pl

    from dualstream_assets.workplace import Workplace

FACT = "audience_fit"
SOURCE = f"{keys.text(keys.AUDIENCE_INSTITUTIONAL)}:{FACT}"
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
    """(segment, name of the check) -> answer, for the checks that block."""
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
    return found


def look_again(workplace: Workplace) -> dict[tuple[str, str], Look]:
    """All looks at what is published now, written down as `audience_fit`; empty where nothing is published."""
    folder, estate = workplace.paths.audience, workplace.estate
    valid_for = timedelta(days=estate.limits.release_age_days)
    with probing(
        workplace.database, workplace.clock, subjects(estate), source=SOURCE, valid_for=valid_for
    ) as probe:
        manifest = read_manifest(folder)
        found = looks(workplace, manifest) if manifest else {}
        red = [f"{segment} {name}: {look.said}" for (segment, name), look in found.items() if not look.passed]
        fit: bool | None = bool(found) and not red
        said = "; ".join(red) if red else _named(manifest) if manifest else NOTHING
        if read_manifest(folder) != manifest:
            fit, said = None, "built again while it was looked at"
        for subject in subjects(estate):
            probe.found_that(subject, fit, said)
    return found


@contextmanager
def rebuilding(workplace: Workplace) -> Iterator[None]:
    """Around a build: what was known of the old files does not hold for the new ones.

    A build that fails and leaves the old files in place leaves their evidence as it was.
    """
    mine, folder = subjects(workplace.estate), workplace.paths.audience
    with workplace.database.transaction() as connection:
        before = [newest(connection, s.stream).get(s) for s in mine]
    old = read_manifest(folder)
    with probing(workplace.database, workplace.clock, mine, source=SOURCE, valid_for=timedelta(0)) as probe:
        try:
            yield
        except Exception:
            if read_manifest(folder) == old:
                now = workplace.clock.now()
                with workplace.database.transaction() as connection:
                    for subject, e in zip(mine, before, strict=True):
                        if e is not None:
                            record(
                                connection, subject, e.verdict, e.evidence, SOURCE, now, e.expires_at - now
                            )
            raise
        for subject in mine:
            probe.found_unknown(subject, "built again, and not looked at since")


def subjects(estate: Estate) -> list[Subject]:
    """What the gate asks for, per stream."""
    return [Subject(stream, "audience", FACT) for stream in estate.streams]


def _named(manifest: Manifest) -> str:
    digest = hashlib.sha256(manifest.text().encode()).hexdigest()[:12]
    return f"{manifest.release.get('name')}, manifest {digest}: whole, disjoint, ruled again, drift seen"


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
    hits = sum(count for name, count in counts.iter_rows() if any(p in dropped for p in _parents(name)))
    return Look(passed=not hits, said=f"{hits:,} of {rows.height:,} rows are a giant's")


def _parents(name: str) -> Iterator[str]:
    labels = name.split(".")
    return (".".join(labels[i:]) for i in range(len(labels)))


def _segment_again(segment: str, rows: pl.DataFrame, classifier: Classifier, decisions: Decisions) -> Look:
    """A decided row holds while the decision stands and the tables still leave it to a person."""
    import polars as pl

    ruled = rows.filter(pl.col("rule") != DECIDED)["domain"].unique().to_list()
    wrong = [r.segment for r in map(classifier.classify_domain, ruled) if r.segment != segment]
    decided = rows.filter(pl.col("rule") == DECIDED).select("email", "domain")
    for address, domain in decided.iter_rows():
        decision = decisions.about(address)
        if decision is None or decision.segment != segment or segment not in SENT_ON:
            wrong.append("decided otherwise since")
        elif (now := classifier.classify_domain(domain).segment) not in ("review", "institutional"):
            wrong.append(now)
    kinds = ", ".join(f"{kind} {wrong.count(kind)}" for kind in sorted(set(wrong)))
    said = f"{len(ruled):,} domains ruled again, {decided.height:,} decided rows"
    return Look(passed=not wrong, said=f"{said}; wrong: {kinds}" if wrong else f"{said}, all right")
