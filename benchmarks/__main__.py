"""`make bench`: print the measured table in the form that docs/benchmarks.md keeps.

`python -m benchmarks registry --full` measures one section, here with releases of 3 and 10 GB too (some 15 minutes).
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
from datetime import UTC, datetime

from benchmarks.dagster_overhead import load_time, trivial_asset
from benchmarks.paired import Paired
from benchmarks.registry import GIGABYTE_ROWS, rows_of_table


def row(path: str, reference: str, measured: Paired, bar: str) -> str:
    """One line of the table."""
    return (
        f"| {path} | {reference}: {measured.reference_s:.2f} s | {measured.ours_s:.2f} s |"
        f" {measured.ratio:.2f} × | {bar} |"
    )


def house() -> None:
    """What we cost on top of Dagster."""
    print(
        row("assembled repository, fresh interpreter", "`import dagster`", load_time(), "≤ 1.3 ×"), flush=True
    )
    print(
        row("one trivial asset by the CLI", "bare dagster-postgres", trivial_asset(), "≤ 1.3 ×"), flush=True
    )


def main() -> None:
    """Run every benchmark of this project, or the sections named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, and print a table.")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help="house, registry; default: all")
    parser.add_argument("--full", action="store_true", help="releases of 1, 3 and 10 GB instead of 1")
    parser.add_argument(
        "--gb",
        type=int,
        choices=sorted(GIGABYTE_ROWS),
        action="append",
        help="a size of release; may be repeated (also DUALSTREAM_BENCH_GB=1,3)",
    )
    chosen = parser.parse_args()
    asked = [int(size) for size in os.environ.get("DUALSTREAM_BENCH_GB", "1").split(",")]
    sizes = sorted(GIGABYTE_ROWS) if chosen.full else (chosen.gb or asked)
    sections = {"house": house, "registry": functools.partial(rows_of_table, sizes, say=_say)}
    for name in chosen.sections:
        if name not in sections:
            parser.error(f"no section {name!r}; there are {', '.join(sections)}")
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, Python {platform.python_version()}\n")
    print("| path | reference | ours | ratio | bar |\n|---|---|---|---|---|")
    for name in chosen.sections or sections:
        sections[name]()


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
