"""A workplace with an inbox of its own and a real database, for the rim of this room."""

from pathlib import Path

import pytest

from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate
from dualstream_assets.settings import Settings
from dualstream_assets.store.database import Database
from dualstream_assets.workplace import Endpoints, Workplace


@pytest.fixture
def workplace(tmp_path: Path, lab_estate: Estate, clock: FixedClock, database: Database) -> Workplace:
    estate = lab_estate.model_copy(
        update={"limits": lab_estate.limits.model_copy(update={"zip_ratio": 1000.0})}
    )
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    settings = Settings.read({"DUALSTREAM_STATE": str(tmp_path / "state")})
    endpoints = Endpoints((), 25, "127.0.0.1", {}, {}, None, None, inbox, inbox)
    return Workplace(settings, estate, given_clock=clock, given_endpoints=endpoints, given_database=database)
