"""Misspelt practice domains beside the right one: reported with what to look at, and nothing else."""

import random

import polars as pl
import pytest

from dualstream_assets.audience.lookalikes import COLUMNS, lookalikes

Row = tuple[str, str, str, str | None]


def pairs(*rows: Row) -> pl.DataFrame:
    return pl.DataFrame(
        rows, schema=dict.fromkeys(("npi", "domain", "segment", "organization"), pl.String), orient="row"
    )


def found(*rows: Row) -> list[tuple[object, ...]]:
    return lookalikes(pairs(*rows)).rows()


@pytest.mark.parametrize(
    ("wrong", "right", "why"),
    [
        ("advanatgeclinic.example", "advantageclinic.example", "same NPI: two letters swapped"),
        ("advntageclinic.example", "advantageclinic.example", "same NPI: one letter differs"),
        ("advantegeclinc.example", "advantageclinic.example", "same NPI: 2 letters differ"),
        ("advantageclinic.test", "advantageclinic.example", "same NPI: another ending (.example, .test)"),
    ],
)
def test_the_rarer_name_is_reported_beside_the_likely_one(wrong: str, right: str, why: str) -> None:
    rows: list[Row] = [("1", wrong, "institutional", None), ("1", right, "institutional", None)]
    more: Row = ("2", right, "institutional", None)
    assert found(*rows, more) == [("1", wrong, right, why, 1)]
    assert found(*reversed(rows), more) == [("1", wrong, right, why, 1)]


def test_equally_frequent_names_are_called_so() -> None:
    ((npi, rare, likely, why, rows),) = found(
        ("1", "advanatgeclinic.example", "institutional", None),
        ("1", "advantageclinic.example", "institutional", None),
    )
    assert {rare, likely} == {"advanatgeclinic.example", "advantageclinic.example"}
    assert (npi, rows) == ("1", 1)
    assert str(why).endswith("equally frequent, either may be right")


def test_an_organisation_joins_what_several_npis_filed() -> None:
    ((npi, rare, likely, why, _),) = found(
        ("1", "rivercliniic.example", "institutional", "River Clinic, PLLC"),
        ("2", "riverclinic.example", "institutional", "RIVER CLINIC PLLC"),
        ("3", "riverclinic.example", "institutional", None),
    )
    assert (npi, rare, likely) == (None, "rivercliniic.example", "riverclinic.example")
    assert why == "same organisation: one letter differs"


def test_one_left_side_joins_two_npis_but_a_common_one_does_not() -> None:
    def filed(left: str, *domains: str) -> pl.DataFrame:
        rows = [(str(i), domain, "institutional", f"{left}@{domain}") for i, domain in enumerate(domains)]
        names = ("npi", "domain", "segment", "address")
        return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")

    two = ("advanatgeclinic.example", "advantageclinic.example")
    assert "same left side: two letters swapped" in lookalikes(filed("kmorgan", *two))["why"][0]
    assert lookalikes(filed("info", *two, *(f"clinic-{i:04}.example" for i in range(9)))).is_empty()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("river.example", "mountain.example"),
        ("abc.example", "abd.example"),
        ("rivet.example", "riter.example"),
        ("store12clinic.example", "store13clinic.example"),
        ("riverclinic.example", "rivrclinics.test"),
        ("clinic.example", "mail.clinic.example"),
    ],
)
def test_two_real_names_are_not_lookalikes(one: str, other: str) -> None:
    assert found(("1", one, "institutional", None), ("1", other, "institutional", None)) == []


def test_consumer_domains_and_other_providers_are_not_compared() -> None:
    assert found(("1", "gmail.com", "consumer", None), ("1", "ymail.com", "consumer", None)) == []
    assert (
        found(
            ("1", "riverclinic.example", "institutional", None),
            ("2", "rivercliniic.example", "institutional", None),
        )
        == []
    )


def test_the_same_two_names_are_reported_once_and_an_empty_frame_is_one() -> None:
    rows: list[Row] = [
        (npi, domain, "institutional", "River")
        for npi in ("1", "2")
        for domain in ("riverclinic.example", "rivercliniic.example")
    ]
    assert len(found(*rows)) == 1
    assert lookalikes(pairs()).columns == list(COLUMNS)


def test_a_chain_with_hundreds_of_domains_is_left_alone() -> None:
    names = [f"{a}{b}clinic.example" for a in "abcdefghij" for b in "klmnopqrst"]
    assert found(*(("1", name, "institutional", None) for name in names)) == []


def test_a_hundred_thousand_pairs_need_no_square() -> None:
    draw = random.Random(4)
    domains = ["".join(draw.choices("abcdefghijklmnop", k=12)) + ".example" for _ in range(40_000)]
    rows = [(str(i // 3 * 2 % 90_000), draw.choice(domains), "institutional", None) for i in range(100_000)]
    rows += [("x", "advanatgeclinic.example", "institutional", None)]
    rows += [("x", "advantageclinic.example", "institutional", None)]
    assert lookalikes(pairs(*rows))["npi"].to_list() == ["x"]
