"""The lists: folded per NPI, both date formats, TBD is no date and no error, names are only flags."""

from datetime import date
from pathlib import Path

import pytest

from dualstream_assets.registry import csvlist
from dualstream_assets.registry.errors import ListUnreadable
from dualstream_assets.registry.medicare import (
    mark_enrolled,
    newest_day,
    read_deactivated,
    read_leie,
    read_opt_out,
    read_ppef,
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
            "enrolled": None,
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


def test_columns_are_found_by_name_whatever_their_order_case_and_spaces(tmp_path: Path) -> None:
    """A list of 2017 wrote the last column in the plural; others have other cases."""
    header = "ADJUSTED_DUE_DATE,revalidation due date ,Receiving Benefits Reassignments,NATIONAL PROVIDER IDENTIFIER\n"
    table = read_revalidation(put(tmp_path, f"{header},01/31/2027,0,{A}\n"))
    assert table.frame.select("npi", "effective_date").rows() == [(A, date(2027, 1, 31))]


def test_a_list_with_a_byte_order_mark_and_windows_line_ends_is_read(tmp_path: Path) -> None:
    text = REVALIDATION.replace("Enrollment ID,", "") + f"{A},2027-01-31,\n"
    table = read_revalidation(put(tmp_path, text.replace("\n", "\r\n"), encoding="utf-8-sig"))
    assert table.frame["effective_date"].to_list() == [date(2027, 1, 31)]


@pytest.mark.parametrize(
    ("stated", "day", "strange"),
    [
        ("2026-08-31", date(2026, 8, 31), 0),
        ("08/31/2026", date(2026, 8, 31), 0),
        ("8/1/2026", date(2026, 8, 1), 0),
        ("2026-08-31T00:00:00", date(2026, 8, 31), 0),
        ("8/31/2026 0:00", date(2026, 8, 31), 0),
        (" 08/31/2026 ", date(2026, 8, 31), 0),
        ("TBD", None, 0),
        ("tbd", None, 0),
        ("", None, 0),
        ("31/08/2026", None, 1),
        ("2026-08-31x", None, 1),
        ("45900", None, 1),
        ("1/5/26", None, 1),  # two digits of a year would be the year 26
        ("01/05/26", None, 1),
        ("26-01-05", None, 1),
        ("0026-01-05", None, 1),
        ("1/5/20266", None, 1),
        ("12/31/1949", None, 1),
        ("01/01/2201", None, 1),
        ("01/01/1950", date(1950, 1, 1), 0),
        ("12/31/2200", date(2200, 12, 31), 0),
    ],
)
def test_both_date_formats_are_read_and_what_is_neither_is_counted(
    tmp_path: Path, stated: str, day: date | None, strange: int
) -> None:
    table = read_revalidation(put(tmp_path, f"{REVALIDATION}I1,{A},{stated},\n"))
    assert (table.frame["due_date"].to_list(), table.unparsed_dates) == ([day], strange)


def test_a_strange_adjusted_date_is_counted_and_the_first_one_stays(tmp_path: Path) -> None:
    table = read_revalidation(put(tmp_path, f"{REVALIDATION}I1,{A},2026-08-31,later\n"))
    assert (table.frame["effective_date"].to_list(), table.unparsed_dates) == ([date(2026, 8, 31)], 1)


def test_a_leie_date_that_is_none_is_not_counted_and_a_broken_one_is(tmp_path: Path) -> None:
    rows = f"SAMPLE,PAT,,{A},NY,20240115,00000000\nSAMPLE,PAT,,{B},NY,2024-01-15,soon\n,,FIRM,12345,NY,20240115,\n"
    table = read_leie(put(tmp_path, LEIE + rows))
    assert (table.unparsed_dates, table.bad_npis) == (2, 1)
    assert newest_day(table) == date(2024, 1, 15)


@pytest.mark.parametrize("stated", ["00260115", "260115", "1/15/2026", "22020115"])
def test_a_leie_day_of_no_such_year_is_counted(tmp_path: Path, stated: str) -> None:
    table = read_leie(put(tmp_path, f"{LEIE}SAMPLE,PAT,,{A},NY,{stated},00000000\n"))
    assert (table.unparsed_dates, table.dates, table.frame["since"].to_list()) == (1, 1, [None])


def test_a_list_says_how_many_rows_state_an_npi_and_how_many_dates_there_are(tmp_path: Path) -> None:
    rows = (
        f"SAMPLE,PAT,,{A},NY,20240115,00000000\nSAMPLE,SAM,,0000000000,NY,20240115,00000000\n"
        ",,FIRM,,NY,20240115,20260101\n,,FIRM,12345,NY,soon,0\n"
    )
    table = read_leie(put(tmp_path, LEIE + rows))
    assert (table.rows, table.npis, table.bad_npis, table.dates, table.unparsed_dates) == (4, 2, 1, 5, 1)
    due = read_revalidation(put(tmp_path, f"{REVALIDATION}I1,{A},TBD,\nI2,,soon,01/31/2027\n"))
    assert (due.rows, due.npis, due.bad_npis, due.dates, due.unparsed_dates) == (2, 2, 1, 2, 1)
    opted = read_opt_out(put(tmp_path, f"NPI,Optout Effective Date,Optout End Date\n{B},1/5/2025,\n"))
    assert (opted.npis, opted.bad_npis, opted.dates) == (1, 0, 1)
    report = read_deactivated(deactivation_report(tmp_path / "report.zip", [(A, "03/01/2024"), (B, "")]))
    assert (report.npis, report.dates) == (2, 1)


def test_an_opt_out_list_is_as_old_as_its_last_update_not_as_its_entries(tmp_path: Path) -> None:
    header = "NPI,Optout Effective Date,Optout End Date,Last updated\n"
    table = read_opt_out(put(tmp_path, f"{header}{B},1/1/2027,1/1/2029,11/15/2026\n"))
    assert newest_day(table) == date(2026, 11, 15)
    plain = read_opt_out(put(tmp_path, f"NPI,Optout Effective Date,Optout End Date\n{B},1/1/2027,1/1/2029\n"))
    assert newest_day(plain) is None


def test_the_enrolment_list_is_iso_8859_1_and_gives_each_npi_once(tmp_path: Path) -> None:
    header = (
        "NPI,PECOS_ASCT_CNTL_ID,ENRLMT_ID,PROVIDER_TYPE_CD,PROVIDER_TYPE_DESC,STATE_CD,"
        "FIRST_NAME,MDL_NAME,LAST_NAME,ORG_NAME\n"
    )
    rows = (
        f"{A},1,I1,14,X,NY,JOSÉ,,PEÑA,\n{A},1,I2,14,X,NJ,JOSÉ,,PEÑA,\n"
        f"{B},2,O1,12,X,PR,,,,CLÍNICA\nN/A,3,O2,12,X,NY,,,,X\n"
    )
    table = read_ppef(put(tmp_path, header + rows, "PPEF_Enrollment_Extract_2026.10.01.csv", "latin-1"))
    assert table.frame.rows() == [(int(A),), (int(B),)]
    assert (table.rows, table.bad_npis) == (4, 1)


def test_who_is_overdue_and_not_enrolled_any_more_can_be_told(tmp_path: Path) -> None:
    due = read_revalidation(
        put(tmp_path, f"{REVALIDATION}I1,{A},2024-01-31,\nI2,{B},2024-01-31,\nI3,1999999992,TBD,\n")
    )
    enrolled = read_ppef(put(tmp_path, f"NPI,STATE_CD\n{B},NY\n", "PPEF_Enrollment_Extract_2026.10.01.csv"))
    marked = mark_enrolled(due.frame, enrolled.frame)
    assert marked.select("npi", "enrolled").rows() == [(A, False), (B, True), ("1999999992", False)]
    assert marked.columns == due.frame.columns


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "empty"),
        ("<!DOCTYPE html><html><body>Access denied</body></html>", "an HTML page"),
        ("PK\x03\x04rest", "a ZIP archive; unpack it"),
        (f"{LEIE}SAMPLE,PAT,,{A},NY,20240115,00000000\nSAMPLE,PAT,,{B}", "cut off, the last line has 4 of 7"),
    ],
)
def test_what_is_no_list_is_refused_with_its_cure(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(ListUnreadable, match=said):
        read_leie(put(tmp_path, content, "UPDATED.csv"))


def test_a_last_line_without_its_line_end_is_not_cut_off(tmp_path: Path) -> None:
    table = read_leie(put(tmp_path, f"{LEIE}SAMPLE,PAT,,{A},NY,20240115,00000000"))
    assert table.rows == 1


@pytest.mark.parametrize("bytes_each", [40, 90, 1000])
def test_a_list_read_in_blocks_is_the_list_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bytes_each: int
) -> None:
    """No record is lost or split at a border."""
    monkeypatch.setattr(csvlist, "BLOCK_BYTES", bytes_each)
    header = "NPI,Name,Optout Effective Date,Optout End Date\n"
    npis = [str(1003000126 + n) for n in range(50)]
    rows = [f'{npi},"A ""B"", C{"x" * (n % 7)}",1/{n % 28 + 1}/2026,1/1/2028\n' for n, npi in enumerate(npis)]
    table = read_opt_out(put(tmp_path, (header + "".join(rows)).rstrip("\n")))
    assert table.frame["npi"].to_list() == npis
    assert [day.day for day in table.frame["since"]] == [n % 28 + 1 for n in range(50)]


