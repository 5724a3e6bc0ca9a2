"""The ops database: transactions, advisory locks, migrations. PostgreSQL through psycopg, nothing else.

One connection per thread, opened when first needed, and again after a server restart or in a forked child.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Connection

    from dualstream_assets.settings import Settings

OPS_DATABASE = "dualstream"
CONNECT_TIMEOUT_S = 5


class MigrationChanged(RuntimeError):
    """What was applied to this database is not what this version ships."""


def _lock_key(name: str) -> int:
    """A signed 64-bit key for PostgreSQL's advisory locks."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)


class Database:
    """A PostgreSQL database by URL.

    Args:
        url: of libpq (`postgresql://`).
        revive: called before a connection is opened a second time; starts a server that died.
    """

    def __init__(self, url: str, revive: Callable[[], object] | None = None) -> None:
        self.url = url
        self._revive = revive
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._local = threading.local()
        self._every: dict[threading.Thread, Connection[Any]] = {}
        self._guard = threading.Lock()

    @contextmanager
    def transaction(self) -> Iterator[Connection[Any]]:
        """A connection inside one transaction: committed at the end, rolled back if the body raises.

        Nested use in one thread joins the outer transaction as a savepoint. A session that the server has ended is
        replaced before the body runs, never inside it.

        Raises:
            psycopg.Error: the body's, or the commit's; OperationalError where the server went away meanwhile.
        """
        from psycopg import OperationalError

        with ExitStack() as stack:
            connection = self._connection()
            outermost = not self._depth()
            try:
                stack.enter_context(connection.transaction())
            except (
                OperationalError
            ):  # the server had hung up; the body has not run, so it may run on a new one
                if not (outermost and connection.broken):
                    raise
                connection = self._connection()
                stack.enter_context(connection.transaction())
            self._local.depth = self._depth() + 1
            try:
                yield connection
                if connection.closed:  # psycopg would leave a block on a dead connection without a word
                    raise OperationalError(
                        "the database hung up inside the transaction: nothing was committed"
                    )
            finally:
                self._local.depth -= 1

    @contextmanager
    def advisory_lock(self, name: str, *, wait: bool = True) -> Iterator[bool]:
        """Hold a session-level lock by name, on a connection of its own; yields whether it was taken.

        The server drops it when this process dies, and when the server itself does.
        """
        connection = self._open(autocommit=True)
        try:
            call = "pg_advisory_lock" if wait else "pg_try_advisory_lock"
            row = connection.execute(f"select {call}(%s)", (_lock_key(name),)).fetchone()
            taken = wait or bool(row and row[0])
            yield taken
            if (
                taken and not connection.closed
            ):  # closing alone frees it a moment later than the next one asks
                connection.execute("select pg_advisory_unlock(%s)", (_lock_key(name),))
        finally:
            connection.close()

    def migrate(self) -> list[str]:
        """Apply the migrations that are new here, in order; returns their names. All of them, or none.

        Raises:
            MigrationChanged: an applied file differs from the shipped one, or is not shipped at all.
        """
        applied: list[str] = []
        shipped = shipped_migrations()
        with self.transaction() as connection:
            connection.execute("select pg_advisory_xact_lock(%s)", (_lock_key("migrate"),))
            connection.execute(
                "create table if not exists migration (name text primary key, sha256 text not null,"
                " applied_at timestamptz not null default now())"
            )
            known = dict(connection.execute("select name, sha256 from migration").fetchall())
            for name, text in shipped:
                digest = hashlib.sha256(text.encode()).hexdigest()
                if name not in known:
                    connection.execute(text.encode())
                    connection.execute("insert into migration (name, sha256) values (%s, %s)", (name, digest))
                    applied.append(name)
                elif known[name] != digest:
                    raise MigrationChanged(
                        f"migration {name} was applied in another form: put the change into a new file, or drop"
                        " this database if it is a scratch one"
                    )
            newer = sorted(set(known) - {name for name, _ in shipped})
            if newer:
                raise MigrationChanged(
                    f"this database has migration {newer[-1]}, which this version of dualstream does not know: it"
                    " was used by a newer one. Next: install that version"
                )
        return applied

    def close(self) -> None:
        """Close every connection that any thread opened."""
        with self._guard:
            for connection in self._every.values():
                connection.close()
            self._every.clear()

    def _depth(self) -> int:
        """How many transaction blocks this thread is in."""
        return getattr(self._local, "depth", 0)

    def _connection(self) -> Connection[Any]:
        """This thread's connection; a new one if there is none, it broke, or this is a forked child."""
        if self._pid != os.getpid():
            _ABANDONED.extend(self._every.values())
            self._begin()
        connection: Connection[Any] | None = getattr(self._local, "connection", None)
        if connection is not None and (not connection.closed or self._depth()):
            return connection  # inside a lost transaction too: what is asked of it must fail with it
        connection = self._open(autocommit=False)
        self._local.connection = connection
        with self._guard:
            for thread in [t for t in self._every if not t.is_alive()]:
                self._every.pop(thread).close()
            self._every[threading.current_thread()] = connection
        return connection

    def _open(self, *, autocommit: bool) -> Connection[Any]:
        import psycopg

        def connect() -> Connection[Any]:
            return psycopg.connect(
                self.url,
                autocommit=autocommit,
                connect_timeout=CONNECT_TIMEOUT_S,
                application_name="dualstream",
            )

        try:
            return connect()
        except psycopg.OperationalError:
            if self._revive is None:
                raise
            self._revive()
            return connect()


_ABANDONED: list[Connection[Any]] = []
"""Connections of a parent process, seen in a forked child: dropping one would end the parent's session."""


def shipped_migrations() -> list[tuple[str, str]]:
    """(name, SQL) of every migration of this version, in order."""
    folder = resources.files("dualstream_assets.store") / "migrations"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [(f.name, f.read_text(encoding="utf-8")) for f in files]


def open_database(settings: Settings) -> Database:
    """The ops database of this process: created and migrated; starts the embedded server where none is named.

    Raises:
        DatabaseUnreachable, StateUnusable, ServerFailed: see `store.postgres.server_url`.
        MigrationChanged: see `Database.migrate`.
    """
    from dualstream_assets.store.postgres import server_url

    database = Database(server_url(settings, OPS_DATABASE), lambda: server_url(settings, OPS_DATABASE))
    if _behind(database):
        database.migrate()
    return database


def _behind(database: Database) -> bool:
    with database.transaction() as connection:
        row = connection.execute("select to_regclass('migration')").fetchone()
        if not row or row[0] is None:
            return True
        known = dict(connection.execute("select name, sha256 from migration").fetchall())
    return known != {n: hashlib.sha256(t.encode()).hexdigest() for n, t in shipped_migrations()}
