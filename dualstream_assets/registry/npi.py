"""The National Provider Identifier: ten digits, the last a check digit (45 CFR 162.406; CMS, NPI check digit).

The Luhn sum is taken over the number behind the prefix 80840 (ISO/IEC 7812: health applications, United States), which
adds 24.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

_DIGITS = 10
_PREFIX_SUM = 24


def is_valid(column: str) -> pl.Expr:
    """Whether a text column holds NPIs whose form and check digit are right; false for null."""
    import polars as pl

    number = pl.col(column).cast(pl.Int64, strict=False)
    total = pl.lit(_PREFIX_SUM)
    for place in range(_DIGITS):
        digit = number // 10**place % 10
        total = total + (digit * 2 - (digit >= 5).cast(pl.Int64) * 9 if place % 2 else digit)  # noqa: PLR2004
    form = pl.col(column).str.contains(r"^[12][0-9]{9}$")
    return (form & (total % 10 == 0)).fill_null(value=False)
