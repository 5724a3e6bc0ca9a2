"""Bad files: one line that names the thing and the cure, and nothing is read any further."""

import zipfile
from pathlib import Path

import pytest

from dualstream_assets.estate.model import Limits
from dualstream_assets.registry.archive import open_archive
from dualstream_assets.registry.columns import ENDPOINT, NPIDATA
from dualstream_assets.registry.endpoints import read_endpoints
from dualstream_assets.registry.errors import (
    DamagedMember,
    MemberMissing,
    NotAZip,
    OverLimit,
    RegistryError,
    ReleaseMissing,
    TruncatedZip,
    VersionOneRelease,
    WrongHeader,
)
from dualstream_assets.registry.inflate import read_blocks
from dualstream_assets.registry.release import check_release
from dualstream_assets_tests.registry.making import filed, line, person, release_zip, table

LIMITS = Limits(zip_ratio=1000)
NPI = "1003000126"


def one_line(error: pytest.ExceptionInfo[RegistryError], *words: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    for word in words:
        assert word in text


def test_a_release_is_opened_with_its_members_whatever_their_case(tmp_path: Path) -> None:
    path = release_zip(tmp_path, [person(NPI)], [filed(NPI, "a@clinic.example")])
    archive = open_archive(path, LIMITS)
    assert (archive.kind, str(archive.day)) == ("monthly", "2026-11-08")
    assert archive.member("endpoint_pfile").name == "endpoint_pfile_20050523-20261108.csv"


def test_a_weekly_release_is_told_from_a_monthly_one_by_its_first_day(tmp_path: Path) -> None:
    path = tmp_path / "NPPES_Data_Dissemination_110226_110826_Weekly_V2.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("npidata_pfile_20261102-20261108.csv", table(NPIDATA, []))
        archive.writestr("endpoint_pfile_20261102-20261108.csv", table(ENDPOINT, []))
    assert open_archive(path, LIMITS).kind == "weekly"


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ReleaseMissing) as error:
        open_archive(tmp_path / "none.zip", LIMITS)
    one_line(error, "none.zip", "no such file")


def test_not_a_zip_but_an_error_page(tmp_path: Path) -> None:
    path = tmp_path / "NPPES_Data_Dissemination_May_2026_V2.zip"
    path.write_text("<!DOCTYPE html><html>not found</html>")
    with pytest.raises(NotAZip) as error:
        open_archive(path, LIMITS)
    one_line(error, path.name, "HTML page", "download")


def test_an_empty_file_is_not_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "NPPES_Data_Dissemination_May_2026_V2.zip"
    path.touch()
    with pytest.raises(NotAZip) as error:
        open_archive(path, LIMITS)
    one_line(error, path.name, "not a ZIP")


def test_a_truncated_download(tmp_path: Path) -> None:
    path = release_zip(tmp_path, [person(NPI)] * 50, [])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(TruncatedZip) as error:
        open_archive(path, LIMITS)
    one_line(error, path.name, "ends too early", "download it again")


def test_a_v1_release_is_refused_by_its_name(tmp_path: Path) -> None:
    path = release_zip(tmp_path, name="NPPES_Data_Dissemination_February_2026.zip")
    with pytest.raises(VersionOneRelease) as error:
        open_archive(path, LIMITS)
    one_line(error, "no _V2", "NPPES_Data_Dissemination_February_2026_V2.zip")


def test_a_renamed_v1_release_is_refused_by_its_header(tmp_path: Path) -> None:
    old = ["Provider Gender Code" if name == "Provider Sex Code" else name for name in NPIDATA]
    path = release_zip(tmp_path, members={"npidata_pfile": table(old, [])})
    with pytest.raises(VersionOneRelease) as error:
        check_release(path, LIMITS)
    one_line(error, "Provider Gender Code", "_V2.zip")


@pytest.mark.parametrize("prefix", ["npidata_pfile", "endpoint_pfile"])
def test_a_missing_member_even_when_its_fileheader_is_there(tmp_path: Path, prefix: str) -> None:
    path = release_zip(tmp_path, members={prefix: None})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{prefix}_20050523-20261108_fileheader.csv", b'"NPI"\n')
    with pytest.raises(MemberMissing) as error:
        open_archive(path, LIMITS)
    one_line(error, path.name, f"no {prefix} member")


def test_a_wrong_header_names_the_first_column_that_differs(tmp_path: Path) -> None:
    columns = list(ENDPOINT)
    columns[5] = "Endpoint Comment"
    path = release_zip(tmp_path, members={"endpoint_pfile": table(columns, [])})
    with pytest.raises(WrongHeader) as error:
        check_release(path, LIMITS)
    one_line(error, "column 6", "'Endpoint Comment'", "'Endpoint Description'")


