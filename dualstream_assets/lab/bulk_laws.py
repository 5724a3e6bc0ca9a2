"""The shapes of a full-scale release, and draws that need no order: every value is a function of seed, name and index.

So any block of rows can be made alone, and one seed gives the same bytes. Shapes: facts/nppes section 7. Where a test
asserts exact totals the sizes are expected quantiles, never random.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

FULL_ROWS = 9_400_000
FULL_ENDPOINTS = 600_000
LEAST_ENDPOINTS = 1_000
GIANTS = {"va.gov": 2300, "mail.mil": 1000, "cvshealth.com": 640, "walgreens.com": 500, "wal-mart.com": 351}
"""Rows at full scale; their sum is the plan's, the split is assumed."""
ALPHA, LARGEST_DOMAIN, REST_RANK = 2.2657, 2812, 51
"""P(k) ∝ k^-ALPHA for 2 ≤ k ≤ LARGEST_DOMAIN; the rounding rest goes to this rank (facts/nppes section 7.1)."""
_GOLDEN = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


@dataclass(frozen=True)
class Scale:
    """What a release of `endpoints` rows holds: the plan's figures at 600,000, in proportion below."""

    direct: int
    consumer: int
    consumer_npis: int
    institutional: int
    institutional_npis: int
    domains: int
    singletons: int
    giants: dict[str, int]
    npis: int

    @classmethod
    def of(cls, endpoints: int) -> Scale:
        """The figures for so many endpoint rows.

        Raises:
            ValueError: fewer than `LEAST_ENDPOINTS`.
        """
        if endpoints < LEAST_ENDPOINTS:
            raise ValueError(f"{endpoints} endpoint rows: give at least {LEAST_ENDPOINTS}")

        def part(full: int) -> int:
            return round(full * endpoints / FULL_ENDPOINTS)

        domains = part(38_873)
        return cls(
            direct=part(242_441),
            consumer=part(19_366),
            consumer_npis=part(19_072),
            institutional=part(94_348),
            institutional_npis=part(92_592),
            domains=domains,
            singletons=int(0.76 * domains),
            giants={name: part(rows) for name, rows in GIANTS.items()},
            npis=part(476_736),
        )

    def domain_sizes(self) -> Ints:
        """Rows of each institutional domain: the giants first, then the largest to the smallest."""
        import numpy as np

        giants = np.array(list(self.giants.values()), np.int64)
        several = quantile_sizes(self.domains - len(giants) - self.singletons)
        rest = self.institutional - self.singletons - int(giants.sum() + several.sum())
        return np.concatenate([giants, with_rest(several, rest), np.ones(self.singletons, np.int64)])


def quantile_sizes(count: int) -> Ints:
    """`count` sizes ≥ 2 of the power law by expected quantiles, the largest first: F⁻¹(1 - (i + ½) / count)."""
    import numpy as np

    sizes = np.arange(2, LARGEST_DOMAIN + 1)
    cumulated = np.cumsum(sizes**-ALPHA)
    wanted = 1 - (np.arange(count) + 0.5) / count
    return sizes[np.searchsorted(cumulated / cumulated[-1], wanted)].astype(np.int64)


def with_rest(sizes: Ints, rest: int) -> Ints:
    """Sizes, largest first, with `rest` more rows on `REST_RANK` (or fewer, taken from the largest)."""
    made = sizes.copy()
    if rest >= 0:
        made[min(REST_RANK, len(made)) - 1] += rest
        return made
    for i in range(len(made)):
        taken = min(int(made[i]) - 2, -rest)
        made[i] -= taken
        rest += taken
    if rest:
        raise ValueError(f"{-rest} rows too many for {len(made)} domains")
    return made


def group_sizes(groups: int, rows: int) -> Ints:
    """How many of `rows` each of `groups` NPIs has: one, and for some a geometric (.8) number more, by quantiles."""
    import numpy as np

    sizes = np.ones(groups, np.int64)
    left, more, holders = rows - groups, 1, round((rows - groups) * 0.8)
    at = 0
    while left > 0 and at < groups:
        here = min(groups - at, max(1, round(holders * 0.8 * 0.2 ** (more - 1))), max(1, left // more))
        more_here = min(more, left)
        sizes[at : at + here] += more_here
        left -= here * more_here
        at += here
        more += 1
    return sizes


def weights_of(text: str) -> dict[str, int]:
    """`TX:89 NY:73` as name -> weight."""
    return {name: int(weight) for name, _, weight in (pair.partition(":") for pair in text.split())}


class Draws:
    """Deterministic draws: splitmix64 over an index, keyed by seed and a name. No state, so no order of calls."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def bits(self, name: str, index: Ints) -> NDArray[np.uint64]:
        """64 even bits for each index."""
        import numpy as np

        key = int.from_bytes(hashlib.sha256(f"{self.seed}:{name}".encode()).digest()[:8], "little")
        z = index.astype(np.uint64) * np.uint64(_GOLDEN) + np.uint64(key)
        for shift, factor in _MIX:
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
        return z ^ (z >> np.uint64(31))

    def unit(self, name: str, index: Ints) -> NDArray[np.float64]:
        """Numbers in [0, 1)."""
        import numpy as np

        return (self.bits(name, index) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def below(self, name: str, index: Ints, limit: int | Ints) -> Ints:
        """Whole numbers in [0, limit)."""
        import numpy as np

        return (self.unit(name, index) * limit).astype(np.int64)

    def pick(self, name: str, index: Ints, weights: Sequence[float]) -> Ints:
        """Positions in `weights`, drawn in proportion."""
        import numpy as np

        borders = np.cumsum(np.array(weights, np.float64))
        return np.searchsorted(borders[:-1], self.unit(name, index) * borders[-1], side="right")

    def order(self, name: str, count: int) -> Ints:
        """A permutation of 0 … count-1."""
        import numpy as np

        return np.argsort(self.bits(name, np.arange(count)), kind="stable")

    def scatter(self, name: str, index: Ints, size: int) -> Ints:
        """Different indices go to different places below `size`: an affine walk, no table."""
        import math

        import numpy as np

        start, step = (int(v) % size for v in self.bits(name, np.arange(2)))
        step = max(1, step % min(size, 900_000_000))
        while math.gcd(step, size) != 1:
            step += 1
        return (index * step + start) % size


def npi_of(draws: Draws, index: Ints) -> Ints:
    """A valid NPI for each index below 10⁸: unique, begins with 2, check digit by Luhn over `80840` and nine digits.

    The standard allows a leading 2 (45 CFR 162.406); CMS has only ever issued numbers that begin with 1.
    """
    import numpy as np

    nine = 200_000_000 + draws.scatter("npi", index, 10**8)
    doubled = [sum(divmod(2 * digit, 10)) for digit in range(10)]
    outer, inner = (
        np.array([f(n // 100) + g(n // 10 % 10) + f(n % 10) for n in range(1_000)])
        for f, g in ((doubled.__getitem__, int), (int, doubled.__getitem__))
    )
    total = 24 + outer[nine // 10**6] + inner[nine // 1_000 % 1_000] + outer[nine % 1_000]  # 24: the prefix
    return nine * 10 + -total % 10
