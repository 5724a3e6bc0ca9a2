"""Files appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from dualstream_assets.store.files import (
    atomic,
    neutralised,
    read_csv,
    sha256_of,
    write_csv_atomic,
    write_parquet_atomic,
    write_text_atomic,
)
from dualstream_assets_tests.store.processes import environment

FILL = """
import sys
from pathlib import Path
from dualstream_assets.store.files import DiskFull, write_csv_atomic, write_parquet_atomic, write_text_atomic
kind, path = sys.argv[1], Path(sys.argv[2])
write_text_atomic(path, "old" * 10)
try:
    if kind == "csv":
        write_csv_atomic(path, ["a"], ({"a": "x" * 1000} for _ in range(5000)))
    else:
        import polars as pl, random
        write_parquet_atomic(pl.DataFrame({"a": [random.random() for _ in range(500_000)]}), path)
except DiskFull as full:
    print(full)
print(path.read_text(), sorted(p.name for p in path.parent.iterdir()))
"""
MOUNTED = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]


def test_csv_cells_are_all_quoted_and_lines_end_in_newline(tmp_path: Path) -> None:
    rows = [{"npi": "1", "name": 'Dr. "No", Inc.\nSuite 2'}, {"npi": "2", "name": None}]
    assert write_csv_atomic(tmp_path / "a.csv", ["npi", "name"], rows) == 2
    assert (tmp_path / "a.csv").read_bytes() == b'"npi","name"\n"1","Dr. ""No"", Inc.\nSuite 2"\n"2",""\n'
    assert read_csv(tmp_path / "a.csv")[0]["name"] == 'Dr. "No", Inc.\nSuite 2'


def test_an_error_while_writing_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_text_atomic(path, "old")
    with pytest.raises(KeyError):
        write_csv_atomic(path, ["npi"], [{"npi": "1"}, {}])
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text_atomic(path, "old")
    with path.open() as reader:
        with atomic(path) as part:
            part.write_text("new")
            assert path.read_text() == "old"
        assert path.read_text() == "new"
        assert reader.read() == "old", "who has it open reads on in the old one"


def test_parquet_comes_back_as_written(tmp_path: Path) -> None:
    frame = pl.DataFrame({"npi": ["1", "2"], "rank": [1, 2]})
    write_parquet_atomic(frame, tmp_path / "deep" / "a.parquet")
    assert pl.read_parquet(tmp_path / "deep" / "a.parquet").equals(frame)


@pytest.mark.skipif(
    subprocess.run([*MOUNTED, "mount -t tmpfs none /mnt"], capture_output=True, check=False).returncode != 0,
    reason="a full disk needs a mount of its own, and user namespaces are refused here",
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_full_disk_is_said_with_numbers_and_leaves_the_old_file(kind: str, tmp_path: Path) -> None:
    small = f"mount -t tmpfs -o size=1m none {tmp_path} && exec {sys.executable} -c '{FILL}' {kind} {tmp_path}/a.csv"
    said = subprocess.run([*MOUNTED, small], env=environment(), capture_output=True, text=True, check=False)
    line, rest = said.stdout.splitlines() or [said.stderr, ""]
    assert line.startswith(f"no room for a.csv: the disk under {tmp_path} was full after "), said.stderr
    assert line.endswith("left; the old file is untouched. Free some space and run again")
    assert rest == "old" * 10 + " ['a.csv']"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@sum", "\tx", "\rx"])
def test_free_text_that_a_spreadsheet_would_run_is_made_harmless(text: str) -> None:
    assert neutralised(text) == "'" + text


@pytest.mark.parametrize("text", ["", "Clinic = Care", "O'Neil", "3M", "a@clinic.example"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert neutralised(text) == text


def test_addresses_and_phones_are_written_as_they_are(tmp_path: Path) -> None:
    write_csv_atomic(
        tmp_path / "a.csv", ["email", "phone"], [{"email": "-x@clinic.example", "phone": "+1555"}]
    )
    assert read_csv(tmp_path / "a.csv") == [{"email": "-x@clinic.example", "phone": "+1555"}]


def test_the_hash_is_of_the_bytes(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "a").write_bytes(data)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(data).hexdigest()
