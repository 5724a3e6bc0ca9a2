"""What runs in a process of its own: our endpoint reading without imports, and the peers. `python -m … NAME ZIP …`."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from dualstream_assets.registry.columns import NPIDATA, PROVIDER_PROJECTION


def endpoints(path: Path, times: int) -> None:
    """Print the best of `times` of `read_endpoints` and `rulings`, as JSON."""
    from dualstream_assets.audience.classify import Classifier
    from dualstream_assets.audience.rulings import rulings
    from dualstream_assets.estate import load_estate
    from dualstream_assets.estate.load import packaged_lab_estate
    from dualstream_assets.registry.archive import open_archive
    from dualstream_assets.registry.endpoints import read_endpoints

    estate = load_estate(packaged_lab_estate())
    archive = open_archive(path, estate.limits)
    runs = []
    rows = 0
    for _ in range(times):
        began = time.perf_counter()
        frame, counts = read_endpoints(archive)
        read = time.perf_counter()
        rulings(frame, Classifier.of(estate))
        ended = time.perf_counter()
        rows = counts.lines.rows + len(counts.lines.unreadable)
        runs.append((ended - began, read - began, ended - read))
    both, read_s, rule_s = min(runs)
    print(json.dumps({"rows": rows, "both_s": both, "read_s": read_s, "rule_s": rule_s}))


def duckdb_copy(path: Path, folder: Path, columns: int) -> None:
    """npidata through `unzip -p` and a FIFO into DuckDB, and `columns` of it to Parquet.

    Lenient, and told to skip what is not UTF-8, else it stops at the first such row.
    """
    import duckdb

    fifo = folder / "npidata.csv"
    os.mkfifo(fifo)
    with subprocess.Popen(
        ["sh", "-c", 'unzip -p "$0" "$1" > "$2"', str(path), _member(path), str(fifo)]
    ) as unzip:
        schema = ", ".join(f"{_quoted(name, chr(39))}: 'VARCHAR'" for name in NPIDATA)
        chosen = ", ".join(_quoted(name, '"') for name in PROVIDER_PROJECTION[:columns])
        duckdb.sql("SET preserve_insertion_order = false")
        duckdb.sql(
            f"COPY (SELECT {chosen} FROM read_csv('{fifo}', header = true, auto_detect = false, delim = ',',"
            f" quote = '\"', escape = '\"', strict_mode = false, ignore_errors = true, columns = {{{schema}}}))"
            f" TO '{folder / 'npidata.parquet'}' (FORMAT parquet, COMPRESSION zstd)"
        )
        unzip.wait()


def csv_loop(path: Path, folder: Path) -> None:
    """The script that anybody would write first: the NPIs with an `@` in endpoint_pfile, then their rows of npidata."""
    with zipfile.ZipFile(path) as archive:
        with archive.open(_member(path, "endpoint")) as file:
            rows = csv.reader(io.TextIOWrapper(file, "cp1252", newline=""))
            wanted = {row[0] for row in rows if len(row) > 5 and ("@" in row[3] or "@" in row[5])}
        kept = [NPIDATA.index(name) for name in PROVIDER_PROJECTION]
        with archive.open(_member(path)) as file, (folder / "wanted.csv").open("w", newline="") as out:
            writer = csv.writer(out)
            for row in csv.reader(io.TextIOWrapper(file, "cp1252", newline="")):
                if row[0] in wanted:
                    writer.writerow([row[i] for i in kept])


def _member(path: Path, prefix: str = "npidata") -> str:
    with zipfile.ZipFile(path) as archive:
        return next(n for n in archive.namelist() if n.startswith(prefix) and "fileheader" not in n)


def _quoted(name: str, quote: str) -> str:
    return quote + name.replace(quote, quote * 2) + quote


def main(name: str, path: str, last: str) -> None:
    """Run one of them."""
    if name == "endpoints":
        endpoints(Path(path), int(last))
    elif name == "csv":
        csv_loop(Path(path), Path(last))
    else:
        duckdb_copy(Path(path), Path(last), int(name.removeprefix("duckdb-")))


if __name__ == "__main__":
    main(*sys.argv[1:])
