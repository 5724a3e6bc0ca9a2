"""Which weeklies continue a release: newer ones in order, each once; the others are named with their reason."""

import os
from datetime import date
from pathlib import Path

import pytest

from dualstream_assets.estate.model import Limits
from dualstream_assets.registry.chain import find_chain, open_chain, stamp_of, unlike, verified_facts
from dualstream_assets.registry.errors import RegistryError, TruncatedZip
from dualstream_assets_tests.registry.making import filed, person, release_zip, weekly_zip

LIMITS = Limits(zip_ratio=1000)
A = "1003000126"
SECOND = {"first": date(2026, 11, 16), "last": date(2026, 11, 22)}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Data up to 2026-11-08."""
    return release_zip(tmp_path, [person(A)], [filed(A, "office@clinic.example")])


def test_weeklies_are_applied_in_the_order_of_their_days_however_they_are_given(base: Path) -> None:
    one = weekly_zip(base.parent, [person(A)])
    two = weekly_zip(base.parent, [person(A)], **SECOND)
    chain = open_chain(base, LIMITS, [two, one])
    assert [a.path for a in chain.increments] == [one, two]
    assert chain.facts()["day"] == "2026-11-22"
    assert chain.facts()["base_day"] == "2026-11-08"
    assert not chain.skipped
    assert not chain.gaps


def test_an_old_weekly_is_never_applied_over_newer_data(base: Path) -> None:
    for number, (first, last) in enumerate(
        [(date(2026, 10, 26), date(2026, 11, 1)), (date(2026, 11, 2), date(2026, 11, 8))]
    ):
        old = weekly_zip(base.parent, [person(A)], first=first, last=last)
        renamed = weekly_zip(base.parent, [person(A)], first=first, last=last, name=f"copy{number}.zip")
        chain = open_chain(base, LIMITS, [old, renamed])
        assert chain.increments == ()
        assert chain.fingerprint == chain.base.fingerprint
        assert {one.name for one in chain.skipped} == {old.name, renamed.name}
        assert all(f"stale: ends on {last}" in one.why for one in chain.skipped)


def test_a_stale_weekly_is_not_even_opened_and_a_newer_broken_one_is_an_error(base: Path) -> None:
    stale = weekly_zip(base.parent, [person(A)], first=date(2026, 11, 2), last=date(2026, 11, 8))
    stale.write_bytes(stale.read_bytes()[:500])
    assert "stale" in open_chain(base, LIMITS, [stale]).skipped[0].why
    newer = weekly_zip(base.parent, [person(A)])
    newer.write_bytes(newer.read_bytes()[:500])
    with pytest.raises(TruncatedZip, match=r"110926_111526.*download it again"):
        open_chain(base, LIMITS, [newer])


def test_the_same_weekly_twice_is_applied_once(base: Path) -> None:
    one = weekly_zip(base.parent, [person(A)])
    twin = weekly_zip(base.parent, [person(A)], name="zz_copy.zip")
    chain = open_chain(base, LIMITS, [twin, one, one])
    assert [a.path for a in chain.increments] == [one]
    assert {(s.name, s.why) for s in chain.skipped} == {
        (one.name, f"the same content as {one.name}"),
        (twin.name, f"the same content as {one.name}"),
    }


def test_of_two_weeklies_with_one_last_day_the_one_that_covers_more_is_applied(base: Path) -> None:
    short = weekly_zip(base.parent, [person(A)], first=date(2026, 11, 12), name="a.zip")
    long = weekly_zip(base.parent, [person(A)], name="b.zip")
    chain = open_chain(base, LIMITS, [short, long])
    assert [a.path for a in chain.increments] == [long]
    assert "stale" in chain.skipped[0].why


def test_days_between_the_files_are_reported(base: Path) -> None:
    late = weekly_zip(base.parent, [person(A)], first=date(2026, 11, 30), last=date(2026, 12, 6))
    facts = open_chain(base, LIMITS, [late]).facts()
    assert facts["gaps"] == [["2026-11-09", "2026-11-29"]]
    assert (facts["whole_until"], facts["day"]) == ("2026-11-08", "2026-12-06")
    middle = weekly_zip(base.parent, [person(A)], **SECOND)
    assert open_chain(base, LIMITS, [late, middle]).facts()["gaps"] == [
        ["2026-11-09", "2026-11-15"],
        ["2026-11-23", "2026-11-29"],
    ]


def test_a_monthly_release_is_no_increment(base: Path, tmp_path: Path) -> None:
    other = release_zip(tmp_path, [], name="other.zip", days="20050523-20261213")
    chain = open_chain(base, LIMITS, [other])
    assert chain.increments == ()
    assert "not a weekly" in chain.skipped[0].why


def test_a_weekly_is_no_base_whatever_its_name(tmp_path: Path) -> None:
    path = weekly_zip(tmp_path, [person(A)], name="NPPES_Data_Dissemination_November_2026_V2.zip")
    with pytest.raises(RegistryError, match=r"November_2026_V2\.zip: changes of one week.*release add"):
        open_chain(path, LIMITS)


def test_a_release_that_states_no_day_takes_no_increment(tmp_path: Path) -> None:
    base = release_zip(tmp_path, [person(A)], days="all")
    chain = open_chain(base, LIMITS, [weekly_zip(tmp_path, [person(A)])])
    assert chain.increments == ()
    assert "nothing tells what is newer" in chain.skipped[0].why


def test_the_fingerprint_is_of_all_that_is_applied(base: Path) -> None:
    alone = open_chain(base, LIMITS).fingerprint
    one = weekly_zip(base.parent, [person(A)])
    first = open_chain(base, LIMITS, [one]).fingerprint
    weekly_zip(base.parent, [person(A, **{"Provider First Name": "KIM"})])
    second = open_chain(base, LIMITS, [one]).fingerprint
    assert len({alone, first, second}) == 3


def test_weeklies_in_the_inbox_are_found_beside_the_newest_release(base: Path) -> None:
    weekly_zip(base.parent, [person(A)], first=date(2026, 11, 2), last=date(2026, 11, 8))
    one = weekly_zip(base.parent, [person(A)])
    chain = find_chain(base.parent, LIMITS)
    assert [a.path for a in chain.archives] == [base, one]
    assert len(chain.skipped) == 1


def test_a_table_of_other_files_or_unread_bytes_is_told(base: Path) -> None:
    chain = open_chain(base, LIMITS, [weekly_zip(base.parent, [person(A)])])
    facts = {**chain.facts(), **verified_facts(chain, "endpoint_pfile")}
    assert unlike(facts, chain, "endpoint_pfile") == []
    assert "increments_verified" in unlike({**facts, "increments_verified": []}, chain, "endpoint_pfile")[0]
    assert "the table is of" in unlike(facts, open_chain(base, LIMITS), "endpoint_pfile")[0]
    wrong = {**facts, "verified": {**facts["verified"], "crc32": "00000000"}}
    assert "the directory says" in unlike(wrong, chain, "endpoint_pfile")[0]
    alone = open_chain(base, LIMITS)
    before_increments = {**alone.facts(), "verified": verified_facts(alone, "endpoint_pfile")["verified"]}
    assert unlike(before_increments, alone, "endpoint_pfile") == []


def test_a_stamp_tells_a_touched_or_rewritten_file(base: Path) -> None:
    before = stamp_of([base])
    assert stamp_of([base]) == before
    stat = base.stat()
    os.utime(base, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    touched = stamp_of([base])
    base.write_bytes(base.read_bytes())
    os.utime(base, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # size and mtime as before: ctime tells
    assert len({before, touched, stamp_of([base])}) == 3
