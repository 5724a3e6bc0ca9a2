"""docs/audience.md names everything that the code can say."""

import ast
import inspect
import re
from pathlib import Path

import pytest

from dualstream_assets.audience import fates, manifest, rank
from dualstream_assets.audience.classify import RULES, classify_address
from dualstream_assets.audience.decisions import DECIDED
from dualstream_assets.audience.eligible import BLOCKS
from dualstream_assets.audience.publish import FILES
from dualstream_assets.audience.tables import _FILES as TABLES  # pyright: ignore[reportPrivateUsage]
from dualstream_assets.estate.model import Audience
from dualstream_assets.registry import addresses
from dualstream_assets.registry.addresses import Refused, extract
from dualstream_assets.registry.endpoints import UNREADABLE

DOC = (Path(__file__).parents[2] / "docs" / "audience.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (.+?) \|$", re.MULTILINE)


def refusals() -> set[str]:
    """Every reason that `registry.addresses` can give: the second argument of `Refused`, and what `_torn` returns."""
    tree = ast.parse(inspect.getsource(addresses))
    found = {UNREADABLE}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Refused":
            found |= {
                a.value for a in node.args[1:2] if isinstance(a, ast.Constant) and isinstance(a.value, str)
            }
        if isinstance(node, ast.FunctionDef) and node.name == "_torn":
            returned = (n.value for n in ast.walk(node) if isinstance(n, ast.Return))
            found |= {v.value for v in returned if isinstance(v, ast.Constant) and isinstance(v.value, str)}
    return {f"refused-{reason.replace('_', '-')}" for reason in found if reason}


def test_the_reasons_are_found_in_the_code() -> None:
    assert {
        "refused-url",
        "refused-words-before",
        "refused-too-long",
        "refused-unreadable-line",
    } <= refusals()


@pytest.mark.parametrize(
    "name",
    sorted(
        {*RULES, *BLOCKS, *refusals(), DECIDED, *FILES.values(), *TABLES}
        | {fates.REPEATED, fates.SHARED, fates.BARRED}
        | {column for column, _ in manifest.COLUMNS}
        | set(Audience.model_fields)
        | set(manifest.Manifest.__dataclass_fields__)
    ),
)
def test_every_name_is_explained(name: str) -> None:
    assert f"`{name}`" in DOC


def test_every_status_of_a_revalidation_is_explained() -> None:
    (row,) = [row for row in ROW.findall(DOC) if row.startswith("`revalidation_status` | ")]
    source = inspect.getsource(rank.revalidation_of)
    statuses = set(re.findall(r'lit\("([a-z_]+)"\)', source))
    assert len(statuses) == 7
    assert [status for status in sorted(statuses) if not re.search(rf"\b{status}\b", row)] == []


def test_nothing_is_explained_that_the_code_does_not_say() -> None:
    assert set(re.findall(r"`(refused-[a-z-]+)`", DOC)) == refusals()


@pytest.mark.parametrize("rule", sorted(RULES))
def test_the_examples_of_a_rule_are_ruled_so(rule: str) -> None:
    (row,) = [row for row in ROW.findall(DOC) if row.startswith(f"`{rule}` | ")]
    _, segment, example, _ = row.split(" | ", 3)
    for text in re.findall(r"`([^`]+)`", example):
        ruling = classify_address(text.replace("…@", "kmorgan@"))
        assert (ruling.segment, ruling.rule) == (segment, rule), text


def test_the_examples_of_a_refusal_are_refused_so() -> None:
    looked_at = 0
    for row in ROW.findall(DOC):
        name, _, example = row.partition(" | ")
        if not name.startswith("`refused-"):
            continue
        for text in re.findall(r"`([^`]*@[^`]*)`", example.partition(":" if ": " in example else "\0")[0]):
            (found,) = extract(text)
            assert isinstance(found, Refused), text
            assert f"`refused-{found.reason.replace('_', '-')}`" == name, text
            looked_at += 1
    assert looked_at > 12
