"""Finding, adding and reporting releases and lists."""

import os
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from dualstream_assets.estate.model import Limits
from dualstream_assets.registry.columns import ENDPOINT
from dualstream_assets.registry.errors import DamagedMember, RegistryError, ReleaseMissing, VersionOneRelease
from dualstream_assets.registry.medicare import ListKind
from dualstream_assets.registry.release import (
    add,
    check_file,
    find_lists,
    find_release,
    find_weeklies,
    list_kind,
    weekly_days,
)
from dualstream_assets.registry.report import inspect
from dualstream_assets.store.files import DiskFull
from dualstream_assets_tests.registry.making import filed, line, person, release_zip, weekly_zip

LIMITS = Limits(zip_ratio=1000)
NPI = "1003000126"
LEIE = "LASTNAME,FIRSTNAME,NPI,STATE,EXCLDATE,REINDATE\n"


def test_the_newest_month_wins_not_the_last_in_the_alphabet(tmp_path: Path) -> None:
    for month in ("September_2026", "October_2026", "November_2025"):
        (tmp_path / f"NPPES_Data_Dissemination_{month}_V2.zip").touch()
    (tmp_path / "NPPES_Data_Dissemination_110226_110826_Weekly_V2.zip").touch()
    assert find_release(tmp_path).name == "NPPES_Data_Dissemination_October_2026_V2.zip"


def test_an_empty_inbox_says_what_to_do(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ReleaseMissing, match="next: dualstream release add"):
            find_release(folder)


def test_an_inbox_with_only_a_v1_release_says_that(tmp_path: Path) -> None:
    (tmp_path / "NPPES_Data_Dissemination_October_2025.zip").touch()
    with pytest.raises(VersionOneRelease, match="no _V2"):
        find_release(tmp_path)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("revalidation_base.csv", ListKind.REVALIDATION),
        ("Revalidation_Clinic_Group_Practice_Reassignment.csv", None),
        ("NPPES_Deactivated_NPI_Report_110826_V2.zip", ListKind.DEACTIVATED),
        ("UPDATED.csv", ListKind.LEIE),
        ("Revocation_Extract_2026.11.08.csv", ListKind.REVOKED),
        ("Opt_Out_Affidavits_2026.11.08.csv", ListKind.OPT_OUT),
        ("PPEF_Enrollment_Extract_2026.10.01.csv", ListKind.PPEF),
        ("PPEF_Reassignment_Extract_2026.10.01.csv", None),
        ("NPPES_Deactivated_NPI_Report_110826.zip", None),
        ("NPPES Deactivated NPI Report 20261108.xlsx", ListKind.DEACTIVATED),
        ("REVALIDATION_BASE.CSV", ListKind.REVALIDATION),
        ("NPPES_Data_Dissemination_October_2026_V2.zip", None),
        ("notes.csv", None),
    ],
)
def test_lists_are_known_by_their_published_names(name: str, kind: ListKind | None) -> None:
    assert list_kind(name) is kind


def test_the_newest_of_a_kind_is_found_and_a_missing_kind_is_absent(tmp_path: Path) -> None:
    for name in (
        "Opt_Out_Affidavits_2026.09.08.csv",
        "Opt_Out_Affidavits_2026.11.08.csv",
        "revalidation_base.csv",
    ):
        (tmp_path / name).touch()
    found = find_lists(tmp_path)
    assert set(found) == {ListKind.OPT_OUT, ListKind.REVALIDATION}
    assert (found[ListKind.OPT_OUT].day, found[ListKind.OPT_OUT].day_from) == (date(2026, 11, 8), "name")
    assert found[ListKind.REVALIDATION].day_from == "file"


def test_added_files_are_checked_before_any_is_copied(tmp_path: Path) -> None:
    inbox, source = tmp_path / "inbox", tmp_path / "source"
    source.mkdir()
    good = release_zip(source, [person(NPI)], [filed(NPI, "a@clinic.example")])
    bad = source / "UPDATED.csv"
    bad.write_text("not,a,list\n1,2,3\n")
    with pytest.raises(RegistryError, match=r"UPDATED\.csv: no column"):
        add([good, bad], inbox, LIMITS)
    assert not inbox.exists()
    assert [(one.path.name, one.said) for one in add([good], inbox, LIMITS)] == [(good.name, "added")]
    assert (inbox / good.name).read_bytes() == good.read_bytes()


def test_a_damaged_release_is_not_added(tmp_path: Path) -> None:
    path = release_zip(
        tmp_path, [person(NPI)] * 300, [filed(NPI, f"a{i}@clinic.example") for i in range(2000)]
    )
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 300] = bytes(300)
    path.write_bytes(bytes(data))
    with pytest.raises(DamagedMember):
        add([path], tmp_path / "inbox", LIMITS)
    assert not (tmp_path / "inbox").exists()


