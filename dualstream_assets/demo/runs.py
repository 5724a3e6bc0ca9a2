"""The demo's hand on Dagster: runs in this process, recorded in the instance so that the UI shows them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import dagster as dg

warnings.filterwarnings("ignore", category=dg.BetaWarning)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class RunFailed(RuntimeError):
    """A run of the demo did not succeed; says which steps and why."""


def materialise(*selections: str) -> None:
    """Materialize what the selections name, with their checks, as `dagster asset materialize --select` does.

    Raises:
        RunFailed: a step failed, or a blocking check was red.
    """
    from dualstream_assets.definitions import defs

    job = defs.resolve_implicit_global_asset_job_def()
    graph = defs.get_repository_def().asset_graph
    chosen = set().union(*(dg.AssetSelection.from_string(s).resolve(graph) for s in selections))
    with dg.DagsterInstance.get() as instance:
        done = job.execute_in_process(
            run_config=QUIET, instance=instance, asset_selection=sorted(chosen), raise_on_error=False
        )
    if not done.success:
        raise RunFailed(f"materialize {' or '.join(selections)}: {'; '.join(_faults(done.all_events))}")


def _faults(events: Iterable[dg.DagsterEvent]) -> list[str]:
    found = []
    for event in events:
        if event.is_step_failure and event.step_failure_data.error:
            said = str(event.step_failure_data.error.message).strip().splitlines()
            found.append(f"{event.step_key}: {said[-1] if said else 'failed'}")
    return found[:3]
