"""Dagster's storage: PostgreSQL always, on the server that the rest of this project uses, without configuration.

`dagster.yaml` cannot say "this variable, else the embedded server": this class does. Every process that opens a Dagster
instance (command line, web server, daemon, run worker) comes through here, takes a lease on the embedded server where
none is named, and gets dagster-postgres' own storage for the database `dagster`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dagster._config.config_schema import UserConfigSchema
from dagster._core.storage.base_storage import DagsterStorage
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from dualstream_assets.settings import Settings

if TYPE_CHECKING:
    from dagster_postgres import DagsterPostgresStorage

DAGSTER_DATABASE = "dagster"


class SharedPostgresStorage(DagsterStorage, ConfigurableClass):
    """Never instantiated: a name in `dagster.yaml` that opens dagster-postgres' storage on our server."""

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Nothing to configure: `DUALSTREAM_PG_URL` and `DUALSTREAM_STATE` say it all."""
        return {}

    @classmethod
    def from_config_value(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "DagsterPostgresStorage":
        """Open the storage; child processes are given `inst_data`, so they come through here too.

        Raises:
            DatabaseUnreachable, StateUnusable: see `store.postgres.server_url`.
        """
        from dagster_postgres import DagsterPostgresStorage

        from dualstream_assets.store.postgres import server_url

        url = server_url(Settings.read(), DAGSTER_DATABASE)
        # dagster-postgres speaks psycopg2; a plain scheme would mean psycopg 3 from SQLAlchemy 2.1 on.
        scheme = url.replace("postgresql://", "postgresql+psycopg2://", 1)
        return DagsterPostgresStorage(postgres_url=scheme, should_autocreate_tables=True, inst_data=inst_data)
