"""The cap in listmonk: written for one stream, read back, and every other left as it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate
from dualstream_assets.listmonk.applying import Window
from dualstream_assets.listmonk.errors import CampaignRunning
from dualstream_assets.sending.capcheck import cap_is_ramp, other_cap_untouched
from dualstream_assets.sending.ramp import Caps
from dualstream_assets.sending.rampcap import CapPort, CapSet, belt_of, lower_on_drift, set_rampcap, wider
from dualstream_assets.sending.rampcap_entry import (
    KnownCap,
    cap_without_database,
    lower_without_database,
    recall,
    remember,
)
from dualstream_assets.store.database import Database
from dualstream_assets_tests.sending.fakes import write_stamp

HC, TRUCKING = "healthcare", "trucking"


class Port:
    """A listmonk's window in memory."""

    def __init__(self, belt: Window | None = None) -> None:
        self.belt, self.writes = belt, 0

    def read(self) -> Window | None:
        return self.belt

    def write(self, belt: Window) -> None:
        self.belt, self.writes = belt, self.writes + 1


class Clumsy(Port):
    """A writer that also touches its neighbour."""

    def __init__(self, neighbour: Port) -> None:
        super().__init__()
        self.neighbour = neighbour

    def write(self, belt: Window) -> None:
        super().write(belt)
        self.neighbour.belt = belt


class Busy(Port):
    """A listmonk with a campaign that somebody else started."""

    def write(self, belt: Window) -> None:
        raise CampaignRunning("1 campaign(s) running", "wait")


@pytest.fixture
def stamps(tmp_path: Path, clock: FixedClock) -> Path:
    write_stamp(tmp_path, clock.now() - timedelta(days=60))
    return tmp_path


class Room:
    """Both ports and the calls on them."""

    def __init__(self, database: Database, clock: FixedClock, estate: Estate, stamps: Path) -> None:
        self.database, self.clock, self.estate, self.stamps = database, clock, estate, stamps
        self.hc, self.trucking = Port(), Port(Window(31, 6))

    def ports(self) -> dict[str, CapPort]:
        return {TRUCKING: self.trucking, HC: self.hc}

    def set(self, stream: str = HC, *, act: bool = True) -> CapSet:
        return set_rampcap(
            self.database,
            self.clock,
            self.estate,
            stream,
            self.ports(),
            stamps=self.stamps,
            environment="lab",
            act=act,
        )

    def lower(self, stream: str = HC, *, act: bool = True) -> CapSet:
        return lower_on_drift(
            self.database, self.clock, self.estate, stream, self.ports(), stamps=self.stamps, act=act
        )

    def high(self, hour: int = 360) -> None:
        """A higher stage is in force."""
        with self.database.transaction() as connection:
            connection.execute(
                "insert into ramp_day values (%s, '2026-11-30', 6, 0, 0, %s, 900, 9, 'volume', '{}', %s)",
                (HC, hour, self.clock.now()),
            )

    def others(self, stream: str):
        with self.database.transaction() as connection:
            return other_cap_untouched(connection, self.estate, stream, self.ports())


@pytest.fixture
def room(database: Database, clock: FixedClock, lab_estate: Estate, stamps: Path) -> Room:
    return Room(database, clock, lab_estate, stamps)


def test_the_belt_is_n_plus_one_per_six_minutes() -> None:
    assert [belt_of(cap) for cap in (100, 300, 600, 1000)] == [Window(n, 6) for n in (11, 31, 61, 101)]


def test_the_cap_of_the_day_is_written_and_read_back(room: Room) -> None:
    done = room.set()
    assert (done.written, done.after, room.hc.belt) == (True, Window(7, 6), Window(7, 6))
    with room.database.transaction() as connection:
        row = connection.execute(
            "select cap_per_hour, previous, writer, read_back from cap_history where stream = %s", (HC,)
        ).fetchone()
    assert row == (60, None, "dualstream", 7)


def test_a_second_run_on_the_same_date_writes_nothing(room: Room) -> None:
    room.set()
    again = room.set()
    assert (again.written, again.why_not, room.hc.writes) == (False, "already in force", 1)


@pytest.mark.parametrize(("stream", "other"), [(HC, TRUCKING), (TRUCKING, HC)])
def test_each_leaves_the_other_untouched(room: Room, stream: str, other: str) -> None:
    room.hc.belt = Window(19, 6)
    before = room.ports()[other].read()
    done = room.set(stream)
    assert done.written
    assert room.ports()[other].read() == before
    assert done.others == {other: (before, before)}
    assert room.others(stream).holds is True


def test_a_writer_that_touches_the_other_stream_is_seen(room: Room) -> None:
    room.hc = Clumsy(room.trucking)
    assert not room.set().others_untouched
    assert room.others(HC).holds is False
    assert "trucking's cap changed" in room.others(HC).said


def test_somebody_elses_change_of_the_other_stream_is_seen(room: Room) -> None:
    room.set(TRUCKING)
    room.trucking.belt = Window(400, 60)
    assert room.others(HC).holds is False


