"""Whether lists and release may be relied on, and the evidence that shuts the gates where they may not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate
from dualstream_assets.estate.model import Limits
from dualstream_assets.registry.known import (
    list_finding,
    list_lines,
    look_at_lists,
    look_at_release,
    release_finding,
    said_of,
    verdict_of,
)
from dualstream_assets.registry.medicare import EXCLUSIONS, OPTIONAL, ListKind
from dualstream_assets.registry.shelf import save
from dualstream_assets.registry.sizes import FLOORS, floors_of
from dualstream_assets.sending.gate import assess
from dualstream_assets.sending.requirements import required
from dualstream_assets.settings import Settings
from dualstream_assets.store.database import Database
from dualstream_assets.store.evidence import Subject, Verdict, newest
from dualstream_assets.workplace import Endpoints, Workplace
from dualstream_assets_tests.sending.fakes import make_green

TODAY = date(2026, 11, 30)
LIMITS = Limits()
A = "1003000126"
SMALL: Mapping[ListKind, int] = {}
"""No floors: the lists of these tests are the lab's."""


def source(day: str = "2026-11-08", **changes: Any) -> dict[str, Any]:
    """What was read of a list."""
    return {
        "file": "list.csv",
        "day": day,
        "day_from": "name",
        "sha256": "0" * 64,
        "rows": 1000,
        "dates": 1000,
        "unparsed_dates": 0,
        "npis": 1000,
        "bad_npis": 0,
        **changes,
    }


def test_a_list_of_this_month_is_known_and_says_how_long_it_counts() -> None:
    found = list_finding(ListKind.OPT_OUT, source(), TODAY, LIMITS, floors=SMALL)
    assert (found.verdict, found.last_day) == (Verdict.PASS, date(2026, 12, 23))


@pytest.mark.parametrize("kind", [kind for kind in ListKind if kind not in OPTIONAL])
def test_a_missing_list_is_unknown_and_says_its_published_name(kind: ListKind) -> None:
    found = list_finding(kind, None, TODAY, LIMITS, floors=SMALL)
    assert found.verdict is Verdict.UNKNOWN
    assert found.said.startswith(f"{kind} is missing: unknown (dualstream release add ")


def test_an_optional_list_that_is_not_given_is_no_unknown() -> None:
    found = list_finding(ListKind.PPEF, None, TODAY, LIMITS, floors=SMALL)
    assert (found.verdict, found.said, found.last_day) == (Verdict.PASS, "ppef not given (optional)", None)


def test_an_optional_list_that_is_stale_is_said_and_stops_nothing() -> None:
    found = list_finding(ListKind.PPEF, source("2025-01-01"), TODAY, LIMITS, floors=SMALL)
    assert found.verdict is Verdict.PASS
    assert "698 days old" in found.said


@pytest.mark.parametrize(
    ("day", "day_from", "verdict"),
    [
        ("2026-11-30", "name", Verdict.PASS),
        ("2026-12-01", "name", Verdict.UNKNOWN),
        ("2026-12-01", "newest entry", Verdict.UNKNOWN),
        ("2026-12-01", "file", Verdict.PASS),  # the file's time is in UTC
        ("2026-12-02", "file", Verdict.UNKNOWN),
        ("2026-10-16", "name", Verdict.PASS),
        ("2026-10-15", "name", Verdict.UNKNOWN),
    ],
)
def test_a_list_of_the_future_or_too_old_is_unknown(day: str, day_from: str, verdict: Verdict) -> None:
    found = list_finding(ListKind.OPT_OUT, source(day, day_from=day_from), TODAY, LIMITS, floors=SMALL)
    assert found.verdict is verdict
    assert (verdict is Verdict.PASS) or "unknown (dualstream release add Opt_Out" in found.said


def test_a_quarterly_list_may_be_a_quarter_old() -> None:
    assert (
        list_finding(ListKind.REVOKED, source("2026-09-01"), TODAY, LIMITS, floors=SMALL).verdict
        is Verdict.PASS
    )
    assert (
        list_finding(ListKind.REVOKED, source("2026-08-01"), TODAY, LIMITS, floors=SMALL).verdict
        is Verdict.UNKNOWN
    )


def test_exclusions_dated_by_their_newest_entry_are_older_than_their_file() -> None:
    by_entry = source("2026-10-01", day_from="newest entry")
    assert list_finding(ListKind.LEIE, by_entry, TODAY, LIMITS, floors=SMALL).verdict is Verdict.PASS
    assert (
        list_finding(ListKind.LEIE, source("2026-10-01"), TODAY, LIMITS, floors=SMALL).verdict
        is Verdict.UNKNOWN
    )


