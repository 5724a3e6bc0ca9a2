"""Work one step ahead in a thread: the next item is made while the last one is used, and no more is held than that."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
_END = object()


def one_ahead(source: Iterable[Item], name: str) -> Generator[Item, None, None]:
    """The items of `source`, each asked for in the thread `name` while the one before it is used.

    An error of `source` is raised where its item would have come. Polars, numpy and inflating release the interpreter's
    lock, so that this keeps a second core busy.
    """
    items = iter(source)
    with ThreadPoolExecutor(1, thread_name_prefix=name) as pool:
        ahead = pool.submit(next, items, _END)
        while (item := ahead.result()) is not _END:
            ahead = pool.submit(next, items, _END)
            yield item  # pyright: ignore[reportReturnType]
