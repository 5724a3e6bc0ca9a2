"""The rim of the registry: a monthly release and weeklies in the inbox, and the sensor that notices them."""

import os
from dataclasses import replace
from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from dualstream_assets import keys
from dualstream_assets.audience.assets import assets as audience_assets
from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate
from dualstream_assets.lab.release import write_release
from dualstream_assets.registry.assets import assets, opened_chain
from dualstream_assets.registry.automation import automation
from dualstream_assets.registry.errors import RegistryError
from dualstream_assets.registry.increments import candidates_of
from dualstream_assets.registry.shelf import load_facts, load_release, read_release
from dualstream_assets.settings import Settings
from dualstream_assets.workplace import Endpoints, Workplace
from dualstream_assets_tests.lab.small_world import small_world
from dualstream_assets_tests.registry.making import blank, filed, person, release_zip, rows_of, weekly_zip

A = "1003000126"
MOVED = "moved.desk@weekly.example"


@pytest.fixture
def workplace(tmp_path: Path, lab_estate: Estate, clock: FixedClock) -> Workplace:
    limits = lab_estate.limits.model_copy(update={"zip_ratio": 1000.0})
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    return Workplace(
        Settings.read({"DUALSTREAM_STATE": str(tmp_path / "state")}),
        lab_estate.model_copy(update={"limits": limits}),
        given_clock=clock,
        given_endpoints=Endpoints((), 25, "127.0.0.1", {}, {}, None, None, inbox, inbox),
    )


def run(workplace: Workplace) -> dg.ExecuteInProcessResult:
    parts = {"estate": workplace.estate, "environment": "lab"}
    return dg.materialize(
        [*assets(**parts), *audience_assets(**parts)],
        resources={"workplace": workplace},
        raise_on_error=False,
    )


def shown(result: dg.ExecuteInProcessResult, key: keys.Key) -> dict[str, object]:
    (event,) = result.asset_materializations_for_node("__".join(key))
    return {name: value.value for name, value in event.metadata.items()}


def sensed(workplace: Workplace, cursor: str | None = None) -> dg.SensorResult:
    (sensor,) = automation(workplace.estate, "lab").sensors
    result = sensor(dg.build_sensor_context(resources={"workplace": workplace}, cursor=cursor))
    assert isinstance(result, dg.SensorResult)
    return result


def test_a_weekly_beside_the_labs_release_reaches_the_audience(workplace: Workplace) -> None:
    inbox = workplace.endpoints.inbox
    world = small_world()
    monthly = write_release(world, inbox)
    before = read_release(monthly, workplace.estate.limits)
    people = {row["NPI"]: row for row in rows_of(monthly, "npidata_pfile")}
    filings = before.endpoints["npi"].to_list()
    sole = [
        one.npis[0]
        for one in world.expected.values()
        if one.segment == "institutional"
        and not one.dropped
        and len(one.npis) == 1
        and filings.count(one.npis[0]) == 1
        and people[one.npis[0]]["Entity Type Code"] == "1"
    ]
    moved, gone, kept = sole[:3]
    first = date.fromordinal(world.release_day.toordinal() + 1)
    days = {"first": first, "last": date.fromordinal(first.toordinal() + 6)}
    update = {"Last Update Date": f"{first:%m/%d/%Y}"}
    weekly = weekly_zip(
        inbox,
        [
            people[moved] | update,
            blank(gone, f"{first:%m/%d/%Y}"),
            people[kept] | update | {"Provider First Name": "RENAMED"},
        ],
        [filed(moved, MOVED)],
        **days,
    )
    stale = weekly_zip(inbox, [people[kept]], first=date(2026, 1, 5), last=date(2026, 1, 11))
    result = run(workplace)
    assert result.success

    release, endpoints = shown(result, keys.NPPES_RELEASE), shown(result, keys.NPPES_ENDPOINTS)
    assert (release["increments"], release["data of"]) == (1, str(days["last"]))
    assert f"| {weekly.name} | applied |" in str(release["weekly files"])
    assert f"| {stale.name} | skipped | stale" in str(release["weekly files"])
    assert release["days not covered"] == "none"
    assert f"| {weekly.name} | 1 | 0 |" in str(endpoints["by increments"])

    facts = load_facts(workplace.paths.registry, "endpoints")
    on_shelf = load_release(workplace.paths.registry)
    assert on_shelf.endpoints.height == candidates_of(facts["counts"])
    in_one_go = read_release(monthly, workplace.estate.limits, [weekly])
    assert on_shelf.endpoints.equals(in_one_go.endpoints)
    assert on_shelf.providers.equals(in_one_go.providers)
    assert {**on_shelf.facts, "skipped": []} == in_one_go.facts
    assert [one["release"] for one in facts["increments_verified"]] == [weekly.name]

    folder = workplace.paths.audience
    practices = pl.read_csv(folder / keys.INSTITUTIONAL_CSV, infer_schema=False)
    rejects = pl.read_csv(folder / keys.REJECTS_CSV, infer_schema=False)
    by_npi = {row["npi"]: row for row in practices.iter_rows(named=True)}
    assert by_npi[moved]["email"] == MOVED
    assert by_npi[kept]["first_name"] == "RENAMED"
    assert gone not in by_npi
    assert rejects.filter(pl.col("npi") == gone)["rule"].unique().to_list() == ["deactivated"]