def test_a_file_with_an_unknown_name_is_not_added(tmp_path: Path) -> None:
    path = tmp_path / "providers.csv"
    path.touch()
    with pytest.raises(RegistryError, match="keep the published one"):
        add([path], tmp_path / "inbox", LIMITS)


def test_the_report_counts_types_repairs_and_refusals_and_names_no_address(tmp_path: Path) -> None:
    rows: list[dict[str, str] | str] = [
        filed(NPI, "Office@Clinic.example", "CONNECT"),
        filed(NPI, "office@@clinic.example"),
        filed(NPI, "COMPULINK", "OTHERS"),
        line(["short"]),
    ]
    path = release_zip(tmp_path, [person(NPI)], rows)
    report = inspect(path, LIMITS)
    text = "\n".join(report.lines())
    assert report.endpoints.addresses == 1
    assert dict(report.endpoints.types) == {"CONNECT": 1, "DIRECT": 1, "OTHERS": 1}
    assert dict(report.endpoints.refusals) == {"double_at": 1, "unreadable_line": 1}
    assert report.endpoints.repairs["case"] == 1
    assert "type CONNECT: 1 rows" in text
    assert "@clinic" not in text.lower()
    assert len(ENDPOINT) == 19


def test_weeklies_come_in_the_order_of_their_last_days_and_only_later_ones(tmp_path: Path) -> None:
    for days in ("122826_010327", "110226_110826", "110926_111526", "999999_111526"):
        (tmp_path / f"NPPES_Data_Dissemination_{days}_Weekly_V2.zip").touch()
    (tmp_path / "NPPES_Data_Dissemination_111626_112226_Weekly.zip").touch()
    names = [path.name for path in find_weeklies(tmp_path, date(2026, 11, 8))]
    assert names == [
        "NPPES_Data_Dissemination_110926_111526_Weekly_V2.zip",
        "NPPES_Data_Dissemination_122826_010327_Weekly_V2.zip",
    ]
    assert weekly_days(names[1]) == (date(2026, 12, 28), date(2027, 1, 3))


def excluded(path: Path, *days: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(LEIE + "".join(f"SAMPLE,PAT,{NPI},NY,{day},00000000\n" for day in days))
    return path


def test_adding_the_same_file_again_changes_nothing_and_says_so(tmp_path: Path) -> None:
    source, inbox = excluded(tmp_path / "UPDATED.csv", "20261020"), tmp_path / "inbox"
    add([source], inbox, LIMITS)
    before = (inbox / "UPDATED.csv").stat()
    assert [one.said for one in add([source], inbox, LIMITS)] == ["already there"]
    assert [one.said for one in add([inbox / "UPDATED.csv"], inbox, LIMITS)] == ["already there"]
    assert (inbox / "UPDATED.csv").stat().st_ino == before.st_ino


def test_a_newer_file_of_the_same_name_replaces_and_an_older_one_is_refused(tmp_path: Path) -> None:
    new = excluded(tmp_path / "new" / "UPDATED.csv", "20261020", "20200101")
    old = excluded(tmp_path / "old" / "UPDATED.csv", "20260920", "20200101")
    inbox = tmp_path / "inbox"
    add([old], inbox, LIMITS)
    assert [one.said for one in add([new], inbox, LIMITS)] == ["replaced"]
    with pytest.raises(RegistryError, match=r"UPDATED\.csv: of 2026-09-20, older than the one in the inbox"):
        add([old], inbox, LIMITS)
    assert (inbox / "UPDATED.csv").read_bytes() == new.read_bytes()


def test_a_far_shorter_list_does_not_take_the_place_of_a_whole_one(tmp_path: Path) -> None:
    """By kind, not by name: the newest file of a kind is the one that counts."""
    inbox = tmp_path / "inbox"
    (whole,) = add([excluded(tmp_path / "UPDATED.csv", *["20261001"] * 20)], inbox, LIMITS)
    for name in ("UPDATED.csv", "LEIE_2099.11.08.csv"):
        short = excluded(tmp_path / "short" / name, *["20261020"] * 17)
        with pytest.raises(
            RegistryError,
            match=rf"{name}: has 17 rows, UPDATED\.csv in the inbox has 20: a part of the list.* remove .*",
        ):
            add([short], inbox, LIMITS)
    assert [path.name for path in inbox.iterdir()] == ["UPDATED.csv"]
    assert whole.source
    assert whole.source["rows"] == 20
    assert add([excluded(tmp_path / "UPDATED.csv", *["20261020"] * 18)], inbox, LIMITS)[0].said == "replaced"


def test_a_list_without_a_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"UPDATED\.csv: has no row"):
        add([excluded(tmp_path / "UPDATED.csv")], tmp_path / "inbox", LIMITS)


