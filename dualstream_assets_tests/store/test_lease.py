"""A shared server starts once, whoever races, and stops after its last user, whatever dies."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dualstream_assets.store.lease import Lease, ServerFailed, StateUnusable, share, wait_until_free
from dualstream_assets.store.lease import running as owned
from dualstream_assets_tests.store.processes import (
    dismiss,
    environment,
    kill,
    lives,
    processes_of,
    running,
    until,
)

SHARE = """
import sys
from pathlib import Path
from dualstream_assets_tests.store.test_lease import shared
print(shared(Path(sys.argv[1])).ready, flush=True)
sys.stdin.readline()
"""


def shared(folder: Path, manner: str = "well", timeout_s: float = 15) -> Lease:
    words = [sys.executable, "-m", "dualstream_assets_tests.store.small_server", manner]
    return share(folder, words, environment=environment(), ready_file="ready", timeout_s=timeout_s)


def notes(folder: Path) -> list[str]:
    return (folder / "notes").read_text().split() if (folder / "notes").exists() else []


def server_of(folder: Path) -> int:
    (pid,) = processes_of(folder, "small_server")
    return pid


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "server"
    yield place
    if place.exists():
        Lease(place.resolve(), "").release()
        wait_until_free(place, 10)


def test_ten_racing_starters_share_one_server(folder: Path) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", SHARE, str(folder)],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(10)
    ]
    said = [child.stdout.readline().strip() for child in children if child.stdout]
    during = notes(folder)
    for child in children:
        child.communicate("\n")
    assert said == ["at your service"] * 10
    assert during == ["start"]
    assert (folder / "arrivals").read_text().split() == ["came"], "and nobody else tried"


def test_the_server_stops_after_its_last_user(folder: Path) -> None:
    with running("-c", SHARE, str(folder)) as first, running("-c", SHARE, str(folder)) as second:
        assert first.stdout
        assert second.stdout
        first.stdout.readline()
        second.stdout.readline()
        dismiss(first)
        assert owned(folder)
    until(lambda: not owned(folder), "the server is gone")
    assert notes(folder) == ["start", "stop"]


def test_a_user_who_comes_at_once_finds_the_server_warm(folder: Path) -> None:
    shared(folder).release()
    shared(folder)
    assert notes(folder) == ["start"]


def test_a_killed_user_leaves_no_server(folder: Path) -> None:
    with running("-c", SHARE, str(folder)) as user:
        assert user.stdout
        user.stdout.readline()
        kill(user.pid)
    until(lambda: not owned(folder), "the server is gone")
    assert notes(folder) == ["start", "stop"]


def test_after_a_killed_supervisor_the_next_use_starts_another(folder: Path) -> None:
    shared(folder)
    first = server_of(folder)
    kill(first)
    until(lambda: not owned(folder), "the owner's lock is free")
    shared(folder)
    assert server_of(folder) != first
    assert notes(folder) == ["start", "start"]


def test_the_ready_file_of_a_dead_owner_is_not_believed(folder: Path) -> None:
    folder.mkdir()
    (folder / "ready").write_text("of last year")
    assert shared(folder, "slow").ready == "at your service"


def test_a_server_found_dead_is_started_again(folder: Path) -> None:
    shared(folder)
    (folder / "died").touch()
    until(lambda: notes(folder) == ["start", "start"], "a second start")
    assert shared(folder).ready == "at your service"


def test_a_server_that_keeps_dying_is_given_up(folder: Path) -> None:
    shared(folder)
    for count in range(2, 5):
        (folder / "died").touch()
        until(lambda count=count: notes(folder).count("start") == count or not owned(folder), "it noticed")
    until(lambda: not owned(folder), "the supervisor gave up")
    assert notes(folder) == ["start", "start", "start", "stop"]


def test_a_supervisor_that_is_asked_to_leave_stops_its_server(folder: Path) -> None:
    shared(folder)
    os.kill(server_of(folder), signal.SIGTERM)
    until(lambda: not owned(folder), "the supervisor left")
    assert notes(folder) == ["start", "stop"]


def test_a_removed_folder_ends_the_server(folder: Path) -> None:
    shared(folder)
    pid = server_of(folder)
    shutil.rmtree(folder)
    until(lambda: not lives(pid), "the supervisor left")


def test_a_failing_start_speaks_for_itself_in_one_line(folder: Path) -> None:
    began = time.monotonic()
    with pytest.raises(ServerFailed) as failure:
        shared(folder, "failing", timeout_s=60)
    assert str(failure.value) == "no room on the disk: free some"
    assert time.monotonic() - began < 30


def test_a_supervisor_that_dies_before_it_serves_is_quoted(folder: Path) -> None:
    with pytest.raises(ServerFailed, match=r"^OSError: the port 53 is taken$"):
        shared(folder, "unborn", timeout_s=60)


def test_a_start_that_hangs_is_reported_after_its_time(folder: Path) -> None:
    with pytest.raises(ServerFailed, match=r"not ready in time; see .*server\.log"):
        shared(folder, "hanging", timeout_s=1)
    kill(server_of(folder))


def test_a_forked_child_does_not_keep_the_server(folder: Path) -> None:
    lease = shared(folder)
    child = multiprocessing.get_context("fork").Process(target=signal.pause)
    child.start()
    try:
        lease.release()
        until(lambda: not owned(folder), "the server is gone although the child lives")
        assert child.is_alive()
    finally:
        child.kill()
        child.join()


def test_a_program_started_by_a_user_does_not_keep_the_server(folder: Path) -> None:
    lease = shared(folder)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False) as child:
        lease.release()
        until(lambda: not owned(folder), "the server is gone although the program lives")
        assert child.poll() is None


def test_a_place_that_is_no_folder_is_named_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateUnusable) as refused:
        shared(tmp_path / "file" / "pg")
    assert str(tmp_path / "file") in str(refused.value)
    assert "set DUALSTREAM_STATE to a folder" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another user's folder")
def test_another_users_folder_is_refused_with_its_name(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    with pytest.raises(StateUnusable, match=r"theirs belongs to nobody, and you are root"):
        shared(theirs / "pg")
    assert not list(theirs.iterdir())