@pytest.mark.parametrize(
    ("rows", "verdict"), [(900, Verdict.PASS), (899, Verdict.FAIL), (5000, Verdict.PASS)]
)
def test_a_list_that_lost_a_tenth_is_a_part_of_one(rows: int, verdict: Verdict) -> None:
    found = list_finding(
        ListKind.DEACTIVATED, source(rows=rows), TODAY, LIMITS, floors=SMALL, rows_before=1000
    )
    assert found.verdict is verdict
    assert (verdict is Verdict.PASS) or "899 rows, the last good one had 1,000" in found.said


def test_a_deactivation_report_of_recent_months_only_is_a_delta() -> None:
    found = list_finding(
        ListKind.DEACTIVATED, source(), TODAY, LIMITS, floors=SMALL, oldest=date(2026, 10, 9)
    )
    assert (found.verdict, "only the changes" in found.said) == (Verdict.FAIL, True)
    assert (
        list_finding(
            ListKind.DEACTIVATED, source(), TODAY, LIMITS, floors=SMALL, oldest=date(2005, 6, 1)
        ).verdict
        == "pass"
    )


@pytest.mark.parametrize("what", ["unparsed_dates", "bad_npis"])
def test_a_few_strange_values_are_said_and_many_are_a_failure(what: str) -> None:
    few = list_finding(ListKind.LEIE, {**source(), what: 10}, TODAY, LIMITS, floors=SMALL)
    assert (few.verdict, "10 values not understood" in few.said) == (Verdict.PASS, True)
    assert (
        list_finding(ListKind.LEIE, {**source(), what: 11}, TODAY, LIMITS, floors=SMALL).verdict
        is Verdict.FAIL
    )


@pytest.mark.parametrize(
    ("kind", "ragged", "wrong"),
    [
        *((kind, 1, True) for kind in EXCLUSIONS),
        *((kind, 0, False) for kind in ListKind),
        (ListKind.REVALIDATION, 1, False),
        (ListKind.REVALIDATION, 2, True),
        (ListKind.PPEF, 1, False),
        (ListKind.PPEF, 2, True),
    ],
)
def test_one_ragged_row_spoils_a_list_that_drops_people(kind: ListKind, ragged: int, wrong: bool) -> None:
    found = list_finding(kind, source("2026-11-20", ragged=ragged), TODAY, LIMITS, floors=SMALL)
    assert ("rows with too many or too few columns" in found.said) is wrong
    assert (found.verdict is Verdict.FAIL) is (wrong and kind not in OPTIONAL)


def test_an_npi_that_a_comma_shifts_out_of_its_column_shuts_the_gate(tmp_path: Path) -> None:
    header = "LASTNAME,FIRSTNAME,BUSNAME,NPI,STATE,EXCLDATE,REINDATE\n"
    for name, says in (
        ('"A,B CORP"', "pass: leie of"),
        ("A,B CORP", "fail: leie (UPDATED.csv) has 1 of 1,000 rows"),
    ):
        rows = [f"DOE,JANE,,{A},NY,20261020,00000000\n"] * 999 + [
            f"DOE,JANE,{name},{A},NY,20261020,00000000\n"
        ]
        (tmp_path / "UPDATED.csv").write_text(header + "".join(rows))
        assert [line for line in list_lines(tmp_path, TODAY, LIMITS, SMALL) if line.startswith(says)]


@pytest.mark.parametrize("kind", ListKind)
def test_a_list_without_a_row_is_never_good_not_even_in_the_lab(kind: ListKind) -> None:
    found = list_finding(kind, source(rows=0, npis=0, dates=0), TODAY, LIMITS, floors=SMALL)
    assert "has no row" in found.said
    assert found.last_day is None
    assert found.verdict is (Verdict.PASS if kind in OPTIONAL else Verdict.FAIL)


@pytest.mark.parametrize("kind", [kind for kind in ListKind if kind not in OPTIONAL])
def test_a_real_list_is_never_so_short(kind: ListKind) -> None:
    """Floors stand well under the real sizes (facts: nppes 2) and hold unless the caller says otherwise."""
    floor = FLOORS[kind]
    enough = list_finding(kind, source("2026-11-20", rows=floor), TODAY, LIMITS)
    assert (enough.verdict, floor > 1000) == (Verdict.PASS, True)
    short = list_finding(kind, source("2026-11-20", rows=floor - 1), TODAY, LIMITS)
    assert (short.verdict, short.last_day) == (Verdict.FAIL, None)
    assert f"has {floor - 1:,} rows, a whole one has at least {floor:,}" in short.said


