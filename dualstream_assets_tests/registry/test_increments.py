"""Weeklies applied on a release: what replaces what, what is kept, and that every candidate is counted."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from dualstream_assets.estate.model import Limits
from dualstream_assets.registry.chain import open_chain
from dualstream_assets.registry.increments import ROWS_A_FILE, candidates_of
from dualstream_assets.registry.shelf import (
    ReleaseTables,
    plain,
    read_endpoints_of,
    read_providers_of,
    read_release,
)
from dualstream_assets_tests.registry.making import blank, filed, line, person, release_zip, weekly_zip

LIMITS = Limits(zip_ratio=1000)
A, B, C = "1003000126", "1003000134", "1003000142"
UPDATED = "Last Update Date"
OVERLAP = {"first": date(2026, 11, 2), "last": date(2026, 11, 15)}
SECOND = {"first": date(2026, 11, 16), "last": date(2026, 11, 22)}


def new(npi: str, last_name: str = "NEWER", updated: str = "11/10/2026") -> dict[str, str]:
    return person(npi, **{UPDATED: updated, "Provider Last Name (Legal Name)": last_name})


def addresses(tables: ReleaseTables) -> list[str | None]:
    return tables.endpoints["address"].to_list()


def names(tables: ReleaseTables) -> dict[str, str]:
    return dict(tables.providers.select("npi", "last_name").iter_rows())


def change(tables: ReleaseTables, number: int = 0) -> dict[str, int]:
    shown = ("candidates", "used", "outdated", "replaced", "replaced_npis", "kept_npis")
    return {name: tables.endpoint_counts["increments"][number][name] for name in shown}


def read(base: Path, *weeklies: Path) -> ReleaseTables:
    """Read both ways, in one pass and table by table as the assets do: they must agree; and nothing may be lost."""
    tables = read_release(base, LIMITS, weeklies)
    chain = open_chain(base, LIMITS, weeklies)
    endpoints, counts = read_endpoints_of(chain)
    assert endpoints.equals(tables.endpoints)
    assert counts == tables.endpoint_counts
    providers, _ = read_providers_of(chain, endpoints["npi"])
    assert providers.equals(tables.providers)
    assert tables.endpoints.height == candidates_of(tables.endpoint_counts)
    assert tables.facts == plain(chain.facts())
    return tables


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return release_zip(
        tmp_path,
        [person(A), person(B), person(C)],
        [filed(A, "a@clinic.example"), filed(A, "a2@clinic.example"), filed(B, "b@clinic.example")],
    )


def test_without_increments_nothing_changes(base: Path) -> None:
    tables = read(base)
    assert addresses(tables) == ["a@clinic.example", "a2@clinic.example", "b@clinic.example"]
    assert tables.endpoint_counts["increments"] == tables.provider_counts["increments"] == []


def test_a_changed_npi_has_its_provider_and_endpoints_replaced(base: Path) -> None:
    weekly = weekly_zip(base.parent, [new(A)], [filed(A, "moved@clinic.example")])
    tables = read(base, weekly)
    assert addresses(tables) == ["b@clinic.example", "moved@clinic.example"]
    assert names(tables) == {A: "NEWER", B: "SAMPLE"}
    assert change(tables) == {
        "candidates": 1,
        "used": 1,
        "outdated": 0,
        "replaced": 2,
        "replaced_npis": 1,
        "kept_npis": 0,
    }
    assert tables.provider_counts["increments"][0]["replaced"] == 1
    assert divmod(tables.endpoints["row"][-1], ROWS_A_FILE) == (1, 2)
    assert tables.endpoint_counts["addresses"] == 3  # the base's counts stay the base's


def test_an_npi_whose_endpoints_a_weekly_does_not_name_keeps_them_and_that_is_counted(base: Path) -> None:
    tables = read(base, weekly_zip(base.parent, [new(A), new(C)]))
    assert addresses(tables) == ["a@clinic.example", "a2@clinic.example", "b@clinic.example"]
    assert names(tables)[A] == "NEWER"
    assert change(tables)["kept_npis"] == 1  # C had no candidate to keep


def test_an_address_that_became_a_link_is_gone(base: Path) -> None:
    weekly = weekly_zip(base.parent, [new(A)], [filed(A, "https://fhir.clinic.example/r4", "FHIR")])
    tables = read(base, weekly)
    assert addresses(tables) == ["b@clinic.example"]
    assert list(names(tables)) == [B]
    assert (change(tables)["candidates"], change(tables)["replaced"]) == (0, 2)


def test_a_deactivation_takes_effect_although_its_row_has_no_update_date(base: Path) -> None:
    tables = read(base, weekly_zip(base.parent, [blank(A, "11/12/2026")]))
    row = tables.providers.row(by_predicate=pl.col("npi") == A, named=True)
    assert row["deactivated"]
    assert row["entity_type"] is None
    assert tables.provider_counts["increments"][0]["deactivated"] == 1
    assert (
        addresses(tables)[0] == "a@clinic.example"
    )  # stays a candidate: who is deactivated is rejected, with that


def test_a_new_npi_is_added_with_its_provider(base: Path) -> None:
    tables = read(
        base, weekly_zip(base.parent, [new("1003000159")], [filed("1003000159", "d@clinic.example")])
    )
    assert addresses(tables)[-1] == "d@clinic.example"
    assert names(tables)["1003000159"] == "NEWER"
    assert tables.provider_counts["increments"][0]["added"] == 1


def test_a_row_older_than_the_base_replaces_nothing(tmp_path: Path) -> None:
    base = release_zip(tmp_path, [new(A, "BASE", "11/07/2026")], [filed(A, "a@clinic.example")])
    weekly = weekly_zip(tmp_path, [new(A, "OLD", "11/03/2026")], [filed(A, "old@clinic.example")], **OVERLAP)
    tables = read(base, weekly)
    assert addresses(tables) == ["a@clinic.example"]
    assert names(tables) == {A: "BASE"}
    assert (change(tables)["outdated"], tables.provider_counts["increments"][0]["outdated"]) == (1, 1)


def test_an_old_row_does_not_revive_who_was_deactivated_since(tmp_path: Path) -> None:
    base = release_zip(tmp_path, [blank(A, "11/07/2026")], [filed(A, "a@clinic.example")])
    weekly = weekly_zip(tmp_path, [new(A, "OLD", "11/03/2026")], [filed(A, "a@clinic.example")], **OVERLAP)
    assert read(base, weekly).providers["deactivated"].to_list() == [True]
    back = weekly_zip(tmp_path, [new(A, "BACK", "11/10/2026")], [filed(A, "a@clinic.example")], **OVERLAP)
    assert read(base, back).providers["deactivated"].to_list() == [False]


def test_a_row_of_the_base_without_a_date_holds_nothing_back(tmp_path: Path) -> None:
    base = release_zip(tmp_path, [new(A, "UNDATED", "")], [filed(A, "a@clinic.example")])
    weekly = weekly_zip(tmp_path, [new(A, "NEWER", "11/03/2026")], **OVERLAP)
    assert names(read(base, weekly)) == {A: "NEWER"}


def test_a_date_after_the_base_is_a_slip_and_holds_nothing_back(tmp_path: Path) -> None:
    base = release_zip(tmp_path, [new(A, "BASE", "11/07/2062")], [filed(A, "a@clinic.example")])
    weekly = weekly_zip(tmp_path, [new(A)], [filed(A, "moved@clinic.example")])
    tables = read(base, weekly)
    assert names(tables) == {A: "NEWER"}
    assert addresses(tables) == ["moved@clinic.example"]


def test_the_later_weekly_wins_in_either_order_of_arguments(base: Path) -> None:
    one = weekly_zip(base.parent, [new(A, "ONE")], [filed(A, "one@clinic.example")])
    two = weekly_zip(base.parent, [new(A, "TWO", "11/18/2026")], [filed(A, "two@clinic.example")], **SECOND)
    for weeklies in ((one, two), (two, one)):
        tables = read(base, *weeklies)
        assert addresses(tables) == ["b@clinic.example", "two@clinic.example"]
        assert names(tables)[A] == "TWO"
        assert (change(tables, 0)["replaced"], change(tables, 1)["replaced"]) == (2, 1)
        assert divmod(tables.endpoints["row"][-1], ROWS_A_FILE) == (2, 2)


def test_a_row_of_the_second_weekly_that_is_older_than_the_first_replaces_nothing(base: Path) -> None:
    one = weekly_zip(base.parent, [new(A, "ONE", "11/14/2026")], [filed(A, "one@clinic.example")])
    two = weekly_zip(base.parent, [new(A, "OLD", "11/12/2026")], [filed(A, "old@clinic.example")], **SECOND)
    tables = read(base, one, two)
    assert addresses(tables) == ["b@clinic.example", "one@clinic.example"]
    assert names(tables)[A] == "ONE"


def test_a_stale_weekly_over_newer_data_changes_nothing_but_is_named(base: Path) -> None:
    stale = weekly_zip(
        base.parent,
        [new(A, "OLD")],
        [filed(A, "old@clinic.example")],
        first=date(2026, 11, 2),
        last=date(2026, 11, 8),
    )
    tables = read(base, stale)
    assert tables.endpoints.equals(read(base).endpoints)
    assert names(tables)[A] == "SAMPLE"
    assert [one["name"] for one in tables.facts["skipped"]] == [stale.name]


def test_the_same_weekly_twice_counts_once(base: Path) -> None:
    one = weekly_zip(base.parent, [new(A)], [filed(A, "moved@clinic.example")])
    twin = weekly_zip(base.parent, [new(A)], [filed(A, "moved@clinic.example")], name="copy.zip")
    assert read(base, one, twin).endpoints.equals(read(base, one).endpoints)


def test_lines_that_cannot_be_read_stay_candidates_on_both_sides(tmp_path: Path) -> None:
    base = release_zip(tmp_path, [person(A)], [line(["short"]), filed(A, "a@clinic.example")])
    weekly = weekly_zip(tmp_path, [new(A)], [line(["broken"]), filed(A, "bad@@clinic.example")])
    tables = read(base, weekly)
    assert sorted(tables.endpoints["reason"]) == ["double_at", "unreadable_line", "unreadable_line"]
    assert change(tables)["replaced"] == 1


def test_rows_without_an_npi_replace_no_others(tmp_path: Path) -> None:
    base = release_zip(tmp_path, [person(A)], [filed("", "nobody@clinic.example")])
    weekly = weekly_zip(tmp_path, [new(A)], [filed("", "other@clinic.example")])
    assert addresses(read(base, weekly)) == ["nobody@clinic.example", "other@clinic.example"]
