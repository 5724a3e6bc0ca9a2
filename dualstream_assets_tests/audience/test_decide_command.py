"""`dualstream audience decide|rule` as a person types them."""

from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from dualstream_assets.audience.decisions import FILE
from dualstream_assets.audience.split import build_audience_from_zip
from dualstream_assets.cli import cli
from dualstream_assets.estate import Estate
from dualstream_assets_tests.registry.making import filed, person, release_zip

VENDOR = "direct.example"


@pytest.fixture
def estate(lab_estate: Estate) -> Estate:
    limits = lab_estate.limits.model_copy(update={"zip_ratio": 1000.0})
    return lab_estate.model_copy(update={"limits": limits})


def call(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["audience", *words])
    return result.exit_code, result.output + (str(result.exception) if result.exit_code == 1 else "")


def test_the_command_lists_decides_and_explains(
    tmp_path: Path, estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUALSTREAM_STATE", str(tmp_path / "state"))
    boxes = ("direct@clinic.example", f"b@{VENDOR}")
    path = release_zip(tmp_path, [person("1003000126")], [filed("1003000126", box) for box in boxes])
    out = tmp_path / "out"
    build_audience_from_zip(path, out, estate, today=date(2026, 11, 30))
    at = ("--out", str(out))
    code, said = call("decide", *at)
    assert code == 0
    assert VENDOR in said
    assert "@" not in said
    assert f"b@{VENDOR}" in call("decide", "--addresses", *at)[1]
    code, said = call(
        "decide", VENDOR, "--segment", "institutional", "--reason", "their site", "--by", "pat", *at
    )
    assert code == 0
    assert "decided institutional: their site (pat, " in said
    assert "takes effect with the next build: dualstream audience build --release ZIP --out" in said
    assert f"{VENDOR}  review-direct-shape" in call("decide", *at)[1]
    assert "decided institutional, with the next build" in call("decide", *at)[1]
    assert call("decide", f"x@{VENDOR}", "--segment", "dropped", "--reason", "left", *at)[0] == 0
    assert "@" not in call("decide", *at)[1]
    assert "decisions about single addresses: 1" in call("decide", *at)[1]
    assert f"x@{VENDOR}  decided dropped: left" in call("decide", "--addresses", *at)[1]
    assert "decided institutional: their site" in call("rule", f"b@{VENDOR}", *at)[1]
    assert "decided" not in call("rule", "office@clinic.example", *at)[1]
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    "words", [("clinic.example",), ("clinic.example", "--segment", "dropped"), ("--segment", "dropped")]
)
def test_half_a_decision_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("DUALSTREAM_STATE", str(tmp_path / "state"))
    assert call("decide", *words, "--out", str(tmp_path))[0] == 2
    assert not (tmp_path / FILE).exists()


def test_a_refused_decision_says_what_would_be_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUALSTREAM_STATE", str(tmp_path / "state"))
    code, said = call(
        "decide", "gmail.com", "--segment", "institutional", "--reason", "x", "--out", str(tmp_path)
    )
    assert code == 1
    assert "change [audience] in the estate" in said