def test_only_the_lab_has_lists_that_short() -> None:
    assert floors_of("lab") == {}
    assert floors_of("dev") == floors_of("production") == FLOORS


@pytest.mark.parametrize(
    ("npis", "bad", "verdict"),
    [
        (100, 1, Verdict.PASS),
        (100, 2, Verdict.FAIL),  # two of a hundred, though two of 1,000 rows
        (5, 5, Verdict.FAIL),
        (0, 0, Verdict.FAIL),
    ],
)
def test_bad_npis_are_a_share_of_the_rows_that_state_one(npis: int, bad: int, verdict: Verdict) -> None:
    found = list_finding(ListKind.LEIE, source(npis=npis, bad_npis=bad), TODAY, LIMITS, floors=SMALL)
    assert found.verdict is verdict
    assert npis or "no row states an NPI" in found.said


@pytest.mark.parametrize(("bad", "verdict"), [(1, Verdict.PASS), (2, Verdict.FAIL)])
def test_strange_dates_are_a_share_of_the_dates_that_are_stated(bad: int, verdict: Verdict) -> None:
    """Nine of ten enrolments are TBD."""
    dates = source("2026-11-20", dates=100, unparsed_dates=bad)
    assert list_finding(ListKind.REVALIDATION, dates, TODAY, LIMITS, floors=SMALL).verdict is verdict


@pytest.mark.parametrize(
    ("facts", "verdict", "said"),
    [
        ({"name": "R.zip", "day": "2026-11-08"}, Verdict.PASS, "data of 2026-11-08"),
        ({"name": "R.zip", "day": "2026-09-29"}, Verdict.PASS, "data of"),
        ({"name": "R.zip", "day": "2026-09-28"}, Verdict.UNKNOWN, "63 days old, more than 62"),
        ({"name": "R.zip", "day": "2026-12-01"}, Verdict.UNKNOWN, "in the future"),
        ({"name": "R.zip", "day": "2026-11-29", "whole_until": "2026-09-08"}, Verdict.UNKNOWN, "83 days old"),
        ({"name": "R.zip", "day": None}, Verdict.UNKNOWN, "does not say"),
        ({}, Verdict.UNKNOWN, "no release"),
    ],
)
def test_a_release_is_fresh_or_unknown(facts: dict[str, Any], verdict: Verdict, said: str) -> None:
    found = release_finding(facts, TODAY, LIMITS)
    assert (found.verdict, said in found.said) == (verdict, True)
    assert (verdict is Verdict.PASS) or "dualstream release add" in found.said


def test_the_worst_finding_decides_and_none_is_unknown() -> None:
    good = list_finding(ListKind.LEIE, source(), TODAY, LIMITS, floors=SMALL)
    missing = list_finding(ListKind.LEIE, None, TODAY, LIMITS, floors=SMALL)
    short = list_finding(ListKind.LEIE, source(rows=1), TODAY, LIMITS, floors=SMALL, rows_before=1000)
    assert [verdict_of(f) for f in ([], [good], [good, missing], [missing, short])] == [
        "unknown",
        "pass",
        "unknown",
        "fail",
    ]
    assert said_of([good, missing]) == missing.said


@pytest.fixture
def workplace(tmp_path: Path, lab_estate: Estate, clock: FixedClock, database: Database) -> Workplace:
    settings = Settings.read({"DUALSTREAM_STATE": str(tmp_path / "state")})
    endpoints = Endpoints((), 25, "127.0.0.1", {}, {}, None, None, tmp_path / "inbox", tmp_path)
    return Workplace(
        settings, lab_estate, given_clock=clock, given_endpoints=endpoints, given_database=database
    )


def shelve(workplace: Workplace, table: str, **sources: dict[str, Any] | None) -> None:
    """A table on the shelf, made of these lists."""
    frame = pl.DataFrame(
        {"list": ["deactivated"], "since": [date(2010, 1, 1)]}, schema={"list": pl.String, "since": pl.Date}
    )
    save(workplace.paths.registry, table, frame, {"sources": sources})


def shelve_all(workplace: Workplace, **changes: dict[str, Any] | None) -> None:
    shelve(workplace, "revalidation", revalidation=source())
    kinds: dict[str, Any] = {kind: source() for kind in ("deactivated", "leie", "revoked", "opt_out")}
    shelve(workplace, "exclusions", **{**kinds, **changes})


