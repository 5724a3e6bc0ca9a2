"""The deactivation report's .xlsx: bounded before it is unpacked, read by calamine, given as text."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import IO

from dualstream_assets.estate.model import Limits
from dualstream_assets.registry.errors import ListUnreadable

LARGEST_PART_BYTES = 400_000_000


def sheet_rows(path: Path, limits: Limits | None = None) -> Iterator[list[str]]:
    """Rows of the first worksheet, as text; `path` is the .xlsx or a ZIP that holds it. Days are given as MM/DD/YYYY.

    Raises:
        ListUnreadable: it is not a workbook, larger than any report of CMS, or unpacks to more than `limits` allow.
    """
    from python_calamine import CalamineError, CalamineWorkbook

    limits = limits or Limits()
    try:
        book = _workbook(path, limits)
        with zipfile.ZipFile(book) as parts:
            for name in parts.namelist():
                _bounded(path, parts.getinfo(name), limits)
        book.seek(0)
        sheet = CalamineWorkbook.from_filelike(book).get_sheet_by_index(0)
        for row in sheet.iter_rows():
            yield [_text(cell) for cell in row]
    except (zipfile.BadZipFile, CalamineError, EOFError, KeyError, ValueError) as error:
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
    _bounded(path, archive.getinfo(name), limits)
    return archive.open(name)


def _bounded(path: Path, info: zipfile.ZipInfo, limits: Limits) -> None:
    most = min(limits.zip_bytes, LARGEST_PART_BYTES)
    if info.file_size > most:
        raise ListUnreadable(
            f"{path.name}: {info.filename} would unpack to {info.file_size:,} bytes, above {most:,};"
            " do not trust this file"
        )
    ratio = info.file_size / max(1, info.compress_size)
    if ratio > limits.zip_ratio:
        raise ListUnreadable(
            f"{path.name}: {info.filename} unpacks {ratio:.0f} times its size, above limits.zip_ratio ="
            f" {limits.zip_ratio:g} of the estate; do not trust this file"
        )


def _text(cell: object) -> str:
    if isinstance(cell, date):
        return cell.strftime("%m/%d/%Y")
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)
