"""An .xlsx read by hand: one worksheet of text cells, which is all that the deactivation report is (ECMA-376, 18.3)."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

from dualstream_assets.estate.model import Limits
from dualstream_assets.registry.errors import ListUnreadable

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_STRINGS = "xl/sharedStrings.xml"
LARGEST_PART_BYTES = 400_000_000


def sheet_rows(path: Path, limits: Limits | None = None) -> Iterator[list[str]]:
    """Rows of the first worksheet, as text; `path` is the .xlsx or a ZIP that holds it.

    Raises:
        ListUnreadable: it is not a workbook, larger than any report of CMS, or unpacks to more than `limits` allow.
    """
    limits = limits or Limits()
    try:
        with zipfile.ZipFile(_workbook(path, limits)) as book:
            names = book.namelist()
            sheet = next(n for n in sorted(names) if re.fullmatch(r"xl/worksheets/sheet\d+\.xml", n))
            shared: list[str] = []
            if _STRINGS in names:
                with _part(path, book, _STRINGS, limits) as file:
                    shared = [_text(item) for item in _elements(file, "si")]
            with _part(path, book, sheet, limits) as file:
                for row in _elements(file, "row"):
                    yield [_cell(cell, shared) for cell in row.iter(f"{_MAIN}c")]
    except (
        zipfile.BadZipFile,
        StopIteration,
        KeyError,
        ElementTree.ParseError,
        IndexError,
        ValueError,
        EOFError,
    ) as error:
        if isinstance(error, ListUnreadable):
            raise
        raise ListUnreadable(
            f"{path.name}: not a workbook we can read ({type(error).__name__}); give the report as published"
        ) from error


def _workbook(path: Path, limits: Limits) -> io.BytesIO:
    with zipfile.ZipFile(path) as outer:
        inner = next((n for n in outer.namelist() if n.lower().endswith(".xlsx")), None)
        if inner is None:
            return io.BytesIO(path.read_bytes())
        with _part(path, outer, inner, limits) as file:
            return io.BytesIO(file.read())


def _part(path: Path, archive: zipfile.ZipFile, name: str, limits: Limits) -> IO[bytes]:
    """Open a member that is within bounds; `zipfile` reads no more of it than its directory states."""
    info = archive.getinfo(name)
    most = min(limits.zip_bytes, LARGEST_PART_BYTES)
    if info.file_size > most:
        raise ListUnreadable(
            f"{path.name}: {name} would unpack to {info.file_size:,} bytes, above {most:,}; do not trust this file"
        )
    ratio = info.file_size / max(1, info.compress_size)
    if ratio > limits.zip_ratio:
        raise ListUnreadable(
            f"{path.name}: {name} unpacks {ratio:.0f} times its size, above limits.zip_ratio = {limits.zip_ratio:g}"
            " of the estate; do not trust this file"
        )
    return archive.open(name)


def _elements(file: IO[bytes], tag: str) -> Iterator[ElementTree.Element]:
    """Every element with this tag, one at a time; what was read is forgotten."""
    parents: list[ElementTree.Element] = []
    for event, element in ElementTree.iterparse(file, ("start", "end")):  # noqa: S314  # size-bound by `_part`
        if event == "start":
            parents.append(element)
            continue
        parents.pop()
        if element.tag == f"{_MAIN}{tag}":
            yield element
            parents[-1].remove(element)


def _text(element: ElementTree.Element) -> str:
    return "".join(t.text or "" for t in element.iter(f"{_MAIN}t"))


def _cell(cell: ElementTree.Element, shared: list[str]) -> str:
    if cell.get("t") == "inlineStr":
        return _text(cell)
    value = cell.find(f"{_MAIN}v")
    if value is None or value.text is None:
        return ""
    return shared[int(value.text)] if cell.get("t") == "s" else value.text
