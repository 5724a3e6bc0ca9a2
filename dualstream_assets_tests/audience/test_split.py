"""The split of small releases: who lands where and why, that nothing is lost, and that all files change or none."""

import csv
import os
from collections import Counter
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dualstream_assets.audience.manifest import COLUMNS, MANIFEST, PLAN, Manifest, read_manifest
from dualstream_assets.audience.publish import FILES, unfit
from dualstream_assets.audience.split import build_audience_from_zip, inspect_release
from dualstream_assets.estate import Estate
from dualstream_assets.registry.errors import TruncatedZip
from dualstream_assets.store.files import DiskFull
from dualstream_assets_tests.registry.making import deactivation_report, filed, person, release_zip

TODAY = date(2026, 11, 30)
A, B, C, D = "1003000126", "1003000134", "1003000142", "1003000159"
STATE = "Provider Business Practice Location Address State Name"
COUNTRY = "Provider Business Practice Location Address Country Code (If outside U.S.)"


@pytest.fixture
def estate(lab_estate: Estate) -> Estate:
    """The lab's, with a ZIP limit that tiny, repetitive test files pass."""
    return lab_estate.model_copy(
        update={"limits": lab_estate.limits.model_copy(update={"zip_ratio": 1000.0})}
    )


def rows(out: Path, segment: str) -> list[dict[str, str]]:
    with (out / FILES[segment]).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def build(
    folder: Path, estate: Estate, people: list[dict[str, str]], endpoints: list[dict[str, str]]
) -> Manifest:
    path = release_zip(folder, people, endpoints)
    return build_audience_from_zip(path, folder / "out", estate, today=TODAY)


def reasons(folder: Path) -> Counter[str]:
    return Counter(row["rule"] for row in rows(folder / "out", "rejects"))


def test_each_kind_of_address_lands_in_its_file(tmp_path: Path, estate: Estate) -> None:
    boxes = {
        "institutional": "office@clinic.example",
        "consumer": "someone@cfl.rr.com",
        "direct": "office@direct.clinic.example",
        "review": "direct@clinic.example",
    }
    build(tmp_path, estate, [person(A)], [filed(A, box) for box in [*boxes.values(), "nurse@va.gov"]])
    for segment, box in boxes.items():
        (row,) = rows(tmp_path / "out", segment)
        assert (row["email"], row["segment"], row["rank"], row["product_key"]) == (box, segment, "1", A)
    assert reasons(tmp_path) == {"giant": 1}


def test_the_columns_are_the_contract_and_every_value_is_quoted(tmp_path: Path, estate: Estate) -> None:
    build(tmp_path, estate, [person(A)], [filed(A, "office@clinic.example")])
    for file in FILES.values():
        lines = (tmp_path / "out" / file).read_bytes().split(b"\n")
        assert lines[0] == b'"' + b'","'.join(name.encode() for name, _ in COLUMNS) + b'"'
        assert lines[-1] == b""
        assert all(line.startswith(b'"') and line.endswith(b'"') for line in lines[:-1])
        assert all(line.count(b'"') == 2 * len(COLUMNS) for line in lines[:-1])


def test_a_row_says_who_it_is(tmp_path: Path, estate: Estate) -> None:
    clinic = person(
        B,
        **{
            "Entity Type Code": "2",
            "Provider Organization Name (Legal Business Name)": "CLINIC LLC",
            "Provider First Name": "",
            "Provider Last Name (Legal Name)": "",
        },
    )
    affiliated = {"Affiliation": "Y", "Affiliation Legal Business Name": "Group PC"}
    build(
        tmp_path,
        estate,
        [person(A), clinic],
        [filed(A, "pat@clinic.example", **affiliated), filed(B, "info@clinic.example")],
    )
    by_npi = {row["npi"]: row for row in rows(tmp_path / "out", "institutional")}
    assert (by_npi[A]["entity_type"], by_npi[A]["last_name"], by_npi[A]["organization"]) == (
        "person",
        "SAMPLE",
        "Group PC",
    )
    assert (by_npi[B]["entity_type"], by_npi[B]["organization"]) == ("organisation", "CLINIC LLC")
    assert (by_npi[A]["taxonomy_code"], by_npi[A]["state"], by_npi[A]["phone"]) == (
        "225100000X",
        "NY",
        "2125550100",
    )
    assert (by_npi[A]["role_account"], by_npi[B]["role_account"]) == ("N", "Y")


