"""An .xlsx read by hand: one worksheet of text cells, which is all that the deactivation report is (ECMA-376, 18.3)."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

from dualstream_assets.registry.errors import ListUnreadable

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_LARGEST_SHEET_BYTES = 400_000_000


def sheet_rows(path: Path) -> Iterator[list[str]]:
    """Rows of the first worksheet, as text; `path` is the .xlsx or a ZIP that holds it.

    Raises:
        ListUnreadable: it is not a workbook, or larger than any report of CMS.
    """
    try:
        with zipfile.ZipFile(_workbook(path)) as book:
            names = book.namelist()
            sheet = next(n for n in sorted(names) if re.fullmatch(r"xl/worksheets/sheet\d+\.xml", n))
            if book.getinfo(sheet).file_size > _LARGEST_SHEET_BYTES:
                raise ListUnreadable(
                    f"{path.name}: a worksheet above {_LARGEST_SHEET_BYTES:,} bytes; do not trust it"
                )
            shared = _shared_strings(book) if "xl/sharedStrings.xml" in names else []
            with book.open(sheet) as file:
                yield from _rows(file, shared)
    except (
        zipfile.BadZipFile,
        StopIteration,
        KeyError,
        ElementTree.ParseError,
        IndexError,
        ValueError,
    ) as error:
        if isinstance(error, ListUnreadable):
            raise
        raise ListUnreadable(
            f"{path.name}: not a workbook we can read ({type(error).__name__}); give the report as published"
        ) from error


def _workbook(path: Path) -> io.BytesIO:
    with zipfile.ZipFile(path) as outer:
        inner = next((n for n in outer.namelist() if n.lower().endswith(".xlsx")), None)
        return io.BytesIO(outer.read(inner) if inner else path.read_bytes())


def _shared_strings(book: zipfile.ZipFile) -> list[str]:
    root = ElementTree.fromstring(book.read("xl/sharedStrings.xml"))  # noqa: S314  # size-bound, no DTD in use
    return ["".join(t.text or "" for t in item.iter(f"{_MAIN}t")) for item in root.iter(f"{_MAIN}si")]


def _rows(file: IO[bytes], shared: list[str]) -> Iterator[list[str]]:
    for _, element in ElementTree.iterparse(file):  # noqa: S314  # size-bound above
        if element.tag != f"{_MAIN}row":
            continue
        yield [_cell(cell, shared) for cell in element.iter(f"{_MAIN}c")]
        element.clear()


def _cell(cell: ElementTree.Element, shared: list[str]) -> str:
    value = cell.find(f"{_MAIN}v")
    if cell.get("t") == "inlineStr":
        return "".join(t.text or "" for t in cell.iter(f"{_MAIN}t"))
    if value is None or value.text is None:
        return ""
    return shared[int(value.text)] if cell.get("t") == "s" else value.text
