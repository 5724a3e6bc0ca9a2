"""Bad input: one clear line that names the thing and the cure, a non-zero exit, nothing half-written."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dualstream_assets_tests.scenarios.conftest import (
    ROOT,
    environment,
    processes_naming,
    say,
    start,
    wait_until,
)


def one_line(said) -> str:
    """The error line of a command that must have failed, without a traceback."""
    assert said.code != 0, said.text
    assert "Traceback" not in said.text, said.text[-3000:]
    lines = [line for line in said.err.strip().splitlines() if line.strip()]
    assert lines, said.text
    return lines[-1]


@pytest.fixture
def release(tmp_path) -> Path:
    """A small real V2 release."""
    said = say("dualstream_assets", "lab", "release", "--out", str(tmp_path / "inbox"), state=tmp_path / "s")
    assert said.code == 0, said.text
    return Path(said.out.strip())


def build(path: Path, tmp_path: Path):
    out = tmp_path / "out"
    said = say(
        "dualstream_assets",
        "audience",
        "build",
        "--release",
        str(path),
        "--out",
        str(out),
        state=tmp_path / "s",
    )
    return said, out


def assert_nothing_written(out: Path) -> None:
    assert not out.exists() or not list(out.iterdir())


def test_a_release_that_does_not_exist(tmp_path):
    said, out = build(tmp_path / "NPPES_Data_Dissemination_May_2026_V2.zip", tmp_path)
    assert "does not exist" in one_line(said) or "no such file" in one_line(said).lower()
    assert_nothing_written(out)


def test_a_truncated_zip(release, tmp_path):
    broken = tmp_path / release.name
    broken.write_bytes(release.read_bytes()[: release.stat().st_size // 2])
    said, out = build(broken, tmp_path)
    assert release.name in one_line(said)
    assert_nothing_written(out)


def test_a_crc_error(release, tmp_path):
    with zipfile.ZipFile(release) as archive:
        member = next(
            m
            for m in archive.infolist()
            if m.filename.startswith("endpoint_pfile") and "header" not in m.filename
        )
    data = bytearray(release.read_bytes())
    at = data.index(b"PK\x01\x02")
    while member.filename.encode() != bytes(data[at + 46 : at + 46 + len(member.filename)]):
        at = data.index(b"PK\x01\x02", at + 4)
    data[at + 16] ^= 0xFF  # the CRC in the central directory
    broken = tmp_path / release.name
    broken.write_bytes(data)
    said, out = build(broken, tmp_path)
    assert "CRC" in one_line(said)
    assert_nothing_written(out)


def test_a_v1_release_is_refused_by_name(release, tmp_path):
    old = tmp_path / release.name.replace("_V2", "")
    old.write_bytes(release.read_bytes())
    said, out = build(old, tmp_path)
    assert "V1" in one_line(said)
    assert_nothing_written(out)


def test_a_release_without_an_endpoint_member(release, tmp_path):
    broken = tmp_path / release.name
    with zipfile.ZipFile(release) as source, zipfile.ZipFile(broken, "w") as target:
        for member in source.infolist():
            if not member.filename.startswith("endpoint_pfile"):
                target.writestr(member, source.read(member))
    said, out = build(broken, tmp_path)
    assert "endpoint_pfile" in one_line(said)
    assert_nothing_written(out)


def test_a_wrong_header_names_the_column(release, tmp_path):
    broken = tmp_path / release.name
    with zipfile.ZipFile(release) as source, zipfile.ZipFile(broken, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            data = source.read(member)
            if member.filename.startswith("endpoint_pfile"):
                data = data.replace(b'"Endpoint Type"', b'"Endpoint Kind"', 1)
            target.writestr(member, data)
    said, out = build(broken, tmp_path)
    assert "Endpoint Type" in one_line(said)
    assert_nothing_written(out)


def test_an_estate_error_names_the_key(tmp_path):
    from dualstream_assets.estate.load import packaged_lab_estate

    path = tmp_path / "estate.toml"
    path.write_text(packaged_lab_estate().read_text().replace("max_conns = 2", "max_con = 2", 1))
    said = say("dualstream_assets", "estate", "check", state=tmp_path / "s", DUALSTREAM_ESTATE=str(path))
    assert said.code == 1
    assert "did you mean streams.healthcare.listmonk.max_conns?" in said.out


def test_an_unreachable_database_is_one_line_within_three_seconds(tmp_path):
    said = say(
        "dualstream_assets",
        "status",
        state=tmp_path / "s",
        DUALSTREAM_PG_URL="postgresql://nobody@127.0.0.1:1/",
    )
    assert "DUALSTREAM_PG_URL" in one_line(said)
    assert said.seconds < 5  # of which the connection may take at most two


def test_dagster_says_the_same_of_an_unreachable_database(tmp_path):
    said = say(
        "dagster",
        *("asset", "materialize", "--select", "mta/config", "-m", "dualstream_assets.definitions"),
        state=tmp_path / "s",
        DUALSTREAM_PG_URL="postgresql://nobody@127.0.0.1:1/",
    )
    assert "DUALSTREAM_PG_URL" in one_line(said)


def test_a_state_path_of_150_characters_works(tmp_path):
    state = tmp_path / ("x" * 150)
    said = say("dualstream_assets", "wave", "plan", "healthcare", state=state)
    assert said.code == 0, said.text


def test_a_state_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    said = say("dualstream_assets", "status", state=tmp_path / "file" / "state")
    assert "set DUALSTREAM_STATE" in one_line(said)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes a folder of another user")
def test_a_state_folder_of_another_user(tmp_path):
    state = tmp_path / "theirs"
    state.mkdir()
    os.chown(state, 65534, 65534)
    said = say("dualstream_assets", "status", state=state)
    assert "belongs to" in one_line(said)
    assert "set DUALSTREAM_STATE" in one_line(said)


def test_production_without_the_answers_names_the_keys(tmp_path):
    said = say("dualstream_assets", "status", state=tmp_path / "s", DUALSTREAM_ENV="production")
    assert "required in production" in one_line(said)


def test_an_unset_environment_on_a_production_host(tmp_path):
    from dualstream_assets.estate.load import packaged_lab_estate

    marker = tmp_path / "marker"
    marker.touch()
    path = tmp_path / "estate.toml"
    path.write_text(packaged_lab_estate().read_text().replace("/etc/postfix/hc-warmup-start", str(marker), 1))
    said = say("dualstream_assets", "status", state=tmp_path / "s", DUALSTREAM_ESTATE=str(path))
    assert "DUALSTREAM_ENV is unset" in one_line(said)


def test_a_wrong_environment_name(tmp_path):
    said = say("dualstream_assets", "status", state=tmp_path / "s", DUALSTREAM_ENV="prod")
    assert "must be one of lab, dev, production" in one_line(said)


def test_a_forgotten_module_is_a_usage_error(tmp_path):
    said = say("dagster", "asset", "materialize", "--select", "*", state=tmp_path / "s", cwd=tmp_path)
    assert said.code == 2


def test_a_misspelt_command_names_the_nearest(tmp_path):
    said = say("dualstream_assets", "relase", state=tmp_path / "s")
    assert "Did you mean 'release'?" in said.err


def test_two_labs_run_side_by_side(tmp_path):
    labs = [start("dualstream_assets", "lab", "up", state=tmp_path / name) for name in ("one", "two")]
    try:
        first_lines = [lab.stdout.readline() for lab in labs]  # printed once the lab is up
        assert all("The lab is up" in line for line in first_lines)
    finally:
        for lab in labs:
            lab.send_signal(signal.SIGINT)
        for lab in labs:
            lab.communicate(timeout=20)
    assert wait_until(lambda: not processes_naming(str(tmp_path)))


def test_ctrl_c_in_the_middle_of_the_demo_leaves_nothing_running_and_the_next_run_works(tmp_path):
    child = start("dualstream_assets", "demo", "--folder", str(tmp_path / "d"), state=tmp_path / "unused")
    for line in child.stdout:
        if line.startswith("the chain"):
            break
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=30)
    assert child.returncode != 0
    assert wait_until(lambda: not processes_naming(str(tmp_path / "d")))
    said = say("dualstream_assets", "wave", "plan", "trucking", state=tmp_path / "d" / "state")
    assert said.code == 0, said.text


def older_python() -> str | None:
    """A Python 3.10 or older on this machine, if there is one."""
    for name in ("python3.10", "python3.9", "python3.8"):
        path = shutil.which(name)
        if path and subprocess.run([path, "-c", ""], check=False, capture_output=True).returncode == 0:
            return path
    return None


def test_an_old_python_is_refused_in_one_line(tmp_path):
    """The guard is the package's first statement, so it is shown with the version faked where no old Python exists."""
    old = older_python()
    if old:
        words = [old, "-m", "dualstream_assets"]
    else:
        fake = "import sys; sys.version_info = (3, 10, 0); sys.version = '3.10.0 x'; import dualstream_assets"
        words = [sys.executable, "-c", fake]
    done = subprocess.run(
        words, env=environment(tmp_path, PYTHONPATH=str(ROOT)), capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert (
        done.stderr.strip().splitlines()[-1].startswith("dualstream needs Python 3.11 or newer, this is 3.")
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("rampcap", "show"),
        ("rampcap", "set"),
        ("wave", "plan"),
        ("wave", "release"),
        ("gate",),
        ("listmonk", "plan"),
        ("probe", "message"),
        ("disarm",),
        ("forecast", "--stream"),
    ],
)
def test_an_unknown_stream_is_a_usage_error_everywhere(tmp_path, words):
    said = say("dualstream_assets", *words, "nope", state=tmp_path / "s")
    assert said.code == 2
    assert "no stream 'nope'; the estate has trucking, healthcare" in said.err


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    said = say("dualstream_assets", "lab", "release", "--out", "/proc/nowhere", state=tmp_path / "s")
    assert "/proc/nowhere" in one_line(said)


