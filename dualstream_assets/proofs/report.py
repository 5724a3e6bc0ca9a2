"""The report: one self-contained HTML page and one JSON summary, without an address of a person in either."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualstream_assets import pictures
from dualstream_assets.estate import Estate
from dualstream_assets.proofs import figures
from dualstream_assets.proofs.collect import Collected, collect
from dualstream_assets.proofs.witness import Proved, by_stream
from dualstream_assets.sending.forecast import forecast
from dualstream_assets.store.files import write_text_atomic

if TYPE_CHECKING:
    from dualstream_assets.workplace import Workplace

AUDIT_NAMES = {
    "leaked": "leaked",
    "over_cap": "over cap",
    "handed_over_twice": "handed over twice",
    "lost": "lost",
    "opted_out_but_mailed": "opted out but mailed",
}


def summary(workplace: Workplace, found: Collected) -> dict[str, Any]:
    """The figures of `demo/summary.json`: counts, caps, deliveries per egress, the auditor's five."""
    estate = workplace.estate
    arrivals = found.log if found.sinks is None else found.sinks
    with workplace.database.transaction() as connection:
        lines = figures.wave_lines(connection, estate)
        verdicts = figures.verdict_counts(connection)
        stopped = figures.opt_outs(connection)
    return {
        "environment": workplace.environment,
        "at": found.board.at.isoformat(),
        "segments": figures.segment_rows(workplace.paths.audience),
        "verdicts": verdicts,
        "waves": {s: sum(1 for w in lines if w.stream == s) for s in estate.streams},
        "people_in_waves": {s: sum(w.size for w in lines if w.stream == s) for s in estate.streams},
        "deliveries_per_egress": figures.egress_counts(arrivals, estate),
        "deliveries_per_stream": {s: len(a) for s, a in by_stream(arrivals, estate, found.campaigns).items()},
        "caps": {
            s.stream: {"per_hour": s.cap_per_hour, "per_day": s.cap_per_day} for s in found.board.streams
        },
        "suppressed": stopped.total,
        "proofs": {proof.name: proof.outcome.value for proof in found.proofs},
        "audit": asdict(found.audit),
    }


def write_report(workplace: Workplace, path: Path, found: Collected | None = None) -> Path:
    """Write the page atomically; returns its path."""
    found = found or collect(workplace)
    write_text_atomic(path, render(workplace, found))
    return path


def render(workplace: Workplace, found: Collected) -> str:
    """The page as text."""
    import jinja2

    estate, board = workplace.estate, found.board
    arrivals = found.log if found.sinks is None else found.sinks
    with workplace.database.transaction() as connection:
        steps = figures.funnel(connection, workplace.paths.audience).steps
        operators = figures.by_operator(connection)
        lines = figures.wave_lines(connection, estate)
        verdicts = figures.verdict_counts(connection)
        stopped = figures.opt_outs(connection)
        brakes = connection.execute(
            "select stream, kind, reason, on_at, off_at from brake order by id desc"
        ).fetchall()
        ahead = forecast(connection, estate, _hot_stream(estate), board.at, board.unmailed)
    caps = {s.stream: s.cap_per_hour for s in board.streams}
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dualstream_assets.proofs", "."), autoescape=True
    )
    return environment.get_template("report.html.j2").render(
        board=board,
        at=board.at.astimezone(estate.zone).strftime("%Y-%m-%d %H:%M %Z"),
        audit=[(AUDIT_NAMES[name], value) for name, value in asdict(found.audit).items()],
        witnesses="the mail log" if found.sinks is None else "the receivers' own records and the mail log",
        ceiling=_ceiling(estate),
        ceiling_answer=_ceiling_answer(estate, found, ahead),
        ceiling_evidence=_ceiling_evidence(found),
        forecast=ahead.days[:14],
        segments=list(figures.segment_rows(workplace.paths.audience).items()),
        verdicts=list(verdicts.items()),
        egress=list(figures.egress_counts(arrivals, estate).items()),
        waves=lines,
        opt_outs=stopped,
        brakes=[f"{s} {k}: {r}, {on:%Y-%m-%d %H:%M} to {off or 'now'}" for s, k, r, on, off in brakes],
        pictures={
            "hours": pictures.sent_by_hour(figures.hourly(arrivals, estate, found.campaigns), caps),
            "funnel": pictures.funnel(steps),
            "operators": pictures.operators(operators),
        },
    )


def _hot_stream(estate: Estate) -> str:
    return next(name for name, stream in estate.streams.items() if stream.segment == "institutional")


def _ceiling(estate: Estate) -> int:
    return estate.streams[_hot_stream(estate)].ramp.stages[-1].cap_per_day


def _ceiling_answer(estate: Estate, found: Collected, ahead: Any) -> str:
    hot = next(s for s in found.board.streams if s.stream == _hot_stream(estate))
    blockers = [f"{row.subject} {row.fact}: {row.verdict}" for row in hot.gate.rows if row.verdict != "pass"]
    blockers += [f"proof {p.name}: {p.outcome}" for p in found.proofs if p.outcome is Proved.FAIL]
    if hot.cap_per_day >= _ceiling(estate):
        start = "The ramp allows it today"
    elif ahead.ceiling_date:
        start = f"Not before {ahead.ceiling_date}, if every send day earns its step"
    else:
        start = "The verified stock ends before the ramp gets there"
    return start + (f". Blocked now by: {'; '.join(blockers)}." if blockers else ". Nothing blocks it now.")


def _ceiling_evidence(found: Collected) -> str:
    delivered = next(p for p in found.proofs if p.name == "deliverability")
    return (
        f"For: {delivered.sentence}. Against: too little history at the ceiling. The ceiling is a key of the estate;"
        " it is never raised by itself."
    )
