"""Whether the release and the lists may be relied on: there, whole, not of the future, not too old; and the evidence.

A list that is missing, future or stale is *unknown*: it shuts the gate, not the build. Ages count from the list's day
(in its name, else its newest entry, else the file's time), in the estate's days.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualstream_assets.estate.model import Limits
from dualstream_assets.registry.errors import ListUnreadable
from dualstream_assets.registry.medicare import EXCLUSIONS, OPTIONAL, ListKind, read_list
from dualstream_assets.registry.release import ADD, PUBLISHED_NAMES, find_lists, list_source
from dualstream_assets.registry.sizes import FLOORS, floors_of, shrunk, too_few
from dualstream_assets.store.evidence import Probe, Subject, Verdict, probing

if TYPE_CHECKING:
    from dualstream_assets.workplace import Workplace

LISTS_KNOWN = "lists_known"
RELEASE_FRESH = "release_fresh"

KINDS: Mapping[str, tuple[ListKind, ...]] = {
    "revalidation": (ListKind.REVALIDATION, ListKind.PPEF),
    "exclusions": EXCLUSIONS,
}
"""Table on the shelf -> the lists that make it."""

STRANGE_SHARE = 0.01
"""Of the NPIs or dates that a list states, those not understood."""
RAGGED_SHARE = 0.001
"""Of the rows of a list that drops nobody, those with too many or too few columns; in an exclusion list none may be so:
an NPI that is shifted out of its column would be mailed."""
FULL_REPORT_DAYS = 365
"""The deactivation report goes back to 2005; one that begins less than this before its day is only the changes."""
QUARTERLY_DAYS = 61
"""What a quarterly list may be older than `limits.list_age_days`, which is meant for monthly ones."""
NEWEST_EXCLUSION_DAYS = 21
"""OIG publishes around the 10th what took effect by the 20th of the month before: its newest entry is older than it."""


@dataclass(frozen=True)
class Finding:
    """How one list or release stands.

    Attributes:
        about: the kind of list, or `release`.
        last_day: the last day on which it may be relied on; None where it may not, or need not.
    """

    about: str
    verdict: Verdict
    said: str
    last_day: date | None = None


def list_finding(
    kind: ListKind,
    source: Mapping[str, Any] | None,
    today: date,
    limits: Limits,
    *,
    floors: Mapping[ListKind, int] = FLOORS,
    rows_before: int | None = None,
    oldest: date | None = None,
) -> Finding:
    """How a list stands.

    Args:
        source: what was read (`release.list_source`); None: no file.
        floors: how many rows a whole list has at least (`sizes.floors_of`).
        rows_before: rows of the last such list that was good.
        oldest: the oldest first day on the list, where it was looked at.
    """
    cure = f"dualstream release add {PUBLISHED_NAMES[kind]}"
    if source is None:
        if kind in OPTIONAL:
            return Finding(kind, Verdict.PASS, f"{kind} not given (optional)")
        return Finding(kind, Verdict.UNKNOWN, f"{kind} is missing: unknown ({cure})")
    day, oldest_allowed = date.fromisoformat(source["day"]), _age_limit(kind, source, limits)
    dated = _dated(day, source["day_from"], today, oldest_allowed, "limits.list_age_days")
    wrong = dated or _incomplete(kind, source, floors, rows_before, oldest) or _strange(kind, source)
    if wrong:
        verdict = Verdict.PASS if kind in OPTIONAL else Verdict.UNKNOWN if dated else Verdict.FAIL
        return Finding(kind, verdict, f"{kind} ({source['file']}) {wrong} ({cure})")
    strange = source["unparsed_dates"] + source["bad_npis"]
    note = f", {strange:,} values not understood" if strange else ""
    last = None if kind in OPTIONAL else day + timedelta(days=oldest_allowed)
    return Finding(kind, Verdict.PASS, f"{kind} of {day}, {source['rows']:,} rows{note}", last)


def release_finding(facts: Mapping[str, Any], today: date, limits: Limits) -> Finding:
    """How the release stands, with its increments: up to the first week that is missing among them.

    Args:
        facts: `name`, `day` and `whole_until` (ISO or None) of the one that was found (`Chain.facts`); empty: none was.
    """
    if not facts:
        return Finding("release", Verdict.UNKNOWN, f"no release was looked for: unknown ({ADD})")
    name, stated = facts["name"], facts.get("whole_until") or facts.get("day")
    if stated is None:
        return Finding(
            "release", Verdict.UNKNOWN, f"{name} does not say of which day its data are: unknown ({ADD})"
        )
    day = date.fromisoformat(stated)
    dated = _dated(day, "name", today, limits.release_age_days, "limits.release_age_days")
    if dated:
        return Finding("release", Verdict.UNKNOWN, f"{name} {dated} ({ADD})")
    last = day + timedelta(days=limits.release_age_days)
    return Finding("release", Verdict.PASS, f"{name}, data of {day}", last)


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """The worst of them: fail, then unknown; nothing at all is unknown."""
    found = {finding.verdict for finding in findings}
    if Verdict.FAIL in found:
        return Verdict.FAIL
    return Verdict.UNKNOWN if Verdict.UNKNOWN in found or not found else Verdict.PASS


def said_of(findings: Iterable[Finding]) -> str:
    """One line: what is wrong, or that all is known and until when."""
    found = list(findings)
    wrong = [f.said for f in found if f.verdict is not Verdict.PASS]
    days = [f.last_day for f in found if f.last_day]
    return "; ".join(wrong or [*(f.said for f in found), *([f"good until {min(days)}"] if days else [])])


def list_lines(
    folder: Path, today: date, limits: Limits, floors: Mapping[ListKind, int] = FLOORS
) -> list[str]:
    """How every list stands of which a folder has (or lacks) a file; each is read for it.

    A list that is there and is in no form we know is said, not raised.
    """
    found = find_lists(folder)
    lines = []
    for kind in ListKind:
        try:
            file = found.get(kind)
            table = read_list(kind, file.path, limits) if file else None
            source = list_source(file, table) if file and table else None
            oldest = table.oldest if table else None
            finding = list_finding(kind, source, today, limits, floors=floors, oldest=oldest)
        except ListUnreadable as error:
            finding = Finding(
                kind, Verdict.FAIL, f"{kind}: {error} (dualstream release add {PUBLISHED_NAMES[kind]})"
            )
        lines.append(f"{finding.verdict}: {finding.said}")
    return lines


def look_at_lists(workplace: Workplace, table: str, asset: str) -> list[Finding]:
    """Judge the lists of one table on the shelf and write the evidence `lists_known` of every stream.

    A finding counts until the first of the lists turns too old. The row counts of good lists are remembered, in
    `TABLE.known.json`, so that a shorter one is seen.
    """
    from dualstream_assets.registry.shelf import load_facts, save_facts

    def look(today: date) -> list[Finding]:
        folder = workplace.paths.registry
        sources, known = load_facts(folder, table).get("sources", {}), load_facts(folder, f"{table}.known")
        found = [
            list_finding(
                kind,
                sources.get(kind),
                today,
                workplace.estate.limits,
                floors=floors_of(workplace.environment),
                rows_before=known.get(kind),
                oldest=_oldest_deactivation(workplace) if kind is ListKind.DEACTIVATED else None,
            )
            for kind in KINDS[table]
        ]
        good = {f.about: sources[f.about]["rows"] for f in found if f.last_day}
        if good:
            save_facts(folder, f"{table}.known", {**known, **good})
        return found

    return _evidence(workplace, asset, LISTS_KNOWN, look)


def look_at_release(workplace: Workplace, asset: str) -> list[Finding]:
    """Judge the release on the shelf and write the evidence `release_fresh` of every stream."""
    from dualstream_assets.registry.shelf import load_facts

    def look(today: date) -> list[Finding]:
        return [
            release_finding(load_facts(workplace.paths.registry, "release"), today, workplace.estate.limits)
        ]

    return _evidence(workplace, asset, RELEASE_FRESH, look)


def _evidence(
    workplace: Workplace, asset: str, fact: str, look: Callable[[date], list[Finding]]
) -> list[Finding]:
    subjects = [Subject(stream, asset, fact) for stream in workplace.estate.streams]
    source = f"{asset}:{fact}"
    with probing(workplace.database, workplace.clock, subjects, source=source, valid_for=timedelta(0)):
        now = workplace.clock.now()
        found = look(now.astimezone(workplace.estate.zone).date())
        days = [f.last_day for f in found if f.last_day]
        valid_for = timedelta(0)
        if days:
            end = datetime.combine(min(days) + timedelta(days=1), time(), workplace.estate.zone)
            valid_for = end.astimezone(UTC) - now
        probe = Probe(workplace.database, workplace.clock, source, valid_for)
        for subject in subjects:
            probe.found_that(subject, _HOLDS[verdict_of(found)], said_of(found) or "nothing was read")
    return found


_HOLDS = {Verdict.PASS: True, Verdict.FAIL: False, Verdict.UNKNOWN: None}


def _dated(day: date, day_from: str, today: date, oldest: int, limit: str) -> str | None:
    """What is wrong with a day; a file's time is in UTC and may be a day ahead."""
    ahead, age = (day - today).days, (today - day).days
    if ahead > (1 if day_from == "file" else 0):
        return f"is dated {day}, in the future (by its {day_from}): unknown"
    if age > oldest:
        return f"is {age} days old, more than {oldest} ({limit}): unknown"
    return None


