"""Transactions, advisory locks, migrations; connections that outlive a server, a thread or a fork correctly."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from dualstream_assets.settings import Settings
from dualstream_assets.store import database as module
from dualstream_assets.store.database import Database, MigrationChanged
from dualstream_assets.store.postgres import server_url
from dualstream_assets_tests.store.processes import running, until

NUMBERS = "create table numbers (number int)"


@pytest.fixture
def empty(server: Settings, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database without a table."""
    name = f"empty_{abs(hash(request.node.nodeid)) % 10**12}"
    found = Database(server_url(server, name))
    yield found
    found.close()
    with psycopg.connect(server_url(server, "postgres"), autocommit=True) as admin:
        admin.execute(f'drop database if exists "{name}" with (force)'.encode())


def ships(monkeypatch: pytest.MonkeyPatch, *migrations: tuple[str, str]) -> None:
    monkeypatch.setattr(module, "shipped_migrations", lambda: list(migrations))


def numbers(database: Database) -> list[int]:
    with database.transaction() as connection:
        return [row[0] for row in connection.execute("select number from numbers order by 1").fetchall()]


def test_a_body_that_ends_well_is_committed(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(NUMBERS)
        connection.execute("insert into numbers values (1)")
    with psycopg.connect(database.url) as other:
        assert other.execute("select * from numbers").fetchall() == [(1,)]


def test_a_body_that_raises_is_rolled_back_and_the_connection_serves_on(database: Database) -> None:
    def body() -> None:
        with database.transaction() as connection:
            connection.execute(NUMBERS)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        body()
    with database.transaction() as connection:
        assert connection.execute("select to_regclass('numbers')").fetchone() == (None,)


def test_a_nested_body_that_raises_undoes_only_itself(database: Database) -> None:
    def inner() -> None:
        with database.transaction() as connection:
            connection.execute("insert into numbers values (2)")
            raise ZeroDivisionError

    with database.transaction() as connection:
        connection.execute(NUMBERS)
        connection.execute("insert into numbers values (1)")
        with pytest.raises(ZeroDivisionError):
            inner()
    assert numbers(database) == [1]


def test_threads_do_not_see_each_others_open_transaction(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(NUMBERS)
    with database.transaction() as connection, ThreadPoolExecutor(1) as other:
        connection.execute("insert into numbers values (1)")
        assert other.submit(numbers, database).result() == []


def test_connections_of_ended_threads_are_closed(database: Database) -> None:
    for _ in range(5):
        thread = threading.Thread(target=lambda: sessions(database))
        thread.start()
        thread.join()
    until(lambda: sessions(database) == 1, "one session is left")


def sessions(database: Database) -> int:
    with database.transaction() as connection:
        row = connection.execute(
            "select count(*) from pg_stat_activity where datname = current_database()"
        ).fetchone()
    assert row
    return row[0]


def test_a_session_that_the_server_ended_is_replaced_before_the_body_runs(database: Database) -> None:
    with database.transaction() as connection:
        pid = connection.info.backend_pid
    with psycopg.connect(database.url, autocommit=True) as admin:
        admin.execute("select pg_terminate_backend(%s, 5000)", (pid,))
    with database.transaction() as connection:
        assert connection.info.backend_pid != pid


def test_a_nested_body_never_runs_outside_the_lost_transaction_of_its_outer(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(NUMBERS)

    def body() -> None:
        with database.transaction() as connection:
            with psycopg.connect(database.url, autocommit=True) as admin:
                admin.execute("select pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))
            with pytest.raises(psycopg.OperationalError), database.transaction() as inner:
                inner.execute("insert into numbers values (1)")
            with pytest.raises(psycopg.OperationalError), database.transaction() as inner:
                inner.execute("insert into numbers values (2)")

    with pytest.raises(psycopg.OperationalError):
        body()
    assert numbers(database) == []


def test_a_server_that_cannot_be_reached_is_revived_once(database: Database) -> None:
    asked: list[str] = []
    lost = Database("postgresql://who@127.0.0.1:1/x", lambda: asked.append("revive"))
    with pytest.raises(psycopg.OperationalError), lost.transaction():
        pass
    assert asked == ["revive"]


def test_a_forked_child_gets_a_session_of_its_own_and_leaves_the_parents(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(NUMBERS)
        mine = connection.info.backend_pid
    context = multiprocessing.get_context("fork")
    pids = context.SimpleQueue()

    def child() -> None:
        with database.transaction() as connection:
            connection.execute("insert into numbers values (7)")
            pids.put(connection.info.backend_pid)

    process = context.Process(target=child)
    process.start()
    theirs = pids.get()
    process.join()
    with database.transaction() as connection:
        assert connection.info.backend_pid == mine
    assert theirs != mine
    assert numbers(database) == [7]


def test_a_lock_by_name_keeps_others_out(database: Database) -> None:
    with database.advisory_lock("waves/healthcare") as taken:
        assert taken
        with database.advisory_lock("waves/healthcare", wait=False) as second:
            assert not second
        with database.advisory_lock("waves/trucking", wait=False) as other:
            assert other
    with database.advisory_lock("waves/healthcare", wait=False) as again:
        assert again


def test_a_waiting_starter_gets_the_lock_when_it_is_given_back(database: Database) -> None:
    order: list[str] = []

    def second() -> None:
        with database.advisory_lock("ramp"):
            order.append("second")

    with database.advisory_lock("ramp"):
        thread = threading.Thread(target=second)
        thread.start()
        with database.transaction() as connection:
            until(
                lambda: connection.execute("select 1 from pg_locks where not granted").fetchone(),
                "the second waits",
            )
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_lock_of_a_killed_process_is_free(database: Database) -> None:
    holder = (
        "import sys; from dualstream_assets.store.database import Database\n"
        f"with Database({database.url!r}).advisory_lock('day'): print('held', flush=True); sys.stdin.readline()"
    )
    with running("-c", holder) as child:
        assert child.stdout
        assert child.stdout.readline() == "held\n"
        with database.advisory_lock("day", wait=False) as taken:
            assert not taken
        child.kill()
    until(lambda: _free(database, "day"), "the lock is free")


def _free(database: Database, name: str) -> bool:
    with database.advisory_lock(name, wait=False) as taken:
        return taken


def test_migrations_are_applied_once_by_racing_starters(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ships(monkeypatch, ("0001_a.sql", NUMBERS), ("0002_b.sql", "insert into numbers values (1)"))
    with ThreadPoolExecutor(8) as pool:
        applied = list(pool.map(lambda _: empty.migrate(), range(8)))
    assert sorted(applied) == [[]] * 7 + [["0001_a.sql", "0002_b.sql"]]
    assert numbers(empty) == [1]


def test_the_shipped_migrations_apply_to_an_empty_database(empty: Database) -> None:
    assert empty.migrate() == [name for name, _ in module.shipped_migrations()]
    assert empty.migrate() == []


def test_a_changed_applied_migration_is_an_error(empty: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    ships(monkeypatch, ("0001_a.sql", NUMBERS))
    empty.migrate()
    ships(monkeypatch, ("0001_a.sql", NUMBERS + " -- other"))
    with pytest.raises(MigrationChanged, match=r"0001_a\.sql was applied in another form"):
        empty.migrate()


def test_a_database_of_a_newer_version_is_refused(empty: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    ships(monkeypatch, ("0001_a.sql", NUMBERS), ("0002_b.sql", "select 1"))
    empty.migrate()
    ships(monkeypatch, ("0001_a.sql", NUMBERS))
    with pytest.raises(
        MigrationChanged, match=r"0002_b\.sql, which this version of dualstream does not know"
    ):
        empty.migrate()


def test_a_migration_that_fails_leaves_nothing_behind(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ships(monkeypatch, ("0001_a.sql", NUMBERS), ("0002_b.sql", "select no_such_column"))
    with pytest.raises(psycopg.errors.UndefinedColumn):
        empty.migrate()
    with empty.transaction() as connection:
        assert connection.execute("select to_regclass('numbers'), to_regclass('migration')").fetchone() == (
            None,
            None,
        )