def test_one_address_is_one_row_under_the_npi_of_the_best_rank(tmp_path: Path, estate: Estate) -> None:
    (tmp_path / "revalidation_base.csv").write_text(
        f"National Provider Identifier,Revalidation Due Date,Adjusted Due Date\n{B},2026-10-31,\n{C},TBD,\n"
    )
    endpoints = [filed(n, "office@clinic.example") for n in (A, B, C)] + [filed(A, "OFFICE@clinic.example")]
    build(tmp_path, estate, [person(n) for n in (A, B, C)], endpoints)
    (row,) = rows(tmp_path / "out", "institutional")
    assert (row["npi"], row["npis"], row["npi_count"]) == (B, f"{A};{B};{C}", "3")
    assert (row["revalidation_status"], row["due_date"], row["days_overdue"]) == (
        "overdue",
        "2026-10-31",
        "30",
    )
    assert reasons(tmp_path) == {"shared-address": 2, "repeated-row": 1}


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"NPI Deactivation Date": "01/01/2024"}, "deactivated"),
        ({"Entity Type Code": ""}, "blanked"),
        ({STATE: "ONTARIO", COUNTRY: "CA"}, "foreign-practice"),
        ({STATE: "BAVARIA", COUNTRY: ""}, "foreign-practice"),
    ],
)
def test_a_provider_that_may_not_be_written_to_is_a_reject(
    tmp_path: Path, estate: Estate, columns: dict[str, str], reason: str
) -> None:
    build(tmp_path, estate, [person(A, **columns)], [filed(A, "office@clinic.example")])
    assert reasons(tmp_path) == {reason: 1}
    assert rows(tmp_path / "out", "institutional") == []


@pytest.mark.parametrize("columns", [{STATE: "PR"}, {STATE: "GU", COUNTRY: "GU"}, {STATE: "TX", COUNTRY: ""}])
def test_territories_are_domestic(tmp_path: Path, estate: Estate, columns: dict[str, str]) -> None:
    build(tmp_path, estate, [person(A, **columns)], [filed(A, "office@clinic.example")])
    assert len(rows(tmp_path / "out", "institutional")) == 1


def test_an_npi_that_the_release_does_not_have_is_a_reject(tmp_path: Path, estate: Estate) -> None:
    build(tmp_path, estate, [person(A)], [filed(B, "office@clinic.example")])
    assert reasons(tmp_path) == {"npi-unknown": 1}


def test_foreign_consumer_mailboxes_are_rejects_but_consumer_ruled(tmp_path: Path, estate: Estate) -> None:
    build(tmp_path, estate, [person(A)], [filed(A, "someone@yahoo.ca"), filed(A, "office@praxis.de")])
    assert reasons(tmp_path) == {"foreign-tld": 2}


def test_the_lists_drop_whom_they_name(tmp_path: Path, estate: Estate) -> None:
    back = {"NPI Deactivation Date": "01/01/2024", "NPI Reactivation Date": "05/01/2024"}
    deactivation_report(
        tmp_path / "NPPES_Deactivated_NPI_Report_110826_V2.zip", [(A, "11/01/2026"), (D, "01/01/2024")]
    )
    (tmp_path / "UPDATED.csv").write_text(
        f"LASTNAME,FIRSTNAME,NPI,STATE,EXCLDATE,REINDATE\nX,Y,{B},NY,20240101,00000000\n"
    )
    (tmp_path / "Revocation_Extract_2026.11.08.csv").write_text(
        f"NPI,REVOCATION_EFCTV_DT,REENROLLMENT_BAR_EXPRTN_DT\n{C},2025-01-01,2027-01-01\n{D},2020-01-01,2022-01-01\n"
    )
    manifest = build(
        tmp_path,
        estate,
        [person(A), person(B), person(C), person(D, **back)],
        [filed(n, f"box{n}@clinic.example") for n in (A, B, C, D)],
    )
    assert reasons(tmp_path) == {"deactivated": 1, "excluded": 1, "revoked": 1}
    assert [row["npi"] for row in rows(tmp_path / "out", "institutional")] == [D]
    assert manifest.missing_lists == ("opt_out", "revalidation")


