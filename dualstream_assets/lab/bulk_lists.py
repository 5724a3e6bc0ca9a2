"""The CMS and OIG lists at the size that goes with a full-scale release (facts/nppes sections 2.1, 2.2, 7.2).

At 9.4 M providers: 2.93 M enrolments (9.2 % dated, of these 83 % overdue), the whole deactivation report, 83,000
LEIE rows of which a tenth has an NPI, 8,136 revocations, 52,000 opt-outs (sizes of LEIE and opt-out
assumed).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from dualstream_assets.lab.bulk_laws import FULL_ROWS
from dualstream_assets.lab.bulk_pools import SPECIALTIES
from dualstream_assets.lab.bulk_providers import BLANK, Registry
from dualstream_assets.lab.bulk_text import plain_lines
from dualstream_assets.lab.bulk_zip import ZipStream
from dualstream_assets.lab.cms_files import (
    LEIE_COLUMNS,
    OPT_OUT_COLUMNS,
    REVALIDATION_COLUMNS,
    REVOCATION_COLUMNS,
    us_date,
)
from dualstream_assets.lab.lists import month_end
from dualstream_assets.lab.xlsx import xlsx_bytes

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

ENROLMENTS, SECOND, DATED, OVERDUE = 2_930_000 / FULL_ROWS, 0.13, 0.092, 0.83
OVERDUE_YEARS = (22, 39, 25, 14)
"""Percent of the overdue ones: three years ago, two, one, this year."""
_LEIE, _REVOKED, _OPT_OUT = 83_000 / FULL_ROWS, 8_136 / FULL_ROWS, 52_000 / FULL_ROWS
_BLOCK_ROWS = 262_144


def write_lists(registry: Registry, folder: Path) -> dict[str, int]:
    """Write all five lists into `folder`; returns kind -> rows."""
    day = registry.release_day
    return {
        "revalidation": _put(folder / "revalidation_base.csv", REVALIDATION_COLUMNS, _enrolments(registry)),
        "leie": _put(folder / "UPDATED.csv", LEIE_COLUMNS, _excluded(registry)),
        "revoked": _put(
            folder / f"Revocation_Extract_{day:%Y.%m.%d}.csv", REVOCATION_COLUMNS, _revoked(registry)
        ),
        "opt_out": _put(
            folder / f"Opt_Out_Affidavits_{day:%Y.%m.%d}.csv", OPT_OUT_COLUMNS, _opted_out(registry)
        ),
        "deactivated": _deactivated(registry, folder),
    }


def _put(path: Path, header: Sequence[str], blocks: Iterator[bytes]) -> int:
    rows = 0
    with path.open("wb") as file:
        file.write((",".join(header) + "\n").encode())
        for block in blocks:
            rows += block.count(b"\n")
            file.write(block)
    return rows


def _chosen(registry: Registry, name: str, share: float) -> Iterator[Ints]:
    """Rows of npidata that are on a list, block by block; never blank ones."""
    import numpy as np

    for start in range(0, registry.rows, _BLOCK_ROWS):
        rows = np.arange(start, min(start + _BLOCK_ROWS, registry.rows))
        rows = rows[registry.draws.unit(name, rows) < share / (1 - BLANK)]
        yield rows[registry.kinds(rows) != 2]  # noqa: PLR2004


def _due_days(day: date) -> tuple[list[date], list[float]]:
    """Month ends and how often each is a due date: overdue ones by year, the others in the seven months to come."""
    ends = sorted({month_end(day + timedelta(days=d)) for d in range(-1_500, 215)})
    years = {day.year - 3 + i: share for i, share in enumerate(OVERDUE_YEARS)}
    past = [end for end in ends if end < day and end.year in years]
    coming = [end for end in ends if end >= day]
    weights = [OVERDUE * years[e.year] / 100 / sum(p.year == e.year for p in past) for e in past]
    return past + coming, weights + [(1 - OVERDUE) / len(coming)] * len(coming)


def _enrolments(registry: Registry) -> Iterator[bytes]:
    import numpy as np
    import polars as pl

    draws = registry.draws
    ends, weights = _due_days(registry.release_day)
    dates = pl.Series([*(f"{e:%Y-%m-%d}" for e in ends), *(us_date(e) for e in ends), "TBD"])
    specialties = pl.Series([code for code, _, _ in SPECIALTIES])
    number = 0
    for people in _chosen(registry, "enrolled", ENROLMENTS / (1 + SECOND)):
        twice = draws.unit("enrolled twice", people) < SECOND
        rows = np.repeat(people, 1 + twice)
        key = rows * 2 + (np.diff(rows, prepend=-1) == 0)
        due = draws.pick("due", key, weights) + len(ends) * (draws.below("us date", key, 40) == 0)
        due = np.where(draws.unit("dated", key) < DATED, due, len(dates) - 1)
        adjusted = pl.Series(["", f"{ends[-1]:%Y-%m-%d}"]).gather(
            ((draws.unit("adjusted", key) < 0.001) & (due < len(dates) - 1)).astype(np.int64)  # noqa: PLR2004
        )
        person = registry.kinds(rows) == 0
        serial = pl.Series(number + np.arange(len(rows)))
        number += len(rows)
        identifier = (
            pl.Series(["O", "I"]).gather(person.astype(np.int64))
            + (20_040_101 + serial % 28).cast(pl.String)
            + (serial % 1_000_000).cast(pl.String).str.zfill(6)
        )
        yield plain_lines(
            [
                identifier,
                _text(registry.npis(rows)),
                *registry.names(rows),
                registry.places(rows)["state"],
                pl.Series(["3"]),
                pl.Series(["Non-DME Part B"]),
                specialties.gather(draws.below("specialty", rows, len(specialties))),
                dates.gather(due),
                adjusted,
                pl.Series([""]),
                pl.Series([""]),
            ]
        )


def _excluded(registry: Registry) -> Iterator[bytes]:
    import polars as pl

    for rows in _chosen(registry, "leie", _LEIE):
        first, last, organisation = registry.names(rows)
        at = registry.places(rows)
        numbered = pl.Series(registry.draws.unit("leie npi", rows) < 0.1)  # noqa: PLR2004
        npi = pl.select(pl.when(numbered).then(_text(registry.npis(rows))).otherwise(pl.lit("0000000000")))
        day = _days_ago(registry, "excluded on", rows, 30, 5_000, "%Y%m%d")
        yield plain_lines(
            [
                last,
                first,
                pl.Series([""]),
                organisation,
                pl.Series(["IND- LIC HC SERV PRO,SAMPLE,"]),
                npi.to_series(),
                pl.Series(["19700101"]),
                at["street"],
                at["city"],
                at["state"],
                at["postal"].str.slice(0, 5),
                pl.Series(["1128b4"]),
                day,
                pl.Series(["00000000,00000000,"]),
            ]
        )


def _revoked(registry: Registry) -> Iterator[bytes]:
    import polars as pl

    for rows in _chosen(registry, "revoked", _REVOKED):
        first, last, organisation = registry.names(rows)
        yield plain_lines(
            [
                "I20200101" + pl.Series(rows % 1_000_000).cast(pl.String).str.zfill(6),
                _text(registry.npis(rows)),
                first,
                pl.Series([""]),
                last,
                organisation,
                pl.Series(["N"]),
                registry.places(rows)["state"],
                pl.Series(["PRACTITIONER - INTERNAL MEDICINE"]),
                pl.Series(["424.535(a)(1) Noncompliance"]),
                _days_ago(registry, "revoked on", rows, 100, 1_000, "%m/%d/%Y"),
                _days_ago(registry, "barred until", rows, -2_000, 90, "%m/%d/%Y"),
            ]
        )


def _opted_out(registry: Registry) -> Iterator[bytes]:
    import polars as pl

    for rows in _chosen(registry, "opted out", _OPT_OUT):
        first, last, _ = registry.names(rows)
        at = registry.places(rows)
        yield plain_lines(
            [
                first,
                last,
                _text(registry.npis(rows)),
                pl.Series(["Psychiatry"]),
                _days_ago(registry, "opted out on", rows, 20, 700, "%m/%d/%Y"),
                _days_ago(registry, "opt-out ends", rows, -720, 20, "%m/%d/%Y"),
                at["street"],
                at["second"],
                at["city"],
                at["state"],
                at["postal"],
                pl.Series(["Y"]),
                pl.Series([us_date(registry.release_day)]),
            ]
        )


def _deactivated(registry: Registry, folder: Path) -> int:
    """The full report: every NPI with a deactivation date, reactivated ones too."""
    import numpy as np

    pairs: list[tuple[str, str]] = []
    for start in range(0, registry.rows, _BLOCK_ROWS):
        rows, days = registry.deactivated(np.arange(start, min(start + _BLOCK_ROWS, registry.rows)))
        pairs += zip(_text(registry.npis(rows)).to_list(), days.to_list(), strict=True)
    day = registry.release_day
    title = f"NPPES Deactivated NPI Report as of {day:%m/%d/%Y}"
    sheet = xlsx_bytes([(title,), ("NPI", "NPPES Deactivation Date"), *sorted(pairs)])
    with ZipStream(folder / f"NPPES_Deactivated_NPI_Report_{day:%m%d%y}_V2.zip") as archive:
        archive.add(f"NPPES Deactivated NPI Report {day:%Y%m%d}.xlsx", [sheet])
    return len(pairs)


def _days_ago(registry: Registry, name: str, rows: Ints, low: int, high: int, form: str) -> pl.Series:
    """Text of a day between `low` and `high` days before the release."""
    import polars as pl

    days = [f"{registry.release_day - timedelta(days=d):{form}}" for d in range(low, high)]
    return pl.Series(days).gather(registry.draws.below(name, rows, len(days)))


def _text(numbers: Ints) -> pl.Series:
    import polars as pl

    return pl.Series(numbers).cast(pl.String)
