"""Publishing on a full disk, beside another build, and after one that was killed."""

import errno
import os
import shutil
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from dualstream_assets.audience import publish as publish_module
from dualstream_assets.audience.changes import PREVIOUS_ROWS
from dualstream_assets.audience.drift import judge
from dualstream_assets.audience.manifest import MANIFEST
from dualstream_assets.audience.publish import unfit
from dualstream_assets.audience.split import build_audience_from_zip
from dualstream_assets.estate import Estate
from dualstream_assets.registry.errors import RegistryError
from dualstream_assets.store.files import DiskFull
from dualstream_assets_tests.registry.making import filed, person, release_zip

A = "1003000126"


@pytest.fixture
def estate(lab_estate: Estate) -> Estate:
    limits = lab_estate.limits.model_copy(update={"zip_ratio": 1000.0})
    return lab_estate.model_copy(update={"limits": limits})


def build(folder: Path, estate: Estate, boxes: int, name: str = "") -> None:
    inbox = folder / f"inbox{name}"
    inbox.mkdir(exist_ok=True)
    path = release_zip(inbox, [person(A)], [filed(A, f"b{i}@clinic{i}.example") for i in range(boxes)])
    build_audience_from_zip(path, folder / "out", estate, today=date(2026, 11, 30))


def content(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def full_in_words(*_: object, **__: object) -> None:
    raise pl.exceptions.ComputeError("No space left on device (os error 28)")


@pytest.mark.parametrize(
    ("owner", "method", "failure"),
    [
        (pl.DataFrame, "write_csv", full),
        (pl.DataFrame, "write_csv", full_in_words),
        (Path, "write_bytes", full),
    ],
)
def test_a_full_disk_is_one_line_with_what_is_free_and_missing(
    tmp_path: Path, estate: Estate, monkeypatch: pytest.MonkeyPatch, owner: type, method: str, failure: object
) -> None:
    build(tmp_path, estate, 50)
    before = content(tmp_path / "out")
    usage = namedtuple("usage", "total used free")(10**6, 10**6, 4_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    path = release_zip(tmp_path, [person(A)], [filed(A, f"b{i}@clinic{i}.example") for i in range(60)])
    monkeypatch.setattr(owner, method, failure)
    with pytest.raises(DiskFull) as refused:
        build_audience_from_zip(path, tmp_path / "out", estate, today=date(2026, 11, 30))
    said = str(refused.value)
    assert "no room for the audience: 0.0 MB free in" in said
    assert "MB missing (going by the old files, " in said
    assert "\n" not in said
    assert content(tmp_path / "out") == before


def test_the_first_build_on_a_full_disk_is_one_line_too(
    tmp_path: Path, estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish_module, "_write", full)
    with pytest.raises(DiskFull, match="more is needed"):
        build(tmp_path, estate, 5)
    assert not [path for path in (tmp_path / "out").iterdir() if path.name != ".lock"]


def test_a_build_that_fails_before_it_publishes_leaves_nothing(
    tmp_path: Path, estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path, estate, 5)
    before = content(tmp_path / "out")

    def damaged(*_: object) -> None:
        assert list((tmp_path / "out").glob(".previous-*"))
        raise RegistryError("damaged")

    monkeypatch.setattr("dualstream_assets.audience.split.read_release", damaged)
    with pytest.raises(RegistryError):
        build(tmp_path, estate, 6)
    assert content(tmp_path / "out") == before


def test_two_builds_at_once_both_succeed(tmp_path: Path, estate: Estate) -> None:
    build(tmp_path, estate, 100)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(build, tmp_path, estate, 100 + n, f"{n}") for n in range(1, 5)]:
            done.result()
    assert not unfit(tmp_path / "out")
    assert not list((tmp_path / "out").glob(".[np]*"))


def test_what_a_killed_build_left_is_swept_after_an_hour(tmp_path: Path, estate: Estate) -> None:
    build(tmp_path, estate, 5)
    out = tmp_path / "out"
    for name, age in (("old", 3700), ("young", 3000)):
        (out / f".new-{name}").mkdir()
        (out / f".new-{name}" / "x.csv").write_text("x")
        (out / f".previous-{name}.parquet").write_text("x")
        for path in (out / f".new-{name}", out / f".previous-{name}.parquet"):
            os.utime(path, (time.time() - age,) * 2)
    build(tmp_path, estate, 5)
    assert sorted(path.name for path in out.glob(".[np]*")) == [".new-young", ".previous-young.parquet"]


def test_the_measure_is_in_place_before_the_manifest_goes(
    tmp_path: Path, estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path, estate, 300)
    out, unlink = tmp_path / "out", Path.unlink

    def killed(self: Path, missing_ok: bool = False) -> None:
        unlink(self, missing_ok=missing_ok)
        if self.name == MANIFEST:
            assert (out / PREVIOUS_ROWS).exists()
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, estate, 900)
    monkeypatch.undo()
    assert not unfit(out)
    (out / MANIFEST).unlink()  # as kill -9 would leave it
    build(tmp_path, estate, 900)
    assert not judge(out, estate.audience.drift).passed
