"""A release to the audience's files: our whole command against `unzip -p … | wc -c`, its peers, its memory, its growth.

Releases are the generator's (`dualstream lab release --rows N`): same form, size and ratio as CMS's, ordinary deflate.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

GIGABYTE_ROWS = {1: 900_000, 3: 2_700_000, 10: 9_400_000}
"""Size of npidata in GB -> its rows; endpoint rows in proportion, 600,000 with 9.4 M."""
PAIRS = {1: 5, 3: 3, 10: 2}
PEERS = {
    "duckdb-12": "`unzip -p` → FIFO → DuckDB, 12 columns of npidata to Parquet",
    "duckdb-42": "`unzip -p` → FIFO → DuckDB, 42 columns",
    "csv": "`zipfile` and `csv.reader`, the wanted NPIs' rows of npidata to a CSV",
}
ENDPOINT_ROWS, ENDPOINT_PROVIDERS = 600_000, 480_000
BEST_OF = 5
_PROBE_S = 0.02


@dataclass(frozen=True)
class Run:
    """One run of a command: wall seconds, peak RSS (MiB, mapped files included), peak of its anonymous memory."""

    seconds: float
    rss_mib: float
    anon_mib: float


@dataclass(frozen=True)
class Pairs:
    """Medians over pairs of runs, and the largest peaks of ours."""

    reference_s: float
    ours_s: float
    ratio: float
    rss_mib: float
    anon_mib: float


@dataclass(frozen=True)
class Release:
    """A generated release and how fast it was written."""

    path: Path
    member: str
    bytes: int
    ratio: float
    seconds: float
    rss_mib: float

    @property
    def megabytes_per_s(self) -> float:
        """Uncompressed npidata and endpoint text written in a second, lists and truth included in the time."""
        return self.bytes / 1e6 / self.seconds


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Run:
    """Run a command to its end; a failing one is an error. Peaks are those of the process with its children."""
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(command, env=dict(environment or clean()), stdout=said, stderr=said)
        peak = _Peak(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        peak.stop()
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)} failed:\n{said.read()[-3000:].decode(errors='replace')}")
    return Run(seconds, max(peak.rss_mib, usage.ru_maxrss / 1024), peak.anon_mib)


class _Peak:
    """The peaks of VmRSS and RssAnon over a process and its children, looked at every 20 ms."""

    def __init__(self, pid: int) -> None:
        self.rss_mib = self.anon_mib = 0.0
        self._ended = threading.Event()
        self._pid = pid
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(_PROBE_S):
            kib = [_memory_kib(pid) for pid in (self._pid, *_children(self._pid))]
            self.rss_mib = max(self.rss_mib, sum(rss for rss, _ in kib) / 1024)
            self.anon_mib = max(self.anon_mib, sum(anon for _, anon in kib) / 1024)

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()


def _children(pid: int) -> list[int]:
    try:
        tasks = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    return [int(child) for task in tasks for child in task.split()]


def _memory_kib(pid: int) -> tuple[int, int]:
    """(VmRSS, RssAnon); zeros for a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    fields = {
        line.partition(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "RssAnon"))
    }
    return int(fields.get("VmRSS", 0)), int(fields.get("RssAnon", 0))


def clean(**added: str) -> dict[str, str]:
    """This environment without settings of ours."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("DUALSTREAM_", "DAGSTER_"))} | added


@contextmanager
def released(rows: int, endpoints: int | None = None) -> Iterator[Release]:
    """A generated release in a temporary folder (of TMPDIR), gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        command = [
            *_dualstream("lab", "release"),
            "--rows",
            str(rows),
            "--seed",
            "1",
            "--out",
            f"{folder}/release",
        ]
        command += ["--endpoints", str(endpoints)] if endpoints else []
        made = run(command, clean(DUALSTREAM_STATE=f"{folder}/generator"))
        path = next(Path(folder, "release").glob("NPPES_Data_Dissemination_*.zip"))
        with zipfile.ZipFile(path) as archive:
            infos = [i for i in archive.infolist() if "fileheader" not in i.filename]
        npidata = next(i for i in infos if i.filename.startswith("npidata"))
        yield Release(
            path,
            npidata.filename,
            sum(i.file_size for i in infos),
            npidata.file_size / npidata.compress_size,
            made.seconds,
            made.rss_mib,
        )


def unzip(release: Release) -> list[str]:
    """The reference: inflate npidata and count its bytes."""
    return ["sh", "-c", 'unzip -p "$0" "$1" | wc -c', str(release.path), release.member]


def build(release: Release, folder: Path, *, lists: bool) -> tuple[list[str], dict[str, str]]:
    """Ours: the whole command, with a state folder (and so a cache) of its own in `folder`.

    Args:
        lists: with the CMS and OIG lists beside the ZIP; without them it is what the reference also reads.
    """
    nothing = folder / "no lists"
    nothing.mkdir(exist_ok=True)
    command = [
        *_dualstream("audience", "build"),
        "--release",
        str(release.path),
        "--out",
        str(folder / "out"),
        *([] if lists else ["--lists", str(nothing)]),
    ]
    return command, clean(DUALSTREAM_STATE=str(folder / "state"))