def test_two_lists_of_one_day_and_length_are_told_apart(tmp_path: Path) -> None:
    one = check_file(excluded(tmp_path / "a" / "UPDATED.csv", "20261001", "20261020"), LIMITS).source
    two = check_file(excluded(tmp_path / "b" / "UPDATED.csv", "20261002", "20261020"), LIMITS).source
    assert one
    assert two
    assert one["sha256"] != two["sha256"]
    assert {**one, "sha256": ""} == {**two, "sha256": ""}
    assert len(one["sha256"]) == 64


def test_an_unusable_file_in_the_inbox_may_be_replaced(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "UPDATED.csv").write_text("<html>")
    assert [one.said for one in add([excluded(tmp_path / "UPDATED.csv", "20200101")], inbox, LIMITS)] == [
        "replaced"
    ]


def test_a_list_keeps_its_time_because_its_age_may_go_by_that(tmp_path: Path) -> None:
    source = tmp_path / "revalidation_base.csv"
    source.write_text(f"National Provider Identifier,Revalidation Due Date,Adjusted Due Date\n{NPI},TBD,\n")
    noon = datetime(2026, 1, 2, 12, tzinfo=UTC).timestamp()
    os.utime(source, (noon, noon))
    (added,) = add([source], tmp_path / "inbox", LIMITS)
    assert added.source is not None
    assert (added.source["day"], added.source["day_from"]) == ("2026-01-02", "file")
    assert find_lists(tmp_path / "inbox")[ListKind.REVALIDATION].day == date(2026, 1, 2)


def test_when_the_second_copy_fails_the_first_is_not_put_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    one = excluded(tmp_path / "UPDATED.csv", "20261020")
    two = excluded(tmp_path / "LEIE_2026.11.08.csv", "20261020")
    really = shutil.copyfile

    def full(source: Path, target: Path) -> object:
        if Path(source) == two:
            raise OSError(28, "No space left on device")
        return really(source, target)

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(DiskFull):
        add([one, two], tmp_path / "inbox", LIMITS)
    assert list((tmp_path / "inbox").iterdir()) == []


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    files = [excluded(tmp_path / folder / "UPDATED.csv", "20261020") for folder in ("a", "b")]
    with pytest.raises(RegistryError, match="given twice"):
        add(files, tmp_path / "inbox", LIMITS)


@pytest.mark.parametrize(
    "name",
    [
        "NPPES_Data_Dissemination_October_2025.zip",
        "NPPES_Data_Dissemination_110226_110826_Weekly.zip",
        "NPPES_Deactivated_NPI_Report_110826.zip",
    ],
)
def test_v1_files_are_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    with pytest.raises(VersionOneRelease, match=r"V1 ended on 2026-03-03\. Take .*_V2\.zip from https"):
        add([tmp_path / name], tmp_path / "inbox", LIMITS)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><html>busy</html>", "an HTML page"),
        (b"PK\x03\x04cut", "ends too early"),
        (b"", "not a ZIP"),
    ],
)
def test_what_a_failed_download_leaves_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "NPPES_Data_Dissemination_November_2026_V2.zip"
    path.write_bytes(content)
    with pytest.raises(RegistryError, match=said):
        add([path], tmp_path / "inbox", LIMITS)
    assert not (tmp_path / "inbox").exists()


def test_a_weekly_is_added_like_a_monthly(tmp_path: Path) -> None:
    path = weekly_zip(tmp_path, [person(NPI)], [filed(NPI, "a@clinic.example")])
    (added,) = add([path], tmp_path / "inbox", LIMITS)
    assert find_weeklies(tmp_path / "inbox", date(2026, 11, 1)) == [added.path]


def test_a_weekly_under_a_monthly_name_or_the_reverse_is_refused(tmp_path: Path) -> None:
    monthly = "NPPES_Data_Dissemination_November_2026_V2.zip"
    weekly = "NPPES_Data_Dissemination_110926_111526_Weekly_V2.zip"
    for path, said in (
        (weekly_zip(tmp_path, [person(NPI)], name=monthly), "monthly by its name, weekly by its members"),
        (release_zip(tmp_path, [person(NPI)], name=weekly), "weekly by its name, monthly by its members"),
    ):
        with pytest.raises(RegistryError, match=said):
            add([path], tmp_path / "inbox", LIMITS)
    assert not (tmp_path / "inbox").exists()


def test_the_report_names_unreadable_lines_of_both_members_by_number_only(tmp_path: Path) -> None:
    path = release_zip(
        tmp_path,
        [person(NPI), line(["secret@clinic.example"])],
        [filed(NPI, "a@clinic.example"), line(["other@clinic.example"]), filed(NPI, "b@clinic.example")],
    )
    text = "\n".join(inspect(path, LIMITS).lines())
    assert "unreadable endpoint_pfile line 3:" in text
    assert "@clinic" not in text
