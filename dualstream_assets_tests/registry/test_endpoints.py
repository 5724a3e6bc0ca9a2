"""Addresses are found by content: under any type, in the description too; each row keeps what it states."""

from pathlib import Path

import polars as pl
import pytest

from dualstream_assets.estate.model import Limits
from dualstream_assets.registry.addresses import Found, extract
from dualstream_assets.registry.archive import open_archive
from dualstream_assets.registry.columns import ENDPOINT_LAYOUT
from dualstream_assets.registry.endpoints import EndpointCounts, read_endpoints, row_blocks
from dualstream_assets.registry.mending import LineCounts
from dualstream_assets_tests.registry.making import filed, release_zip

A, B = "1003000126", "1003000134"


def read(folder: Path, *rows: dict[str, str]) -> tuple[pl.DataFrame, EndpointCounts]:
    return read_endpoints(open_archive(release_zip(folder, [], rows), Limits(zip_ratio=1000)))


def test_an_address_is_found_under_every_type_even_one_nobody_knows(tmp_path: Path) -> None:
    kinds = ("DIRECT", "CONNECT", "SOAP", "OTHERS", "FHIR", "RESTFUL", "")
    frame, counts = read(
        tmp_path, *(filed(A, f"box{i}@clinic.example", kind) for i, kind in enumerate(kinds))
    )
    assert frame["endpoint_type"].to_list() == list(kinds)
    assert dict(counts.types) == dict.fromkeys(kinds, 1)


def test_an_address_in_the_description_is_found_when_the_endpoint_says_email(tmp_path: Path) -> None:
    frame, counts = read(tmp_path, filed(A, "Email", "OTHERS", "office@clinic.example"))
    assert frame["address"].to_list() == ["office@clinic.example"]
    assert counts.only_in_description == 1


def test_the_same_address_in_both_fields_is_one_candidate(tmp_path: Path) -> None:
    frame, _ = read(tmp_path, filed(A, "office@clinic.example", description="Office@clinic.example"))
    assert frame.height == 1


def test_two_addresses_in_a_row_are_two_candidates(tmp_path: Path) -> None:
    frame, _ = read(tmp_path, filed(A, "a@clinic.example; b@clinic.example", description="c@clinic.example"))
    assert frame["address"].to_list() == ["a@clinic.example", "b@clinic.example", "c@clinic.example"]


def test_a_refused_text_stays_with_its_reason_and_its_words(tmp_path: Path) -> None:
    frame, counts = read(tmp_path, filed(A, "office@@clinic.example"))
    row = frame.row(0, named=True)
    assert (row["address"], row["reason"]) == (None, "double_at")
    assert "meant office@clinic.example?" in row["text"]
    assert counts.refusals["double_at"] == 1


def test_rows_without_an_at_sign_are_counted_and_are_no_candidates(tmp_path: Path) -> None:
    frame, counts = read(
        tmp_path, filed(A, "COMPULINK", "CONNECT"), filed(B, "https://fhir.clinic.example", "FHIR")
    )
    assert frame.is_empty()
    assert counts.lines.rows == 2
    assert not counts.types_with_text


def test_the_affiliation_is_taken_only_where_the_row_says_yes(tmp_path: Path) -> None:
    name = "Affiliation Legal Business Name"
    frame, _ = read(
        tmp_path,
        filed(A, "a@clinic.example", Affiliation="Y", **{name: "Clinic LLC"}),
        filed(B, "b@clinic.example", Affiliation="N", **{name: "Clinic LLC"}),
    )
    assert frame["affiliation"].to_list() == ["Clinic LLC", None]


def test_many_small_blocks_give_what_one_block_gives(tmp_path: Path) -> None:
    rows = [
        filed(A, f"box{i}@clinic.example", description='say "hi"' if i % 7 == 0 else "") for i in range(500)
    ]
    archive = open_archive(release_zip(tmp_path, [], rows), Limits(zip_ratio=1000))
    columns = ("NPI", "Endpoint")
    many = pl.concat(
        r.frame for r in row_blocks(archive, ENDPOINT_LAYOUT, columns, LineCounts(), block_bytes=1500)
    )
    one = pl.concat(r.frame for r in row_blocks(archive, ENDPOINT_LAYOUT, columns, LineCounts()))
    assert many.equals(one)
    assert one.height == 500


@pytest.mark.parametrize(
    "text",
    [
        "A.B@Clinic.Example",
        " a@clinic.example ",
        "mailto:a@clinic.example",
        "MAILTO:A@clinic.example",
        "a@clinic.example.",
        "Mailto:a@Clinic.example. ",
        "mailto:a@clinic.example..",
        "mailto: a@clinic.example",
        "+a@clinic.example",
        "a" * 60 + "@clinic.example",
        "a" * 65 + "@clinic.example",
        "a@" + "b" * 64 + ".example",
        "-@-.example",
        "www.a@clinic.example",
    ],
)
def test_the_fast_way_and_the_careful_one_agree_on_address_and_repairs(tmp_path: Path, text: str) -> None:
    frame, counts = read(tmp_path, filed(A, text))
    (careful,) = extract(text)
    if isinstance(careful, Found):
        assert frame["address"].to_list() == [careful.address]
        assert set(counts.repairs) == set(careful.repairs)
    else:
        assert frame["reason"].to_list() == [careful.reason]


def test_a_type_that_is_no_word_of_cms_is_counted_without_being_named(tmp_path: Path) -> None:
    _, counts = read(tmp_path, filed(A, "a@clinic.example", kind="jane@clinic.example"))
    assert counts.types == {"(other)": 1}