def _incomplete(
    kind: ListKind,
    source: Mapping[str, Any],
    floors: Mapping[ListKind, int],
    rows_before: int | None,
    oldest: date | None,
) -> str | None:
    day, rows = date.fromisoformat(source["day"]), source["rows"]
    if few := too_few(kind, rows, floors):
        return few
    if kind is ListKind.DEACTIVATED and oldest and (day - oldest).days < FULL_REPORT_DAYS:
        return f"begins on {oldest}: only the changes, not the full report"
    if rows_before is not None and shrunk(rows, rows_before):
        memory = next(f"{table}.known.json" for table, kinds in KINDS.items() if kind in kinds)
        return (
            f"has {rows:,} rows, the last good one had {rows_before:,}: a part of the list, or cut off; if it is whole,"
            f" remove {memory} from the state folder's registry"
        )
    return None


def _strange(kind: ListKind, source: Mapping[str, Any]) -> str | None:
    if not source["npis"]:
        return "has rows, but no row states an NPI"
    ragged, rows = source.get("ragged", 0), source["rows"]
    if ragged > (0 if kind in EXCLUSIONS else RAGGED_SHARE * rows):
        return f"has {ragged:,} of {rows:,} rows with too many or too few columns (a comma without quotes?)"
    for what, bad in (("dates", "unparsed_dates"), ("npis", "bad_npis")):
        if source[bad] > STRANGE_SHARE * source[what]:
            return f"has {source[bad]:,} of {source[what]:,} {what} that were not understood"
    return None


def _age_limit(kind: ListKind, source: Mapping[str, Any], limits: Limits) -> int:
    extra = 0
    if kind in (ListKind.REVOKED, ListKind.PPEF):
        extra = QUARTERLY_DAYS
    elif kind is ListKind.LEIE and source["day_from"] == "newest entry":
        extra = NEWEST_EXCLUSION_DAYS
    return limits.list_age_days + extra


def _oldest_deactivation(workplace: Workplace) -> date | None:
    import polars as pl

    path = workplace.paths.registry / "exclusions.parquet"
    if not path.exists():
        return None
    since = (
        pl.scan_parquet(path)
        .filter(pl.col("list") == ListKind.DEACTIVATED.value)
        .select(pl.col("since").min())
    )
    found = since.collect().item()
    return found if isinstance(found, date) else None
