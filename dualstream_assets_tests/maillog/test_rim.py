"""The rim: the job reads the log, the check writes the evidence, a missing log is a failure and no silence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate
from dualstream_assets.maillog.assets import assets
from dualstream_assets.maillog.automation import automation
from dualstream_assets.maillog.checks import checks
from dualstream_assets.settings import Settings
from dualstream_assets.store.database import Database
from dualstream_assets.store.evidence import newest
from dualstream_assets.workplace import Endpoints, Workplace
from dualstream_assets_tests.maillog.lines import delivered


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def read_maillog(
    settings: Settings,
    estate: Estate,
    clock: FixedClock,
    database: Database,
    log: Path,
    instance: dg.DagsterInstance,
) -> dg.ExecuteInProcessResult:
    endpoints = Endpoints((), 25, "127.0.0.1", {}, {}, log, None, log.parent, log.parent)
    workplace = Workplace(settings, estate, clock, endpoints, database)
    defs = dg.Definitions(
        assets=assets(estate, "lab"),
        asset_checks=checks(estate, "lab"),
        jobs=list(automation(estate, "lab").jobs),
        resources={"workplace": workplace},
        executor=dg.in_process_executor,
    )
    return defs.resolve_job_def("read_maillog").execute_in_process(instance=instance, raise_on_error=False)


def test_the_job_reads_the_log_and_writes_evidence_for_every_stream(
    settings: Settings,
    lab_estate: Estate,
    clock: FixedClock,
    database: Database,
    tmp_path: Path,
    instance: dg.DagsterInstance,
) -> None:
    log = tmp_path / "mail.log"
    log.write_text(delivered(clock.now(), ["4hKz1c0001z1Zb"], ["a@practice.test"]))
    result = read_maillog(settings, lab_estate, clock, database, log, instance)
    assert result.success
    assert {c.check_name: c.passed for c in result.get_asset_check_evaluations()} == {
        "log_complete": True, "no_alarm": True, "rates": True,
    }  # fmt: skip
    shown = str([m.materialization.metadata for m in result.get_asset_materialization_events()])
    assert "a@practice.test" not in shown
    with database.transaction() as connection:
        for stream in lab_estate.streams:
            assert {(s.subject, s.fact, str(e.verdict)) for s, e in newest(connection, stream).items()} == {
                ("maillog", "log_complete", "pass")
            }


def test_a_missing_log_fails_the_run_and_names_the_cure(
    settings: Settings,
    lab_estate: Estate,
    clock: FixedClock,
    database: Database,
    tmp_path: Path,
    instance: dg.DagsterInstance,
) -> None:
    result = read_maillog(settings, lab_estate, clock, database, tmp_path / "none", instance)
    assert not result.success
    assert "rsyslog" in str(result.all_events)


def test_reading_runs_every_minute_by_itself(lab_estate: Estate) -> None:
    (schedule,) = automation(lab_estate, "production").schedules
    assert (schedule.cron_schedule, schedule.default_status) == (
        "* * * * *",
        dg.DefaultScheduleStatus.RUNNING,
    )
