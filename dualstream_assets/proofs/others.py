"""Proofs three to five: identity, deliverability, and that trucking is unharmed (no regression)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from dualstream_assets.estate import Estate
from dualstream_assets.proofs.witness import Proof, Proved
from dualstream_assets.store.evidence import Verdict, newest

if TYPE_CHECKING:
    from psycopg import Connection

IDENTITY_FACTS = ("fcrdns", "helo", "spf", "dkim", "dmarc", "message_score")
MINIMUM_ATTEMPTS = 50
"""Below this many attempts a share says little; the proof is unknown, not green."""
GOOD_SHARE = 0.9


def prove_identity(connection: Connection[Any], estate: Estate, now: datetime) -> Proof:
    """Every active egress and domain has fresh, passing identity evidence, and a real message scored."""
    counts: Counter[str] = Counter()
    worst: list[str] = []
    for stream in estate.streams:
        rows = newest(connection, stream)
        for fact in IDENTITY_FACTS:
            of_fact = [row for subject, row in rows.items() if subject.fact == fact]
            if not of_fact:
                counts["unknown"] += 1
                worst.append(f"{stream} {fact}: never looked at")
            for row in of_fact:
                stale = row.expires_at <= now and row.verdict is Verdict.PASS
                verdict = Verdict.UNKNOWN if stale else row.verdict
                counts[verdict] += 1
                if verdict is not Verdict.PASS:
                    worst.append(f"{row.subject} {fact}: {'stale' if stale else row.evidence}")
    outcome = Proved.FAIL if counts["fail"] else Proved.UNKNOWN if counts["unknown"] else Proved.PASS
    sentence = f"{counts['pass']} identity facts pass" + (f"; {worst[0]}" if worst else "")
    return Proof(
        "identity",
        outcome,
        sentence,
        {"pass": counts["pass"], "fail": counts["fail"], "unknown": counts["unknown"]},
        "How a receiver weighs identity, and its view of the domain's reputation.",
    )


def prove_deliverability(connection: Connection[Any]) -> Proof:
    """Share of our messages that receivers accepted, per operator. Inbox placement is not visible from here."""
    rows = connection.execute(
        "select operator, bool_or(status = 'sent') from delivery where wave_id is not null group by operator,"
        " queue_id, recipient"
    ).fetchall()
    attempts = Counter(operator for operator, _ in rows)
    accepted = Counter(operator for operator, sent in rows if sent)
    total, good = sum(attempts.values()), sum(accepted.values())
    figures: dict[str, int | float | str] = {"attempts": total, "accepted": good}
    figures |= {f"accepted_{name}": f"{accepted[name]}/{count}" for name, count in attempts.most_common(8)}
    unseen = (
        "Inbox or spam folder: needs seed mailboxes at Google Workspace and Microsoft 365 and a person's eye."
    )
    if total < MINIMUM_ATTEMPTS:
        return Proof(
            "deliverability",
            Proved.UNKNOWN,
            f"only {total} messages so far; {MINIMUM_ATTEMPTS} needed",
            figures,
            unseen,
        )
    share = good / total
    return Proof(
        "deliverability",
        Proved.PASS if share >= GOOD_SHARE else Proved.FAIL,
        f"{good} of {total} messages accepted ({share:.1%})",
        figures,
        unseen,
    )


def delivery_mix(
    connection: Connection[Any], stream: str, since: datetime, until: datetime
) -> Mapping[str, int]:
    """Final outcomes of a stream's messages in an interval: sent, deferred, bounced, expired."""
    rows = connection.execute(
        "select status, count(*) from (select distinct on (queue_id, recipient) status from delivery"
        " where stream = %s and at >= %s and at < %s order by queue_id, recipient, at desc, id desc) last"
        " group by status",
        (stream, since, until),
    ).fetchall()
    return {status: int(count) for status, count in rows}


def prove_no_regression(connection: Connection[Any], now: datetime, quiet_streams: Sequence[str]) -> Proof:
    """The old streams deliver as before the new one began: accepted share before and after its first wave.

    The interval is Wilson's at 95 %: a drop counts only when the intervals do not overlap.
    """
    row = connection.execute(
        "select min(released_at) from wave where not stream = any(%s)", (list(quiet_streams),)
    ).fetchone()
    first_wave = row[0] if row else None
    figures: dict[str, int | float | str] = {}
    unseen = "A change on the receivers' side in the same days; compare with other senders."
    if first_wave is None:
        return Proof("no_regression", Proved.UNKNOWN, "no wave of a new stream yet", figures, unseen)
    outcome, said = Proved.PASS, []
    for stream in quiet_streams:
        before = delivery_mix(connection, stream, first_wave - timedelta(days=30), first_wave)
        after = delivery_mix(connection, stream, first_wave, now + timedelta(seconds=1))
        n_before, n_after = sum(before.values()), sum(after.values())
        figures |= {f"{stream}_before": n_before, f"{stream}_after": n_after}
        if min(n_before, n_after) < MINIMUM_ATTEMPTS:
            outcome = Proved.UNKNOWN if outcome is Proved.PASS else outcome
            said.append(f"{stream}: {n_before} messages before and {n_after} after are too few to compare")
            continue
        low, high = wilson(before.get("sent", 0), n_before)
        low_after, high_after = wilson(after.get("sent", 0), n_after)
        figures |= {f"{stream}_interval_before": f"{low:.3f}-{high:.3f}"}
        figures |= {f"{stream}_interval_after": f"{low_after:.3f}-{high_after:.3f}"}
        if high_after < low:
            outcome = Proved.FAIL
        said.append(
            f"{stream}: {before.get('sent', 0) / n_before:.1%} accepted before,"
            f" {after.get('sent', 0) / n_after:.1%} after"
        )
    return Proof("no_regression", outcome, "; ".join(said), figures, unseen)


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927), default 95 %."""
    if not trials:
        return 0.0, 1.0
    share = successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * ((share * (1 - share) + z * z / (4 * trials)) / trials) ** 0.5
    scale = 1 + z * z / trials
    return (centre - spread) / scale, (centre + spread) / scale
