"""What became of released waves. The mail log room moves the members' states; here the waves are moved on.

A wave is *handed over* when every member is accounted
for, or after fifteen minutes; *settled* when all are final. `not_sent` is a proof, and the only way back into a later
wave: the campaign can send no more, the log is complete past the wave's end by fifteen minutes without a gap, and no
queue id, no policy use and no delivery knows the person (facts: operations section 3). Else `unknown`, never re-asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from dualstream_assets.sending.ledger import Wave, unsettled
from dualstream_assets.sending.logview import gap_since, spoken_until
from dualstream_assets.sending.units import QUEUE_LIFETIME

if TYPE_CHECKING:
    from psycopg import Connection

HAND_OVER_AFTER = timedelta(minutes=15)
PROOF_MARGIN = timedelta(minutes=15)
FINAL = ["delivered", "bounced", "expired", "deleted", "not_sent"]
"""States that nothing changes any more (`refused` becomes `not_sent` once that is proved)."""
NOT_ACCOUNTED = ["reserved", "released", "unknown"]

CanSend = Callable[[Wave], bool | None]
"""Whether a wave's campaign may still send: False when it is finished or cancelled, None when it cannot be asked."""


@dataclass(frozen=True)
class Settled:
    """What one look changed: ids of waves, and counts of people."""

    handed_over: tuple[int, ...]
    settled: tuple[int, ...]
    not_sent: int
    unknown: int


_PROVED_NOT_SENT = """
update wave_member m set state = 'not_sent', changed_at = %(now)s
from wave w where w.id = %(wave)s and m.wave_id = w.id and m.state in ('released', 'refused')
  and not exists (select 1 from policy_use p where p.wave_id = w.id and p.recipient = m.address)
  and not exists (select 1 from log_message l where l.campaign_uuid = w.campaign_uuid
                  and l.subscriber_uuid = m.subscriber_uuid)
  and not exists (select 1 from delivery d where d.recipient = m.address and d.at >= w.released_at
                  and (d.campaign_uuid = w.campaign_uuid or d.campaign_uuid is null))
"""


def settle(connection: Connection[Any], stream: str, now: datetime, can_send: CanSend) -> Settled:
    """Move every released wave of a stream on, as far as the states of its members tell."""
    waves = unsettled(connection, stream)
    if not waves:
        return Settled((), (), 0, 0)
    proved = unknown = 0
    for wave in _waves_with(connection, waves, ["released", "refused"]):
        if now - _started(wave) < HAND_OVER_AFTER:
            continue
        proved_now, unknown_now = _prove(connection, wave, now, can_send)
        proved += proved_now
        unknown += unknown_now
    handed = _hand_over(connection, waves, now)
    return Settled(handed, _settle(connection, waves, now), proved, unknown)


def _started(wave: Wave) -> datetime:
    assert wave.released_at is not None  # noqa: S101  # `unsettled` has no other
    return wave.released_at


def _waves_with(connection: Connection[Any], waves: list[Wave], states: list[str]) -> list[Wave]:
    rows = connection.execute(
        "select distinct wave_id from wave_member where wave_id = any(%s) and state = any(%s)",
        ([wave.id for wave in waves], states),
    ).fetchall()
    found = {row[0] for row in rows}
    return [wave for wave in waves if wave.id in found]


def _prove(connection: Connection[Any], wave: Wave, now: datetime, can_send: CanSend) -> tuple[int, int]:
    """(proved not sent, given up as unknown) among the members without a trace."""
    last = connection.execute(
        "select max(received_at) from log_message where campaign_uuid = %s", (wave.campaign_uuid,)
    ).fetchone()
    end = max(_started(wave), last[0]) if last and last[0] else _started(wave)
    complete = spoken_until(connection)
    if complete is not None and complete >= end + PROOF_MARGIN and not gap_since(connection, _started(wave)):
        if can_send(wave) is False:
            done = connection.execute(
                _PROVED_NOT_SENT,
                {"wave": wave.id, "now": now},
            )
            return done.rowcount, _unknown(connection, wave, now, used_only=True)
        return 0, 0
    if now - end > QUEUE_LIFETIME:
        return 0, _unknown(connection, wave, now, used_only=False)
    return 0, 0


def _unknown(connection: Connection[Any], wave: Wave, now: datetime, *, used_only: bool) -> int:
    """Members whose fate nothing will tell: used at the policy without a queue id, or a log that stayed incomplete."""
    done = connection.execute(
        "update wave_member m set state = 'unknown', changed_at = %s where m.wave_id = %s"
        " and (m.state = 'released' or (m.state = 'refused' and %s)) and (not %s or exists"
        " (select 1 from policy_use p where p.wave_id = m.wave_id and p.recipient = m.address))",
        (now, wave.id, used_only, used_only),
    )
    return done.rowcount


def _hand_over(connection: Connection[Any], waves: list[Wave], now: datetime) -> tuple[int, ...]:
    rows = connection.execute(
        "update wave w set state = 'handed_over', handed_over_at = %s where w.id = any(%s) and w.state = 'released'"
        " and (w.released_at <= %s or not exists (select 1 from wave_member m where m.wave_id = w.id"
        " and m.state = any(%s))) returning w.id",
        (now, [wave.id for wave in waves], now - HAND_OVER_AFTER, NOT_ACCOUNTED),
    ).fetchall()
    return tuple(sorted(row[0] for row in rows))


def _settle(connection: Connection[Any], waves: list[Wave], now: datetime) -> tuple[int, ...]:
    """Settled: every member final, or the queue's lifetime is over."""
    rows = connection.execute(
        "update wave w set state = 'settled', settled_at = %s where w.id = any(%s) and w.state = 'handed_over'"
        " and (w.released_at <= %s or not exists (select 1 from wave_member m where m.wave_id = w.id"
        " and m.state <> all(%s))) returning w.id",
        (now, [wave.id for wave in waves], now - QUEUE_LIFETIME, FINAL),
    ).fetchall()
    return tuple(sorted(row[0] for row in rows))
