"""Practice domains that look like a typing error of another: a report for people, never acted on.

Real rows hold a misspelt practice domain beside the right one under the same provider (facts: nppes section 1.4).
Which of the two is right is nobody's to guess: mail goes to what was filed, and this report says where to look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

MAX_EDITS = 2
SHORT_NAME = 6
"""Names below this length may differ in one letter only; `abc` and `abd` say nothing."""
SHORTEST_NAME = 4
GROUP_LIMITS = {"npi": 40, "organization": 40, "left side": 10}
"""What two domains may share, and with how many domains it says nothing any more (a chain, `info`, `john`)."""
COLUMNS = ("npi", "domain", "likely_domain", "why", "rows")
_PRACTICE = ("institutional", "review")
_SAID = {"npi": "NPI", "organization": "organisation"}


def lookalikes(pairs: pl.DataFrame) -> pl.DataFrame:
    """Near-identical practice domains that one NPI or one organisation filed, or that stand behind one left side.

    Only domains that share one of these are compared, so the work grows with the pairs, not with their square.

    Args:
        pairs: one row per (NPI, address): `npi`, `domain`, `segment`; `organization` and `address` where they are
            known. Consumer domains are left out: gmail.com beside ymail.com is no error.

    Returns:
        `npi` (null when something else is what they share), `domain` (the rarer), `likely_domain` (the more
        frequent; equally frequent: the longer, then the first by name, and `why` says so), `why`, `rows` (of `domain`).
    """
    import polars as pl

    ours = pairs.filter(pl.col("segment").is_in(_PRACTICE) & pl.col("domain").is_not_null())
    counts = ours.group_by("domain").len("rows")
    rows = dict(zip(counts["domain"].to_list(), counts["rows"].to_list(), strict=True))
    found: dict[tuple[str, str], tuple[str | None, str, str, str, int]] = {}
    if "address" in ours.columns:
        ours = ours.with_columns(pl.col("address").str.extract("^(.+)@").alias("left side"))
    for key in (key for key in GROUP_LIMITS if key in ours.columns):
        for shared, one, other in _beside_each_other(ours, key).iter_rows():
            if (one, other) in found or (difference := _difference(one, other)) is None:
                continue
            rare, likely = sorted((one, other), key=lambda name: (rows[name], len(name), _backwards(name)))
            tie = "; equally frequent, either may be right" if rows[rare] == rows[likely] else ""
            npi = shared if key == "npi" else None
            found[one, other] = (
                npi,
                rare,
                likely,
                f"same {_SAID.get(key, key)}: {difference}{tie}",
                rows[rare],
            )
    kinds = {**dict.fromkeys(COLUMNS, pl.String), "rows": pl.Int64}
    return pl.DataFrame(list(found.values()), schema=kinds, orient="row").sort("domain", "likely_domain")


def _beside_each_other(ours: pl.DataFrame, key: str) -> pl.DataFrame:
    """Columns `shared`, `domain`, `other`: every two domains under one key, each two once in their order."""
    import polars as pl

    shared = (
        pl.col(key) if key != "organization" else pl.col(key).str.to_uppercase().str.replace_all(r"\W+", " ")
    )
    filed = ours.select(shared.str.strip_chars().alias("shared"), "domain").filter(pl.col("shared") != "")
    several = filed.unique().filter(pl.len().over("shared").is_between(2, GROUP_LIMITS[key]))
    both = several.join(several.rename({"domain": "other"}), on="shared").filter(
        pl.col("domain") < pl.col("other")
    )
    near = (
        pl.col("domain").str.len_chars().cast(pl.Int64) - pl.col("other").str.len_chars().cast(pl.Int64)
    ).abs()
    same_name = _name("domain") == _name("other")
    return both.filter((near <= MAX_EDITS) | same_name).sort("shared", "domain", "other")


def _name(column: str) -> pl.Expr:
    import polars as pl

    return pl.col(column).str.replace(r"\.[^.]*$", "")


def _difference(one: str, other: str) -> str | None:
    """What sets two domains apart, where it may be an error of typing."""
    name, _, ending = one.rpartition(".")
    other_name, _, other_ending = other.rpartition(".")
    if name == other_name:
        return f"another ending (.{ending}, .{other_ending})"
    if ending != other_ending or _without_digits(name) == _without_digits(other_name):
        return None
    if len(set(name) ^ set(other_name)) > 2 * MAX_EDITS:
        return None
    shorter = min(len(name), len(other_name))
    edits = _edits(name, other_name)
    if shorter < SHORTEST_NAME or edits > (1 if shorter < SHORT_NAME else MAX_EDITS):
        return None
    if edits == 1 and len(name) == len(other_name) and sorted(name) == sorted(other_name):
        return "two letters swapped"
    return "one letter differs" if edits == 1 else f"{edits} letters differ"


def _edits(one: str, other: str) -> int:
    """Optimal string alignment distance: letters put in, left out, changed, or two neighbours swapped.

    Above MAX_EDITS it is not counted to the end.
    """
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        row = [i]
        for j, beside in enumerate(other, start=1):
            cost = min(row[-1] + 1, last[j] + 1, last[j - 1] + (letter != beside))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == beside:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > MAX_EDITS:
            return MAX_EDITS + 1
        before, last = last, row
    return last[-1]


def _without_digits(name: str) -> str:
    return "".join(letter for letter in name if not letter.isdigit())


def _backwards(name: str) -> tuple[int, ...]:
    """Sorts names from the last to the first."""
    return tuple(-ord(letter) for letter in name)
