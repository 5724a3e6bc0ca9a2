"""Finding, adding and reporting releases and lists."""

from datetime import date
from pathlib import Path

import pytest

from dualstream_assets.estate.model import Limits
from dualstream_assets.registry.columns import ENDPOINT
from dualstream_assets.registry.errors import DamagedMember, RegistryError, ReleaseMissing, VersionOneRelease
from dualstream_assets.registry.medicare import ListKind
from dualstream_assets.registry.release import add, find_lists, find_release, inspect, list_kind
from dualstream_assets_tests.registry.making import filed, line, person, release_zip

LIMITS = Limits(zip_ratio=1000)
NPI = "1003000126"


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
    assert [p.name for p in add([good], inbox, LIMITS)] == [good.name]
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