def test_a_header_with_a_column_more_or_fewer_is_named_too(tmp_path: Path) -> None:
    for columns, words in (
        ([*ENDPOINT, "Endpoint Comment"], ("column 20", "'Endpoint Comment'", "expected none")),
        (ENDPOINT[:-1], ("column 19", "is missing")),
    ):
        path = release_zip(tmp_path, members={"endpoint_pfile": table(columns, [])})
        with pytest.raises(WrongHeader) as error:
            check_release(path, LIMITS)
        one_line(error, *words)


def test_an_empty_member_has_a_wrong_header(tmp_path: Path) -> None:
    path = release_zip(tmp_path, members={"endpoint_pfile": b""})
    with pytest.raises(WrongHeader):
        read_endpoints(open_archive(path, LIMITS))


def test_a_crc_error_is_found_at_the_end_of_the_member(tmp_path: Path) -> None:
    path = tmp_path / "NPPES_Data_Dissemination_May_2026_V2.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("npidata_pfile_20050523-20260510.csv", table(NPIDATA, [person(NPI)]))
        archive.writestr(
            "endpoint_pfile_20050523-20260510.csv", table(ENDPOINT, [filed(NPI, "a@clinic.example")])
        )
    path.write_bytes(path.read_bytes().replace(b"a@clinic.example", b"b@clinic.example"))
    with pytest.raises(DamagedMember) as error:
        read_endpoints(open_archive(path, LIMITS))
    one_line(error, "endpoint_pfile", "CRC error", "download it again")


def test_a_broken_deflate_stream(tmp_path: Path) -> None:
    path = release_zip(
        tmp_path, [person(NPI)] * 200, [filed(NPI, f"a{i}@clinic.example") for i in range(3000)]
    )
    data = bytearray(path.read_bytes())
    member = open_archive(path, LIMITS).member("endpoint_pfile")
    start = member.offset + 60 + member.compressed_bytes // 2
    data[start : start + 400] = bytes(400)
    path.write_bytes(bytes(data))
    with pytest.raises(DamagedMember) as error:
        read_endpoints(open_archive(path, LIMITS))
    one_line(error, "endpoint_pfile", "download it again")


def test_an_archive_beyond_the_estates_limits(tmp_path: Path) -> None:
    path = release_zip(tmp_path, [person(NPI)] * 500)
    with pytest.raises(OverLimit) as error:
        open_archive(path, Limits(zip_ratio=5))
    one_line(error, "limits.zip_ratio", "npidata_pfile")
    with pytest.raises(OverLimit) as error:
        open_archive(path, Limits(zip_ratio=1000, zip_bytes=1000))
    one_line(error, "limits.zip_bytes")


def test_a_record_without_end_is_refused(tmp_path: Path) -> None:
    path = release_zip(tmp_path, members={"endpoint_pfile": line(ENDPOINT).encode() + b'"' + b"x" * 90_000})
    archive = open_archive(path, Limits(zip_ratio=1000, record_bytes=65_536))
    with pytest.raises(DamagedMember) as error:
        list(read_blocks(archive, archive.member("endpoint_pfile"), 1024))
    one_line(error, "a line of more than", "limits.record_bytes")


def test_blocks_end_at_records_and_add_up_to_the_member(tmp_path: Path) -> None:
    rows = [filed(NPI, f"a{i}@clinic.example", description="two\nlines") for i in range(300)]
    path = release_zip(tmp_path, [], rows)
    archive = open_archive(path, LIMITS)
    blocks = list(read_blocks(archive, archive.member("endpoint_pfile"), 2000))
    assert len(blocks) > 5
    assert b"".join(blocks) == table(ENDPOINT, rows)
    assert all(block.endswith(b'"\n') for block in blocks)


def test_a_zip64_archive_is_read_by_its_directory(tmp_path: Path) -> None:
    path = tmp_path / "NPPES_Data_Dissemination_May_2026_V2.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (
            ("npidata_pfile_20050523-20260510.csv", table(NPIDATA, [person(NPI)])),
            ("endpoint_pfile_20050523-20260510.csv", table(ENDPOINT, [filed(NPI, "a@clinic.example")])),
        ):
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(data)
    frame, _ = read_endpoints(open_archive(path, LIMITS))
    assert frame["address"].to_list() == ["a@clinic.example"]