def test_a_mailbox_that_an_excluded_provider_filed_too_is_nobodys(tmp_path: Path, estate: Estate) -> None:
    (tmp_path / "UPDATED.csv").write_text(
        f"LASTNAME,FIRSTNAME,NPI,STATE,EXCLDATE,REINDATE\nX,Y,{B},NY,20240101,00000000\n"
    )
    build(
        tmp_path,
        estate,
        [person(A), person(B), person(C)],
        [filed(A, "box@clinic.example"), filed(B, "Box@clinic.example"), filed(C, "other@clinic.example")],
    )
    assert reasons(tmp_path) == {"excluded": 1, "shared-with-excluded": 1}
    assert [row["email"] for row in rows(tmp_path / "out", "institutional")] == ["other@clinic.example"]


def test_a_name_on_leie_without_npi_is_only_a_flag(tmp_path: Path, estate: Estate) -> None:
    (tmp_path / "UPDATED.csv").write_text(
        "LASTNAME,FIRSTNAME,NPI,STATE,EXCLDATE,REINDATE\nSAMPLE,PAT,0000000000,NY,20240101,00000000\n"
    )
    build(
        tmp_path,
        estate,
        [person(A), person(B, **{STATE: "OH"})],
        [filed(n, f"b{n}@clinic.example") for n in (A, B)],
    )
    flagged = {
        row["npi"]: "flag: same name" in row["evidence"] for row in rows(tmp_path / "out", "institutional")
    }
    assert flagged == {A: True, B: False}


def test_an_opted_out_provider_is_ranked_last(tmp_path: Path, estate: Estate) -> None:
    (tmp_path / "Opt_Out_Affidavits_2026.11.08.csv").write_text(
        f"NPI,Optout Effective Date,Optout End Date\n{A},01/01/2025,01/01/2027\n"
    )
    build(tmp_path, estate, [person(A), person(B)], [filed(n, f"b{n}@clinic.example") for n in (A, B)])
    assert [row["npi"] for row in rows(tmp_path / "out", "institutional")] == [B, A]


def test_missing_lists_are_unknown_in_the_manifest_and_in_the_rows(tmp_path: Path, estate: Estate) -> None:
    manifest = build(tmp_path, estate, [person(A)], [filed(A, "office@clinic.example")])
    assert set(manifest.missing_lists) == {"deactivated", "leie", "opt_out", "revalidation", "revoked"}
    assert rows(tmp_path / "out", "institutional")[0]["revalidation_status"] == "unknown"


def test_a_name_that_a_spreadsheet_would_run_is_made_harmless(tmp_path: Path, estate: Estate) -> None:
    phone = "Provider Business Practice Location Address Telephone Number"
    people = [person(A, **{"Provider First Name": "=cmd|'/c calc'!A1", phone: "+1 555"})]
    build(tmp_path, estate, people, [filed(A, "office@clinic.example"), filed(A, "=office@clinic.example")])
    (row,) = rows(tmp_path / "out", "institutional")
    assert (row["first_name"], row["phone"]) == ("'=cmd|'/c calc'!A1", "'+1 555")
    (out,) = rows(tmp_path / "out", "rejects")
    assert (out["rule"], out["evidence"]) == (
        "refused-symbol-at-start",
        "'=office@clinic.example (meant office@clinic.example?)",
    )


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, estate: Estate) -> None:
    endpoints = [filed(A, f"box{i}@clinic{i % 5}.example") for i in range(50)]
    first = build(tmp_path, estate, [person(A)], endpoints)
    assert build(tmp_path, estate, [person(A)], endpoints).text() == first.text()
    assert unfit(tmp_path / "out") == []


def test_the_manifest_counts_every_candidate_and_the_plans_figures(tmp_path: Path, estate: Estate) -> None:
    endpoints = [
        filed(A, "a@one.example"),
        filed(B, "a@one.example"),
        filed(C, "c@two.example"),
        filed(D, "n@va.gov"),
    ]
    manifest = build(tmp_path, estate, [person(n) for n in (A, B, C, D)], endpoints)
    assert manifest.counts["candidates"] == 4
    assert manifest.plan["institutional_rows"] == 4
    assert manifest.plan["institutional_rows_without_giants"] == 3
    assert (manifest.plan["institutional_domains"], manifest.plan["singleton_share"]) == (3, 0.6667)
    assert set(manifest.plan) == set(PLAN)
    assert read_manifest(tmp_path / "out") == manifest


