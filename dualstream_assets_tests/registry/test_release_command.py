"""`dualstream release add|inspect` as a person types them, for lists."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from dualstream_assets.cli import cli
from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate
from dualstream_assets.settings import Settings
from dualstream_assets.workplace import Endpoints, Workplace

HEADER = "LASTNAME,FIRSTNAME,NPI,STATE,EXCLDATE,REINDATE\n"
ROW = "SAMPLE,PAT,1003000126,NY,20261020,00000000\n"


def call(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["release", *map(str, words)])
    return result.exit_code, result.output + (str(result.exception) if result.exit_code == 1 else "")


@pytest.fixture(params=["lab", "production"])
def workplace(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    lab_estate: Estate,
    clock: FixedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> Workplace:
    made = Workplace(
        Settings.read({"DUALSTREAM_STATE": str(tmp_path / "state"), "DUALSTREAM_ENV": request.param}),
        lab_estate,
        given_clock=clock,
        given_endpoints=Endpoints((), 25, "127.0.0.1", {}, {}, None, None, tmp_path / "inbox", tmp_path),
    )
    monkeypatch.setattr("dualstream_assets.entry.open_workplace", lambda: made)
    return made


def test_a_short_list_is_said_to_fail_where_lists_are_real(workplace: Workplace, tmp_path: Path) -> None:
    (tmp_path / "UPDATED.csv").write_text(HEADER + ROW)
    wanted = {
        "lab": "pass: leie of 2026-10-20, 1 rows",
        "production": "fail: leie (UPDATED.csv) has 1 rows, a whole one has at least 50,000",
    }[workplace.environment]
    for command in ("inspect", "add"):
        code, said = call(command, tmp_path / "UPDATED.csv")
        assert (code, wanted in said) == (0, True), said
    assert (tmp_path / "inbox" / "UPDATED.csv").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [(HEADER, "has no row; download it again"), ("<html>busy</html>", "an HTML page, not the list")],
)
def test_what_is_no_list_is_refused_by_its_own_name(
    workplace: Workplace, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "UPDATED.csv").write_text(text)
    for command in ("inspect", "add"):
        code, shown = call(command, tmp_path / "UPDATED.csv")
        assert (code, f"UPDATED.csv: {said}" in shown) == (1, True), shown
    assert not (tmp_path / "inbox").exists()
    assert workplace.environment
