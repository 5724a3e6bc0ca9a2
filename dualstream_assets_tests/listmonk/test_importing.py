"""Who may be imported, and what an import must prove."""

from __future__ import annotations

import csv
import io
import json

import pytest

from dualstream_assets.listmonk.errors import ImportNotVerified, UnsafeRow
from dualstream_assets.listmonk.importing import CsvRow, Policy, checked, import_csv, import_people
from dualstream_assets.listmonk.people import listed
from dualstream_assets_tests.listmonk.conftest import Bench

HOLD = Policy("institutional", "hold")


def row(address: str, **cells: str) -> dict[str, str]:
    base = {
        "email": address, "segment": "institutional", "verdict": "deliverable", "first_name": "Ada",
        "last_name": "Lane", "organization": "Practice", "npi": "1234567893", "product_key": "1234567893", "rank": "1",
    }  # fmt: skip
    return {**base, **cells}


def test_a_verified_row_passes_with_the_key_of_its_product_link() -> None:
    found = checked([row("A@practice.example ")], HOLD, set())
    assert found.rows == (
        CsvRow(
            "a@practice.example",
            "Ada Lane",
            {"npi": "1234567893", "product_key": "1234567893", "rank": "1", "segment": "institutional"},
        ),
    )


@pytest.mark.parametrize(
    "verdict",
    [
        "",
        "catch_all",
        "undeliverable",
        "full",
        "suspended",
        "retry",
        "blocked",
        "risky",
        "unreachable",
        "unknown",
    ],
)
def test_one_row_without_a_good_verdict_refuses_the_whole_file(verdict: str) -> None:
    with pytest.raises(UnsafeRow, match="1 with verdict") as refused:
        checked([row("a@practice.example"), row("b@practice.example", verdict=verdict)], HOLD, set())
    assert "@" not in str(refused.value)


def test_an_accept_all_mailbox_passes_only_under_the_policy() -> None:
    rows = [row("a@practice.example", verdict="catch_all")]
    assert len(checked(rows, Policy("institutional", "send"), set()).rows) == 1
    for policy in (HOLD, Policy("institutional", None)):
        with pytest.raises(UnsafeRow):
            checked(rows, policy, set())


@pytest.mark.parametrize("segment", ["direct", "dropped", "review", "consumer", ""])
def test_another_segment_refuses_the_whole_file(segment: str) -> None:
    with pytest.raises(UnsafeRow, match="1 with segment"):
        checked([row("a@practice.example", segment=segment)], HOLD, set())


def test_a_consumer_row_never_rides_healthcare_and_needs_no_verdict_on_trucking() -> None:
    rows = [row("a@consumer.example", segment="consumer", verdict="")]
    assert len(checked(rows, Policy("consumer"), set()).rows) == 1
    with pytest.raises(UnsafeRow):
        checked(rows, HOLD, set())
    with pytest.raises(UnsafeRow):
        checked([row("a@practice.example")], Policy("consumer"), set())


def test_the_suppressed_and_the_repeated_are_left_out_and_counted() -> None:
    rows = [row("a@practice.example"), row("b@practice.example"), row("B@practice.example")]
    found = checked(rows, HOLD, {"a@practice.example"})
    assert [r.address for r in found.rows] == ["b@practice.example"]
    assert found.left_out == {"suppressed": 1, "listed twice": 1}


def test_the_file_is_strict_whatever_a_name_holds() -> None:
    text = import_csv([CsvRow("a@practice.example", 'O"Neil,\n\r MD', {"k": '"é'})]).decode()
    assert text.count("\n") == 2
    cells = list(csv.reader(io.StringIO(text), strict=True))
    assert cells[0] == ["email", "name", "attributes"]
    assert cells[1][:2] == ["a@practice.example", 'O"Neil, MD']
    assert json.loads(cells[1][2]) == {"k": '"é'}


def test_only_people_who_are_not_there_are_imported_and_it_can_be_repeated(bench: Bench) -> None:
    people = bench.people(6)
    first = import_people(bench.client, "healthcare", checked([row(a) for a in people[:4]], HOLD, set()))
    assert (first.unseen, first.imported, first.listed_after - first.listed_before) == (4, 4, 4)
    second = import_people(bench.client, "healthcare", checked([row(a) for a in people], HOLD, set()))
    assert (second.asked, second.unseen, second.imported) == (6, 2, 2)
    third = import_people(bench.client, "healthcare", checked([row(a) for a in people], HOLD, set()))
    assert (third.unseen, third.imported, third.listed_after) == (0, 0, second.listed_after)
    there = {person.address for person in listed(bench.client, first.list_id)}
    assert set(people) <= there


def test_an_import_that_comes_short_is_an_error_not_a_number(bench: Bench) -> None:
    people = [bench.people(1)[0], f"{bench.people(1)[0].partition('@')[0]}@consumer.example"]
    with pytest.raises(ImportNotVerified, match="1 of 2 imported") as short:
        import_people(bench.client, "healthcare", checked([row(a) for a in people], HOLD, set()))
    assert "@" not in str(short.value)
