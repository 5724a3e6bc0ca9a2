"""The table of enhanced status codes (RFC 3463, RFC 5248) as operators use them; the rows lie beside this file."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class EnhancedRow:
    """Codes from `low` to `high` (class, subject, detail) mean `ruling`, with these reply codes (none: any)."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    codes: frozenset[int]
    ruling: str
    rule: str


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _read() -> tuple[EnhancedRow, ...]:
    table = resources.files("dualstream_assets.receivers") / "enhanced.csv"
    return tuple(
        EnhancedRow(
            _numbers(row["low"]),
            _numbers(row["high"]),
            frozenset(int(code) for code in row["codes"].split()),
            row["ruling"],
            row["rule"],
        )
        for row in csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    )


ENHANCED = _read()
"""First row that fits wins."""


def in_range(enhanced: str, row: EnhancedRow) -> bool:
    """Whether an enhanced code lies in a row's range."""
    return row.low <= _numbers(enhanced) <= row.high
