"""Working one step ahead: in order, never more than one item ahead, errors at their place."""

import threading
from collections.abc import Iterator

import pytest

from dualstream_assets.ahead import one_ahead


def test_every_item_comes_once_and_in_order() -> None:
    assert list(one_ahead(range(100), "t")) == list(range(100))
    assert list(one_ahead([], "t")) == []
    assert list(one_ahead([None, None], "t")) == [None, None]


def test_the_next_item_is_made_meanwhile_and_no_more_than_that() -> None:
    made: list[int] = []
    second = threading.Event()

    def source() -> Iterator[int]:
        for i in range(5):
            made.append(i)
            if i == 1:
                second.set()
            yield i

    items = one_ahead(source(), "t")
    assert next(items) == 0
    assert second.wait(5)
    assert made == [0, 1]
    items.close()


def test_an_error_is_raised_where_its_item_would_have_come() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ValueError("the second")

    items = one_ahead(source(), "t")
    assert next(items) == 1
    with pytest.raises(ValueError, match="the second"):
        next(items)
