"""Columns to lines of a CSV, fast: the only place that knows how bytes are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


def quoted_lines(runs: list[pl.Series]) -> bytes:
    """Lines with every value quoted, as NPPES has them; a run of one value is the same in every row."""
    return _lines(runs, '"')


def plain_lines(runs: list[pl.Series]) -> bytes:
    """Lines without quotes; no value may hold a comma."""
    return _lines(runs, "")


def _lines(runs: list[pl.Series], quote: str) -> bytes:
    import polars as pl

    rows = len(runs[0])
    if not rows:
        return b""
    frame = pl.DataFrame([run.alias(str(i)) for i, run in enumerate(runs) if len(run) == rows])
    pieces: list[pl.Expr] = [pl.lit(quote)]
    for i, run in enumerate(runs):
        pieces += [pl.lit(f"{quote},{quote}")] if i else []
        pieces += [pl.col(str(i)) if len(run) == rows else pl.lit(run[0])]
    text = frame.select(pl.concat_str([*pieces, pl.lit(f"{quote}\n")])).to_series()
    return "".join(text.to_list()).encode("latin-1")  # as Windows-1252 for every letter we use, and fast
