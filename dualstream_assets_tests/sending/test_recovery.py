"""Waves that were cut off, people who were not sent: proved and asked again, or never. Nobody twice, nobody lost."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from dualstream_assets.sending.gate import mint
from dualstream_assets.sending.recovery import recover
from dualstream_assets.sending.waves import plan_next
from dualstream_assets_tests.sending import fakes
from dualstream_assets_tests.sending.conftest import Desk, reserved


def test_nobody_is_asked_again_without_proof(desk: Desk) -> None:
    desk.tick()
    desk.mta.take(desk.listmonk.dispatch(stop_after=2))
    desk.minute(14)
    assert desk.tick().settled.not_sent == 0
    assert desk.states() == {"delivered": 2, "released": 4}


def test_listmonk_that_dies_in_a_wave_loses_nobody_and_mails_nobody_twice(desk: Desk) -> None:
    first = desk.tick()
    desk.mta.take(desk.listmonk.dispatch(stop_after=2))
    desk.minute(17)
    second = desk.tick()
    assert second.settled.not_sent == 4
    assert second.settled.handed_over == (first.wave_id,)
    desk.deliver()
    mailed = Counter(address for _, address, _ in desk.mta.handed)
    assert set(mailed) == set(desk.people[:8])
    assert set(mailed.values()) == {1}


def test_a_running_campaign_is_no_proof(desk: Desk) -> None:
    desk.tick()
    desk.minute(20)
    assert desk.tick().settled.not_sent == 0


def test_a_campaign_that_listmonk_paused_is_cancelled_and_then_proves(desk: Desk) -> None:
    desk.tick()
    desk.listmonk.set_status(1, "paused")
    desk.minute(20)
    assert desk.tick().settled.not_sent == 0
    desk.minute()
    assert desk.tick().settled.not_sent == 6


def test_a_gap_in_the_log_is_no_proof_ever(desk: Desk) -> None:
    desk.tick()
    desk.listmonk.dispatch(stop_after=0)
    with desk.database.transaction() as connection:
        connection.execute(
            "insert into log_anomaly (kind, line, at) values ('gap', 'rotated', %s)",
            (desk.clock.now() + timedelta(minutes=1),),
        )
    desk.minute(30)
    assert desk.tick().settled.not_sent == 0
    assert "not_sent" not in desk.states()


def test_a_use_at_the_policy_without_a_queue_id_stays_unknown(desk: Desk) -> None:
    wave = desk.tick().wave_id
    desk.listmonk.dispatch(stop_after=0)
    with desk.database.transaction() as connection:
        connection.execute(
            "insert into policy_use (wave_id, stream, recipient, port, used_at)"
            " values (%s, 'healthcare', %s, 2526, %s)",
            (wave, desk.people[0], desk.clock.now()),
        )
    desk.minute(17)
    desk.tick()
    assert desk.states()["unknown"] == 1
    assert desk.people[0] not in [p.address for p in plan_next(desk.sender).people]


def test_somebody_refused_three_times_is_not_asked_a_fourth_time(desk: Desk) -> None:
    fakes.write_stock(desk.folder / "audience", 3)
    for _ in range(3):
        assert desk.tick().outcome == "released"
        desk.listmonk.dispatch(stop_after=0)
        desk.minute(17)
    assert desk.tick().headline.endswith("nobody left to mail")


def test_a_stream_is_stopped_where_a_campaign_runs_that_was_never_released(desk: Desk) -> None:
    reserved(desk)
    desk.listmonk.set_status(1, "running")
    assert "the stream is stopped" in recover(desk.sender)[0]
    assert "never released" in desk.tick().headline or desk.tick().outcome != "released"


STEPS = ["reserved", "prepared", "minted", "released", "started"]

CHILD = """
import sys
from datetime import datetime
from pathlib import Path
from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import load_estate
from dualstream_assets.estate.load import packaged_lab_estate
from dualstream_assets.sending.tick import run_tick
from dualstream_assets.store.database import Database
from dualstream_assets_tests.sending import fakes

url, at, folder, step = sys.argv[1:]
database, clock, folder = Database(url), FixedClock(datetime.fromisoformat(at)), Path(folder)
hc = fakes.FileListmonk(folder / "hc.json", database, clock)
trucking = fakes.FileListmonk(folder / "trucking.json", database, clock)
sender = fakes.sender_for(database, clock, load_estate(packaged_lab_estate()), folder, hc)
fakes.FAULTS.die_at = step
print(run_tick(sender, fakes.ports(hc, trucking)).headline)
"""


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_nobody_is_mailed_twice_and_nobody_is_lost(desk: Desk, step: str) -> None:
    desk.mta.read_log()
    words = [
        sys.executable,
        "-c",
        CHILD,
        desk.database.url,
        desk.clock.now().isoformat(),
        str(desk.folder),
        step,
    ]
    died = subprocess.run(
        words, capture_output=True, text=True, timeout=60, check=False, cwd=Path(__file__).parents[2]
    )
    assert died.returncode == 9, died.stderr
    desk.deliver()
    for _ in range(3):
        desk.minute(7)
        desk.tick()
        desk.deliver()
    mailed = Counter(address for _, address, _ in desk.mta.handed)
    assert set(mailed.values()) == {1}
    assert set(mailed) == set(desk.people[: len(mailed)])  # the longest overdue, without a hole
    assert len(mailed) >= 18
    desk.minute(7)
    desk.tick()
    assert set(desk.states()) <= {"delivered", "not_sent", "released"}


def test_a_wave_cut_off_before_its_start_long_ago_is_abandoned_and_not_started_late(desk: Desk) -> None:
    wave, prepared = reserved(desk)
    with desk.database.transaction() as connection:
        permit = mint(
            connection,
            desk.estate,
            "healthcare",
            desk.clock.now(),
            kind="wave",
            wave_id=wave.id,
            members_hash=wave.members_hash,
            environment="lab",
        )
        fakes.release(connection, wave.id, permit, prepared, desk.clock.now())
    desk.minute(45)
    assert desk.tick().recovered == (f"wave {wave.id}: cut off before its start, abandoned",)
    assert desk.deliver() == 6  # the next wave, the same people, once
    assert Counter(a for _, a, _ in desk.mta.handed).most_common(1)[0][1] == 1
