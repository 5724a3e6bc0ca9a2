"""The room in one workplace: assets act where they may, checks write the evidence, unknown is never green."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from dualstream_assets import keys
from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate
from dualstream_assets.lab.listmonk_standin import StandIn
from dualstream_assets.listmonk import room
from dualstream_assets.listmonk.assets import assets
from dualstream_assets.listmonk.checks import checks
from dualstream_assets.listmonk.importing import CsvRow, run_import
from dualstream_assets.listmonk.people import find
from dualstream_assets.settings import Settings
from dualstream_assets.store.database import Database
from dualstream_assets.store.evidence import Subject, newest
from dualstream_assets.store.files import write_csv_atomic
from dualstream_assets.store.suppression import suppress
from dualstream_assets.workplace import Endpoints, ListmonkAt, Workplace
from dualstream_assets_tests.listmonk.conftest import TOKEN, end, stand_in

COLUMNS = (
    "email",
    "segment",
    "verdict",
    "first_name",
    "last_name",
    "organization",
    "npi",
    "product_key",
    "rank",
)


@pytest.fixture
def healthcare(server: Settings, clock: FixedClock) -> Iterator[StandIn]:
    running = stand_in(server, "room", clock)
    running.start()
    yield running
    end(server, running)


@pytest.fixture
def workplace(
    settings: Settings, lab_estate: Estate, clock: FixedClock, database: Database, healthcare: StandIn
) -> Workplace:
    at = ListmonkAt(healthcare.url, "dualstream", TOKEN)
    nowhere = Path("/nonexistent")
    endpoints = Endpoints((), 25, "127.0.0.1", {}, {"healthcare": at}, None, None, nowhere, nowhere)
    return Workplace(settings, lab_estate, clock, endpoints, database)


def write_verified(workplace: Workplace, *addresses: str, **cells: str) -> None:
    base = (
        dict.fromkeys(COLUMNS, "")
        | {"segment": "institutional", "verdict": "deliverable", "rank": "1"}
        | cells
    )
    rows = [{**base, "email": address} for address in addresses]
    write_csv_atomic(workplace.paths.audience / keys.VERIFIED_CSV, COLUMNS, rows)


def fact(workplace: Workplace, name: str) -> tuple[str, str]:
    with workplace.database.transaction() as c:
        row = newest(c, "healthcare")[Subject("healthcare", "listmonk", name)]
    return row.verdict.value, row.evidence


def materialize(workplace: Workplace, name: str, act: bool | None = None) -> dg.ExecuteInProcessResult:
    made = [*assets(workplace.estate, "lab"), *checks(workplace.estate, "lab")]
    config = {"ops": {f"healthcare__{name}": {"config": {"act": act}}}} if act is not None else None
    return dg.materialize(
        made,
        selection=dg.AssetSelection.assets(["healthcare", name]),
        resources={"workplace": workplace},
        run_config=config,
        raise_on_error=False,
    )


def test_in_the_lab_the_asset_brings_the_settings_into_the_declared_state(workplace: Workplace) -> None:
    result = materialize(workplace, "listmonk")
    assert result.success
    metadata = result.asset_materializations_for_node("healthcare__listmonk")[0].metadata
    assert metadata["written"].value is True
    assert "privacy.individual_tracking" in str(metadata["diff"].value)
    assert fact(workplace, "settings") == ("pass", "as declared (v6.2.0)")
    with workplace.database.transaction() as c:
        kept = c.execute("select target, read_back, inverse from applied_plan").fetchall()
    assert [row[:2] for row in kept] == [("listmonk of healthcare", "as declared")]
    assert kept[0][2], "the way back is kept"
    again = materialize(workplace, "listmonk")
    assert again.asset_materializations_for_node("healthcare__listmonk")[0].metadata["written"].value is False


def test_a_run_that_may_not_act_shows_the_diff_and_writes_nothing(workplace: Workplace) -> None:
    result = materialize(workplace, "listmonk", act=False)
    metadata = result.asset_materializations_for_node("healthcare__listmonk")[0].metadata
    assert (metadata["written"].value, metadata["why not"].value) == (
        False,
        "only shown: this run may not act",
    )
    verdict, said = fact(workplace, "settings")
    assert verdict == "fail"
    assert said.startswith("not as declared: app.check_updates, app.enable_public")


def in_force(running: StandIn, key: str) -> object:
    """A setting as the process that runs now has it; None between two processes."""
    try:
        return running.process.settings[key]
    except RuntimeError:
        return None


def test_a_change_by_hand_is_found_and_named(workplace: Workplace, healthcare: StandIn) -> None:
    room.hold_settings(workplace, "healthcare", act=True)
    client = room.client_of(workplace, "healthcare")
    whole = client.get("/settings")
    client.put("/settings", {**whole, "privacy.unsubscribe_header": False})
    client.wait_until(lambda: in_force(healthcare, "privacy.unsubscribe_header") is False, 10, "its restart")
    client.wait_until(client.healthy, 10, "its answer")
    assert room.look_at_settings(workplace, "healthcare", "test").evidence == (
        "not as declared: privacy.unsubscribe_header"
    )


def test_a_listmonk_that_is_not_ours_is_shown_and_never_written(workplace: Workplace) -> None:
    raw = workplace.estate.model_dump()
    raw["streams"]["healthcare"]["listmonk"]["managed"] = False
    theirs = Workplace(
        workplace.settings,
        Estate.model_validate(raw),
        workplace.given_clock,
        workplace.given_endpoints,
        workplace.given_database,
    )
    write_verified(theirs, "a@practice.example")
    before = room.client_of(theirs, "healthcare").get("/settings")
    held = room.hold_settings(theirs, "healthcare", act=True)
    assert (held.written, held.found.empty) == (False, False)
    assert room.import_people(theirs, "healthcare", act=True).imported is None
    assert room.client_of(theirs, "healthcare").get("/settings") == before
    assert room.look_at_counts(theirs, "healthcare", "test").verdict == "unknown"


def test_verified_people_are_imported_and_the_counts_are_evidence(workplace: Workplace) -> None:
    write_verified(workplace, "a@practice.example", "b@practice.example")
    assert room.look_at_counts(workplace, "healthcare", "test").evidence == (
        "2 of 2 people of the audience file are not in listmonk"
    )
    result = materialize(workplace, "subscribers")
    assert result.success
    metadata = result.asset_materializations_for_node("healthcare__subscribers")[0].metadata
    assert (metadata["imported now"].value, metadata["listed"].value) == (2, 2)
    assert fact(workplace, "counts") == ("pass", "2 people of the audience file are there, 2 listed")
    assert fact(workplace, "no_optout_revived") == (
        "pass",
        "none of 0 suppressed can be mailed, 0 blocklisted",
    )


def test_an_unverified_row_imports_nobody_and_leaves_the_gate_shut(workplace: Workplace) -> None:
    write_verified(workplace, "a@practice.example", verdict="retry")
    assert not materialize(workplace, "subscribers").success
    assert room.client_of(workplace, "healthcare").total("/subscribers") == 0
    verdict, said = room.look_at_counts(workplace, "healthcare", "test"), "1 with verdict retry"
    assert verdict.verdict == "unknown"
    assert said in verdict.evidence


def test_the_suppressed_are_not_imported(workplace: Workplace, clock: FixedClock) -> None:
    write_verified(workplace, "a@practice.example", "b@closed.example")
    with workplace.database.transaction() as c:
        suppress(c, "domain", "closed.example", "manual", "test", clock.now())
    done = room.import_people(workplace, "healthcare", act=True)
    assert done.imported is not None
    assert (done.imported.imported, room.shown_left_out(done.imported.left_out)) == (1, "1 suppressed")
    assert room.look_at_counts(workplace, "healthcare", "test").verdict == "pass"


def test_a_suppressed_person_whom_listmonk_would_mail_is_red(workplace: Workplace, clock: FixedClock) -> None:
    client = room.client_of(workplace, "healthcare")
    list_id = int(client.post("/lists", {"name": "x"})["id"])
    run_import(client, [CsvRow("a@practice.example", "", {})], "subscribe", (list_id,))
    with workplace.database.transaction() as c:
        suppress(c, "address", "a@practice.example", "unsubscribed", "test", clock.now())
        suppress(c, "address", "never-seen@practice.example", "manual", "test", clock.now())
    found = room.look_at_optouts(workplace, "healthcare", "test")
    assert (found.verdict, found.evidence) == (
        "fail",
        "1 suppressed people could be mailed: they are not blocklisted",
    )
    ids = [s.id for s in find(client, ["a@practice.example"])]
    client.put("/subscribers/blocklist", {"ids": ids})
    assert room.look_at_optouts(workplace, "healthcare", "test").verdict == "pass"


def test_a_listmonk_that_is_down_leaves_every_fact_unknown(workplace: Workplace, healthcare: StandIn) -> None:
    write_verified(workplace, "a@practice.example")
    healthcare.kill()
    for look in (room.look_at_settings, room.look_at_counts, room.look_at_optouts):
        found = look(workplace, "healthcare", "test")
        assert found.verdict == "unknown"
        assert "does not answer" in found.evidence


def test_a_stream_without_address_or_token_is_told_what_to_set(workplace: Workplace) -> None:
    found = room.look_at_settings(workplace, "trucking", "test")
    assert found.verdict == "unknown"
    assert "streams.trucking.listmonk.url" in found.evidence
    assert "DUALSTREAM_LISTMONK_TRUCKING_TOKEN" in found.evidence


def test_a_file_that_is_not_built_yet_names_the_next_command(workplace: Workplace) -> None:
    with pytest.raises(FileNotFoundError, match="dagster asset materialize --select"):
        room.importable(workplace, "healthcare")


def test_consumer_domains_are_barred_from_the_institutional_listmonk(lab_estate: Estate) -> None:
    barred = room.consumer_domains(lab_estate)
    assert {"yahoo.com", "gmail.com", "aol.com"} <= barred
    assert len(barred) > 1000
