"""Proof one: no message ever left on the other stream's IP, and no consumer mailbox was reached from the hot pool."""

from __future__ import annotations

from collections.abc import Sequence

from dualstream_assets.estate import Estate
from dualstream_assets.proofs.witness import Arrival, Proof, Proved, by_stream, same_multiset
from dualstream_assets.receivers.operators import CONSUMER_OPERATORS

UNSEEN = (
    "IPs and queues are isolated; domain reputation is shared (one d=). Mail that other programs send past Postfix"
    " is seen by the sinks in the lab and, in production, only by the egress guard's counters."
)


def leaks(arrivals: Sequence[Arrival], estate: Estate, campaigns: dict[str, str]) -> list[Arrival]:
    """Arrivals whose source IP is not in the pool of the stream they belong to."""
    found = []
    for stream, of_stream in by_stream(arrivals, estate, campaigns).items():
        pool = {str(egress.ip) for egress in estate.pool(stream)}
        found += [arrival for arrival in of_stream if arrival.source not in pool]
    return found


def consumer_hits(arrivals: Sequence[Arrival], estate: Estate, campaigns: dict[str, str]) -> list[Arrival]:
    """Arrivals of an institutional stream at an operator of consumer mailboxes."""
    return [
        arrival
        for stream, of_stream in by_stream(arrivals, estate, campaigns).items()
        if estate.streams[stream].segment == "institutional"
        for arrival in of_stream
        if arrival.operator in CONSUMER_OPERATORS
    ]


def prove_isolation(
    sinks: Sequence[Arrival] | None, log: Sequence[Arrival], estate: Estate, campaigns: dict[str, str]
) -> Proof:
    """Both witnesses must show no leak, and must agree message by message."""
    leaked_log = len(leaks(log, estate, campaigns))
    consumer = len(consumer_hits(log, estate, campaigns))
    figures: dict[str, int | float | str] = {
        "in_log": len(log),
        "leaked_in_log": leaked_log,
        "consumer_from_hot_pool": consumer,
    }
    if sinks is None:
        outcome = Proved.FAIL if leaked_log or consumer else Proved.UNKNOWN
        return Proof(
            "isolation",
            outcome,
            f"log shows {leaked_log} leaks in {len(log)} deliveries; the second witness (receivers or egress"
            " counters) is missing",
            figures,
            UNSEEN,
        )
    leaked_sinks = len(leaks(sinks, estate, campaigns))
    consumer += len(consumer_hits(sinks, estate, campaigns))
    only_sinks, only_log = same_multiset(sinks, log)
    figures |= {
        "at_sinks": len(sinks),
        "leaked_at_sinks": leaked_sinks,
        "only_at_sinks": only_sinks,
        "only_in_log": only_log,
    }
    if leaked_log or leaked_sinks or consumer:
        return Proof(
            "isolation",
            Proved.FAIL,
            f"{leaked_sinks} messages reached receivers from the wrong pool ({leaked_log} in the log),"
            f" {consumer} consumer mailboxes from the hot pool",
            figures,
            UNSEEN,
        )
    if only_sinks or only_log:
        return Proof(
            "isolation",
            Proved.UNKNOWN,
            f"the witnesses disagree: {only_sinks} only at the receivers, {only_log} only in the log",
            figures,
            UNSEEN,
        )
    if not sinks:
        return Proof("isolation", Proved.UNKNOWN, "nothing was delivered yet", figures, UNSEEN)
    return Proof(
        "isolation",
        Proved.PASS,
        f"{len(sinks)} deliveries, 0 from the wrong pool; receivers and log agree on every one",
        figures,
        UNSEEN,
    )
