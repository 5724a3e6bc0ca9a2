"""From guards to evidence rows: the four Postfix facts of the gate, for each stream, under the subject `postfix`."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING

from dualstream_assets.estate import Estate
from dualstream_assets.mta.guard import (
    Guarded,
    addresses_up,
    bind_test,
    judge_addresses,
    judge_backstop,
    pools_disjoint,
    probe_backstops,
)
from dualstream_assets.mta.live import Live, MtaError, plan_mta, read_live, target_for
from dualstream_assets.mta.render import render
from dualstream_assets.outside.plan import Plan
from dualstream_assets.outside.ssh import RunnerError, runner_for
from dualstream_assets.store.evidence import Probe, Subject, Verdict, newest, probing

if TYPE_CHECKING:
    from dualstream_assets.workplace import Workplace

EVIDENCE_VALID_FOR = timedelta(hours=26)


def look_at_plan(workplace: Workplace) -> tuple[Plan | None, str]:
    """(the plan from what is deployed to the render, or None and why it cannot be made)."""
    try:
        return plan_mta(workplace.estate, workplace.environment, target_for(workplace)), ""
    except (MtaError, RunnerError) as error:
        return None, str(error)


def look_at_live(workplace: Workplace) -> tuple[Live | None, str]:
    """(what is deployed, or None and why it cannot be read)."""
    try:
        return read_live(target_for(workplace), render(workplace.estate, workplace.environment)), ""
    except (MtaError, RunnerError) as error:
        return None, str(error)


def probe_pools(workplace: Workplace, source: str) -> tuple[Guarded, bool]:
    """Pools disjoint: in the estate, in the render and as deployed.

    Returns:
        What was found, and whether the declared side alone is in order: then the fault is in what is deployed, and the
        apply that cures it must not be kept from running.
    """
    estate = workplace.estate
    rendered = render(estate, workplace.environment)
    with _probing(workplace, estate.streams, "pools_disjoint", source) as writing:
        live, why = look_at_live(workplace)
        found = pools_disjoint(estate, rendered, live)
        if live is None and found.verdict is Verdict.UNKNOWN:
            found = Guarded(Verdict.UNKNOWN, why)
        _write(writing, estate.streams, "pools_disjoint", found)
    return found, pools_disjoint(estate, rendered, Live({}, {}, {})).verdict is Verdict.PASS


def probe_live(workplace: Workplace, source: str) -> Guarded:
    """What is deployed is what was reviewed: the plan is empty."""
    streams = workplace.estate.streams
    with _probing(workplace, streams, "live_is_reviewed", source) as writing:
        plan, why = look_at_plan(workplace)
        if plan is None:
            found = Guarded(Verdict.UNKNOWN, why)
        elif plan.empty:
            found = Guarded(Verdict.PASS, "what is deployed is what the estate renders")
        else:
            places = ", ".join(change.target for change in plan.changes[:3])
            found = Guarded(
                Verdict.FAIL,
                f"{len(plan.changes)} files differ: {places}. Cure: read the plan of mta/deployed, apply",
            )
        _write(writing, streams, "live_is_reviewed", found)
    return found


def probe_backstop_ports(workplace: Workplace, source: str) -> Guarded:
    """Every healthcare port refuses a Yahoo recipient, asked now."""
    estate, endpoints = workplace.estate, workplace.endpoints
    with _probing(workplace, estate.streams, "backstop", source) as writing:
        found = judge_backstop(probe_backstops(estate, endpoints.submission_host, endpoints.submission))
        _write(writing, estate.streams, "backstop", found)
    return found


def last_backstop(workplace: Workplace) -> Guarded:
    """What the last look at the backstop found, for a run that may not ask the ports: the worst of the streams."""
    now, worst = workplace.clock.now(), None
    with workplace.database.transaction() as connection:
        for stream in workplace.estate.streams:
            row = newest(connection, stream).get(Subject(stream, "postfix", "backstop"))
            if row is None or row.expires_at <= now:
                return Guarded(
                    Verdict.UNKNOWN, "not asked in this run, and no fresh look. Cure: job recheck_postfix"
                )
            if worst is None or row.verdict is not Verdict.PASS:
                worst = Guarded(row.verdict, f"not asked in this run; last look: {row.evidence}")
    return worst or Guarded(Verdict.UNKNOWN, "no stream is declared")


def probe_addresses(workplace: Workplace, source: str) -> dict[str, Guarded]:
    """The source addresses of each stream's pool are up; stream -> what was found."""
    estate = workplace.estate
    with _probing(workplace, estate.streams, "source_addresses", source) as writing:
        found = {stream: _addresses(workplace, estate, stream) for stream in estate.streams}
        for stream, guarded in found.items():
            _write(writing, (stream,), "source_addresses", guarded)
    return found


def _addresses(workplace: Workplace, estate: Estate, stream: str) -> Guarded:
    addresses = [egress.ip for egress in estate.pool(stream)]
    if workplace.environment != "production":
        return judge_addresses(bind_test(addresses))
    host = estate.hosts.get("app")
    if host is None or host.address is None:
        return Guarded(Verdict.UNKNOWN, "the Postfix host is not declared: hosts.app.address")
    try:
        return judge_addresses(addresses_up(runner_for(host, workplace.environment), addresses))
    except RunnerError as error:
        return Guarded(Verdict.UNKNOWN, str(error))


def _probing(
    workplace: Workplace, streams: Iterable[str], fact: str, source: str
) -> AbstractContextManager[Probe]:
    subjects = [Subject(stream, "postfix", fact) for stream in streams]
    return probing(workplace.database, workplace.clock, subjects, source=source, valid_for=EVIDENCE_VALID_FOR)


def _write(writing: Probe, streams: Iterable[str], fact: str, found: Guarded) -> None:
    holds = None if found.verdict is Verdict.UNKNOWN else found.verdict is Verdict.PASS
    for stream in streams:
        writing.found_that(Subject(stream, "postfix", fact), holds, found.evidence)
