"""The text rows of the five files, made from codes slice by slice; free text is made harmless for spreadsheets.

A value that begins as a formula does gets an apostrophe before it (OWASP, CSV injection).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualstream_assets.audience.manifest import COLUMNS

if TYPE_CHECKING:
    import polars as pl

_FORMULA = r"^[=+\-@\t\r\n\u{FF1D}\u{FF0B}\u{FF0D}\u{FF20}]"
"""How a formula begins; the last four are the full-width forms of the first four."""
_OURS = frozenset(
    {
        "email",
        "domain",
        "segment",
        "rule",
        "npi_count",
        "revalidation_status",
        "due_date",
        "days_overdue",
        "rank",
    }
    | {"role_account", "entity_type"}
)
"""Columns that we write ourselves, or that cannot begin as a formula does (`addresses`: symbol_at_start)."""
_ALSO_OURS_IN_SEGMENTS = frozenset({"npi", "npis", "product_key"})
"""In rejects these hold what was filed: an NPI that is none."""


def text_rows(
    fates: pl.DataFrame, candidates: pl.DataFrame, ruled: pl.DataFrame, people: pl.DataFrame, *, rejects: bool
) -> pl.DataFrame:
    """Columns of `manifest.COLUMNS`, all text, for some rows of one file, in their order."""
    import polars as pl

    ids, persons = fates["id"], fates["person"]
    wide = pl.concat(
        [
            fates.drop("id", "person"),
            candidates.select("npi", "endpoint_type", "affiliation")[ids],
            ruled[ids].drop("segment", "rule", "evidence") if rejects else ruled[ids],
            people.select(pl.exclude("npi").gather(persons)),
        ],
        how="horizontal",
    )
    flagged = pl.when("name_flag").then(pl.lit("; flag: same name and state on LEIE without NPI"))
    text = {name: pl.col(name).cast(pl.String) for name in ("organization", "affiliation", "evidence")}
    if rejects:
        wide = wide.with_columns(
            segment=pl.lit("dropped"),
            rule=pl.col("why"),
            evidence=pl.col("why_evidence").str.replace_all(r"\s+", " "),
        )
    else:
        wide = wide.with_columns(evidence=pl.concat_str(text["evidence"], flagged.otherwise(pl.lit(""))))
    made = wide.with_columns(
        pl.coalesce(text["organization"], text["affiliation"]).alias("organization"),
        pl.coalesce("npis", "npi").alias("npis"),
        pl.col("address").alias("email"),
        pl.when("role_account").then(pl.lit("Y")).otherwise(pl.lit("N")).alias("role_account"),
        pl.col("npi").alias("product_key"),
    )
    return made.select(_text(name, rejects) for name, _ in COLUMNS)


def _text(column: str, rejects: bool) -> pl.Expr:
    import polars as pl

    text = pl.col(column).cast(pl.String).fill_null("")
    if column in _OURS or (column in _ALSO_OURS_IN_SEGMENTS and not rejects):
        return text
    harmless = pl.concat_str(pl.lit("'"), text)
    return pl.when(text.str.contains(_FORMULA)).then(harmless).otherwise(text).alias(column)
