"""Dagster rim of the mail log: the file as it lies there, what was read from it, and how each stream delivers."""

from datetime import timedelta
from typing import Any

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.resources import WorkplaceParam, look

ROOM = "maillog"
DAYS_SHOWN = 7
asset: Any = dg.asset  # no type checker finds its overload through `**look(...)`


def assets(estate: Estate, environment: str) -> list[dg.AssetsDefinition]:
    """The assets of this room."""
    return [
        _log(environment),
        _outcomes(environment),
        *(_delivery(stream, environment) for stream in estate.streams),
    ]


def _log(environment: str) -> dg.AssetsDefinition:
    @asset(
        **look(
            keys.MAILLOG_LOG,
            ROOM,
            what="The mail log as it lies there: where, how large, how much of it is unread.",
            red="there is none, or the one we read before is gone.",
            do="look at rsyslog and logrotate on the mail host; `docs/runbook.md#maillog-log`.",
            environment=environment,
            kinds=("log",),
        )
    )
    def log(workplace: WorkplaceParam) -> dg.MaterializeResult:
        path = workplace.endpoints.maillog
        if path is None or not path.exists():
            raise dg.Failure(
                "no mail log: Debian 12 keeps none without rsyslog; install it, or set maillog_file in main.cf",
                allow_retries=False,
            )
        stat = path.stat()
        with workplace.database.transaction() as connection:
            row = connection.execute(
                "select inode, byte_offset, last_line_at from log_source where path = %s", (str(path),)
            ).fetchone()
        read = row[1] if row and row[0] == stat.st_ino else 0
        return dg.MaterializeResult(
            metadata={
                "path": dg.MetadataValue.path(str(path)),
                "bytes": stat.st_size,
                "bytes unread": max(0, stat.st_size - read),
                "rotated since the last read": bool(row and row[0] != stat.st_ino),
                "last line read": str(row[2]) if row else "none yet",
            }
        )

    return log


def _outcomes(environment: str) -> dg.AssetsDefinition:
    @asset(
        **look(
            keys.MAILLOG_OUTCOMES,
            ROOM,
            what="What became of every message: read from the log, joined by port, queue id, campaign and recipient.",
            red="a line cannot be parsed, or a piece of the log was lost.",
            do="`docs/runbook.md#maillog-outcomes`: find the piece, or acknowledge the gap with a reason.",
            environment=environment,
            kinds=("postgres",),
            columns=(
                ("queue_id", "string", "Postfix queue id"),
                ("recipient", "string", "address, only in the database"),
                ("transport", "string", "Postfix transport: tells the egress"),
                ("stream", "string", "pool that it left from"),
                ("status", "string", "sent, deferred, bounced, expired"),
                ("enhanced_code", "string", "RFC 3463 code"),
                ("operator", "string", "who runs the receiving MX"),
                ("at", "timestamp", "UTC"),
            ),
        ),
        deps=[list(keys.MAILLOG_LOG)],
    )
    def outcomes(workplace: WorkplaceParam) -> dg.MaterializeResult:
        from dualstream_assets.maillog.complete import alarms
        from dualstream_assets.maillog.outcomes import read_log

        path = workplace.endpoints.maillog
        if path is None:
            raise dg.Failure("no mail log to read", allow_retries=False)
        found = read_log(workplace.database, workplace.estate, path, workplace.clock)
        with workplace.database.transaction() as connection:
            lately = alarms(connection, workplace.clock.now() - timedelta(days=1))
        return dg.MaterializeResult(
            metadata={
                "lines": found.lines,
                "bytes": found.bytes,
                "messages": found.messages,
                "deliveries": found.deliveries,
                "refusals": found.refusals,
                "people whose state moved": found.members,
                "unparsed lines": found.unparsed,
                "gap": found.gap or "none",
                "alarms of the last day": dg.MetadataValue.md(_alarm_table(lately)),
                "last line": str(found.last_line_at or "no new line"),
            }
        )

    return outcomes


def _alarm_table(lately: dict[str, int]) -> str:
    if not lately:
        return "none"
    return "\n".join(["| kind | lines |", "|---|---|", *(f"| {k} | {n} |" for k, n in lately.items())])


def _delivery(stream: str, environment: str) -> dg.AssetsDefinition:
    @asset(
        **look(
            keys.of_stream(stream, "delivery"),
            ROOM,
            what=f"How {stream} delivers: per day, per egress, per operator, counted from the mail log.",
            red="it never is; its checks show rates beyond the estate's brakes.",
            do="look at the operators' table: which receiver, which reply.",
            environment=environment,
            stream=stream,
            kinds=("postgres",),
        ),
        deps=[list(keys.MAILLOG_OUTCOMES)],
    )
    def delivery(workplace: WorkplaceParam) -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata=_delivery_metadata(workplace, stream))

    return delivery


def _delivery_metadata(workplace: Any, stream: str) -> dict[str, Any]:
    from dualstream_assets.maillog import counts

    database, zone, now = workplace.database, workplace.estate.zone, workplace.clock.now()
    today = now.astimezone(zone).date()
    days = [
        (day, counts.counts_of_day(database, stream, day, zone))
        for day in (today - timedelta(days=back) for back in range(DAYS_SHOWN))
    ]
    of_today = days[0][1]
    per_day = [
        "| day | attempted | delivered | deferred | bounced | expired | most in an hour |",
        "|---|---|---|---|---|---|---|",
    ]
    per_day += [
        f"| {day} | {c.attempted} | {c.delivered} | {c.deferred} | {c.bounced} | {c.expired} | {c.max_rolling_hour} |"
        for day, c in days
        if c.attempted or day == today
    ]
    per_operator = ["| operator | delivered | deferred | bounced | expired |", "|---|---|---|---|---|"]
    per_operator += [
        f"| {' | '.join(str(cell) for cell in row)} |"
        for row in counts.per_operator(database, stream, now - timedelta(days=DAYS_SHOWN))[:20]
    ]
    egress = counts.delivered_per_egress(database, stream, today, zone)
    return {
        "delivered today": of_today.delivered,
        "deferred now": of_today.deferred,
        "bounced today": of_today.bounced,
        "units in the last 60 minutes": counts.units_last(database, stream, 60, now),
        "most in any hour today": of_today.max_rolling_hour,
        "per day": dg.MetadataValue.md("\n".join(per_day)),
        "per operator, seven days": dg.MetadataValue.md("\n".join(per_operator)),
        "per egress today": dg.MetadataValue.json(dict(egress)),
    }
