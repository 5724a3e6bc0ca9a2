"""A permit is a row that opens one wave of one stream once; a Python object opens nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from dualstream_assets.clock import FixedClock
from dualstream_assets.store.database import Database
from dualstream_assets.store.evidence import Subject, Verdict, record
from dualstream_assets.store.permit import Permit, PermitRefused, consume

FCRDNS = Subject("healthcare", "127.0.0.9", "fcrdns")
SPF = Subject("healthcare", "practice.example", "spf")
MEMBERS = "f00d"


def see(database: Database, clock: FixedClock, subject: Subject, verdict: Verdict = Verdict.PASS) -> int:
    with database.transaction() as connection:
        return record(connection, subject, verdict, "seen", "test", clock.now(), timedelta(minutes=30)).id


def wave(database: Database, clock: FixedClock, stream: str = "healthcare") -> int:
    with database.transaction() as connection:
        row = connection.execute(
            "insert into wave (stream, campaign, local_date, state, size, cap_per_hour, cap_per_day, members_hash,"
            " planned_at) values (%s, 'c', '2026-11-30', 'reserved', 5, 100, 1000, %s, %s) returning id",
            (stream, MEMBERS, clock.now()),
        ).fetchone()
    assert row
    return row[0]


def mint(database: Database, clock: FixedClock, wave_id: int | None, evidence: list[int]) -> int:
    """What the gate does, reduced to its row."""
    with database.transaction() as connection:
        row = connection.execute(
            "insert into permit (kind, stream, wave_id, members_hash, evidence_ids, minted_at, valid_until)"
            " values (%s, 'healthcare', %s, %s, %s, %s, %s) returning id",
            (
                "probe" if wave_id is None else "wave",
                wave_id,
                MEMBERS,
                evidence,
                clock.now(),
                clock.now() + timedelta(minutes=2),
            ),
        ).fetchone()
    assert row
    return row[0]


def use(
    database: Database,
    clock: FixedClock,
    permit_id: int,
    wave_id: int | None,
    stream: str = "healthcare",
    members: str = MEMBERS,
) -> Permit:
    with database.transaction() as connection:
        return consume(connection, permit_id, stream, wave_id, members, clock.now())


@pytest.fixture
def wave_id(database: Database, clock: FixedClock) -> int:
    return wave(database, clock)


@pytest.fixture
def permit_id(database: Database, clock: FixedClock, wave_id: int) -> int:
    return mint(database, clock, wave_id, [see(database, clock, FCRDNS), see(database, clock, SPF)])


def test_a_good_permit_is_used_and_says_when(
    database: Database, clock: FixedClock, wave_id: int, permit_id: int
) -> None:
    used = use(database, clock, permit_id, wave_id)
    assert (used.id, used.kind, used.wave_id, used.used_at) == (permit_id, "wave", wave_id, clock.now())


def test_a_second_use_is_refused(database: Database, clock: FixedClock, wave_id: int, permit_id: int) -> None:
    use(database, clock, permit_id, wave_id)
    with pytest.raises(PermitRefused, match=r"used already, at 2026-11-30 14:00:00 UTC"):
        use(database, clock, permit_id, wave_id)


def test_of_two_threads_exactly_one_wins(
    database: Database, clock: FixedClock, wave_id: int, permit_id: int
) -> None:
    together = threading.Barrier(2)

    def attempt(_: int) -> bool:
        together.wait()
        try:
            use(database, clock, permit_id, wave_id)
        except PermitRefused:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(attempt, range(2))) == [False, True]


def test_a_use_that_is_rolled_back_is_no_use(
    database: Database, clock: FixedClock, wave_id: int, permit_id: int
) -> None:
    def crash() -> None:
        with database.transaction() as connection:
            consume(connection, permit_id, "healthcare", wave_id, MEMBERS, clock.now())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()
    assert use(database, clock, permit_id, wave_id).id == permit_id


def test_a_forged_object_opens_nothing(database: Database, clock: FixedClock, wave_id: int) -> None:
    forged = object.__new__(Permit)
    object.__setattr__(forged, "id", 4711)
    assert isinstance(forged, Permit)
    with pytest.raises(PermitRefused, match=r"permit 4711 refused: no such row; only the gate mints permits"):
        use(database, clock, forged.id, wave_id)


def test_a_real_permit_aimed_at_another_wave_opens_nothing(
    database: Database, clock: FixedClock, wave_id: int, permit_id: int
) -> None:
    other = wave(database, clock)
    real = Permit(permit_id, "wave", "healthcare", wave_id, MEMBERS, (), clock.now())
    aimed = replace(real, wave_id=other)
    with pytest.raises(PermitRefused, match=rf"it is for wave {wave_id}, not for wave {other}"):
        use(database, clock, aimed.id, aimed.wave_id)


def test_a_permit_of_one_stream_opens_nothing_on_the_other(
    database: Database, clock: FixedClock, wave_id: int, permit_id: int
) -> None:
    with pytest.raises(PermitRefused, match=r"it is for healthcare, not for trucking"):
        use(database, clock, permit_id, wave_id, stream="trucking")


def test_members_that_changed_are_refused(
    database: Database, clock: FixedClock, wave_id: int, permit_id: int
) -> None:
    with pytest.raises(PermitRefused, match=r"the members changed after it was minted"):
        use(database, clock, permit_id, wave_id, members="beef")


def test_a_wave_permit_sends_no_probe(
    database: Database, clock: FixedClock, wave_id: int, permit_id: int
) -> None:
    with pytest.raises(PermitRefused, match=rf"it is for wave {wave_id}, not for a probe"):
        use(database, clock, permit_id, None)


def test_a_probe_permit_opens_no_wave(database: Database, clock: FixedClock, wave_id: int) -> None:
    probe = mint(database, clock, None, [see(database, clock, FCRDNS)])
    with pytest.raises(PermitRefused, match=rf"it is for a probe, not for wave {wave_id}"):
        use(database, clock, probe, wave_id)
    assert use(database, clock, probe, None).kind == "probe"


def test_an_expired_permit_is_refused(
    database: Database, clock: FixedClock, wave_id: int, permit_id: int
) -> None:
    clock.sleep(120)
    with pytest.raises(PermitRefused, match=r"it expired at 2026-11-30 14:02:00 UTC"):
        use(database, clock, permit_id, wave_id)


def test_a_clock_set_back_before_the_minting_is_refused(
    database: Database, clock: FixedClock, wave_id: int
) -> None:
    evidence = see(database, clock, FCRDNS)
    clock.sleep(60)
    permit_id = mint(database, clock, wave_id, [evidence])
    clock.at -= timedelta(seconds=1)
    with pytest.raises(PermitRefused, match=r"minted later than now: was the clock set back"):
        use(database, clock, permit_id, wave_id)


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (Verdict.FAIL, "127.0.0.9 fcrdns is fail, superseded"),
        (Verdict.UNKNOWN, "127.0.0.9 fcrdns is unknown, superseded"),
        (Verdict.PASS, "127.0.0.9 fcrdns is looked at again since"),
    ],
)
def test_evidence_looked_at_again_shuts_the_permit(
    database: Database, clock: FixedClock, wave_id: int, permit_id: int, verdict: Verdict, said: str
) -> None:
    see(database, clock, FCRDNS, verdict)
    with pytest.raises(PermitRefused) as refused:
        use(database, clock, permit_id, wave_id)
    assert str(refused.value) == f"permit {permit_id} refused: {said}. Next: dualstream gate healthcare"


def test_evidence_that_went_stale_shuts_the_permit(
    database: Database, clock: FixedClock, wave_id: int
) -> None:
    evidence = see(database, clock, FCRDNS)
    clock.sleep(29 * 60)
    permit_id = mint(database, clock, wave_id, [evidence])
    clock.sleep(60)
    with pytest.raises(PermitRefused, match=r"127\.0\.0\.9 fcrdns is stale"):
        use(database, clock, permit_id, wave_id)


def test_a_row_minted_on_red_evidence_opens_nothing(
    database: Database, clock: FixedClock, wave_id: int
) -> None:
    permit_id = mint(database, clock, wave_id, [see(database, clock, FCRDNS, Verdict.FAIL)])
    with pytest.raises(PermitRefused, match=r"127\.0\.0\.9 fcrdns is fail"):
        use(database, clock, permit_id, wave_id)


def test_evidence_that_does_not_exist_opens_nothing(
    database: Database, clock: FixedClock, wave_id: int
) -> None:
    permit_id = mint(database, clock, wave_id, [see(database, clock, FCRDNS), 999_999])
    with pytest.raises(PermitRefused, match=r"its evidence is missing"):
        use(database, clock, permit_id, wave_id)


def test_green_evidence_of_the_other_stream_opens_nothing(
    database: Database, clock: FixedClock, wave_id: int
) -> None:
    theirs = see(database, clock, replace(FCRDNS, stream="trucking"))
    permit_id = mint(database, clock, wave_id, [theirs])
    with pytest.raises(PermitRefused, match=r"of another stream"):
        use(database, clock, permit_id, wave_id)
