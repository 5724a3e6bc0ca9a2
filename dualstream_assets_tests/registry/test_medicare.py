"""The lists: folded per NPI, both date formats, TBD is no date and no error, names are only flags."""

from datetime import date
from pathlib import Path

import pytest

from dualstream_assets.registry.errors import ListUnreadable
from dualstream_assets.registry.medicare import (
    read_deactivated,
    read_leie,
    read_opt_out,
    read_revalidation,
    read_revoked,
)
from dualstream_assets_tests.registry.making import deactivation_report

A, B = "1003000126", "1003000134"
REVALIDATION = "Enrollment ID,National Provider Identifier,Revalidation Due Date,Adjusted Due Date\n"
LEIE = "LASTNAME,FIRSTNAME,BUSNAME,NPI,STATE,EXCLDATE,REINDATE\n"


def put(folder: Path, text: str, name: str = "list.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def test_revalidation_is_one_row_per_npi_with_the_earliest_effective_date(tmp_path: Path) -> None:
    rows = f"I1,{A},2026-08-31,\nI2,{A},05/31/2025,\nI3,{A},TBD,\n"
    table = read_revalidation(put(tmp_path, REVALIDATION + rows))
    assert table.frame.to_dicts() == [
        {
            "npi": A,
            "effective_date": date(2025, 5, 31),
            "due_date": date(2025, 5, 31),
            "adjusted_date": None,
            "enrolments": 3,
            "dated": 2,
        }
    ]
    assert (table.rows, table.unparsed_dates) == (3, 0)


def test_an_adjusted_date_replaces_the_first_even_when_it_is_later(tmp_path: Path) -> None:
    table = read_revalidation(put(tmp_path, f"{REVALIDATION}I1,{A},2025-01-31,2026-12-31\n"))
    assert table.frame["effective_date"].to_list() == [date(2026, 12, 31)]


def test_tbd_is_no_date_and_a_strange_date_is_counted(tmp_path: Path) -> None:
    table = read_revalidation(put(tmp_path, f"{REVALIDATION}I1,{A},TBD,\nI2,{B},soon,\nI3,n/a,2026-01-31,\n"))
    assert table.frame["effective_date"].to_list() == [None, None]
    assert (table.unparsed_dates, table.bad_npis) == (1, 1)


@pytest.mark.parametrize("inline", [False, True])
def test_the_deactivation_report_is_read_by_content_not_by_position(tmp_path: Path, inline: bool) -> None:
    path = deactivation_report(tmp_path / "report.zip", [(A, "03/01/2024"), (B, "")], inline=inline)
    table = read_deactivated(path)
    assert table.frame.select("npi", "since").rows() == [(A, date(2024, 3, 1)), (B, None)]


def test_a_report_that_is_no_workbook_says_so(tmp_path: Path) -> None:
    path = put(tmp_path, "no workbook", "NPPES_Deactivated_NPI_Report_110826_V2.zip")
    with pytest.raises(ListUnreadable, match=r"NPPES_Deactivated_NPI_Report_110826_V2\.zip: not a workbook"):
        read_deactivated(path)


def test_leie_rows_without_npi_keep_a_name_and_those_with_one_do_not(tmp_path: Path) -> None:
    rows = (
        f"SAMPLE,PAT,,{A},NY,20240115,00000000\n"
        "Other,Sam,,0000000000,oh,20230101,00000000\n"
        ",,FIRM,0000000000,OH,20230101,0\n"
    )
    table = read_leie(put(tmp_path, LEIE + rows))
    assert table.frame.select("npi", "since", "until", "last_name", "state").rows() == [
        (A, date(2024, 1, 15), None, None, None),
        (None, date(2023, 1, 1), None, "OTHER", "OH"),
    ]
    assert table.bad_npis == 0


def test_revoked_and_opted_out_have_their_ends(tmp_path: Path) -> None:
    revoked = read_revoked(
        put(tmp_path, f"NPI,REVOCATION_EFCTV_DT,REENROLLMENT_BAR_EXPRTN_DT\n{A},01/01/2025,2028-01-01\n")
    )
    assert revoked.frame.select("list", "npi", "until").rows() == [("revoked", A, date(2028, 1, 1))]
    opted = read_opt_out(put(tmp_path, f"NPI,Optout Effective Date,Optout End Date\n{B},1/5/2025,1/5/2027\n"))
    assert opted.frame.select("list", "npi", "until").rows() == [("opt_out", B, date(2027, 1, 5))]


def test_a_list_in_iso_8859_1_is_read(tmp_path: Path) -> None:
    table = read_leie(put(tmp_path, f"{LEIE}PEÑA,PAT,,{A},NY,20240115,00000000\n", encoding="latin-1"))
    assert table.frame["npi"].to_list() == [A]


def test_a_list_without_its_column_names_the_column(tmp_path: Path) -> None:
    with pytest.raises(ListUnreadable, match="no column 'National Provider Identifier'"):
        read_revalidation(put(tmp_path, "npi,due\n1,2\n"))