def test_a_listmonk_that_cannot_be_reached_is_unknown_and_not_untouched(room: Room) -> None:
    with room.database.transaction() as connection:
        found = other_cap_untouched(connection, room.estate, HC, {HC: room.hc})
    assert found.holds is None


def test_a_foreign_writers_cap_is_shown_and_never_written(room: Room) -> None:
    ramp = room.estate.streams[TRUCKING].ramp.model_copy(
        update={"cap_writer": "/usr/local/bin/pw-listmonk-rampcap"}
    )
    stream = room.estate.streams[TRUCKING].model_copy(update={"ramp": ramp})
    room.estate = room.estate.model_copy(update={"streams": {**room.estate.streams, TRUCKING: stream}})
    done = room.set(TRUCKING)
    assert (done.written, room.trucking.writes) == (False, 0)
    assert "/usr/local/bin/pw-listmonk-rampcap" in str(done.why_not)
    assert cap_is_ramp(room.estate, TRUCKING, done.caps, room.trucking).holds is False


def test_nothing_is_written_while_a_wave_is_in_flight(room: Room) -> None:
    with room.database.transaction() as connection:
        connection.execute(
            "insert into wave (stream, campaign, local_date, state, size, cap_per_hour, cap_per_day, members_hash,"
            " planned_at) values (%s, 'c', '2026-11-30', 'released', 1, 60, 150, 'x', now())",
            (HC,),
        )
    done = room.set()
    assert not done.written
    assert "in flight" in str(done.why_not)


def test_a_campaign_that_somebody_else_started_stops_the_write_and_says_so(room: Room) -> None:
    room.hc = Busy()
    done = room.set()
    assert not done.written
    assert "running" in str(done.why_not)


def test_a_run_that_may_not_act_decides_and_shows(room: Room) -> None:
    done = room.set(act=False)
    assert (done.written, room.hc.writes) == (False, 0)
    assert "only shown" in done.headline


def test_drift_is_lowered(room: Room) -> None:
    room.set()
    room.hc.belt = Window(100, 60)
    assert room.lower().written
    assert room.hc.belt == Window(7, 6)


def test_a_window_that_was_switched_off_is_drift(room: Room) -> None:
    room.hc.belt = None
    assert room.lower().written


def test_drift_never_raises(room: Room) -> None:
    room.high()
    room.hc.belt = Window(7, 6)
    assert not room.lower().written
    assert room.hc.belt == Window(7, 6)


def test_a_stamp_that_went_missing_lowers_the_cap_within_the_day(room: Room) -> None:
    room.high()
    room.set()
    assert room.hc.belt == Window(37, 6)
    (room.stamps / "hc-warmup-start").unlink()
    assert room.lower().written
    assert room.hc.belt == Window(7, 6)


@pytest.mark.parametrize(
    ("belt", "is_wider"),
    [
        (Window(11, 6), False),
        (Window(12, 6), True),
        (Window(100, 60), True),
        (Window(11, 3), True),
        (Window(5, 6), False),
    ],
)
def test_what_counts_as_wider(belt: Window, is_wider: bool) -> None:
    assert wider(belt, Window(11, 6)) is is_wider


def test_the_cap_is_the_ramps_only_if_it_is_exactly_that(room: Room) -> None:
    caps = Caps(60, 150, "today")
    assert cap_is_ramp(room.estate, HC, caps, Port(Window(7, 6))).holds is True
    assert cap_is_ramp(room.estate, HC, caps, Port(Window(8, 6))).holds is False
    assert cap_is_ramp(room.estate, HC, caps, Port(None)).holds is False
    assert cap_is_ramp(room.estate, HC, caps, None).holds is None


NOW = datetime(2026, 11, 30, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    ("known", "cap"),
    [
        (None, 60),
        (KnownCap(360, NOW - timedelta(hours=25)), 360),
        (KnownCap(360, NOW - timedelta(hours=27)), 60),
        (KnownCap(30, NOW - timedelta(hours=27)), 30),
        (KnownCap(360, NOW + timedelta(hours=1)), 60),
    ],
)
def test_without_the_database_nothing_is_ever_raised(
    lab_estate: Estate, known: KnownCap | None, cap: int
) -> None:
    assert cap_without_database(known, lab_estate.streams[HC].ramp, NOW) == cap


def test_without_the_database_the_belt_is_only_lowered() -> None:
    narrow, wide = Port(Window(7, 6)), Port(Window(101, 6))
    assert "left as it is" in lower_without_database(narrow, 360)
    assert "lowered" in lower_without_database(wide, 360)
    assert (narrow.belt, wide.belt) == (Window(7, 6), Window(37, 6))


def test_the_last_known_cap_survives_and_a_broken_file_is_none(tmp_path: Path) -> None:
    path = tmp_path / "caps" / "healthcare.json"
    assert recall(path) is None
    remember(path, KnownCap(360, NOW))
    assert recall(path) == KnownCap(360, NOW)
    path.write_text("{")
    assert recall(path) is None