def look(workplace: Workplace) -> dict[tuple[str, str], Any]:
    look_at_lists(workplace, "revalidation", "cms/revalidation")
    look_at_lists(workplace, "exclusions", "cms/exclusions")
    look_at_release(workplace, "nppes/release")
    with workplace.database.transaction() as connection:
        found = newest(connection, "healthcare")
        assert {s.fact for s in newest(connection, "trucking")} == {s.fact for s in found}
    return {(subject.subject, subject.fact): row for subject, row in found.items()}


def gate(workplace: Workplace) -> Any:
    with workplace.database.transaction() as connection:
        return assess(connection, workplace.estate, "healthcare", workplace.clock.now(), environment="lab")


def test_every_wave_needs_the_lists_and_a_fresh_release_and_a_probe_does_not(lab_estate: Estate) -> None:
    facts = {
        ("nppes/release", "release_fresh"),
        ("cms/revalidation", "lists_known"),
        ("cms/exclusions", "lists_known"),
    }
    for stream in lab_estate.streams:
        assert facts <= {(s.subject, s.fact) for s in required(lab_estate, stream, "wave", "lab")}
        assert not facts & {(s.subject, s.fact) for s in required(lab_estate, stream, "probe", "lab")}


def test_evidence_ends_when_the_first_list_turns_too_old(workplace: Workplace) -> None:
    shelve_all(workplace, leie=source("2026-11-01"))
    save(
        workplace.paths.registry, "release", pl.DataFrame({"x": [1]}), {"name": "R.zip", "day": "2026-11-08"}
    )
    found = look(workplace)
    assert {row.verdict for row in found.values()} == {Verdict.PASS}
    midnight = lambda *day: datetime(*day, tzinfo=workplace.estate.zone).astimezone(UTC)  # noqa: E731
    assert found["cms/exclusions", "lists_known"].expires_at == midnight(2026, 12, 17)
    assert found["cms/revalidation", "lists_known"].expires_at == midnight(2026, 12, 24)
    assert found["nppes/release", "release_fresh"].expires_at == midnight(2027, 1, 10)


def test_a_missing_list_shuts_the_gate_and_says_the_cure(workplace: Workplace) -> None:
    make_green(workplace.database, workplace.clock, workplace.estate, "healthcare")
    assert gate(workplace).open
    shelve_all(workplace, leie=None)
    look_at_lists(workplace, "exclusions", "cms/exclusions")
    assert gate(workplace).refusal == (
        "healthcare: gate shut: cms/exclusions lists_known: unknown: leie is missing: unknown"
        " (dualstream release add UPDATED.csv). Next:"
        " dagster asset materialize --select 'cms/exclusions' -m dualstream_assets.definitions"
    )


def test_a_gate_that_was_open_shuts_by_itself_on_the_day_a_list_turns_too_old(
    workplace: Workplace, clock: FixedClock
) -> None:
    make_green(workplace.database, clock, workplace.estate, "healthcare", days=365)
    shelve_all(workplace)
    look_at_lists(workplace, "exclusions", "cms/exclusions")
    clock.at = datetime(2026, 12, 23, 23, 59, tzinfo=workplace.estate.zone).astimezone(UTC)
    assert gate(workplace).open
    clock.sleep(61)
    assert [row.said for row in gate(workplace).shut_by] == [
        "cms/exclusions lists_known: stale since 2026-12-24 00:00"
    ]


def test_a_look_that_crashes_leaves_unknown(workplace: Workplace) -> None:
    make_green(workplace.database, workplace.clock, workplace.estate, "healthcare")
    (workplace.paths.registry / "exclusions.json").write_text("{")
    with pytest.raises(ValueError, match="Expecting"):
        look_at_lists(workplace, "exclusions", "cms/exclusions")
    assert [row.verdict for row in gate(workplace).shut_by] == ["unknown"]


def test_a_shorter_list_is_seen_also_when_another_list_came_meanwhile(workplace: Workplace) -> None:
    shelve_all(workplace)
    assert verdict_of(look_at_lists(workplace, "exclusions", "cms/exclusions")) == "pass"
    for _ in range(2):  # looking twice does not make it good
        shelve_all(workplace, deactivated=source(rows=10), leie=source(rows=1100))
        assert verdict_of(look_at_lists(workplace, "exclusions", "cms/exclusions")) == "fail"
    with workplace.database.transaction() as connection:
        row = newest(connection, "trucking")[Subject("trucking", "cms/exclusions", "lists_known")]
    assert row.verdict is Verdict.FAIL
    assert "deactivated (list.csv) has 10 rows" in row.evidence
    (workplace.paths.registry / "exclusions.known.json").unlink()
    assert verdict_of(look_at_lists(workplace, "exclusions", "cms/exclusions")) == "pass"
