"""What our house costs on top of Dagster: loading it, and one trivial asset by the command line."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from benchmarks.paired import Paired, paired

TRIVIAL = """
import dagster as dg


@dg.asset
def one() -> None:
    pass


defs = dg.Definitions(assets=[one], executor=dg.in_process_executor)
"""
ASSEMBLED = "import dualstream_assets.definitions as d; d.defs.get_repository_def()"


def load_time(pairs: int = 7) -> Paired:
    """`import dagster` against our assembled repository, each in a fresh interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        environment = _clean() | {"DUALSTREAM_STATE": folder}
        return paired(
            [sys.executable, "-c", "import dagster"],
            [sys.executable, "-c", ASSEMBLED],
            pairs=pairs,
            reference_environment=environment,
            our_environment=environment,
            cwd=folder,
        )


def trivial_asset(pairs: int = 5) -> Paired:
    """One trivial asset by `dagster asset materialize`: a bare project on dagster-postgres against our storage.

    The same PostgreSQL server serves both, and is running.
    """
    from dualstream_assets.settings import Settings
    from dualstream_assets.store.postgres import server_url

    with tempfile.TemporaryDirectory() as folder:
        environment = _clean() | {"DUALSTREAM_STATE": str(Path(folder) / "state")}
        url = server_url(Settings.read(environment), "bare").replace(
            "postgresql://", "postgresql+psycopg2://", 1
        )
        (Path(folder) / "trivial.py").write_text(TRIVIAL)
        bare, ours = Path(folder) / "bare", Path(folder) / "ours"
        for home in (bare, ours):
            home.mkdir()
        (bare / "dagster.yaml").write_text(
            "storage:\n  postgres:\n    postgres_url:\n      env: BARE_URL\ntelemetry:\n  enabled: false\n"
        )
        (ours / "dagster.yaml").write_text(
            (Path(__file__).parents[1] / "dualstream_assets/store/dagster.yaml").read_text()
        )
        command = [
            sys.executable,
            "-m",
            "dagster",
            "asset",
            "materialize",
            "--select",
            "one",
            "-f",
            "trivial.py",
        ]
        return paired(
            command,
            command,
            pairs=pairs,
            reference_environment=environment | {"DAGSTER_HOME": str(bare), "BARE_URL": url},
            our_environment=environment | {"DAGSTER_HOME": str(ours)},
            cwd=folder,
        )


def _clean() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DUALSTREAM_", "DAGSTER_"))}
    return kept | {"DAGSTER_DISABLE_TELEMETRY": "1"}
