"""`pw-hc-rampcap`: set the healthcare cap for today, from cron or by hand, also while the database is away.

Without the database nothing is ever raised: the belt is lowered to the last cap this host knew, and to the lowest stage
once that is 26 hours old (facts: operations section 2).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from dualstream_assets.estate.model import Ramp
from dualstream_assets.sending.rampcap import CapPort, belt_of, belt_text, wider
from dualstream_assets.store.files import write_text_atomic

if TYPE_CHECKING:
    from dualstream_assets.workplace import Workplace

OLD_AFTER = timedelta(hours=26)


@dataclass(frozen=True)
class KnownCap:
    """The last cap that this host knows to have been decided, messages per hour."""

    cap_per_hour: int
    at: datetime


def cap_file(state: Path, stream: str) -> Path:
    """Where the last decided cap is kept beside the database."""
    return state / "caps" / f"{stream}.json"


def remember(path: Path, known: KnownCap) -> None:
    """Keep a decided cap."""
    write_text_atomic(
        path, json.dumps({"cap_per_hour": known.cap_per_hour, "at": known.at.isoformat()}) + "\n"
    )


def recall(path: Path) -> KnownCap | None:
    """The cap kept last; None where there is none that can be read."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return KnownCap(int(raw["cap_per_hour"]), datetime.fromisoformat(raw["at"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def cap_without_database(known: KnownCap | None, ramp: Ramp, now: datetime) -> int:
    """The hourly cap that may hold while the database cannot be asked: never more than what was decided last."""
    lowest = ramp.stages[0].cap_per_hour
    if known is None or now - known.at > OLD_AFTER or known.at > now:
        return min(lowest, known.cap_per_hour) if known else lowest
    return known.cap_per_hour


def lower_without_database(port: CapPort, cap_per_hour: int) -> str:
    """Lower the belt if it is wider than this cap; returns what was done, in a sentence."""
    wanted, before = belt_of(cap_per_hour), port.read()
    if before is not None and not wider(before, wanted):
        return f"belt {belt_text(before)} left as it is: not wider than {belt_text(wanted)}"
    port.write(wanted)
    return f"belt lowered to {belt_text(port.read())}, was {belt_text(before)}"


def rampcap_command(argv: Sequence[str]) -> int:
    """The program `pw-hc-rampcap [STREAM]` (default: healthcare); returns its exit code."""
    from dualstream_assets.entry import open_workplace

    if len(argv) > 1 or argv[:1] in (["-h"], ["--help"]):
        return _say("usage: pw-hc-rampcap [STREAM]", 2)
    stream = argv[0] if argv else "healthcare"
    workplace = open_workplace()
    if stream not in workplace.estate.streams:
        return _say(f"no stream {stream!r}; the estate has {', '.join(workplace.estate.streams)}", 2)
    return run_rampcap(workplace, stream)


def run_rampcap(workplace: Workplace, stream: str) -> int:
    """Decide and write the cap; without the database only lower it. Exit code 0, or 1 where a cap is not as allowed."""
    from psycopg import OperationalError

    from dualstream_assets.sending.parts import set_cap

    try:
        done = set_cap(workplace, stream)
    except OperationalError:
        return _without_database(workplace, stream)
    at_fault = done.decision is not None and done.decision.red
    return _say(done.headline, int(at_fault or (not done.written and done.before != done.wanted)))


def _without_database(workplace: Workplace, stream: str) -> int:
    from dualstream_assets.listmonk.client import Client
    from dualstream_assets.sending.parts import ListmonkWindow

    at = workplace.endpoints.listmonk.get(stream)
    declared = workplace.estate.streams[stream]
    if at is None or declared.ramp.cap_writer != "dualstream" or not declared.listmonk.managed:
        return _say(f"{stream}: the database is away, and this cap is not ours to write", 1)
    known = recall(cap_file(workplace.settings.state, stream))
    cap = cap_without_database(known, declared.ramp, workplace.clock.now())
    done = lower_without_database(ListmonkWindow(Client(at.url, at.user, at.token)), cap)
    return _say(f"{stream}: the database is away, so nothing is raised: {done}", 1)


def _say(text: str, code: int) -> int:
    (sys.stderr if code else sys.stdout).write(text + "\n")
    return code
