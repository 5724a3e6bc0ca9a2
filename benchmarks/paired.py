"""Two whole commands in turn, A B A B …: medians, and the ratio pair by pair, so that drift matters less."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Paired:
    """Seconds of wall time, medians over the counted pairs."""

    reference_s: float
    ours_s: float
    ratio: float


def once(command: Sequence[str], environment: Mapping[str, str], cwd: str) -> float:
    """Wall seconds of one run; a failing command is an error."""
    began = time.perf_counter()
    done = subprocess.run(
        command, env=dict(environment), cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return time.perf_counter() - began


def paired(
    reference: Sequence[str],
    ours: Sequence[str],
    *,
    pairs: int,
    reference_environment: Mapping[str, str],
    our_environment: Mapping[str, str],
    cwd: str,
) -> Paired:
    """Run both `pairs` times in turn, after one uncounted run of each."""
    once(reference, reference_environment, cwd)
    once(ours, our_environment, cwd)
    times = [
        (once(reference, reference_environment, cwd), once(ours, our_environment, cwd)) for _ in range(pairs)
    ]
    return Paired(
        statistics.median(a for a, _ in times),
        statistics.median(b for _, b in times),
        statistics.median(b / a for a, b in times),
    )
