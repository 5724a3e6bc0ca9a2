"""Waves that were cut off (kill -9, a lost database, a listmonk that paused): brought back to a safe state.

Before the release nothing can have left (a draft sends nothing, the wave policy lets nobody pass), so the wave is
abandoned and its people may be asked again. After it, a draft that is still fresh is started, an old one abandoned.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from dualstream_assets.listmonk.campaigns import Status
from dualstream_assets.sending import ledger
from dualstream_assets.sending.campaigner import TERMINAL
from dualstream_assets.sending.gate import assess
from dualstream_assets.sending.ledger import Wave
from dualstream_assets.sending.waves import Sender, give_up, said_safely
from dualstream_assets.sending.window import closed_because
from dualstream_assets.store.suppression import suppressed

FRESH = timedelta(minutes=5)
"""A released wave whose campaign is still a draft is started within this time; later its units are no longer true."""


def recover(sender: Sender) -> tuple[str, ...]:
    """Bring every wave that was cut off back to a safe state; returns what was done, one line each."""
    with sender.database.transaction() as connection:
        waves = ledger.under_way(connection, sender.stream)
    return tuple(line for wave in waves if (line := _recover(sender, wave)))


def _recover(sender: Sender, wave: Wave) -> str | None:
    try:
        state = sender.campaigner.state(wave.campaign_id) if wave.campaign_id is not None else None
    except Exception as error:  # noqa: BLE001  # listmonk is away: the wave is left as it is, and blocks the next
        return f"wave {wave.id}: listmonk cannot be asked ({said_safely(error)})"
    if wave.state != "released":
        if state not in (None, Status.DRAFT):
            return _stop(sender, wave, f"wave {wave.id} is {state} in listmonk but was never released")
        give_up(sender, wave, "cut off before its release")
        return f"wave {wave.id}: cut off before its release, abandoned"
    if state is not Status.DRAFT:
        return None
    assert wave.campaign_id is not None  # noqa: S101  # it has a state
    if _may_still_start(sender, wave, sender.clock.now()):
        sender.campaigner.resume(wave.campaign_id)
        return f"wave {wave.id}: cut off before its start, started"
    give_up(sender, wave, "cut off before its start, and too old or not allowed to start now")
    return f"wave {wave.id}: cut off before its start, abandoned"


def _may_still_start(sender: Sender, wave: Wave, now: datetime) -> bool:
    """Its units are still the truth, the window is open, and the gate would open again."""
    assert wave.released_at is not None  # noqa: S101  # it is released
    window = sender.estate.streams[sender.stream].window
    if now - wave.released_at > FRESH or closed_because(window, sender.estate.zone, now):
        return False
    with sender.database.transaction() as connection:
        if suppressed(connection, ledger.addresses_of(connection, wave.id)):
            return False  # somebody opted out between the release and the crash's end
        return assess(connection, sender.estate, sender.stream, now, "wave", sender.environment).open


def _stop(sender: Sender, wave: Wave, reason: str) -> str:
    with sender.database.transaction() as connection:
        connection.execute(
            "insert into stream_stop (stream, reason, source, at) select %s, %s, 'sending/waves', %s where not exists"
            " (select 1 from stream_stop where stream = %s and reason = %s and acknowledged_at is null)",
            (sender.stream, reason, sender.clock.now(), sender.stream, reason),
        )
    return f"wave {wave.id}: {reason}; the stream is stopped"


def archive_settled(sender: Sender, wave_ids: Sequence[int]) -> None:
    """Archive the lists of settled waves: about a hundred a day. What fails stays visible in listmonk, no more."""
    with sender.database.transaction() as connection:
        lists = [ledger.wave_of(connection, wave_id).list_id for wave_id in wave_ids]
    for list_id in lists:
        if list_id is not None:
            with suppress(Exception):
                sender.campaigner.archive(list_id)


def can_send(sender: Sender, wave: Wave) -> bool | None:
    """Whether a wave's campaign may still send; cancels one that listmonk paused after errors (it then still may).

    A draft so old sends nothing any more: it is not started by us, and the wave policy refuses whoever is `not_sent`.
    None where listmonk cannot be asked: no proof.
    """
    if wave.campaign_id is None:
        return None
    try:
        state = sender.campaigner.state(wave.campaign_id)
        if state is Status.PAUSED:
            # Its workers may hold a last message; the next look finds it cancelled.
            sender.campaigner.cancel(wave.campaign_id)
            return True
    except Exception:  # noqa: BLE001  # unknown is not "no": the members stay as they are
        return None
    return None if state is None else state not in (*TERMINAL, Status.DRAFT)