def cold(release: Release, pairs: int) -> Pairs:
    """Nothing cached, A B A B …, after one uncounted run of each."""
    runs = []
    for number in range(pairs + 1):
        reference = run(unzip(release))
        with tempfile.TemporaryDirectory(prefix="bench-run-") as folder:
            ours = run(*build(release, Path(folder), lists=False))
        if number:
            runs.append((reference, ours))
    return Pairs(
        statistics.median(a.seconds for a, _ in runs),
        statistics.median(b.seconds for _, b in runs),
        statistics.median(b.seconds / a.seconds for a, b in runs),
        max(b.rss_mib for _, b in runs),
        max(b.anon_mib for _, b in runs),
    )


def warm(release: Release, times: int = 3) -> tuple[Run, Run]:
    """(The first run, the median of later ones) with one state folder: what was read is kept as Parquet."""
    with tempfile.TemporaryDirectory(prefix="bench-run-") as folder:
        first = run(*build(release, Path(folder), lists=True))
        later = sorted(
            (run(*build(release, Path(folder), lists=True)) for _ in range(times)), key=lambda r: r.seconds
        )
    return first, later[len(later) // 2]


def in_process(release: Release) -> dict[str, float]:
    """Reading and classifying endpoint_pfile in a fresh interpreter, imports not counted, best of five.

    Keys: `rows`, `read_s`, `rule_s`, `both_s`.
    """
    return _child("benchmarks.registry_child", "endpoints", str(release.path), str(BEST_OF))


def peers(release: Release) -> dict[str, tuple[Run, Run]]:
    """What else one could write: (the reference, the peer right after it), each once, in its own process."""
    made: dict[str, tuple[Run, Run]] = {}
    for name in PEERS:
        with tempfile.TemporaryDirectory(prefix="bench-peer-") as folder:
            command = [sys.executable, "-m", "benchmarks.registry_child", name, str(release.path), folder]
            made[name] = run(unzip(release)), run(command)
    return made


def _child(module: str, *arguments: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], env=clean(), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def _dualstream(*words: str) -> list[str]:
    return [sys.executable, "-m", "dualstream_assets", *words]


def rows_of_table(sizes: Sequence[int], say: Callable[[str], None]) -> None:
    """Measure everything and say it as rows of docs/benchmarks.md: path, reference, ours, ratio, bar."""
    for size in sizes:
        with released(GIGABYTE_ROWS[size]) as made:
            _whole(made, size, say, with_peers=size == min(sizes))
    with released(ENDPOINT_PROVIDERS, ENDPOINT_ROWS) as made:
        told = in_process(made)
    say(
        f"| endpoint read and classify, {told['rows']:,.0f} rows, best of {BEST_OF} | – | {told['both_s']:.2f} s"
        f" (read {told['read_s']:.2f}, rule {told['rule_s']:.2f}) |"
        f" {told['rows'] / told['both_s'] / 1e6:.2f} M rows/s | ≥ 2 M rows/s |"
    )


def _whole(made: Release, size: int, say: Callable[[str], None], *, with_peers: bool) -> None:
    say(
        f"| generator, {size} GB ({made.ratio:.1f} : 1), {made.rss_mib:.0f} MiB | – |"
        f" {made.seconds:.1f} s | {made.megabytes_per_s:.0f} MB/s | ≥ 40 MB/s |"
    )
    whole = cold(made, PAIRS[size])
    reference = f"`unzip -p … \\| wc -c`: {whole.reference_s:.2f} s"
    say(
        f"| release of {size} GB to the five files, {PAIRS[size]} pairs | {reference} | {whole.ours_s:.2f} s,"
        f" {whole.rss_mib:.0f} MiB ({whole.anon_mib:.0f} anonymous) | {whole.ratio:.2f} × | ≤ 0.45 ×, ≤ 400 MiB |"
    )
    first, again = warm(made)
    say(
        f"| the same with the five lists, {size} GB, once | {reference} | {first.seconds:.2f} s,"
        f" {first.rss_mib:.0f} MiB ({first.anon_mib:.0f} anonymous) | {first.seconds / whole.reference_s:.2f} × | – |"
    )
    say(
        f"| the same again from Parquet, lists too, {size} GB | {reference} | {again.seconds:.2f} s,"
        f" {again.rss_mib:.0f} MiB | {again.seconds / whole.reference_s:.2f} × | < 2 s |"
    )
    for name, (beside, peer) in (peers(made) if with_peers else {}).items():
        say(
            f"| peer, {size} GB: {PEERS[name]} | `unzip -p … \\| wc -c`: {beside.seconds:.2f} s | {peer.seconds:.2f} s,"
            f" {peer.rss_mib:.0f} MiB | {peer.seconds / beside.seconds:.2f} × | – |"
        )
