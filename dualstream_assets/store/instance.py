"""Dagster's storage: PostgreSQL always, on the server that the rest of this project uses, without configuration.

`dagster.yaml` cannot say "this variable, else the embedded server": this class does. Every process that opens a Dagster
instance (command line, web server, daemon, run worker) comes through here, takes its share in the embedded server where
none is named, and gets dagster-postgres' own storage for the database `dagster`. The URL never enters Dagster's
configuration, so it is in no argument list and on no page.
"""

from typing import Any

import click
from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.base_storage import DagsterStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from dualstream_assets.settings import Settings, SettingsError
from dualstream_assets.store.postgres import DatabaseUnreachable, ServerFailed, server_url

DAGSTER_DATABASE = "dagster"
STATEMENT_TIMEOUT_MS = 300_000


class StorageUnavailable(click.ClickException):
    """Dagster's database cannot be had. Dagster's commands print a ClickException as one line and exit with 1."""


class SharedPostgresStorage(DagsterStorage, ConfigurableClass):
    """Never instantiated: a name in `dagster.yaml` that opens dagster-postgres' storage on our server."""

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Nothing to configure: `DUALSTREAM_PG_URL` and `DUALSTREAM_STATE` say it all."""
        return {}

    @classmethod
    def from_config_value(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls,
        inst_data: ConfigurableClassData | None,
        config_value: object,  # noqa: ARG003  # Dagster passes it by name
    ) -> DagsterStorage:
        """Open the storage; child processes are given `inst_data`, so they come through here too.

        Raises:
            StorageUnavailable: no server, or no place for one; one line with the cure.
        """
        try:
            settings = Settings.read()
            url = server_url(settings, DAGSTER_DATABASE)
        except (DatabaseUnreachable, ServerFailed, SettingsError) as error:
            raise StorageUnavailable(str(error)) from None
        from dagster_postgres import DagsterPostgresStorage  # as heavy as Dagster itself

        _watch_connections(settings, url)
        # dagster-postgres speaks psycopg2; a plain scheme would mean psycopg 3 from SQLAlchemy 2.1 on.
        scheme = url.replace("postgresql://", "postgresql+psycopg2://", 1)
        storage = DagsterPostgresStorage(
            postgres_url=scheme, should_autocreate_tables=True, inst_data=inst_data
        )
        for part in (storage.event_log_storage, storage.run_storage, storage.schedule_storage):
            # Dagster opens a connection for every statement (3,000 in the demo, a third of a run's time) unless told,
            # as its web server tells it, to keep one.
            part.optimize_for_webserver(STATEMENT_TIMEOUT_MS, pool_recycle=3600, max_overflow=20)
        return storage


_watched: set[str] = set()


def _watch_connections(settings: Settings, url: str) -> None:
    """Have each new connection to the embedded server see to it that it runs (a web server lives for weeks), and each
    kept connection prove that it still lives before it is used.

    Dagster makes its engines itself, so this listens to all of them and minds its own socket only.
    """
    from sqlalchemy import event, exc
    from sqlalchemy.engine import Engine
    from sqlalchemy.pool import Pool

    def see_to_it(_dialect: object, _record: object, _words: object, parameters: dict[str, str]) -> None:
        if parameters.get("host", "") in url and parameters.get("host", "").startswith("/"):
            server_url(settings, DAGSTER_DATABASE)

    def alive(connection: Any, _record: object, _proxy: object) -> None:
        """A kept connection may be of a server that was restarted: then the pool makes another (SQLAlchemy's way)."""
        try:
            with connection.cursor() as cursor:
                cursor.execute("select 1")
        except connection.OperationalError:
            raise exc.DisconnectionError from None

    if url not in _watched:
        _watched.add(url)
        if settings.pg_url is None:
            event.listen(Engine, "do_connect", see_to_it)
        event.listen(Pool, "checkout", alive)
