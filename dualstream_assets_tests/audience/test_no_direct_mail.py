"""No code path leads from the Direct file to listmonk: who names it, and what refuses it under another name."""

import ast
import shutil
from datetime import date
from pathlib import Path

import pytest

import dualstream_assets
from dualstream_assets import keys
from dualstream_assets.audience.split import build_audience_from_zip
from dualstream_assets.estate import Estate, Segment
from dualstream_assets.listmonk.errors import UnsafeRow
from dualstream_assets.listmonk.importing import Policy, checked
from dualstream_assets.sending.stock import StockUnsafe, read_stock
from dualstream_assets.store.files import read_csv
from dualstream_assets_tests.registry.making import filed, person, release_zip

ROOT = Path(dualstream_assets.__file__).parent
MAY_NAME_IT = {
    "keys.py",
    "audience/publish.py",  # writes it
    "audience/assets.py",  # its asset
    "registry/automation.py",  # the job that builds it
    "proofs/trace.py",  # says where an address is
    "proofs/figures.py",  # counts it
}
MAY_READ_ALL_FIVE = {
    "audience/publish.py",
    "audience/assets.py",
    "audience/split.py",
    "audience/changes.py",
    "audience/drift.py",
    "audience/fit.py",
}
"""Those that use `publish.FILES`, in which it is one of five."""


def named_in(path: Path) -> set[str]:
    """Names, attributes, imports and texts (no docstrings) of a module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = ""  # a docstring
        elif isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


MODULES = {str(path.relative_to(ROOT)): named_in(path) for path in sorted(ROOT.rglob("*.py"))}


def naming(*texts: str) -> set[str]:
    return {module for module, names in MODULES.items() if any(t in name for t in texts for name in names)}


def test_only_who_must_names_the_direct_file() -> None:
    assert naming("DIRECT_CSV", "AUDIENCE_DIRECT", keys.DIRECT_CSV, "direct_secure") == MAY_NAME_IT


def test_only_the_audience_reads_all_five_files() -> None:
    assert naming("audience.publish.FILES") | {"audience/publish.py"} == MAY_READ_ALL_FIVE
    assert not {m for m in naming("npi_*", "*.csv") if not m.startswith(("audience/", "lab/"))}


def test_no_room_that_mails_takes_files_from_the_audience_but_by_its_two_names() -> None:
    mailing = ("sending/", "listmonk/", "verification/", "mta/", "identity/")
    for module, names in MODULES.items():
        if module.startswith(mailing):
            files = {name for name in names if name.endswith("_CSV")}
            assert files <= {"VERIFIED_CSV", "CONSUMER_CSV", "INSTITUTIONAL_CSV"}, module


@pytest.fixture
def published(tmp_path: Path, lab_estate: Estate) -> Path:
    limits = lab_estate.limits.model_copy(update={"zip_ratio": 1000.0})
    estate = lab_estate.model_copy(update={"limits": limits})
    boxes = ("office@direct.clinic.example", "wait@direct.example", "x@gmail.com", "office@clinic.example")
    path = release_zip(tmp_path, [person("1003000126")], [filed("1003000126", box) for box in boxes])
    build_audience_from_zip(path, tmp_path / "out", estate, today=date(2026, 11, 30))
    return tmp_path / "out"


@pytest.mark.parametrize("file", [keys.DIRECT_CSV, keys.REVIEW_CSV])
@pytest.mark.parametrize(
    ("name", "segment"), [(keys.VERIFIED_CSV, "institutional"), (keys.CONSUMER_CSV, "consumer")]
)
def test_a_direct_file_under_the_name_of_another_is_refused(
    published: Path, file: str, name: str, segment: Segment
) -> None:
    shutil.copyfile(published / file, published / name)
    with pytest.raises(StockUnsafe, match=f"{name} holds a row of segment '.*', not {segment}"):
        read_stock(published, segment)
    with pytest.raises(UnsafeRow, match="nothing was imported"):
        checked(read_csv(published / name), Policy(segment), set())


def test_one_direct_row_among_consumers_refuses_the_file(published: Path) -> None:
    assert [p.address for p in read_stock(published, "consumer").people] == ["x@gmail.com"]
    row = (published / keys.DIRECT_CSV).read_text().splitlines(keepends=True)[1]
    with (published / keys.CONSUMER_CSV).open("a") as out:
        out.write(row)
    with pytest.raises(StockUnsafe, match="nobody of it is mailed"):
        read_stock(published, "consumer")
