"""Fixtures every room shares: a real PostgreSQL, a clone of a migrated template per test, a clock, the lab estate."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
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
    """Settings whose PostgreSQL serves this test process; it stops by lease when the process ends."""
    state = tmp_path_factory.mktemp("server")
    return Settings.read({**_clean(os.environ), "DUALSTREAM_STATE": str(state)})


@pytest.fixture(scope="session")
def template(server: Settings) -> str:
    """The name of a migrated database that each test clones."""
    database = Database(server_url(server, TEMPLATE))
    database.migrate()
    database.close()
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
        admin.execute(f'create database "{name}" template "{template}"'.encode())
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
    return Settings.read({**_clean(os.environ), "DUALSTREAM_STATE": str(tmp_path / "state")})


def _clean(variables: os._Environ[str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if not name.startswith("DUALSTREAM_")}
