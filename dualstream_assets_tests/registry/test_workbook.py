"""The deactivation report as a workbook: bounded, and read element by element."""

import io
import zipfile
from pathlib import Path

import pytest

from dualstream_assets.estate.model import Limits
from dualstream_assets.lab.xlsx import FRAME
from dualstream_assets.registry.errors import ListUnreadable
from dualstream_assets.registry.medicare import read_deactivated
from dualstream_assets.registry.workbook import sheet_rows
from dualstream_assets_tests.registry.making import SHEET, deactivation_report

A = "1003000126"
NAME = "NPPES_Deactivated_NPI_Report_110826_V2.zip"


def zipped(path: Path, sheet: bytes, *, shared: bytes | None = None) -> Path:
    """A report whose inner workbook is deflated."""
    book = io.BytesIO()
    with zipfile.ZipFile(book, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in FRAME.items():
            archive.writestr(name, text)
        archive.writestr("xl/worksheets/sheet1.xml", sheet)
        if shared is not None:
            archive.writestr("xl/sharedStrings.xml", shared)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("report.xlsx", book.getvalue())
    return path


def test_a_bomb_in_the_sheet_is_refused_by_its_ratio(tmp_path: Path) -> None:
    path = zipped(tmp_path / NAME, b" " * 5_000_000)
    with pytest.raises(
        ListUnreadable, match=rf"{NAME}: xl/worksheets/sheet1\.xml unpacks \d+ times its size"
    ):
        read_deactivated(path)


def test_a_bomb_in_the_strings_is_refused_too(tmp_path: Path) -> None:
    path = zipped(tmp_path / NAME, b"<x/>", shared=b" " * 5_000_000)
    with pytest.raises(ListUnreadable, match=r"sharedStrings\.xml unpacks"):
        read_deactivated(path)


def test_a_bomb_in_the_outer_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("report.xlsx", bytes(5_000_000))
    with pytest.raises(ListUnreadable, match=r"report\.xlsx unpacks"):
        read_deactivated(path)


def test_a_sheet_beyond_the_estates_bytes_is_refused(tmp_path: Path) -> None:
    path = deactivation_report(tmp_path / NAME, [(A, "01/02/2020")] * 50)
    with pytest.raises(ListUnreadable, match="would unpack to"):
        read_deactivated(path, Limits(zip_bytes=500))


def test_an_entity_bomb_does_not_grow(tmp_path: Path) -> None:
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 9))
    cell = "<sheetData><row><c><v>&l8;</v></c></row></sheetData>"
    text = f'<!DOCTYPE x [<!ENTITY l0 "lol">{levels}]><worksheet xmlns="{SHEET}">{cell}</worksheet>'
    cells = [cell for row in sheet_rows(zipped(tmp_path / NAME, text.encode())) for cell in row]
    assert sum(map(len, cells)) < 100


def test_title_and_header_rows_anywhere_are_skipped_by_content(tmp_path: Path) -> None:
    rows = [
        ("A note", ""),
        (A, "03/01/2024"),
        ("NPI", "NPPES Deactivation Date"),
        ("1003000134", "04/01/2024"),
    ]
    table = read_deactivated(deactivation_report(tmp_path / NAME, rows))
    assert table.frame["npi"].to_list() == [A, "1003000134"]


def test_an_xlsx_without_its_zip_is_read(tmp_path: Path) -> None:
    outer = deactivation_report(tmp_path / NAME, [(A, "03/01/2024")])
    with zipfile.ZipFile(outer) as archive:
        (tmp_path / "NPPES Deactivated NPI Report 20261108.xlsx").write_bytes(
            archive.read(archive.namelist()[0])
        )
    table = read_deactivated(tmp_path / "NPPES Deactivated NPI Report 20261108.xlsx")
    assert table.rows == 1


@pytest.mark.parametrize("keep", [0, 10, 300])
def test_a_truncated_report_is_refused(tmp_path: Path, keep: int) -> None:
    path = deactivation_report(tmp_path / NAME, [(A, "03/01/2024")] * 20)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ListUnreadable, match="not a workbook"):
        read_deactivated(path)
