"""The rim: edges, checks, jobs, and who is on by default."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.sending import assets as rim
from dualstream_assets.sending.automation import automation
from dualstream_assets.sending.checks import checks
from dualstream_assets.settings import Settings
from dualstream_assets.workplace import Workplace
from dualstream_assets_tests.sending.conftest import Desk

OTHERS = ("identity", "message_score", "listmonk", "subscribers", "delivery")
SHARED = (keys.MAILLOG_OUTCOMES, keys.MTA_DEPLOYED, keys.MTA_DRIFT, keys.VERIFIED_INSTITUTIONAL)


def _stub(key: keys.Key) -> dg.AssetsDefinition:
    @dg.asset(key=list(key))
    def stub() -> None: ...

    return stub


def room(estate: Estate, environment: str, workplace: Workplace | None = None) -> dg.Definitions:
    """This room alone, its neighbours stubbed."""
    parts: dict[str, Any] = {"estate": estate, "environment": environment}
    runs = automation(**parts)
    stubs = [_stub(key) for key in (*SHARED, *(keys.of_stream(s, n) for s in estate.streams for n in OTHERS))]
    return dg.Definitions(
        assets=[*rim.assets(**parts), *stubs],
        asset_checks=checks(**parts),
        jobs=list(runs.jobs),
        schedules=list(runs.schedules),
        sensors=list(runs.sensors),
        resources={
            "workplace": workplace or Workplace(Settings.read({"DUALSTREAM_STATE": "/nowhere"}), estate)
        },
        executor=dg.in_process_executor,
    )


def test_the_room_loads_with_its_jobs(lab_estate: Estate) -> None:
    repository = room(lab_estate, "production").get_repository_def()
    names = {job.name for job in repository.get_all_jobs()}
    assert {"set_rampcap", "release_wave", "send_today", "engage_brake", "lower_caps"} <= names


@pytest.mark.parametrize(
    ("name", "upstream"),
    [
        ("rampcap", {"healthcare/delivery", "healthcare/listmonk"}),
        ("campaign", set()),
        (
            "gate",
            {
                "healthcare/identity", "healthcare/message_score", "healthcare/campaign", "healthcare/subscribers",
                "healthcare/rampcap", "mta/deployed", "mta/drift", "sending/suppression",
            },
        ),
        (
            "waves",
            {
                "healthcare/gate", "healthcare/subscribers", "healthcare/rampcap", "healthcare/identity",
                "healthcare/campaign", "maillog/outcomes", "sending/suppression", "mta/deployed",
            },
        ),
        ("engagement", {"healthcare/listmonk"}),
    ],
)  # fmt: skip
def test_the_edges_are_the_contracts(lab_estate: Estate, name: str, upstream: set[str]) -> None:
    graph = room(lab_estate, "lab").get_repository_def().asset_graph
    found = graph.get(dg.AssetKey(["healthcare", name])).parent_keys
    assert {key.to_user_string() for key in found} == upstream


def test_every_check_of_this_room_blocks(lab_estate: Estate) -> None:
    graph = room(lab_estate, "lab").get_repository_def().asset_graph
    ours = [key for key in graph.asset_check_keys if key.name in NAMES]
    assert len(ours) == 1 + 3 * len(lab_estate.streams)
    assert all(graph.get(key).blocking for key in ours)


NAMES = {"suppression_synced", "content_lawful", "cap_is_ramp", "other_cap_untouched"}


def test_what_sends_is_off_and_what_protects_is_on(lab_estate: Estate) -> None:
    runs = automation(lab_estate, "production")
    status = {sensor.name: sensor.default_status.value for sensor in runs.sensors}
    assert status == {"cap_drift": "RUNNING", "brakes": "RUNNING", "wave_due": "STOPPED"}
    assert runs.schedules[0].default_status.value == "RUNNING"


def test_only_the_acting_jobs_set_act(lab_estate: Estate) -> None:
    repository = room(lab_estate, "production").get_repository_def()
    acting = {job.name for job in repository.get_all_jobs() if "act': True" in str(job.run_config)}
    assert acting == {"set_rampcap", "release_wave", "send_today"}


def test_the_cap_is_set_at_0720_in_the_estates_zone_over_a_change_of_the_clocks(lab_estate: Estate) -> None:
    schedule = automation(lab_estate, "lab").schedules[0]
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("20 7 * * *", "America/New_York")


def test_a_cap_schedule_that_is_hours_late_skips(lab_estate: Estate) -> None:
    schedule = automation(lab_estate, "lab").schedules[0]
    late = dg.build_schedule_context(scheduled_execution_time=datetime(2020, 1, 1, 12, 20, tzinfo=UTC))
    found = schedule(late)
    assert isinstance(found, dg.SkipReason)
    on_time = dg.build_schedule_context(scheduled_execution_time=datetime.now(UTC))
    assert isinstance(schedule(on_time), dg.RunRequest)


def _run(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, environment: str, job: str | None = None, **config: Any
):
    """Materialize healthcare/waves alone, on the desk's fakes."""
    from dualstream_assets.sending import parts
    from dualstream_assets.sending.tick import run_tick
    from dualstream_assets_tests.sending import fakes

    def tick(_workplace: Workplace, stream: str, *, act: bool = True):
        from dataclasses import replace

        sender = replace(desk.sender, environment=environment)
        return run_tick(sender, fakes.ports(desk.listmonk, desk.other), act=act)

    monkeypatch.setattr(parts, "tick", tick)
    monkeypatch.setattr(parts, "read_mail_log", lambda _workplace: desk.mta.read_log())
    settings = Settings.read({"DUALSTREAM_STATE": str(desk.folder), "DUALSTREAM_ENV": environment})
    workplace = Workplace(settings, desk.estate, given_clock=desk.clock, given_database=desk.database)
    defs = room(desk.estate, environment, workplace)
    definition = defs.resolve_job_def(job) if job else defs.resolve_implicit_global_asset_job_def()
    return definition.execute_in_process(
        asset_selection=[dg.AssetKey(["healthcare", "waves"])],
        raise_on_error=False,
        run_config=config or None,
    )


