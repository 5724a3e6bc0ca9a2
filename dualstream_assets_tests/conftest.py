"""Fixtures every room shares: a real PostgreSQL, a clone of a migrated template per test, a clock, the lab estate."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate, load_estate
from dualstream_assets.estate.load import packaged_lab_estate
from dualstream_assets.settings import Settings
from dualstream_assets.store.database import Database
from dualstream_assets.store.postgres import server_url

TEMPLATE = "dualstream_template"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings whose embedded PostgreSQL serves this test run, all xdist workers together.

    It lives by lease, so it stops by itself after the last worker.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    return Settings.read({**clean_environment(), "DUALSTREAM_STATE": str(shared / "server")})


@pytest.fixture(scope="session")
def template(server: Settings) -> str:
    """The name of a migrated database that each test clones; nobody may connect to it, or cloning would fail."""
    with _alone(server), psycopg.connect(server_url(server, "postgres"), autocommit=True) as admin:
        there = admin.execute("select 1 from pg_database where datname = %s", (TEMPLATE,)).fetchone()
        if not there:
            # A test run may lose its database in a power cut; a release may not (store/cluster.py).
            admin.execute("alter system set fsync = off")
            admin.execute("alter system set synchronous_commit = off")
            admin.execute("select pg_reload_conf()")
            draft = Database(server_url(server, f"{TEMPLATE}_draft"))
            draft.migrate()
            draft.close()
            admin.execute(f'alter database "{TEMPLATE}_draft" rename to "{TEMPLATE}"')
    return TEMPLATE


@pytest.fixture
def scratch_databases(server: Settings) -> Iterator[list[str]]:
    """Names put here are dropped after the test."""
    names: list[str] = []
    yield names
    with psycopg.connect(server_url(server, "postgres"), autocommit=True) as admin:
        for name in names:
            admin.execute(f'drop database if exists "{name}" with (force)'.encode())


@pytest.fixture
def database(server: Settings, template: str, scratch_databases: list[str]) -> Iterator[Database]:
    """A fresh, migrated ops database."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url(server, "postgres"), autocommit=True) as admin:
        admin.execute(f'create database "{name}" template "{template}" strategy file_copy'.encode())
    scratch_databases.append(name)
    found = Database(server_url(server, name))
    yield found
    found.close()


@pytest.fixture
def clock() -> FixedClock:
    """Monday 2026-11-30, 09:00 in New York."""
    return FixedClock(datetime(2026, 11, 30, 14, 0, tzinfo=UTC))


@pytest.fixture(scope="session")
def lab_estate() -> Estate:
    """The packaged lab estate."""
    return load_estate(packaged_lab_estate())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Lab settings with a state folder of the test's own."""
    return Settings.read({**clean_environment(), "DUALSTREAM_STATE": str(tmp_path / "state")})


def clean_environment() -> dict[str, str]:
    """This process's environment, without what a developer has set for this package or for Dagster."""
    return {n: v for n, v in os.environ.items() if not n.startswith(("DUALSTREAM_", "DAGSTER_"))}


@contextmanager
def _alone(server: Settings) -> Iterator[None]:
    """One xdist worker at a time."""
    server.state.mkdir(parents=True, exist_ok=True)
    with (server.state / "template.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