def test_a_list_of_a_header_only_is_read_as_empty(tmp_path: Path) -> None:
    assert read_opt_out(put(tmp_path, "NPI,Optout Effective Date,Optout End Date\n")).rows == 0


def test_an_npi_that_begins_with_zero_keeps_it(tmp_path: Path) -> None:
    table = read_revalidation(put(tmp_path, f"{REVALIDATION}I1,0123456789,TBD,\n"))
    assert table.frame["npi"].to_list() == ["0123456789"]


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        ('"never closed\n' + "x,y,z\n" * 200, "not readable as CSV from line 3 on"),
        ("x" * 2000, "line 3 does not end within 500 bytes"),
    ],
)
def test_a_record_that_does_not_end_is_refused_and_not_gathered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tail: str, said: str
) -> None:
    monkeypatch.setattr(csvlist, "BLOCK_BYTES", 100)
    monkeypatch.setattr(csvlist, "RECORD_BYTES", 500)
    text = f"NPI,Optout Effective Date,Optout End Date\n{A},1/1/2026,1/1/2028\n{tail}"
    with pytest.raises(ListUnreadable, match=said):
        read_opt_out(put(tmp_path, text + f"\n{A},1/1/2026,1/1/2028\n"))


WHOLE = f"DOE,JANE,,{A},NY,20200101,00000000\n"