def test_a_folder_of_lists_that_does_not_exist_is_refused(release, tmp_path):
    said = say(
        "dualstream_assets",
        *("audience", "build", "--release", str(release), "--out", str(tmp_path / "out"), "--lists", "/nope"),
        state=tmp_path / "s",
    )
    assert said.code == 2
    assert "/nope" in said.err


@pytest.mark.parametrize("garbage", ["notadomain", "a@b@c", "@"])
def test_a_mistyped_opt_out_is_refused_and_not_repeated_as_done(tmp_path, garbage):
    said = say("dualstream_assets", "suppress", garbage, "--reason", "test", state=tmp_path / "s")
    assert "not a" in one_line(said)


def test_a_taken_port_is_named_before_anything_starts(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        said = say("dualstream_assets", "lab", "dev", "--port", str(port), state=tmp_path / "s")
    assert f"port {port} on 127.0.0.1 is taken" in one_line(said)
    assert not processes_naming(str(tmp_path / "s"))


def test_the_ci_line_does_the_chain_without_dagster_home_and_leaves_nothing_running(tmp_path):
    words = ("asset", "materialize", "--select", "*", "-m", "dualstream_assets.definitions")
    said = say("dagster", *words, state=tmp_path / "s")
    assert said.code == 0, said.text[-3000:]
    assert wait_until(lambda: not processes_naming(str(tmp_path / "s")))
