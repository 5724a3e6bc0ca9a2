"""The rim: the assets of both rooms in one run, with their checks, over a small release in an inbox."""

import dagster as dg
import pytest

from dualstream_assets import keys
from dualstream_assets.audience.assets import KEYS
from dualstream_assets.estate import Estate
from dualstream_assets.registry.automation import automation
from dualstream_assets.workplace import Workplace
from dualstream_assets_tests.audience.rim import checks_of, run
from dualstream_assets_tests.registry.making import filed, person, release_zip

A, B = "1003000126", "1003000134"


def test_the_whole_way_from_inbox_to_five_files_with_green_checks(workplace: Workplace) -> None:
    release_zip(
        workplace.endpoints.inbox, [person(A)], [filed(A, "office@clinic.example"), filed(A, "x@gmail.com")]
    )
    result = run(workplace)
    assert result.success
    red = {name for name, passed in checks_of(result).items() if not passed}
    assert red == {
        "cms/revalidation lists_known",
        "cms/exclusions lists_known",
        "audience/institutional inputs_of_today",
    }  # no lists: unknown is not green
    built = {e.asset_key.to_user_string() for e in result.get_asset_materialization_events() if e.asset_key}
    assert {keys.text(key) for key in KEYS.values()} <= built


def test_no_address_reaches_dagster(workplace: Workplace) -> None:
    release_zip(
        workplace.endpoints.inbox,
        [person(A)],
        [filed(A, "office@clinic.example"), filed(A, "bad@@clinic.example")],
    )
    result = run(workplace)
    shown = " ".join(str(e.event_specific_data) for e in result.all_events)
    assert result.success
    assert "@clinic" not in shown


def test_an_empty_inbox_fails_with_one_line_that_says_the_cure(workplace: Workplace) -> None:
    result = run(workplace)
    assert not result.success
    failed = [e.step_failure_data.user_failure_data for e in result.all_events if e.is_step_failure]
    assert failed[0] is not None
    assert "next: dualstream release add" in str(failed[0].description)


def test_a_blocking_check_keeps_a_foreign_header_from_the_audience(workplace: Workplace) -> None:
    release_zip(workplace.endpoints.inbox, members={"endpoint_pfile": b'"NPI","Something"\n'})
    result = run(workplace)
    assert not result.success
    assert checks_of(result)["nppes/release header"] is False
    assert not list(workplace.paths.audience.glob("*.csv"))


def test_one_of_the_five_can_be_materialized_alone(workplace: Workplace) -> None:
    release_zip(workplace.endpoints.inbox, [person(A)], [filed(A, "office@clinic.example")])
    assert run(workplace).success
    result = run(workplace, selection=[dg.AssetKey(list(keys.AUDIENCE_INSTITUTIONAL))])
    assert result.success
    assert [
        e.asset_key.to_user_string() for e in result.get_asset_materialization_events() if e.asset_key
    ] == ["audience/institutional"]


def test_files_of_another_release_than_the_endpoints_are_seen(workplace: Workplace) -> None:
    inbox = workplace.endpoints.inbox
    release_zip(inbox, [person(A)], [filed(A, "office@clinic.example")])
    assert run(workplace).success
    release_zip(inbox, [person(A), person(B)], [filed(B, "other@clinic.example")])
    newer = [dg.AssetKey(list(k)) for k in (keys.NPPES_RELEASE, keys.NPPES_ENDPOINTS, keys.NPPES_PROVIDERS)]
    assert run(workplace, selection=newer).success
    checks = dg.AssetSelection.checks_for_assets(list(keys.AUDIENCE_INSTITUTIONAL))
    result = run(workplace, selection=checks)
    assert checks_of(result)["audience/institutional disjoint_and_conserving"] is False


def test_a_tampered_file_is_red(workplace: Workplace) -> None:
    release_zip(
        workplace.endpoints.inbox, [person(A)], [filed(A, "office@clinic.example"), filed(A, "x@gmail.com")]
    )
    assert run(workplace).success
    folder = workplace.paths.audience
    consumer = (folder / keys.CONSUMER_CSV).read_text().splitlines(keepends=True)
    with (folder / keys.INSTITUTIONAL_CSV).open("a") as file:
        file.write(consumer[1])
    result = run(workplace, selection=dg.AssetSelection.checks_for_assets(list(keys.AUDIENCE_INSTITUTIONAL)))
    found = checks_of(result)
    assert found["audience/institutional disjoint_and_conserving"] is False
    assert found["audience/institutional segment_again"] is False


def test_the_sensor_asks_once_for_a_new_release(workplace: Workplace) -> None:
    (sensor,) = automation(workplace.estate, "lab").sensors
    context = dg.build_sensor_context(resources={"workplace": workplace})
    nothing = sensor(context)
    assert isinstance(nothing, dg.SensorResult)
    assert "no NPPES release" in str(nothing.skip_reason)
    release_zip(workplace.endpoints.inbox, [person(A)], [filed(A, "office@clinic.example")])
    first = sensor(context)
    assert isinstance(first, dg.SensorResult)
    assert first.run_requests is not None
    assert len(first.run_requests) == 1
    again = sensor(dg.build_sensor_context(resources={"workplace": workplace}, cursor=first.cursor))
    assert isinstance(again, dg.SensorResult)
    assert not again.run_requests
    assert again.skip_reason


@pytest.mark.parametrize(("environment", "running"), [("lab", False), ("dev", False), ("production", True)])
def test_the_sensor_runs_by_itself_in_production_only(
    lab_estate: Estate, environment: str, running: bool
) -> None:
    (sensor,) = automation(lab_estate, environment).sensors
    assert (sensor.default_status is dg.DefaultSensorStatus.RUNNING) is running
