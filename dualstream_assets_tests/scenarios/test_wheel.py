"""The wheel, installed elsewhere: the code location loads and validates without the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dualstream_assets_tests.scenarios.conftest import ROOT, environment


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> Path:
    """A folder into which the wheel's files were unpacked, as pip would."""
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [
            str(Path(sys.executable).with_name("uv")),
            "build",
            "--wheel",
            "-q",
            "--out-dir",
            str(folder),
            str(ROOT),
        ]
        if Path(sys.executable).with_name("uv").exists()
        else [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder


def run(elsewhere: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        env=environment(elsewhere / "state", PYTHONPATH=str(elsewhere / "site")),
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_package_comes_from_the_wheel(elsewhere):
    done = run(elsewhere, "-c", "import dualstream_assets; print(dualstream_assets.__file__)")
    assert done.stdout.startswith(str(elsewhere / "site"))


def test_dagster_definitions_validate_passes(elsewhere):
    done = run(elsewhere, "-m", "dagster", "definitions", "validate", "-m", "dualstream_assets.definitions")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_data_file_travels_with_the_wheel(elsewhere):
    here = {
        p.relative_to(ROOT).as_posix()
        for p in (ROOT / "dualstream_assets").rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    there = {
        p.relative_to(elsewhere / "site").as_posix() for p in (elsewhere / "site").rglob("*") if p.is_file()
    }
    assert here <= there
