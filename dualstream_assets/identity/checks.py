"""Checks of the identity room. The five DNS facts and the message score write the gate's evidence and block."""

import dagster as dg

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.resources import WorkplaceParam, stream_names

_FACTS = {
    "fcrdns": "Every egress has exactly one PTR whose name leads back to it.",
    "helo": "Every egress greets with the name of its PTR.",
    "spf": "Every egress passes SPF, a foreign address fails, within 10 lookups and 2 voids.",
    "dkim": "The DKIM key is published, strong enough, not in test mode.",
    "dmarc": "One DMARC policy, with reports, under which our bounces align.",
}


def checks(estate: Estate, environment: str) -> list[dg.AssetChecksDefinition]:  # noqa: ARG001
    """Six blocking checks and two that only show, per stream."""
    found: list[dg.AssetChecksDefinition] = []
    for stream in stream_names(estate):
        found += [_dns_fact(stream, fact, said) for fact, said in _FACTS.items()]
        found += [_message_score(stream), _shown(stream, "soa_in_step"), _shown(stream, "blocklists")]
    return found


def _dns_fact(stream: str, fact: str, said: str) -> dg.AssetChecksDefinition:
    key = keys.of_stream(stream, "identity")

    @dg.asset_check(asset=list(key), name=fact, blocking=True, description=said)
    def check(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.identity.probes import probe

        return _result(probe(workplace, stream, fact, f"{keys.text(key)}:{fact}"))

    return check


def _message_score(stream: str) -> dg.AssetChecksDefinition:
    key = keys.of_stream(stream, "message_score")

    @dg.asset_check(
        asset=list(key),
        name="message_score",
        blocking=True,
        description="A real message at a seed mailbox passes every criterion.",
    )
    def message_score(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.identity.probes import probe_message_score

        verdict, said, score = probe_message_score(workplace, stream, f"{keys.text(key)}:message_score")
        return dg.AssetCheckResult(
            passed=str(verdict) == "pass",
            description=f"{verdict}: {said}",
            metadata={"criteria_passed": score.passed, "criteria": len(score.findings)} if score else {},
        )

    return message_score


def _shown(stream: str, name: str) -> dg.AssetChecksDefinition:
    said = {
        "soa_in_step": "Every name server of our zones tells the same serial.",
        "blocklists": "No egress is on a declared blocklist; a list that cannot be asked is unknown.",
    }[name]

    @dg.asset_check(asset=list(keys.of_stream(stream, "identity")), name=name, description=said)
    def check(workplace: WorkplaceParam) -> dg.AssetCheckResult:
        from dualstream_assets.identity.probes import look_blocklists, look_soa, resolver_of

        look = {"soa_in_step": look_soa, "blocklists": look_blocklists}[name]
        if name == "blocklists" and not workplace.estate.dns.blocklists:
            return dg.AssetCheckResult(passed=True, description="no list is declared (dns.blocklists)")
        return _result(
            tuple(look(resolver_of(workplace), workplace.estate, stream)), dg.AssetCheckSeverity.WARN
        )

    return check


def _result(found, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR) -> dg.AssetCheckResult:
    from dualstream_assets.identity.finding import table, worst

    verdict = worst(f.verdict for f in found)
    wrong = [f for f in found if f.verdict is verdict]
    good = str(verdict) == "pass"
    line = f"all {len(found)} pass" if good else f"{verdict}: {wrong[0].subject}: {wrong[0].said}"
    return dg.AssetCheckResult(
        passed=good,
        severity=severity,
        description=line,
        metadata={"evidence": dg.MetadataValue.md(table(found)), "looked_at": len(found)},
    )
