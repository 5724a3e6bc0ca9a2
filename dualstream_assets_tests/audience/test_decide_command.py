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


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("kmorgan@gmail.com", ["consumer  rule consumer-domain"]),
        ("gmail.com", ["consumer  rule consumer-domain"]),
        ("gmail.com.", ["consumer  rule consumer-domain"]),
        (" GMAIL.com ", ["consumer  rule consumer-domain"]),
        ("kmorgan@gmail.com.", ["consumer  rule consumer-domain"]),
        ("mailto:kmorgan@gmail.com", ["consumer  rule consumer-domain", "kmorgan@gmail.com (mailto)"]),
        ("kmorgan@\uff47mail.com", ["consumer  rule consumer-domain", "kmorgan@gmail.com (idn)"]),
        ("\uff4b@gmail.com", ["dropped  rule refused-non-ascii-local-part"]),
        ("=x@gmail.com", ["dropped  rule refused-symbol-at-start  =x@gmail.com (meant x@gmail.com?)"]),
        ("'kmorgan'@gmail.com", ["dropped  rule refused-quoted-local-part"]),
        ("@gmail.com", ["dropped  rule refused-no-local-part"]),
        ("a@gmail.com; b@clinic.example", ["a@gmail.com", "consumer", "b@clinic.example", "institutional"]),
        ("kmorgan@clinic.local", ["dropped  rule reserved-tld"]),
    ],
)
def test_a_ruling_is_told_as_a_build_would_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, said: list[str]
) -> None:
    monkeypatch.setenv("DUALSTREAM_STATE", str(tmp_path / "state"))
    code, shown = call("rule", typed, "--out", str(tmp_path))
    assert code == 0
    assert [text for text in said if text not in shown] == [], shown


@pytest.mark.parametrize(
    "typed", ["gmail", "", ".", "two words.example", "http://clinic.example", "-x.example"]
)
def test_what_is_neither_an_address_nor_a_domain_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    monkeypatch.setenv("DUALSTREAM_STATE", str(tmp_path / "state"))
    code, shown = call("rule", "--out", str(tmp_path), "--", typed)
    assert (code, "neither an address nor a domain" in shown) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        ("build", "--release", "R.zip"),
        ("rule", "clinic.example"),
        ("decide",),
        ("accept", "--reason", "x"),
    ],
)
def test_a_file_where_a_folder_is_meant_is_a_usage_error_of_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("DUALSTREAM_STATE", str(tmp_path / "state"))
    (tmp_path / "file").write_text("")
    code, shown = call(*words, "--out", str(tmp_path / "file"))
    assert code == 2
    assert "is a file" in shown
    assert (tmp_path / "file").read_text() == ""
