"""A release of full scale: the NPPES ZIP, the CMS and OIG lists, and the truth about them in a folder apart.

`lab.release` writes the small world that the rest of the lab lives in; this writes what a reader has to stand up to:
9.4 M providers, 600,000 endpoint rows, the plan's own figures exactly (facts/nppes section 7). One seed, one release.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain
from pathlib import Path

from dualstream_assets.lab.bulk_endpoints import file_lines, filer_rows, finished, render
from dualstream_assets.lab.bulk_laws import FULL_ENDPOINTS, FULL_ROWS, LEAST_ENDPOINTS, Draws
from dualstream_assets.lab.bulk_lists import write_lists
from dualstream_assets.lab.bulk_providers import LOCATIONS, Registry
from dualstream_assets.lab.bulk_truth import Truth
from dualstream_assets.lab.bulk_zip import Written, ZipStream
from dualstream_assets.lab.release import OTHERNAME_COLUMNS, PL_COLUMNS, endpoint_columns, npidata_columns

_ROW_BYTES = {"npidata_pfile": 1_250, "othername_pfile": 60, "pl_pfile": 130, "endpoint_pfile": 260}
_COUNTED_ROWS = 1 << 18


@dataclass(frozen=True)
class BulkRelease:
    """What was written. `bytes` and `compressed_bytes` are those of all members of the ZIP."""

    path: Path
    truth: Path
    bytes: int
    compressed_bytes: int


def endpoints_of(rows: int) -> int:
    """How many endpoint rows go with so many npidata rows when nobody says: as at full scale."""
    return max(LEAST_ENDPOINTS, round(FULL_ENDPOINTS * rows / FULL_ROWS))


def write_bulk(
    out: Path,
    *,
    rows: int = FULL_ROWS,
    endpoints: int | None = None,
    seed: int,
    release_day: date,
    say: Callable[[str], object] = lambda _: None,
) -> BulkRelease:
    """Write a release of `rows` providers into `out`, lists beside it, and `truth/`.

    Raises:
        ValueError: too few rows for the endpoints, or too few endpoints.
    """
    draws = Draws(seed)
    endpoints = endpoints_of(rows) if endpoints is None else endpoints
    registry = Registry(draws, rows, release_day, filer_rows(draws, endpoints, rows))
    truth = Truth()
    path, members = _write_archive(out, registry, endpoints, truth, say)
    facts = {
        "seed": seed,
        "release_day": release_day.isoformat(),
        "rows": rows,
        "endpoints": endpoints,
        "providers": _providers(registry),
        "lists": write_lists(registry, out),
    }
    truth.write(out / "truth", facts)
    whole = (sum(m.bytes for m in members), sum(m.compressed_bytes for m in members))
    return BulkRelease(path, out / "truth" / "truth.json", *whole)


def _write_archive(
    out: Path, registry: Registry, endpoints: int, truth: Truth, say: Callable[[str], object]
) -> tuple[Path, list[Written]]:
    draws, rows, day = registry.draws, registry.rows, registry.release_day
    filed = file_lines(draws, endpoints, registry)
    lines = render(draws, truth.seen(finished(draws, filed)), registry)
    tables: dict[str, tuple[Sequence[str], Iterable[bytes], float]] = {
        "npidata_pfile": (npidata_columns(), registry.npidata(), rows),
        "othername_pfile": (OTHERNAME_COLUMNS, registry.othernames(), rows),
        "pl_pfile": (PL_COLUMNS, registry.locations(), rows * LOCATIONS),
        "endpoint_pfile": (endpoint_columns(), lines, endpoints),
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"NPPES_Data_Dissemination_{day:%B}_{day:%Y}_V2.zip"
    part = path.with_name(f".{path.name}.part")
    with ZipStream(part) as archive:
        for name, (header, blocks, expected) in tables.items():
            stem = f"{name}_20050523-{day:%Y%m%d}"
            head = ('"' + '","'.join(header) + '"\n').encode()
            size = round(expected * _ROW_BYTES[name])
            made = archive.add(f"{stem}.csv", chain([head], blocks), expected_bytes=size)
            archive.add(f"{stem}_fileheader.csv", [head])
            say(f"{made.bytes:>14,} bytes, {made.bytes / made.compressed_bytes:5.1f} : 1  {made.name}")
    part.replace(path)
    return path, archive.members


def _providers(registry: Registry) -> dict[str, int]:
    import numpy as np

    kinds, back = np.zeros(3, np.int64), 0
    for start in range(0, registry.rows, _COUNTED_ROWS):
        rows = np.arange(start, min(start + _COUNTED_ROWS, registry.rows))
        kinds += np.bincount(registry.kinds(rows), minlength=3)
        back += int(registry.reactivated(rows).sum())
    names = ("persons", "organisations", "blank")
    return {**dict(zip(names, kinds.tolist(), strict=True)), "reactivated": back}
