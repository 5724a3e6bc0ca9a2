"""The split: every candidate of a release lands in exactly one of five files, with the rule that put it there.

A candidate is one address in one endpoint row (or a text with an `@` that is no address, or a line that could not be
read). Who lands where is decided on narrow columns (`fates`); the wide rows are made and written slice by slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualstream_assets.audience import decisions
from dualstream_assets.audience.classify import Classifier
from dualstream_assets.audience.drift import set_aside
from dualstream_assets.audience.eligible import eligibility
from dualstream_assets.audience.fates import REJECTS, codes_of, decide
from dualstream_assets.audience.manifest import Manifest, plan_figures
from dualstream_assets.audience.publish import FILES, publish
from dualstream_assets.audience.rank import order_of, revalidation_of
from dualstream_assets.audience.rows import text_rows
from dualstream_assets.audience.rulings import count_rules, rulings
from dualstream_assets.estate.model import Estate
from dualstream_assets.registry.cache import Cache
from dualstream_assets.registry.chain import open_chain
from dualstream_assets.registry.release import find_lists, find_weeklies
from dualstream_assets.registry.report import ReleaseReport, inspect
from dualstream_assets.registry.shelf import ListTables, ReleaseTables, read_lists, read_release

if TYPE_CHECKING:
    import polars as pl

SLICE_ROWS = 20_000


def build_audience(
    release: ReleaseTables,
    lists: ListTables,
    out: Path,
    estate: Estate,
    today: date,
    previous: Path | None = None,
) -> Manifest:
    """Split a release and publish the five files and `manifest.json` into `out`, all or none.

    Args:
        previous: what `drift.set_aside` gave.

    Raises:
        ConservationError: the split does not add up (nothing was published).
        DiskFull: no room (the old files stay).
    """
    import polars as pl

    classifier, order = Classifier.of(estate), order_of(estate.audience)
    candidates, facts, repairs = release.endpoints, release.facts, _repairs(release)
    with ThreadPoolExecutor(1, thread_name_prefix="rulings") as pool:  # it needs nothing of the people
        ruling = pool.submit(rulings, candidates, classifier)
        codes, npis = codes_of(candidates)
        people = eligibility(release.providers, npis, lists, today)
        del release  # the last that holds the providers, where the caller let go of them
        people = people.hstack(revalidation_of(people, lists.revalidation, today).drop("npi"))
        ruled = ruling.result()
    plan = plan_figures(pl.concat([codes, ruled.select("domain", "segment", "rule")], how="horizontal"))
    decided = decisions.read(out)
    ruled = decisions.apply(ruled, decided, classifier)
    fates = decide(candidates, codes, ruled, people, classifier, order)

    def slices(file: str) -> Iterator[pl.DataFrame]:
        mine = fates.filter(pl.col("file") == file)
        for offset in range(0, max(1, mine.height), SLICE_ROWS):
            part = mine.slice(offset, SLICE_ROWS)
            yield text_rows(part, candidates, ruled, people, rejects=file == REJECTS)

    return publish(
        out,
        {file: slices(file) for file in FILES},
        release=facts,
        lists=lists.sources,
        today=today,
        order=order,
        tables_version=classifier.tables.version,
        repairs=repairs,
        plan=plan,
        decisions=decided.facts(ruled),
        previous=previous,
    )


def build_audience_from_zip(
    path: Path,
    out: Path,
    estate: Estate,
    lists_folder: Path | None = None,
    *,
    today: date,
    cache: Cache | None = None,
) -> Manifest:
    """Read a release ZIP, the weeklies beside it that continue it, and the lists of a folder, and split.

    Args:
        lists_folder: where the lists lie; default: beside the ZIP.
        cache: keeps what was read, so that a second run need not read it again.

    Raises:
        RegistryError: what is wrong with a file, and the cure; nothing was written.
    """
    found = find_lists(lists_folder or path.parent)
    weeklies = find_weeklies(path.parent, date.min)
    fingerprint = open_chain(path, estate.limits, weeklies).fingerprint
    # The lists first: once they are kept, they need no memory.
    lists = cache.lists(found, estate.limits) if cache else read_lists(found, estate.limits)
    with set_aside(out, fingerprint, lists.sources, estate) as previous:
        read = cache.release if cache else read_release
        return build_audience(read(path, estate.limits, weeklies), lists, out, estate, today, previous)


def inspect_release(path: Path, estate: Estate) -> ReleaseReport:
    """`registry.release.inspect` with the counts per rule of this estate's classifier."""
    return inspect(
        path, estate.limits, rules=lambda candidates: count_rules(candidates, Classifier.of(estate))
    )


def _repairs(release: ReleaseTables) -> dict[str, Any]:
    counts: Mapping[str, Any] = release.endpoint_counts
    return {
        "addresses": dict(counts.get("repairs", {})),
        "endpoint_lines": {k: v for k, v in counts.get("lines", {}).items() if k != "unreadable"},
        "npidata_lines": {
            k: v for k, v in release.provider_counts.get("lines", {}).items() if k != "unreadable"
        },
    }
