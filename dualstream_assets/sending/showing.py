"""Sending's results as metadata: the sentence first, then plain numbers under stable keys, tables as markdown.

No address of a person leaves this module. Values are plain; the rim hands them to Dagster. Markdown is a `Table`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dualstream_assets.sending.rampcap import belt_text

if TYPE_CHECKING:
    from dualstream_assets.sending.content import Content
    from dualstream_assets.sending.engagement import Engagement
    from dualstream_assets.sending.gate import GateReport
    from dualstream_assets.sending.optouts import Synced
    from dualstream_assets.sending.rampcap import CapSet
    from dualstream_assets.sending.tick import TickResult
    from dualstream_assets.workplace import Workplace

DAYS_SHOWN = 14


class Table(str):
    """A markdown text, to be shown as such."""

    __slots__ = ()


def table(header: tuple[str, ...], rows: Sequence[Sequence[object]]) -> Table:
    """A markdown table; cells are escaped."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return Table("\n".join(lines))


def of_synced(found: Synced) -> dict[str, Any]:
    """A synchronisation of opt-outs."""
    return {
        "finding": "; ".join(found.faults) or f"{found.total} suppressed, known to every listmonk",
        "suppressed": found.total,
        "new": sum(found.added.values()),
        "new by reason": table(("reason", "people"), list(found.added.items())),
        "per listmonk": table(
            ("stream", "opt-outs it knows", "blocklisted now"),
            [(s, _or_unknown(found.pulled[s]), _or_unknown(found.pushed[s])) for s in found.pulled],
        ),
    }


def _or_unknown(count: int | None) -> str:
    return "unknown" if count is None else str(count)


def of_cap(workplace: Workplace, done: CapSet) -> dict[str, Any]:
    """A decision of the ramp and what was written, with the last two weeks."""
    with workplace.database.transaction() as connection:
        rows = connection.execute(
            "select local_date, effective_day, cap_per_hour, cap_per_day, rule, reason from ramp_day"
            " where stream = %s order by local_date desc limit %s",
            (done.stream, DAYS_SHOWN),
        ).fetchall()
    shown: dict[str, Any] = {
        "finding": done.headline,
        "cap per hour": done.caps.cap_per_hour,
        "cap per day": done.caps.cap_per_day,
        "belt": belt_text(done.after),
        "written": done.written,
        "other streams": table(
            ("stream", "before", "after"),
            [(s, belt_text(a), belt_text(b)) for s, (a, b) in done.others.items()],
        ),
        "ramp": table(("date", "effective day", "cap/h", "cap/day", "row", "reason"), rows),
    }
    if done.decision is not None:
        shown |= {"effective day": done.decision.state.effective_day, "row of the ramp": done.decision.rule}
    return shown


def of_content(content: Content) -> dict[str, Any]:
    """The message as it is sent, tags unfilled."""
    return {
        "subject": content.subject,
        "from": content.from_email,
        "reply-to": content.reply_to,
        "bytes of HTML": len(content.html.encode()),
        "text": Table(f"```\n{content.text}\n```"),
        "html": Table(f"```html\n{content.html}\n```"),
    }


def of_gate(report: GateReport) -> dict[str, Any]:
    """The gate: open or shut in one sentence, then every row."""
    return {
        "gate": "open" if report.open else "SHUT",
        "finding": report.refusal
        or f"{report.stream}: gate open, {len(report.rows)} requirements green and fresh",
        "requirements": len(report.rows),
        "shut by": len(report.shut_by),
        "rows": table(
            ("evidence", "says", "age", "next"),
            [
                (f"{r.subject} {r.fact}", f"{r.verdict}: {r.evidence}", _age(r.age), f"`{r.cure}`")
                for r in sorted(report.rows, key=lambda row: row.verdict.value == "pass")
            ],
        ),
    }


def _age(age: Any) -> str:
    return "" if age is None else f"{int(age.total_seconds() // 60)} min"


def of_tick(workplace: Workplace, result: TickResult) -> dict[str, Any]:
    """One tick: begins `PLANNED, nothing sent` or `RELEASED wave 12: 96 people`."""
    shown: dict[str, Any] = {
        "wave": result.headline,
        "people": result.people,
        "handed over": len(result.settled.handed_over),
        "settled": len(result.settled.settled),
        "proved not sent": result.settled.not_sent,
    }
    if result.recovered:
        shown["recovered"] = "; ".join(result.recovered)
    if result.brake:
        shown["brake"] = result.brake
    if result.plan is not None:
        plan = result.plan
        shown |= {
            "planned people": len(plan.people),
            "cap per hour": plan.cap_per_hour,
            "cap per day": plan.cap_per_day,
            "units of the last hour": plan.units.hour,
            "in flight": plan.units.in_flight,
            "units of today": plan.units.day,
            "operators": table(
                ("operator", "people"), list(Counter(p.operator for p in plan.people).most_common(10))
            ),
        }
    shown["waves of today"] = _waves_of_today(workplace, result.stream)
    return shown


def _waves_of_today(workplace: Workplace, stream: str) -> Table:
    zone = workplace.estate.zone
    with workplace.database.transaction() as connection:
        rows = connection.execute(
            "select w.id, w.released_at, w.size, w.state, count(*) filter (where m.state = 'delivered'),"
            " count(*) filter (where m.state = 'deferred'), w.note from wave w join wave_member m on m.wave_id = w.id"
            " where w.stream = %s and w.local_date = %s group by w.id order by w.id desc limit 20",
            (stream, workplace.clock.now().astimezone(zone).date()),
        ).fetchall()
    return table(
        ("wave", "released", "people", "state", "delivered", "deferred", "note"),
        [(r[0], r[1].astimezone(zone).strftime("%H:%M:%S") if r[1] else "", *r[2:]) for r in rows],
    )


def of_engagement(found: Engagement) -> dict[str, Any]:
    """Counters of listmonk beside our own."""
    return {name.replace("_", " "): value for name, value in asdict(found).items()}


def of_forecasts(workplace: Workplace) -> dict[str, Any]:
    """The forecast of every stream of ours."""
    from dualstream_assets.sending.forecast import forecast
    from dualstream_assets.sending.stock import StockMissing, read_stock, unmailed

    shown: dict[str, Any] = {}
    now, estate = workplace.clock.now(), workplace.estate
    for stream, declared in estate.streams.items():
        with workplace.database.transaction() as connection:
            try:
                stock = read_stock(workplace.paths.audience, declared.segment)
            except StockMissing as error:
                shown[f"{stream} finding"] = str(error)
                continue
            left = unmailed(connection, stock, f"{stream}:{estate.campaign.key}")
            ahead = forecast(connection, estate, stream, now, left)
        shown |= {
            f"{stream} verified, not yet mailed": left,
            f"{stream} full ceiling": str(ahead.ceiling_date or "not before the stock ends"),
            f"{stream} stock drained": str(ahead.drain_date or "not within 400 days"),
            f"{stream} next days": table(
                ("date", "cap/h", "cap/day", "would send"),
                [(d.date, d.cap_per_hour, d.cap_per_day, d.sends) for d in ahead.days[:DAYS_SHOWN]],
            ),
        }
    return shown
