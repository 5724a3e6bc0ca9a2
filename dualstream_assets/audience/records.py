"""What people wrote down about an audience: small CSV files beside the published ones, which only grow."""

from __future__ import annotations

import csv
import fcntl
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from dualstream_assets.store.files import FORMULA_STARTS, neutralised, read_csv, write_csv_atomic

REASON_LENGTH = 300


class RecordRefused(ValueError):
    """What a person wanted to write down cannot stand; says why and what would."""


class RecordUnreadable(ValueError):
    """A file of records is not in our form; it is never passed over, because what it says keeps people out."""


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Every row, oldest first; none where there is no file.

    Raises:
        RecordUnreadable: the header, a column or a cell is missing, or the text is not UTF-8.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header = next(csv.reader(file), [])
        rows = read_csv(path)
    except ValueError as error:
        raise RecordUnreadable(f"{path} is not UTF-8 text; {_CURE}") from error
    if header != list(columns):
        raise RecordUnreadable(f"{path} does not begin with the columns {', '.join(columns)}; {_CURE}")
    for number, row in enumerate(rows, start=1):
        if list(row) != list(columns) or None in row.values():
            raise RecordUnreadable(f"{path}: row {number} has not the columns {', '.join(columns)}; {_CURE}")
    return [{name: _as_written(text) for name, text in row.items()} for row in rows]


def append_row(path: Path, columns: Sequence[str], row: Mapping[str, str]) -> None:
    """Add one row; the file is replaced whole, and one writer works at a time.

    Raises:
        RecordUnreadable: the file is not in our form.
        DiskFull: no room; the old file stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows = [*read_rows(path, columns), dict(row)]
        harmless = ({name: neutralised(text) for name, text in row.items()} for row in rows)
        write_csv_atomic(path, columns, harmless)


def one_line(text: str, what: str) -> str:
    """A reason or a name as it is kept: one line, at most 300 characters, no address in it (it is shown in the UI).

    Raises:
        RecordRefused: it is empty, too long, or holds an address.
    """
    line = re.sub(r"\s+", " ", text).strip()
    if not line:
        raise RecordRefused(f"the {what} is empty: it stays on record, say it in a few words")
    if len(line) > REASON_LENGTH:
        raise RecordRefused(f"the {what} has {len(line)} characters; {REASON_LENGTH} are kept: shorten it")
    if re.search(r"\S@\S", line):
        raise RecordRefused(f"the {what} holds an address, and it is shown in the UI: leave the address out")
    return line


def _as_written(text: str) -> str:
    return text[1:] if text.startswith("'") and text[1:].startswith(FORMULA_STARTS) else text


_CURE = "put back a backup, or mend the row by hand"
