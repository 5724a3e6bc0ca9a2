"""The full-scale generator at small size: form, determinism, and a truth that is the file's own."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import struct
import subprocess
import zipfile
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from dualstream_assets.commands.world import lab
from dualstream_assets.lab.bulk import BulkRelease, endpoints_of, write_bulk
from dualstream_assets.lab.bulk_laws import GIANTS, Draws, Scale, group_sizes, npi_of
from dualstream_assets.lab.bulk_lists import BLANK, ENROLMENTS
from dualstream_assets.lab.bulk_zip import ZipStream
from dualstream_assets.lab.people import luhn_check_digit
from dualstream_assets.lab.release import OTHERNAME_COLUMNS, PL_COLUMNS, endpoint_columns, npidata_columns
from dualstream_assets.registry.medicare import ListKind, read_list
from dualstream_assets.registry.release import find_lists

ROWS, ENDPOINTS, SEED, DAY = 4_000, 3_000, 11, date(2026, 11, 8)
STEM = "_20050523-20261108"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> BulkRelease:
    return write_bulk(
        tmp_path_factory.mktemp("bulk"), rows=ROWS, endpoints=ENDPOINTS, seed=SEED, release_day=DAY
    )


@pytest.fixture(scope="module")
def members(made: BulkRelease) -> dict[str, bytes]:
    with zipfile.ZipFile(made.path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def truth(made: BulkRelease) -> dict[str, dict[str, int]]:
    return json.loads(made.truth.read_text())


@pytest.fixture(scope="module")
def lines(made: BulkRelease) -> pl.DataFrame:
    return pl.read_parquet(made.truth.with_name("endpoint_lines.parquet"))


def filed(members: dict[str, bytes]) -> list[str]:
    """The lines of endpoint_pfile without the header."""
    return members[f"endpoint_pfile{STEM}.csv"].decode("cp1252").splitlines()[1:]


def provider_rows(members: dict[str, bytes]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(members[f"npidata_pfile{STEM}.csv"].decode("cp1252"))))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    made: BulkRelease, tmp_path: Path
) -> None:
    for name, seed in (("again", SEED), ("other", SEED + 1)):
        write_bulk(tmp_path / name, rows=ROWS, endpoints=ENDPOINTS, seed=seed, release_day=DAY)
    first = contents(made.path.parent)
    assert first == contents(tmp_path / "again")
    other = contents(tmp_path / "other")
    assert first.keys() == other.keys()
    assert not [name for name in first if first[name] == other[name]]


def test_the_archive_has_the_members_of_cms_with_their_headers(members: dict[str, bytes]) -> None:
    headers = {
        "npidata_pfile": npidata_columns(),
        "othername_pfile": OTHERNAME_COLUMNS,
        "pl_pfile": PL_COLUMNS,
        "endpoint_pfile": endpoint_columns(),
    }
    assert members.keys() == {f"{name}{STEM}{end}.csv" for name in headers for end in ("", "_fileheader")}
    for name, columns in headers.items():
        header = ('"' + '","'.join(columns) + '"\n').encode()
        assert members[f"{name}{STEM}_fileheader.csv"] == header
        assert members[f"{name}{STEM}.csv"].startswith(header)


def test_every_value_is_quoted_but_where_dirt_is_meant(
    members: dict[str, bytes], lines: pl.DataFrame
) -> None:
    for name, columns in (("npidata_pfile", 330), ("othername_pfile", 4), ("pl_pfile", 10)):
        assert {line.count(b'"') for line in members[f"{name}{STEM}.csv"].splitlines()} == {2 * columns}
    stray = [n for n, line in enumerate(filed(members), 2) if line.count('"') != 38]
    unreadable = lines.filter(pl.col("reason") == "unreadable_line")["line"].to_list()
    assert unreadable
    assert set(unreadable) < set(stray)
    assert len(stray) == len(unreadable) + 1  # one line in 10,000 has nested quotes


def test_info_zip_and_zipfile_find_the_archive_whole(made: BulkRelease) -> None:
    with zipfile.ZipFile(made.path) as archive:
        assert archive.testzip() is None
        sizes = [(i.file_size, i.compress_size) for i in archive.infolist()]
    assert (sum(s for s, _ in sizes), sum(c for _, c in sizes)) == (made.bytes, made.compressed_bytes)
    _unzip_tests(made.path)


def test_a_member_may_be_zip64(tmp_path: Path) -> None:
    path = tmp_path / "wide.zip"
    with ZipStream(path) as archive:
        archive.add("wide.csv", [b"first\n", b"second\n"], expected_bytes=1 << 33)
        archive.add("plain.csv", [b"third\n"])
    with zipfile.ZipFile(path) as read:
        assert read.testzip() is None
        assert [read.read(name) for name in read.namelist()] == [b"first\nsecond\n", b"third\n"]
        assert [info.extract_version for info in read.infolist()] == [45, 20]
        deflated = read.infolist()[0].compress_size
    head = path.read_bytes()[: 30 + len("wide.csv") + 20]
    assert head[18:26] == b"\xff" * 8  # both sizes stand in the extra field: APPNOTE.TXT 4.5.3
    assert head[-20:] == struct.pack("<HHQQ", 1, 16, 13, deflated)
    _unzip_tests(path)


def _unzip_tests(path: Path) -> None:
    unzip = shutil.which("unzip")
    if unzip is None:
        pytest.skip("no Info-ZIP unzip here")
    done = subprocess.run([unzip, "-tq", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_npis_are_valid_unique_and_every_endpoint_has_its_provider(members: dict[str, bytes]) -> None:
    npis = [row["NPI"] for row in provider_rows(members)]
    assert len(set(npis)) == len(npis) == ROWS
    assert all(len(npi) == 10 and luhn_check_digit(npi[:9]) == npi[9] for npi in npis)
    assert npis != sorted(npis)
    assert {line[1:11] for line in filed(members)} <= set(npis)


def test_providers_have_the_shares_of_the_real_file(
    members: dict[str, bytes], truth: dict[str, dict[str, int]]
) -> None:
    rows = provider_rows(members)
    kinds = Counter(row["Entity Type Code"] for row in rows)
    assert (kinds["1"], kinds["2"], kinds[""]) == tuple(
        truth["providers"][kind] for kind in ("persons", "organisations", "blank")
    )
    assert kinds[""] / ROWS == pytest.approx(0.035, abs=0.01)
    assert kinds["2"] / (kinds["1"] + kinds["2"]) == pytest.approx(0.2, abs=0.03)
    for row in rows:
        if not row["Entity Type Code"]:
            assert {k for k, v in row.items() if v} == {"NPI", "NPI Deactivation Date"}
    dated = [row for row in rows if row["NPI Deactivation Date"]]
    back = [row for row in dated if row["NPI Reactivation Date"]]
    assert len(back) == truth["providers"]["reactivated"]
    assert len(back) / len(dated) == pytest.approx(0.27, abs=0.08)
    switches = [[row[f"Healthcare Provider Primary Taxonomy Switch_{i}"] for i in (1, 2)] for row in rows]
    assert sum(bool(second) for _, second in switches) / ROWS == pytest.approx(0.27, abs=0.03)
    assert sum(first == "N" and second == "Y" for first, second in switches) > ROWS / 20
    size = len(members[f"npidata_pfile{STEM}.csv"]) / ROWS
    assert 1_140 < size < 1_225


def test_the_truth_has_one_row_for_each_line_and_says_what_stands_there(
    members: dict[str, bytes], lines: pl.DataFrame
) -> None:
    written = filed(members)
    assert len(written) == lines.height == ENDPOINTS
    assert lines["line"].to_list() == list(range(2, ENDPOINTS + 2))
    for text, row in zip(written, lines.iter_rows(named=True), strict=True):
        assert text[1:11] == row["npi"]
        endpoint, description = text.split('","')[3], text.split('","')[5]
        where = description if row["kind"] == "described" else endpoint
        shown = where.lower().replace(" @ ", "@")
        assert all(address in shown for address in row["addresses"])
        assert ("@" in where) == bool(row["addresses"] or (row["reason"] and row["kind"] != "unreadable"))
        assert bool(row["addresses"]) == bool(row["segment"]) == bool(row["rule"])


def test_the_counts_of_the_truth_are_those_of_its_lines(
    truth: dict[str, dict[str, int]], lines: pl.DataFrame
) -> None:
    pairs = {
        (npi, address, segment)
        for npi, addresses, segment in lines.select("npi", "addresses", "segment").iter_rows()
        for address in addresses
    }
    assert truth["distinct"]["pairs"] == len(pairs)
    assert truth["segments"] == Counter(segment for _, _, segment in pairs)
    scale = Scale.of(ENDPOINTS)
    plan = truth["plan"]
    assert plan["direct_rows"] == scale.direct
    assert (plan["consumer_rows"], plan["consumer_npis"]) == (scale.consumer, scale.consumer_npis)
    assert (plan["institutional_rows"], plan["institutional_npis"]) == (
        scale.institutional,
        scale.institutional_npis,
    )
    assert plan["institutional_domains"] == scale.domains
    giants = sum(scale.giants.values())
    assert plan["institutional_rows_without_giants"] == scale.institutional - giants
    assert truth["distinct"]["npis"] == scale.npis
    assert truth["lines"]["repeats"] == ENDPOINTS // 20


def test_every_kind_of_dirt_is_there(lines: pl.DataFrame) -> None:
    kinds = set(lines["kind"].unique())
    assert {"plain", "case", "upper", "space", "mailto", "several", "con", "double_dot", "double_at"} <= kinds
    assert {"torn", "says direct", "epic export", "vendor", "foreign", "webmail typo", "junk"} <= kinds
    assert lines.filter(pl.col("kind") == "several")["addresses"].list.len().to_list() == [2] * (
        lines.filter(pl.col("kind") == "several").height
    )


def test_nobodys_mailbox_is_in_it(lines: pl.DataFrame) -> None:
    """Only reserved endings, or a left side that we invented."""
    for address in lines.explode("addresses", empty_as_null=True)["addresses"].drop_nulls().unique():
        ours = address.rsplit(".", 1)[-1] in ("test", "example")
        nowhere = address.endswith(".con")
        assert ours or nowhere or address.startswith("lab."), address


def test_the_lists_are_read_without_a_doubt_and_have_their_sizes(
    made: BulkRelease, truth: dict[str, dict[str, int]]
) -> None:
    for kind, file in find_lists(made.path.parent).items():
        table = read_list(kind, file.path)
        assert (table.rows, table.unparsed_dates, table.bad_npis) == (truth["lists"][kind.value], 0, 0)
    assert truth["lists"].keys() == {kind.value for kind in ListKind} & truth["lists"].keys()
    assert truth["lists"]["revalidation"] / ROWS == pytest.approx(ENROLMENTS, rel=0.1)
    assert truth["lists"]["deactivated"] == truth["providers"]["blank"] + truth["providers"]["reactivated"]


def test_revalidation_is_mostly_undated_and_of_the_dated_most_are_overdue(tmp_path: Path) -> None:
    write_bulk(tmp_path, rows=60_000, endpoints=1_000, seed=SEED, release_day=DAY)
    table = pl.read_csv(tmp_path / "revalidation_base.csv", infer_schema=False)
    due = table["Revalidation Due Date"]
    dated = due.filter(due != "TBD")
    assert len(dated) / len(due) == pytest.approx(0.092, abs=0.01)
    days = pl.select(
        pl.coalesce(
            dated.str.to_date("%Y-%m-%d", strict=False), dated.str.to_date("%m/%d/%Y", strict=False)
        ).alias("day")
    )["day"]
    assert days.null_count() == 0
    assert (days < DAY).mean() == pytest.approx(0.83, abs=0.03)
    assert days.dt.month_end().equals(days)
    years = {y: n / len(days) / 0.83 for y, n in days.filter(days < DAY).dt.year().value_counts().iter_rows()}
    assert years == {
        y: pytest.approx(s, abs=0.05) for y, s in ((2023, 0.22), (2024, 0.39), (2025, 0.25), (2026, 0.14))
    }
    per_npi = len(table) / table["National Provider Identifier"].n_unique()
    assert per_npi == pytest.approx(1.13, abs=0.02)
    assert BLANK == 0.035


def test_sizes_at_full_scale_are_the_plans() -> None:
    scale = Scale.of(600_000)
    sizes = scale.domain_sizes()
    assert (len(sizes), int(sizes.sum()), int((sizes == 1).sum())) == (38_873, 94_348, 29_543)
    assert scale.giants == GIANTS
    assert sum(GIANTS.values()) == 94_348 - 89_557
    for groups, rows in ((92_592, 94_348), (19_072, 19_366), (154, 157), (32, 32)):
        made = group_sizes(groups, rows)
        assert (len(made), int(made.sum()), int(made.min())) == (groups, rows, 1)
    assert endpoints_of(9_400_000) == 600_000


def test_npis_do_not_collide_in_a_million() -> None:
    npis = npi_of(Draws(3), np.arange(8_400_000, 9_400_000))
    assert len(np.unique(npis)) == 1_000_000


def test_too_few_rows_are_refused_with_the_number_that_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give at least that many rows"):
        write_bulk(tmp_path / "none", rows=1_000, endpoints=3_000, seed=1, release_day=DAY)
    assert not (tmp_path / "none").exists()


def test_the_command_writes_it_and_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUALSTREAM_STATE", str(tmp_path / "state"))
    assert "DUALSTREAM_ENV" not in os.environ or os.environ["DUALSTREAM_ENV"] == "lab"
    arguments = [
        "release",
        "--rows",
        "2000",
        "--endpoints",
        "1000",
        "--seed",
        "5",
        "--out",
        str(tmp_path / "out"),
    ]
    done = CliRunner().invoke(lab, arguments)
    assert done.exit_code == 0, done.output
    assert "NPPES_Data_Dissemination_November_2026_V2.zip" in done.output
    assert json.loads((tmp_path / "out" / "truth" / "truth.json").read_text())["endpoints"] == 1_000
    few = CliRunner().invoke(lab, ["release", "--rows", "10", "--out", str(tmp_path / "few")])
    assert few.exit_code == 2
    assert "give at least that many rows" in few.output
    alone = CliRunner().invoke(lab, ["release", "--endpoints", "10", "--out", str(tmp_path / "few")])
    assert "--endpoints needs --rows" in alone.output