def test_a_damaged_release_leaves_the_published_files_alone(tmp_path: Path, estate: Estate) -> None:
    build(tmp_path, estate, [person(A)], [filed(A, "office@clinic.example")])
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    path = release_zip(tmp_path, [person(A)], [filed(A, "other@clinic.example")])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TruncatedZip):
        build_audience_from_zip(path, tmp_path / "out", estate, today=TODAY)
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_an_error_between_two_renames_brings_all_old_files_back(
    tmp_path: Path, estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path, estate, [person(A)], [filed(A, "office@clinic.example")])
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    rename, renamed = Path.replace, []

    def full_disk(self: Path, target: Path) -> Path:
        renamed.append(target)
        if len(renamed) == 3:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(DiskFull, match="old files are untouched"):
        build(
            tmp_path, estate, [person(A)], [filed(A, "other@clinic.example"), filed(A, "more@clinic.example")]
        )
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_a_folder_without_its_manifest_is_not_published(tmp_path: Path, estate: Estate) -> None:
    build(tmp_path, estate, [person(A)], [filed(A, "office@clinic.example")])
    os.unlink(tmp_path / "out" / MANIFEST)  # noqa: PTH108
    assert "no manifest.json" in unfit(tmp_path / "out")[0]


def test_a_changed_file_is_told_from_the_published_one(tmp_path: Path, estate: Estate) -> None:
    build(tmp_path, estate, [person(A)], [filed(A, "office@clinic.example")])
    file = tmp_path / "out" / FILES["consumer"]
    file.write_text(file.read_text() + "x\n")
    assert unfit(tmp_path / "out") == [f"{FILES['consumer']} is not the file of the manifest"]


def test_the_report_of_a_release_counts_rules(tmp_path: Path, estate: Estate) -> None:
    path = release_zip(
        tmp_path, [person(A)], [filed(A, "office@clinic.example"), filed(A, "someone@gmail.com")]
    )
    report = inspect_release(path, estate)
    assert report.rules == {"consumer consumer-domain": 1, "institutional institutional": 1}


BOXES = st.sampled_from(
    [
        "office@clinic.example",
        "Office@Clinic.example",
        "other@clinic.example",
        "pat@gmail.com",
        "pat@direct.clinic.example",
        "direct@clinic.example",
        "kmorgan28953@caredirect.example",
        "nurse@va.gov",
        "x@clinic.con",
        "a@one.example; b@two.example",
        "bad@@clinic.example",
        "@",
        "EHR",
        "",
    ]
)
FILINGS = st.lists(
    st.tuples(
        st.sampled_from([A, B, C, D, "1999999992"]),
        BOXES,
        st.sampled_from(["", "Direct", "x@y.example", 'a "b"']),
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FILINGS, st.sets(st.sampled_from([A, B, C, D])), st.sets(st.sampled_from([A, B, C, D])))
def test_candidates_in_are_rows_out_whatever_is_filed(
    tmp_path: Path, estate: Estate, filings: list[tuple[str, str, str]], known: set[str], gone: set[str]
) -> None:
    people = [
        person(n, **({"NPI Deactivation Date": "01/01/2024"} if n in gone else {})) for n in sorted(known)
    ]
    endpoints = [filed(npi, box, description=said) for npi, box, said in filings]
    path = release_zip(tmp_path, people, endpoints)
    out = tmp_path / "out"
    manifest = build_audience_from_zip(path, out, estate, today=TODAY)
    parts = {segment: rows(out, segment) for segment in FILES}
    written = sum(len(part) for part in parts.values())
    assert written == manifest.counts["candidates"] == sum(manifest.counts["segments"].values())
    mailed = [row["email"] for segment, part in parts.items() if segment != "rejects" for row in part]
    assert len(mailed) == len(set(mailed))
    assert all(
        row["npi"] in known - gone for segment, part in parts.items() if segment != "rejects" for row in part
    )
    assert all(row["rule"] for part in parts.values() for row in part)
    assert pl.Series(mailed, dtype=pl.String).str.contains("@").all()
