"""Who an NPI is: primary taxonomy by switch, deactivated unless reactivated since, the newest of repeated rows."""

from pathlib import Path

import polars as pl
import pytest

from dualstream_assets.estate.model import Limits
from dualstream_assets.registry.archive import open_archive
from dualstream_assets.registry.providers import ProviderCounts, read_providers
from dualstream_assets_tests.registry.making import person, release_zip

A, B, C = "1003000126", "1003000134", "1003000142"


def read(
    folder: Path, *people: dict[str, str], wanted: tuple[str, ...] = (A, B, C)
) -> tuple[pl.DataFrame, ProviderCounts]:
    archive = open_archive(release_zip(folder, people), Limits(zip_ratio=1000))
    return read_providers(archive, pl.Series("npi", wanted, pl.String))


def test_only_the_wanted_rows_are_kept_and_the_others_counted(tmp_path: Path) -> None:
    frame, counts = read(tmp_path, person(A), person(B), person(C), wanted=(A, C, "1999999992"))
    assert frame["npi"].to_list() == [A, C]
    assert (counts.lines.rows, counts.found, counts.missing) == (3, 2, 1)


def test_the_primary_taxonomy_is_the_slot_whose_switch_says_yes(tmp_path: Path) -> None:
    slot = {
        "Healthcare Provider Primary Taxonomy Switch_1": "N",
        "Healthcare Provider Taxonomy Code_15": "2084P0800X",
        "Healthcare Provider Primary Taxonomy Switch_15": "Y",
    }
    frame, _ = read(tmp_path, person(A, **slot))
    assert frame.row(0, named=True)["taxonomy_code"] == "2084P0800X"
    assert frame.row(0, named=True)["primary_by_switch"] is True


@pytest.mark.parametrize("switch", ["N", "X", ""])
def test_without_a_yes_the_first_slot_is_taken_and_marked(tmp_path: Path, switch: str) -> None:
    frame, counts = read(tmp_path, person(A, **{"Healthcare Provider Primary Taxonomy Switch_1": switch}))
    assert frame.row(0, named=True)["taxonomy_code"] == "225100000X"
    assert frame.row(0, named=True)["primary_by_switch"] is False
    assert counts.primary_by_first_slot == 1


@pytest.mark.parametrize(
    ("off", "on", "deactivated"),
    [
        ("", "", False),
        ("03/01/2020", "", True),
        ("03/01/2020", "06/01/2020", False),
        ("03/01/2020", "03/01/2020", False),
        ("03/01/2020", "06/01/2019", True),
        ("some day", "", True),
    ],
)
def test_deactivated_means_deactivated_and_not_reactivated_since(
    tmp_path: Path, off: str, on: str, deactivated: bool
) -> None:
    frame, _ = read(tmp_path, person(A, **{"NPI Deactivation Date": off, "NPI Reactivation Date": on}))
    assert frame.row(0, named=True)["deactivated"] is deactivated


def test_a_date_that_is_not_understood_is_counted(tmp_path: Path) -> None:
    _, counts = read(tmp_path, person(A, **{"Last Update Date": "2025-01-02"}), person(B))
    assert dict(counts.unparsed_dates) == {"updated_on": 1}


def test_of_repeated_rows_the_newest_is_kept(tmp_path: Path) -> None:
    city = "Provider Business Practice Location Address State Name"
    frame, counts = read(
        tmp_path,
        person(A, **{"Last Update Date": "01/01/2020", city: "TX"}),
        person(A, **{"Last Update Date": "01/01/2024", city: "OH"}),
        person(A, **{"Last Update Date": "", city: "CA"}),
    )
    assert frame["state"].to_list() == ["OH"]
    assert counts.duplicates == 2


def test_a_blanked_row_has_no_entity_and_is_deactivated(tmp_path: Path) -> None:
    frame, _ = read(tmp_path, {"NPI": A, "NPI Deactivation Date": "03/03/2021"})
    assert frame.row(0, named=True)["entity_type"] is None
    assert frame.row(0, named=True)["deactivated"] is True


def test_a_stray_quote_in_a_wanted_row_is_repaired(tmp_path: Path) -> None:
    frame, counts = read(
        tmp_path, person(A), person(B, **{"Provider First Name": 'WILLIAM "BILL"'}), person(C)
    )
    assert frame["first_name"].to_list() == ["PAT", "WILLIAM 'BILL'", "PAT"]
    assert counts.lines.stray_quotes == 1


@pytest.mark.parametrize("npi", [f" {A}", f"{A} ", f"\t{A}"])
def test_a_row_whose_npi_is_not_in_its_place_is_found_all_the_same(tmp_path: Path, npi: str) -> None:
    frame, counts = read(
        tmp_path, person(B), person(npi, **{"NPI Deactivation Date": "03/01/2026"}), wanted=(A,)
    )
    assert frame.select("npi", "deactivated").rows() == [(A, True)]
    assert counts.missing == 0


def test_of_two_rows_a_newer_blank_deactivation_wins(tmp_path: Path) -> None:
    blank = {"NPI": A, "NPI Deactivation Date": "10/01/2026"}
    frame, counts = read(tmp_path, person(A, **{"Last Update Date": "01/01/2020"}), blank, wanted=(A,))
    assert (frame["deactivated"].to_list(), counts.duplicates) == ([True], 1)


def test_of_two_rows_of_one_day_the_deactivated_one_wins(tmp_path: Path) -> None:
    off = person(A, **{"Last Update Date": "01/02/2025", "NPI Deactivation Date": "01/02/2025"})
    frame, _ = read(tmp_path, person(A, **{"Last Update Date": "01/02/2025"}), off, wanted=(A,))
    assert frame["deactivated"].to_list() == [True]


def test_a_year_that_cannot_be_meant_is_no_date(tmp_path: Path) -> None:
    dates = {"NPI Deactivation Date": "03/01/2020", "NPI Reactivation Date": "06/01/24"}
    frame, counts = read(tmp_path, person(A, **dates), wanted=(A,))
    assert frame["deactivated"].to_list() == [True]
    assert counts.unparsed_dates == {"reactivated_on": 1}
