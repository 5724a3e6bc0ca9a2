# ruff: noqa: PLR2004  # shares and spans are the data here
"""npidata, othername and pl of a full-scale release, block by block; any block can be made alone.

Shares: 20 % organisations, 3.5 % deactivated rows of which only NPI and date are left, 27 % of all NPIs with a
deactivation date are reactivated (facts/nppes section 7.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING

from dualstream_assets.lab.bulk_laws import Draws, npi_of
from dualstream_assets.lab.bulk_pools import BORDER, Pools, make_pools
from dualstream_assets.lab.bulk_text import quoted_lines

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

BLANK, REACTIVATED, ORGANISATION = 0.035, 0.035 * 27 / 73, 0.2
OTHERNAMES, LOCATIONS = 0.0757, 0.1227
"""Rows of othername and pl for each row of npidata (facts/nppes section 1.1)."""
BLOCK_ROWS = 16_384
_FIRST_DAY = date(2005, 5, 23)
_OTHER_CP1252 = 1_000_003
"""One npidata row in so many holds a byte that is not UTF-8."""


@dataclass(frozen=True)
class Registry:
    """All providers of a release: row i of npidata is a function of i.

    Attributes:
        filers: sorted rows of the providers that file an e-mail address; they lean to therapy.
    """

    draws: Draws
    rows: int
    release_day: date
    filers: Ints

    @cached_property
    def pools(self) -> Pools:
        """The columns' values."""
        return make_pools(self.draws.seed)

    @cached_property
    def dates(self) -> pl.Series:
        """MM/DD/YYYY of every day from the first of NPPES to the release, then an empty one."""
        import polars as pl

        days = pl.date_range(_FIRST_DAY, self.release_day, eager=True).dt.strftime("%m/%d/%Y")
        return pl.concat([days, pl.Series([""])])

    def npis(self, rows: Ints) -> Ints:
        """NPIs of rows."""
        return npi_of(self.draws, rows)

    def kinds(self, rows: Ints) -> Ints:
        """0 person, 1 organisation, 2 blank."""
        import numpy as np

        organisation = self.draws.unit("entity", rows) < ORGANISATION
        return np.where(self.draws.unit("blank", rows) < BLANK, 2, organisation.astype(np.int64))

    def reactivated(self, rows: Ints) -> NDArray[np.bool_]:
        """Rows with a deactivation date and a later reactivation."""
        share = REACTIVATED / (1 - BLANK)
        return (self.kinds(rows) != 2) & (self.draws.unit("reactivated", rows) < share)

    def deactivation_days(self, rows: Ints) -> Ints:
        """Days after the first of NPPES, of rows that have such a date."""
        return self._enumerated(rows) + self.draws.below(
            "deactivated", rows, len(self.dates) - 150 - self._enumerated(rows)
        )

    def _enumerated(self, rows: Ints) -> Ints:
        """Roughly in the file's order, as the real file has it."""
        import numpy as np

        span = len(self.dates) - 201
        drift = rows * span // max(1, self.rows) + self.draws.below("enumerated", rows, 40)
        return np.minimum(drift, span)

    def deactivated(self, rows: Ints) -> tuple[Ints, pl.Series]:
        """Those of `rows` that have a deactivation date, with the date as text."""
        import numpy as np

        off = rows[(self.kinds(rows) == 2) | self.reactivated(rows)]
        return off, self._days(self.deactivation_days(off), np.full(len(off), fill_value=True))

    def names(self, rows: Ints) -> tuple[pl.Series, pl.Series, pl.Series]:
        """First name, last name and organisation of rows; empty where there is none."""
        import numpy as np
        import polars as pl

        kinds = self.kinds(rows)
        values = []
        for kind, column in ((0, 5), (0, 4), (1, 3)):
            pool = (self.pools.person, self.pools.organisation)[kind]
            at = np.full(len(rows), len(pool))
            at[kinds == kind] = self.draws.below("names", rows[kinds == kind], len(pool))
            texts = pl.concat(
                [pool.str.split(BORDER).list.get(column).str.replace_all(",", ""), pl.Series([""])]
            )
            values.append(texts.gather(at))
        return values[0], values[1], values[2]

    def places(self, rows: Ints) -> pl.DataFrame:
        """Practice address of rows: `street`, `second`, `city`, `state`, `postal`, `country`."""
        fields = ("street", "second", "city", "state", "postal", "country")
        text = self.pools.address.gather(self.address_of(rows))
        return text.str.split_exact(BORDER, 5).struct.rename_fields(list(fields)).struct.unnest()

    def address_of(self, rows: Ints) -> Ints:
        """Position of the practice address in its pool."""
        return self.draws.below("practice", rows, len(self.pools.address))

    def npidata(self) -> Iterator[bytes]:
        """The rows, without the header."""
        import numpy as np

        for start in range(0, self.rows, BLOCK_ROWS):
            yield self._npidata(np.arange(start, min(start + BLOCK_ROWS, self.rows)))

    def _npidata(self, rows: Ints) -> bytes:
        import numpy as np
        import polars as pl

        kinds = self.kinds(rows)
        person, organisation, blank = (kinds == k for k in range(3))
        filer = np.isin(rows, self.filers, assume_unique=True)
        pools, draws = self.pools, self.draws
        empty = {n: BORDER * (n - 1) for n in (1, 4, 6, 7, 15, 19, 60, 200)}

        def run(name: str, *choices: tuple[NDArray[np.bool_], pl.Series], columns: int) -> pl.Series:
            """A run of columns: for each row a value of the first pool whose mask holds, else empty values."""
            picked, base = np.zeros(len(rows), np.int64), 1
            for mask, pool in reversed(choices):
                picked[mask] = base + draws.below(name, rows[mask], len(pool))
                base += len(pool)
            values = pl.concat(
                [pl.Series([empty[columns]]), *(pool for _, pool in reversed(choices))], rechunk=True
            )
            return values.gather(picked)

        def phones(name: str, share: float) -> pl.Series:
            return self._phones(name, rows, ~blank & (draws.unit(f"{name}?", rows) < share))

        practice = self.address_of(rows)
        mailing = np.where(
            draws.unit("same", rows) < 0.55, practice, draws.below("mailing", rows, len(pools.address))
        )
        addresses = pl.concat([pools.address, pl.Series([empty[6]])], rechunk=True)
        for where in (practice, mailing):
            where[blank] = len(pools.address)
        never = len(self.dates) - 1
        back = self.reactivated(rows)
        enumerated = self._enumerated(rows)
        updated = np.minimum(enumerated + draws.below("updated", rows, 4_000), never - 1)
        off = self.deactivation_days(rows)
        phone, fax = phones("phone", 1), phones("fax", 0.5)
        runs = [
            pl.Series(self.npis(rows)).cast(pl.String),
            run("names", (person, pools.person), (organisation, pools.organisation), columns=19),
            addresses.gather(mailing),
            phone,
            fax,
            addresses.gather(practice),
            phone,
            fax,
            self._days(enumerated, ~blank),
            self._days(updated, ~blank),
            pl.Series([""]),
            self._days(off, blank | back),
            self._days(off + 90, back),
            pl.Series(["", "F", "M"]).gather(np.where(person, 1 + draws.below("sex", rows, 2), 0)),
            run("official", (organisation, pools.official), columns=4),
            self._phones("official phone", rows, organisation),
            run(
                "taxonomy",
                (person & filer, pools.taxonomy[1]),
                (person, pools.taxonomy[0]),
                (organisation, pools.taxonomy[2]),
                columns=60,
            ),
            run("identifiers", (~blank, pools.identifiers), columns=200),
            run("standing", (person, pools.standing[0]), (organisation, pools.standing[1]), columns=7),
            run("groups", (organisation, pools.groups), columns=15),
            self._days(updated, ~blank & (draws.unit("certified", rows) < 0.5)),
        ]
        text = quoted_lines(runs)
        odd = np.flatnonzero((rows % _OTHER_CP1252 == 77_777) & organisation)
        return _with_cp1252(text, odd)

    def _days(self, days: Ints, mask: NDArray[np.bool_]) -> pl.Series:
        import numpy as np

        return self.dates.gather(np.where(mask, np.clip(days, 0, len(self.dates) - 2), len(self.dates) - 1))

    def _phones(self, name: str, rows: Ints, mask: NDArray[np.bool_]) -> pl.Series:
        """Ten digits of numbers kept for fiction (555-01xx) in made-up areas, else empty."""
        import polars as pl

        areas, last = self.draws.below(f"{name} area", rows, 600), self.draws.below(name, rows, 100)
        number = (200 + areas) * 10**7 + 5_550_100 + last
        return pl.select(
            pl.when(pl.Series(mask)).then(pl.Series(number).cast(pl.String)).otherwise(pl.lit(""))
        ).to_series()

    def othernames(self) -> Iterator[bytes]:
        """Rows of othername_pfile: a trade name each."""
        import numpy as np
        import polars as pl

        for start in range(0, self.rows, BLOCK_ROWS * 8):
            rows = np.arange(start, min(start + BLOCK_ROWS * 8, self.rows))
            rows = rows[
                (self.kinds(rows) == 1)
                & (self.draws.unit("othername", rows) < OTHERNAMES / ORGANISATION / (1 - BLANK))
            ]
            names = self.pools.surnames.gather(self.draws.below("dba", rows, len(self.pools.surnames)))
            runs = [
                pl.Series(self.npis(rows)).cast(pl.String),
                names + " HEALTH",
                pl.Series(["3", "5"]).gather(self.draws.below("dba type", rows, 2)),
                self._days(self._enumerated(rows), np.full(len(rows), fill_value=True)),
            ]
            yield quoted_lines(runs)

    def locations(self) -> Iterator[bytes]:
        """Rows of pl_pfile: a second practice location each."""
        import numpy as np
        import polars as pl

        for start in range(0, self.rows, BLOCK_ROWS * 8):
            rows = np.arange(start, min(start + BLOCK_ROWS * 8, self.rows))
            rows = rows[
                (self.kinds(rows) != 2) & (self.draws.unit("location", rows) < LOCATIONS / (1 - BLANK))
            ]
            there = np.full(len(rows), fill_value=True)
            runs = [
                pl.Series(self.npis(rows)).cast(pl.String),
                self.pools.address.gather(self.draws.below("second", rows, len(self.pools.address))),
                self._phones("second phone", rows, there),
                pl.Series([""]),
                pl.Series([""]),
            ]
            yield quoted_lines(runs)


def _with_cp1252(text: bytes, odd: Ints) -> bytes:
    """The first O of the rows `odd` becomes Ó, as Windows-1252 writes it."""
    if not len(odd):
        return text
    lines = text.split(b"\n")
    for i in odd:
        lines[i] = lines[i].replace(b"O", b"\xd3", 1)
    return b"\n".join(lines)
