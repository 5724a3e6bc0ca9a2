"""`make bench`: print the measured table in the form that docs/benchmarks.md keeps."""

from __future__ import annotations

import platform
from datetime import UTC, datetime

from benchmarks.dagster_overhead import load_time, trivial_asset
from benchmarks.paired import Paired


def row(path: str, reference: str, measured: Paired, bar: str) -> str:
    """One line of the table."""
    return (
        f"| {path} | {reference}: {measured.reference_s:.2f} s | {measured.ours_s:.2f} s |"
        f" {measured.ratio:.2f} × | {bar} |"
    )


def main() -> None:
    """Run every benchmark of this project."""
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, Python {platform.python_version()}\n")
    print("| path | reference | ours | ratio | bar |\n|---|---|---|---|---|")
    print(
        row("assembled repository, fresh interpreter", "`import dagster`", load_time(), "≤ 1.3 ×"), flush=True
    )
    print(
        row("one trivial asset by the CLI", "bare dagster-postgres", trivial_asset(), "≤ 1.3 ×"), flush=True
    )


if __name__ == "__main__":
    main()
