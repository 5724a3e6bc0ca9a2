"""Counts as people read them: lines and markdown tables for metadata and the terminal. No addresses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from dualstream_assets.verification.run import Summary
from dualstream_assets.verification.work import Standing

VERDICTS = (
    "deliverable",
    "catch_all",
    "undeliverable",
    "full",
    "suspended",
    "retry",
    "blocked",
    "risky",
    "unreachable",
    "unknown",
)
LINES = 15


def summary_line(summary: Summary) -> str:
    """One line of what a run did."""
    visits = ", ".join(f"{count:,} {ruling}" for ruling, count in summary.visits.most_common())
    stopped = f"; lanes stopped: {', '.join(summary.stopped)}" if summary.stopped else ""
    busy = f"; another run is at {', '.join(summary.busy)}" if summary.busy else ""
    return (
        f"{summary.visits.total():,} answers in {summary.sessions:,} sessions ({visits or 'nothing was due'})"
        f"{stopped}{busy}"
    )


def due_line(standing: Standing) -> str:
    """One line of what is still to do."""
    when = f", the next at {standing.next_visit:%Y-%m-%d %H:%M} UTC" if standing.next_visit else ""
    rests = f"; resting: {', '.join(sorted(standing.resting))}" if standing.resting else ""
    return f"{standing.due:,} due now, {standing.waiting:,} waiting for a later visit{when}{rests}"


def numbers(standing: Standing) -> dict[str, int]:
    """Plain numbers under stable keys, for plots."""
    return {
        "mailboxes": standing.mailboxes,
        "due": standing.due,
        "waiting": standing.waiting,
        "lanes resting": len(standing.resting),
        **{verdict: standing.verdicts[verdict] for verdict in (*VERDICTS, "not asked yet")},
    }


def counts_table(by_operator: Sequence[tuple[str, str, int]]) -> str:
    """Mailboxes by operator and verdict."""
    cells: dict[str, Counter[str]] = {}
    for operator, verdict, count in by_operator:
        cells.setdefault(operator, Counter())[verdict] += count
    shown = [v for v in VERDICTS if any(row[v] for row in cells.values())]
    lines = ["| operator | " + " | ".join((*shown, "all")) + " |", "|---|" + "---:|" * (len(shown) + 1)]
    for operator, row in sorted(cells.items(), key=lambda item: -item[1].total()):
        figures = (*(row[v] for v in shown), row.total())
        lines.append(f"| {operator} | " + " | ".join(f"{n:,}" for n in figures) + " |")
    return "\n".join(lines)


def domains_table(by_operator: Mapping[str, int]) -> str:
    """Domains by operator (or by what DNS said where there is none), the largest first."""
    ranked = Counter(by_operator).most_common()
    lines = ["| operator | domains |", "|---|---:|"]
    lines += [f"| {operator} | {count:,} |" for operator, count in ranked[:LINES]]
    rest = ranked[LINES:]
    if rest:
        lines.append(f"| {len(rest):,} others | {sum(count for _, count in rest):,} |")
    return "\n".join(lines)
