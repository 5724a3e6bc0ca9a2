"""The order in which people are written to."""

from datetime import date, timedelta

import polars as pl
import pytest

from dualstream_assets.audience.rank import RankOrder, order_of, revalidation_of, sort_keys
from dualstream_assets.estate.model import Audience

TODAY = date(2026, 11, 30)


def people(left: str = "", *, ppef: bool = False, **due: int | str | None) -> pl.DataFrame:
    """NPI -> days until its due date (negative: overdue), `tbd`, or None for not on the list.

    With `ppef` that list was given, and the NPIs in `left` are not enrolled any more.
    """
    listed = {n: d for n, d in due.items() if d is not None}
    dates = {n: None if d == "tbd" else TODAY + timedelta(days=int(d)) for n, d in listed.items()}
    revalidation = pl.DataFrame(
        {
            "npi": pl.Series(list(listed), dtype=pl.String),
            "effective_date": pl.Series(list(dates.values()), dtype=pl.Date),
            "enrolments": pl.Series([1] * len(listed), dtype=pl.Int64),
            "enrolled": pl.Series([n not in left if ppef else None for n in listed], dtype=pl.Boolean),
        }
    ).lazy()
    npis = pl.DataFrame({"npi": list(due)})
    return revalidation_of(npis, revalidation, TODAY).with_columns(pl.lit(value=False).alias("opted_out"))


def ordered(frame: pl.DataFrame, order: RankOrder) -> str:
    return "".join(frame.sort(*sort_keys(order))["npi"])


@pytest.mark.parametrize(
    ("days", "status", "overdue"),
    [
        (-1, "overdue", 1),
        (0, "due_soon", None),
        (90, "due_soon", None),
        (91, "due_later", None),
        ("tbd", "tbd", None),
        (None, "none", None),
    ],
)
def test_the_status_by_the_day(days: int | str | None, status: str, overdue: int | None) -> None:
    row = people(a=days).row(0, named=True)
    assert (row["revalidation_status"], row["days_overdue"]) == (status, overdue)


def test_overdue_first_then_by_nearness() -> None:
    frame = people(z=-10, y=-1000, x=5, w=400, v="tbd", u=None)
    assert ordered(frame, RankOrder.OVERDUE_FIRST) == "zyxwvu"


def test_the_finer_order_puts_due_soon_before_long_overdue() -> None:
    frame = people(a=-1000, b=-300, c=30, d=-100, e="tbd", f=None, g=300)
    assert ordered(frame, RankOrder.BANDED) == "dcbagef"


def test_an_opted_out_provider_comes_last() -> None:
    frame = people(a=-10, b=None).with_columns((pl.col("npi") == "a").alias("opted_out"))
    assert ordered(frame, RankOrder.OVERDUE_FIRST) == "ba"
    assert ordered(frame, RankOrder.BANDED) == "ba"


def test_without_the_list_the_status_is_unknown_and_the_order_is_by_npi() -> None:
    frame = revalidation_of(pl.DataFrame({"npi": ["b", "a"]}), None, TODAY)
    assert frame["revalidation_status"].to_list() == ["unknown", "unknown"]
    assert (
        ordered(frame.with_columns(pl.lit(value=False).alias("opted_out")), RankOrder.OVERDUE_FIRST) == "ab"
    )


def test_the_estate_chooses_the_order() -> None:
    assert order_of(Audience()) is RankOrder.OVERDUE_FIRST
    assert order_of(Audience(overdue_first=False)) is RankOrder.BANDED


@pytest.mark.parametrize("order", list(RankOrder))
def test_who_is_overdue_and_no_longer_enrolled_is_gone_and_comes_last(order: RankOrder) -> None:
    frame = people(ppef=True, left="ad", a=-10, b=-700, c=None, d=40)
    assert dict(frame.select("npi", "revalidation_status").iter_rows()) == {
        "a": "gone",
        "b": "overdue",
        "c": "none",
        "d": "due_soon",
    }
    assert ordered(frame, order)[-1] == "a"


def test_without_ppef_nobody_is_gone() -> None:
    assert people(a=-10)["revalidation_status"].to_list() == ["overdue"]
