"""How many rows a whole list has at least: an empty or cut list would drop nobody, and nobody would see it."""

from __future__ import annotations

from collections.abc import Mapping

from dualstream_assets.registry.medicare import ListKind

FLOORS: Mapping[ListKind, int] = {
    ListKind.REVALIDATION: 1_000_000,
    ListKind.DEACTIVATED: 200_000,
    ListKind.LEIE: 50_000,
    ListKind.REVOKED: 3_000,
    ListKind.OPT_OUT: 10_000,
    ListKind.PPEF: 1_000_000,
}
"""Well under the sizes of 2026 (facts: nppes 2): 2,931,409 enrolments, 355,330 deactivated, 8,136 revoked; LEIE (about
80,000), opt-outs (some 50,000) and PPEF (309 MB) by assumption."""
SHRINK = 0.10
"""A list that lost more than this share of its rows is a part of one, or cut off."""


def floors_of(environment: str) -> Mapping[ListKind, int]:
    """`FLOORS`; none in the lab, whose lists are as small as its world."""
    return {} if environment == "lab" else FLOORS


def too_few(kind: ListKind, rows: int, floors: Mapping[ListKind, int]) -> str | None:
    """What is wrong with a list of so many rows, taken by itself."""
    if rows == 0:
        return "has no row"
    floor = floors.get(kind, 0)
    return f"has {rows:,} rows, a whole one has at least {floor:,}" if rows < floor else None


def shrunk(rows: int, before: int) -> bool:
    """Whether a list is far shorter than the one before it."""
    return rows < (1 - SHRINK) * before
