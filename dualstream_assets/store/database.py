"""The ops database: transactions, advisory locks, migrations. PostgreSQL through psycopg, nothing else.

One connection per thread, opened when first needed and opened again after a server restart.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Connection

    from dualstream_assets.settings import Settings

OPS_DATABASE = "dualstream"


class MigrationChanged(RuntimeError):
    """A migration that was applied here is not the file that is shipped now."""


def _lock_key(name: str) -> int:
    """A signed 64-bit key for PostgreSQL's advisory locks."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)


class Database:
    """A PostgreSQL database by URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._local = threading.local()
        self._every: set[Connection[Any]] = set()
        self._guard = threading.Lock()

    def _connection(self) -> Connection[Any]:
        import psycopg

        connection: Connection[Any] | None = getattr(self._local, "connection", None)
        if connection is None or connection.closed or connection.broken:
            connection = psycopg.connect(self.url, connect_timeout=5, application_name="dualstream")
            self._local.connection = connection
            with self._guard:
                self._every.add(connection)
        return connection

    @contextmanager
    def transaction(self) -> Iterator[Connection[Any]]:
        """A connection inside one transaction: committed at the end, rolled back if the body raises.

        Nested use in one thread joins the outer transaction as a savepoint.
        """
        connection = self._connection()
        with connection.transaction():
            yield connection

    @contextmanager
    def advisory_lock(self, name: str, *, wait: bool = True) -> Iterator[bool]:
        """Hold a session-level lock by name, on a connection of its own; yields whether it was taken.

        The server drops it when this process dies.
        """
        import psycopg

        with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
            call = "pg_advisory_lock" if wait else "pg_try_advisory_lock"
            row = connection.execute(f"select {call}(%s)", (_lock_key(name),)).fetchone()  # noqa: S608
            taken = wait or bool(row and row[0])
            yield taken

    def migrate(self) -> list[str]:
        """Apply the migrations that are new here, in order; returns their names.

        Raises:
            MigrationChanged: an applied file differs from the shipped one.
        """
        applied: list[str] = []
        with self.transaction() as connection:
            connection.execute("select pg_advisory_xact_lock(%s)", (_lock_key("migrate"),))
            connection.execute(
                "create table if not exists migration (name text primary key, sha256 text not null,"
                " applied_at timestamptz not null default now())"
            )
            known = dict(connection.execute("select name, sha256 from migration").fetchall())
            for name, text in shipped_migrations():
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
        return applied

    def close(self) -> None:
        """Close every connection that any thread opened."""
        with self._guard:
            for connection in self._every:
                connection.close()
            self._every.clear()


def shipped_migrations() -> list[tuple[str, str]]:
    """(name, SQL) of every migration of this version, in order."""
    folder = resources.files("dualstream_assets.store") / "migrations"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [(f.name, f.read_text(encoding="utf-8")) for f in files]


def open_database(settings: Settings) -> Database:
    """The ops database of this process: created and migrated; starts the embedded server where none is named."""
    from dualstream_assets.store.postgres import server_url

    database = Database(server_url(settings, OPS_DATABASE))
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
