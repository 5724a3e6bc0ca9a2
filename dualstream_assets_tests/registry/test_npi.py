"""The check digit of an NPI, against CMS's own example and a second way to compute it."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualstream_assets.registry.npi import is_valid


def valid(*npis: str | None) -> list[bool]:
    return (
        pl.DataFrame({"npi": npis}, schema={"npi": pl.String}).select(is_valid("npi")).to_series().to_list()
    )


def check_digit(nine: str) -> str:
    digits = [int(c) for c in "80840" + nine]
    doubled = [sum(divmod(2 * d, 10)) if i % 2 == 0 else d for i, d in enumerate(reversed(digits))]
    return str(-sum(doubled) % 10)


def test_the_example_of_cms() -> None:
    assert valid("1234567893", "1234567892") == [True, False]


@given(st.integers(100_000_000, 299_999_999))
def test_one_check_digit_of_ten_is_right(nine: int) -> None:
    tried = [f"{nine}{last}" for last in range(10)]
    assert [npi for npi, good in zip(tried, valid(*tried), strict=True) if good] == [
        f"{nine}{check_digit(str(nine))}"
    ]


@pytest.mark.parametrize(
    "text", ["", "123456789", "12345678930", "3234567893", "12345 7893", "+123456789", "x", None]
)
def test_what_has_another_form_is_none(text: str | None) -> None:
    assert valid(text) == [False]
