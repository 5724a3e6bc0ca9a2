"""Asset checks of the mail log. `log_complete` is evidence for the gate; the rates are shown and stop nothing here.

What stops a stream on rates is the brake (sending), from the same tables. `log_complete` blocks no edge: opt-outs read
from the log must go on being read when a piece of it is missing; the gate refuses by the evidence.
"""

from datetime import timedelta

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.resources import WorkplaceParam


def checks(estate: Estate, environment: str) -> list[dg.AssetChecksDefinition]:  # noqa: ARG001
    """The checks of this room."""
    return [_log_complete(), _no_alarm(), *(_rates(stream) for stream in estate.streams)]


def _log_complete() -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=list(keys.MAILLOG_OUTCOMES),
        name="log_complete",
        description="Read to its end lately, nothing unparsed, no gap: evidence for every stream's gate.",
    )
    def log_complete(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.maillog.complete import look_at_log
        from dualstream_assets.store.evidence import Verdict

        found = look_at_log(
            workplace.database, workplace.clock, workplace.estate, "maillog/outcomes:log_complete"
        )
        verdicts = {evidence.verdict for evidence in found.values()}
        said = next(iter(found.values())).evidence
        return dg.AssetCheckResult(
            passed=verdicts == {Verdict.PASS},
            description=said,
            metadata={"verdict": ", ".join(sorted(verdicts)), "evidence": said},
        )

    return log_complete


def _no_alarm() -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=list(keys.MAILLOG_OUTCOMES),
        name="no_alarm",
        description="No leak, missing source address, unsigned message or forged header in the last day.",
    )
    def no_alarm(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.maillog.complete import alarms, unsigned

        since = workplace.clock.now() - timedelta(days=1)
        with workplace.database.transaction() as connection:
            found = alarms(connection, since)
            naked = unsigned(connection, since)
        said = [f"{count} {kind.replace('_', ' ')}" for kind, count in found.items()]
        said += [f"{count} unsigned on {stream}" for stream, count in naked.items()]
        return dg.AssetCheckResult(
            passed=not said,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(said) or "nothing in the last day",
            metadata={**found, **{f"unsigned {stream}": count for stream, count in naked.items()}},
        )

    return no_alarm


def _rates(stream: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=list(keys.of_stream(stream, "delivery")),
        name="rates",
        description="Bounces, deferrals and blocks of today are within the estate's brakes.",
    )
    def rates(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.maillog.counts import counts_of_day

        zone = workplace.estate.zone
        today = workplace.clock.now().astimezone(zone).date()
        found = counts_of_day(workplace.database, stream, today, zone)
        brakes = workplace.estate.streams[stream].brakes
        limits = {
            "hard_bounced": brakes.hard_bounce_share,
            "deferred": brakes.soft_deferred_share,
            "blocked": brakes.soft_deferred_share,
        }
        enough = found.attempted >= brakes.minimum_attempts
        shares = {name: found.share(name) or 0.0 for name in limits}
        over = [name for name, limit in limits.items() if shares[name] > limit]
        said = ", ".join(
            f"{name.replace('_', ' ')} {shares[name]:.1%} (limit {limits[name]:.0%})" for name in limits
        )
        if not enough:
            said = f"only {found.attempted} attempts today, {brakes.minimum_attempts} needed to judge: {said}"
        return dg.AssetCheckResult(
            passed=not (over and enough),
            severity=dg.AssetCheckSeverity.WARN,
            description=said,
            metadata={"attempted": found.attempted, "judged": enough, **shares},
        )

    return rates