@pytest.mark.parametrize(
    ("row", "ragged"),
    [
        (WHOLE, 0),
        (f"DOE,JANE,A,B CORP,{A},NY,20200101,00000000\n", 1),
        (f"DOE,JANE,A, B, C CORP,{A},NY,20200101,00000000\n", 1),
        (f'DOE,JANE,"A, B CORP",{A},NY,20200101,00000000\n', 0),
        (f'"DOE","JANE","A ""B"" CORP","{A}","NY","20200101",""\n', 0),
        (f"DOE,JANE,,{A},NY,20200101\n", 1),
        (f"DOE,JANE,,{A},NY,20200101,\n", 0),
        (f"DOE,JANE,,{A},NY,20200101,,\n", 1),
        ("DOE\n", 1),
        ("\n \n\n", 0),
        (f"DOE,JANE,6 PUMP,{A},NY,20200101,00000000,,,,,\n", 1),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_row_with_too_many_or_too_few_columns_is_counted(
    tmp_path: Path, row: str, ragged: int, end: str
) -> None:
    """`A,B CORP` without quotes shifts the NPI out of its column, and nobody would see it."""
    table = read_leie(put(tmp_path, (LEIE + WHOLE + row + WHOLE).replace("\n", end)))
    assert (table.ragged, table.rows) == (ragged, 2 + bool(row.strip()))
    assert table.frame["npi"].to_list().count(A) >= 2


def test_every_list_counts_its_ragged_rows(tmp_path: Path) -> None:
    opted = read_opt_out(
        put(tmp_path, f"NPI,Name,Optout Effective Date,Optout End Date\n{A},DOE, JANE,1/1/2026,1/1/2028\n")
    )
    revoked = read_revoked(
        put(
            tmp_path, f"NPI,REVOCATION_EFCTV_DT,REENROLLMENT_BAR_EXPRTN_DT\n{A},01/01/2025\n{A},01/01/2025,\n"
        )
    )
    due = read_revalidation(put(tmp_path, f"{REVALIDATION}I1,{A},TBD\nI2,{B},TBD,\n"))
    enrolled = read_ppef(put(tmp_path, f"NPI,NAME\n{A},DOE, JANE\n{B},X\n"))
    assert (opted.ragged, revoked.ragged, due.ragged, enrolled.ragged) == (1, 1, 1, 1)


@pytest.mark.parametrize("between", [0, 1, 50])
def test_two_lone_quotes_do_not_swallow_the_rows_between_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, between: int
) -> None:
    first = f'DOE,JANE,"ACME,{A},NY,20200101,00000000\n'
    last = f'DOE,JANE,ACME",{A},NY,20200101,00000000\n'
    path = put(tmp_path, LEIE + WHOLE + first + WHOLE * between + last + WHOLE)
    for size in (40, 1000, 8 << 20):
        monkeypatch.setattr(csvlist, "BLOCK_BYTES", size)
        with pytest.raises(ListUnreadable, match="not readable as CSV from line 3 on") as error:
            read_leie(path)
        assert "DOE" not in str(error.value)


def test_a_quote_behind_a_quoted_value_is_refused_without_the_value(tmp_path: Path) -> None:
    with pytest.raises(ListUnreadable, match="not readable as CSV from line 2 on") as error:
        read_leie(put(tmp_path, f'{LEIE}"DOE" INC,JANE,,{A},NY,20200101,00000000\n'))
    assert "DOE" not in str(error.value)


def test_a_column_name_that_stands_twice_is_refused_where_it_is_needed(tmp_path: Path) -> None:
    again = LEIE.replace("BUSNAME", "npi")
    with pytest.raises(ListUnreadable, match="2 columns 'NPI' among its 7 columns"):
        read_leie(put(tmp_path, again + WHOLE))
    other = put(tmp_path, "X,X,NPI,Optout Effective Date,Optout End Date\n" + f"1,2,{A},1/1/2026,1/1/2028\n")
    assert read_opt_out(other).frame["npi"].to_list() == [A]


@pytest.mark.parametrize("last", ["", "\n", "\nDOE,JA"])
def test_a_list_with_old_line_ends_is_refused(tmp_path: Path, last: str) -> None:
    with pytest.raises(ListUnreadable, match="header row has no line end"):
        read_leie(put(tmp_path, (LEIE + WHOLE * 3).replace("\n", "\r") + last))


def test_a_list_without_its_header_row_says_no_name(tmp_path: Path) -> None:
    with pytest.raises(ListUnreadable, match="no column 'LASTNAME' among its 7 columns") as error:
        read_leie(put(tmp_path, WHOLE * 2))
    assert "DOE" not in str(error.value)


@pytest.mark.parametrize("stated", ["12/31/9999", "9999-12-31", "12/31/9999 00:00"])
def test_the_end_of_time_is_an_open_end_and_no_strange_date(tmp_path: Path, stated: str) -> None:
    header = "NPI,REVOCATION_EFCTV_DT,REENROLLMENT_BAR_EXPRTN_DT\n"
    table = read_revoked(put(tmp_path, f"{header}{A},01/01/2025,{stated}\n"))
    assert (table.frame["until"].to_list(), table.unparsed_dates, table.dates) == ([None], 0, 1)
    first = read_revoked(put(tmp_path, f"{header}{A},{stated},01/01/2028\n"))
    assert first.unparsed_dates == 1
    leie = read_leie(put(tmp_path, f"{LEIE}DOE,JANE,,{A},NY,20200101,99991231\n"))
    assert (leie.frame["until"].to_list(), leie.unparsed_dates) == ([None], 0)


def test_digits_of_other_scripts_are_no_npi(tmp_path: Path) -> None:
    other = "".join(chr(0x660 + int(digit)) for digit in A)
    table = read_leie(put(tmp_path, f"{LEIE}DOE,JANE,,{other},NY,20200101,00000000\n"))
    assert (table.frame["npi"].to_list(), table.bad_npis) == ([None], 1)
    with pytest.raises(ListUnreadable, match="no row begins with an NPI"):
        read_deactivated(deactivation_report(tmp_path / "report.zip", [(other, "03/01/2024")]))
