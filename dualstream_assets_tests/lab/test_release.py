"""The release of the pretend world has the exact form of CMS's, byte for byte the same for one seed."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from dualstream_assets.lab.release import endpoint_columns, npidata_columns, release_files, write_release
from dualstream_assets.lab.world import World
from dualstream_assets.registry.addresses import Found, extract
from dualstream_assets.registry.medicare import OPTIONAL, ListKind, newest_day, read_list
from dualstream_assets.registry.release import find_lists
from dualstream_assets_tests.lab.small_world import SEED, estate_of_lab, small_world

SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


@pytest.fixture(scope="module")
def world() -> World:
    return small_world()


@pytest.fixture(scope="module")
def files(world: World) -> dict[str, bytes]:
    return release_files(world)


@pytest.fixture(scope="module")
def members(files: dict[str, bytes]) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(files["NPPES_Data_Dissemination_November_2026_V2.zip"])) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


def _rows(text: str | bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text if isinstance(text, str) else text.decode())))


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_release(small_world(), tmp_path / folder)
    one = {p.name: p.read_bytes() for p in (tmp_path / "one").iterdir()}
    assert one == {p.name: p.read_bytes() for p in (tmp_path / "two").iterdir()}
    assert len(one) == 6


def test_the_archives_do_not_carry_the_time_of_writing(files: dict[str, bytes]) -> None:
    for name, content in files.items():
        if name.endswith(".zip"):
            infos = zipfile.ZipFile(io.BytesIO(content)).infolist()
            assert {info.date_time for info in infos} == {(2026, 1, 1, 0, 0, 0)}


def test_another_seed_gives_other_bytes(files: dict[str, bytes]) -> None:
    other = release_files(small_world(seed=SEED + 1))
    assert all(other[name] != content for name, content in files.items())


def test_the_zip_is_named_and_filled_as_cms_does(members: dict[str, str]) -> None:
    stems = [
        f"{t}_20050523-20261108" for t in ("npidata_pfile", "othername_pfile", "pl_pfile", "endpoint_pfile")
    ]
    assert sorted(members) == sorted([f"{s}.csv" for s in stems] + [f"{s}_fileheader.csv" for s in stems])


def test_npidata_has_330_columns_and_endpoints_19(members: dict[str, str]) -> None:
    npidata = _rows(members["npidata_pfile_20050523-20261108.csv"])
    assert {len(row) for row in npidata} == {330}
    assert npidata[0] == npidata_columns()
    assert len(endpoint_columns()) == 19
    assert _rows(members["endpoint_pfile_20050523-20261108.csv"])[0] == endpoint_columns()


def test_each_file_begins_with_the_line_of_its_fileheader(members: dict[str, str]) -> None:
    for name, text in members.items():
        if not name.endswith("_fileheader.csv"):
            assert text.startswith(members[name.replace(".csv", "_fileheader.csv")])


def test_every_value_is_quoted_except_for_the_known_fault(members: dict[str, str], world: World) -> None:
    for name, text in members.items():
        assert "\r" not in text
        quotes = 2 * len(_rows(text)[0])
        odd = [line for line in text.splitlines() if line.count('"') != quotes]
        nested = sum(row.nested_quote for row in world.rows) if name.startswith("endpoint_pfile_2005") else 0
        assert len(odd) == (nested if "fileheader" not in name else 0)
        assert all(line.startswith('"') and line.endswith('"') for line in text.splitlines())


def test_deactivated_rows_are_blank_except_for_npi_and_date(members: dict[str, str], world: World) -> None:
    blank = {p.npi for p in world.providers if p.blank}
    rows = {row[0]: row for row in _rows(members["npidata_pfile_20050523-20261108.csv"])}
    assert blank
    for npi in blank:
        assert [i for i, value in enumerate(rows[npi]) if value] == [0, 39]


def test_the_primary_taxonomy_is_not_always_the_first(members: dict[str, str]) -> None:
    switches = {row[50] for row in _rows(members["npidata_pfile_20050523-20261108.csv"])[1:]}
    assert switches == {"Y", "N", ""}


def test_the_endpoint_file_holds_every_pathology(members: dict[str, str]) -> None:
    text = members["endpoint_pfile_20050523-20261108.csv"]
    endpoints = re.findall(r'^"\d{10}","([A-Z]+)","[^"]*","([^"]*)"', text, re.MULTILINE)
    values = [value for _, value in endpoints]
    assert {kind for kind, _ in endpoints} == {"DIRECT", "CONNECT", "OTHERS", "SOAP", "FHIR"}
    for pattern in (
        r"^mailto:",
        r"\.test\.$",
        r"^ .* $",
        r"^[A-Z.\-0-9]+@[A-Z.\-0-9]+$",
        r"^[A-Z][a-z.]+@",
        r"@.*[;,/] ?.*@",
        r"^https?://",
        r"^HTTPS://",
        r"\.con$",
        r"@va\.gov$",
        r"\.direct\.athenahealth\.com$",
        r"^$",
        r"^Email$",
        r"^\d{10}$",
        r"\.\.",
        r"@@",
    ):
        assert any(re.search(pattern, value) for value in values), pattern
    assert len(values) > len(set(re.findall(r'^"\d{10}","[A-Z]+","[^"]*","[^"]*"', text, re.MULTILINE)))


def test_the_deactivation_report_is_a_spreadsheet_with_title_and_header(
    files: dict[str, bytes], world: World
) -> None:
    with zipfile.ZipFile(io.BytesIO(files["NPPES_Deactivated_NPI_Report_110826_V2.zip"])) as outer:
        (name,) = outer.namelist()
        inner = zipfile.ZipFile(io.BytesIO(outer.read(name)))
    strings = [si.findtext(f"{SHEET}t") for si in ET.fromstring(inner.read("xl/sharedStrings.xml"))]
    sheet = ET.fromstring(inner.read("xl/worksheets/sheet1.xml"))
    rows = [[strings[int(c.findtext(f"{SHEET}v") or 0)] for c in r] for r in sheet.iter(f"{SHEET}row")]
    assert name.endswith(".xlsx")
    assert len(rows[0]) == 1
    assert rows[1] == ["NPI", "NPPES Deactivation Date"]
    assert [row[0] for row in rows[2:]] == [npi for npi, _ in world.lists.deactivation_report]
    assert all(re.fullmatch(r"\d\d/\d\d/\d{4}", row[1] or "") for row in rows[2:])


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("UPDATED.csv", 18),
        ("revalidation_base.csv", 13),
        ("Revocation_Extract_2026.11.08.csv", 12),
        ("Opt_Out_Affidavits_2026.11.08.csv", 13),
    ],
)
def test_each_list_has_its_columns_and_rows(files: dict[str, bytes], name: str, columns: int) -> None:
    rows = _rows(files[name])
    assert len(rows) > 1
    assert {len(row) for row in rows} == {columns}


def test_revalidation_dates_come_as_tbd_iso_and_us_dates(files: dict[str, bytes]) -> None:
    dates = {re.sub(r"\d", "9", row[9]) for row in _rows(files["revalidation_base.csv"])[1:]}
    assert dates == {"TBD", "9999-99-99", "99/99/9999"}


def test_no_list_is_too_old_for_the_estate_on_the_labs_first_day(world: World, tmp_path: Path) -> None:
    write_release(world, tmp_path)
    listed = find_lists(tmp_path)
    assert set(listed) == set(ListKind) - OPTIONAL
    for file in listed.values():
        newest = newest_day(read_list(file.kind, file.path)) if file.day_from == "file" else None
        age = world.epoch.date() - (newest or file.day)
        assert 0 <= age.days <= estate_of_lab().limits.list_age_days


def test_every_reader_of_the_registry_understands_every_row(world: World, tmp_path: Path) -> None:
    write_release(world, tmp_path)
    for kind, file in find_lists(tmp_path).items():
        table = read_list(kind, file.path)
        assert (table.unparsed_dates, table.bad_npis) == (0, 0)


def test_the_truth_of_a_row_is_what_the_registry_reads_in_it(world: World) -> None:
    for row in world.rows:
        fields = (*extract(row.endpoint), *extract(row.description))
        assert {one.address for one in fields if isinstance(one, Found)} == set(row.addresses)


def test_exclusions_without_an_npi_are_in_the_oig_list_too(files: dict[str, bytes]) -> None:
    npis = [row[7] for row in _rows(files["UPDATED.csv"])[1:]]
    assert "0000000000" in npis
    assert len(set(npis)) > 1