def test_a_weekly_that_changes_after_it_was_found_is_refused_with_the_cure(workplace: Workplace) -> None:
    inbox = workplace.endpoints.inbox
    release_zip(inbox, [person(A)], [filed(A, "office@clinic.example")])
    weekly = weekly_zip(inbox, [person(A)])
    assert run(workplace).success
    assert [a.path for a in opened_chain(workplace).increments] == [weekly]
    weekly_zip(inbox, [person(A, **{"Provider First Name": "KIM"})])
    with pytest.raises(RegistryError, match=r"not what nppes/release found.*nppes/release"):
        opened_chain(workplace)
    weekly.unlink()
    with pytest.raises(RegistryError, match=r"It was there when nppes/release looked\. Next"):
        opened_chain(workplace)


def test_a_truncated_weekly_is_red_and_names_itself(workplace: Workplace) -> None:
    inbox = workplace.endpoints.inbox
    release_zip(inbox, [person(A)], [filed(A, "office@clinic.example")])
    weekly = weekly_zip(inbox, [person(A)])
    weekly.write_bytes(weekly.read_bytes()[:400])
    result = run(workplace)
    failed = [e.step_failure_data.user_failure_data for e in result.all_events if e.is_step_failure]
    assert failed[0] is not None
    assert weekly.name in str(failed[0].description)
    assert weekly.name in str(sensed(workplace).skip_reason)


def test_the_sensor_asks_for_a_new_weekly_too_and_for_a_stale_one_never(workplace: Workplace) -> None:
    inbox = workplace.endpoints.inbox
    release_zip(inbox, [person(A)], [filed(A, "office@clinic.example")])
    first = sensed(workplace)
    assert first.run_requests
    weekly_zip(inbox, [person(A)], first=date(2026, 11, 2), last=date(2026, 11, 8))
    assert not sensed(workplace, first.cursor).run_requests
    weekly_zip(inbox, [person(A)])
    second = sensed(workplace, first.cursor)
    assert second.run_requests
    assert second.run_requests[0].run_key != first.run_requests[0].run_key
    assert second.run_requests[0].tags["dualstream/day"] == "2026-11-15"


def test_the_sensor_calls_built_only_what_was_built(workplace: Workplace) -> None:
    release_zip(workplace.endpoints.inbox, [person(A)], [filed(A, "office@clinic.example")])
    cursor = sensed(workplace).cursor
    requested = str(sensed(workplace, cursor).skip_reason)
    assert "requested already" in requested
    assert "build_audience" in requested
    assert run(workplace).success
    assert "was built already" in str(sensed(workplace, cursor).skip_reason)


def test_a_run_that_failed_on_a_damaged_file_is_asked_for_again_when_it_is_put_right(
    workplace: Workplace,
) -> None:
    """The directory of the damaged file is the good one's, so content alone would not tell them apart."""
    path = release_zip(workplace.endpoints.inbox, [person(A)], [filed(A, "office@clinic.example")])
    good = path.read_bytes()
    bad = bytearray(good)
    at = good.index(b"npidata_pfile_20050523-20261108.csv") + 40
    bad[at : at + 40] = bytes(40)
    path.write_bytes(bytes(bad))
    asked = sensed(workplace)
    assert asked.run_requests
    assert not run(workplace).success
    assert not sensed(workplace, asked.cursor).run_requests  # not every five minutes
    stat = path.stat()
    path.write_bytes(good)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    again = sensed(workplace, asked.cursor)
    assert again.run_requests
    assert again.run_requests[0].run_key != asked.run_requests[0].run_key


def test_a_chain_reopened_still_tells_what_was_skipped(workplace: Workplace) -> None:
    inbox = workplace.endpoints.inbox
    release_zip(inbox, [person(A)], [filed(A, "office@clinic.example")])
    stale = weekly_zip(inbox, [person(A)], first=date(2026, 11, 2), last=date(2026, 11, 8))
    assert run(workplace).success
    chain = opened_chain(workplace)
    assert [one.name for one in chain.skipped] == [stale.name]
    assert replace(chain, skipped=()).fingerprint == chain.fingerprint