def _headline(result: Any) -> str:
    return str(result.asset_materializations_for_node("healthcare__waves")[0].metadata["wave"].value)


def test_in_the_lab_the_asset_releases(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _headline(_run(desk, monkeypatch, "lab")).startswith("RELEASED wave 1: 6 people")


def test_in_production_the_asset_plans_and_sends_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _headline(_run(desk, monkeypatch, "production")).startswith("PLANNED, nothing sent")
    assert desk.states() == {}
    assert desk.listmonk._read()["campaigns"] == {}


def test_in_production_the_job_asks_the_gate_and_the_gate_wants_arming(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = _run(desk, monkeypatch, "production", "release_wave")
    assert not result.success
    message = str(result.get_step_failure_events()[0].step_failure_data.error.message)
    assert "healthcare: gate shut: stream armed: fail: not armed" in message
    assert desk.listmonk._read()["campaigns"] == {}


def test_a_refusal_is_a_failure_that_is_not_retried(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with desk.database.transaction() as connection:
        connection.execute("delete from evidence where fact = 'fcrdns'")
    result = _run(desk, monkeypatch, "lab")
    failure = result.get_step_failure_events()[0].step_failure_data
    assert "gate shut: 127.124.0.107 fcrdns: never looked at" in str(failure.error.message)
    assert failure.user_failure_data.metadata["people"].value == 0


def test_no_address_of_a_person_reaches_dagster(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    result = _run(desk, monkeypatch, "lab")
    told = " ".join(str(event) for event in result.all_events)
    assert result.success
    assert not [person for person in desk.people if person in told]


def test_materializing_alone_after_a_red_check_still_refuses(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster's blocking checks guard one edge in one run; the permit guards the act."""
    from datetime import timedelta

    from dualstream_assets.store.evidence import Subject, Verdict, record

    with desk.database.transaction() as connection:
        subject = Subject("healthcare", "content", "content_lawful")
        record(connection, subject, Verdict.UNKNOWN, "being looked at", "t", desk.clock.now(), timedelta(0))
    assert not _run(desk, monkeypatch, "lab").success
    assert desk.states() == {}
