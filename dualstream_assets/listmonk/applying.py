"""Write a plan to a listmonk and prove that it took: one PUT of the whole object, a restart waited for, read back.

Every PUT restarts listmonk, even one that changes nothing, and a restart loses the rest of a running campaign's batch
and kills an import: so nothing is written without a difference, nor while a campaign or an import runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dualstream_assets.listmonk.client import Client
from dualstream_assets.listmonk.declared import (
    WINDOW_LENGTH,
    WINDOW_MINUTES,
    WINDOW_ON,
    WINDOW_RATE,
    Declared,
    SettingsPlan,
    belt_rate,
    minutes_of,
    plan,
    plan_window,
)
from dualstream_assets.listmonk.errors import (
    CampaignRunning,
    Denied,
    Faulty,
    Invalid,
    NotAsDeclared,
    PlanChanged,
    RestartPending,
    Unreachable,
)

BOOT_LINE = re.compile(r"main\.go:\d+: v\d")
RESTART_S = 30.0
PUT_ATTEMPTS = 3
MINUTES_PER_HOUR = 60

Planner = Callable[[Mapping[str, Any]], SettingsPlan]


@dataclass(frozen=True)
class Applied:
    """What an apply did: the plan, and whether anything was written."""

    plan: SettingsPlan
    written: bool


@dataclass(frozen=True)
class Window:
    """listmonk's sliding window: `rate` messages per `minutes`."""

    rate: int
    minutes: int

    @property
    def cap_per_hour(self) -> int:
        """What it lets through in an hour."""
        return self.rate * MINUTES_PER_HOUR // self.minutes


def read_plan(client: Client, declared: Declared) -> SettingsPlan:
    """The plan of this moment."""
    return plan(client.get("/settings"), declared)


def apply(client: Client, declared: Declared, plan_hash: str) -> Applied:
    """Write the plan that was read, if it is still the plan.

    Raises:
        PlanChanged: settings or estate changed since `plan_hash` was read.
        CampaignRunning, RestartPending, NotAsDeclared: see their classes.
        Invalid: this listmonk is not managed by us, or it refused a value.
    """
    if not declared.managed:
        raise Invalid(
            f"the listmonk of {declared.stream} is not managed by us: its settings are shown, never written",
            f"change them by hand, or set streams.{declared.stream}.listmonk.managed in the estate",
        )
    return _write(client, lambda current: plan(current, declared), plan_hash)


def read_window(client: Client) -> Window | None:
    """The window as stored; None where it is off or its length cannot be read."""
    current = client.get("/settings")
    minutes = minutes_of(current.get(WINDOW_LENGTH))
    if not current.get(WINDOW_ON) or not minutes or minutes < 1 or current.get(WINDOW_RATE, 0) < 1:
        return None
    return Window(int(current[WINDOW_RATE]), int(minutes))


def set_window(client: Client, rate: int, minutes: int = WINDOW_MINUTES) -> Applied:
    """Set the window to `rate` messages per `minutes`, and nothing else.

    Raises:
        ValueError: a rate of 1 (listmonk sends 2 then) or less, or a window outside one hour.
        CampaignRunning, RestartPending, NotAsDeclared: see their classes.
    """
    if rate <= 1 or not 1 <= minutes <= MINUTES_PER_HOUR:
        raise ValueError(f"a window of {rate} per {minutes} minutes is not one we set")
    return _write(client, lambda current: plan_window(current, rate, minutes), None)


def set_cap(client: Client, cap_per_hour: int) -> Applied:
    """Set the belt of an hourly cap: N + 1 per six minutes. See `set_window` for what it raises."""
    return set_window(client, belt_rate(cap_per_hour))


def read_cap(client: Client) -> int | None:
    """Messages per hour that the window lets through (N + 1 per six minutes: up to a tenth above the cap)."""
    window = read_window(client)
    return window.cap_per_hour if window else None


def running_campaigns(client: Client) -> int:
    """How many campaigns listmonk's database calls running."""
    return len(client.get("/campaigns/running/stats"))


def _write(client: Client, planner: Planner, plan_hash: str | None) -> Applied:
    found = planner(client.get("/settings"))
    if plan_hash is not None and found.hash != plan_hash:
        raise PlanChanged(
            f"{client.url}: the plan is not the one that was read: {len(found.changed)} change(s) now",
            "read the new diff, then apply again",
        )
    pending = bool(client.config().get("needs_restart"))
    if found.empty and not pending:
        return Applied(found, written=False)
    _refuse_if_busy(client)
    before = _boot_line(client)
    if found.empty:
        client.post(
            "/admin/reload", {}
        )  # stored by an earlier write, not in force: nothing runs, so restart now
    else:
        _put(client, found)
    _wait_for_restart(client, before)
    again = planner(client.get("/settings"))
    if not again.empty:
        raise NotAsDeclared(
            f"{client.url}: read back, these are not as written: {', '.join(again.changed)}",
            "look at that listmonk's log; apply again",
        )
    return Applied(found, written=not found.empty)


def _put(client: Client, found: SettingsPlan) -> None:
    """PUT; where a campaign has just ended but is still being cleaned up, listmonk does not restart: put again."""
    for attempt in range(PUT_ATTEMPTS):
        answer = client.put("/settings", found.whole)
        if not (isinstance(answer, Mapping) and answer.get("needs_restart")):
            return
        if attempt + 1 < PUT_ATTEMPTS:
            client.sleep(1.0)
            _refuse_if_busy(client)
    raise RestartPending(
        f"{client.url}: settings are stored but wait for a restart, because a campaign is still being processed",
        "wait until it has finished, then apply again: that restarts it",
    )


def _refuse_if_busy(client: Client) -> None:
    running = running_campaigns(client)
    if running:
        raise CampaignRunning(
            f"{client.url}: {running} campaign(s) running: a restart would lose the rest of a batch",
            "wait until they have finished, then apply again",
        )
    if client.get("/import/subscribers").get("status") in ("importing", "stopping"):
        raise CampaignRunning(
            f"{client.url}: an import is running: a restart would kill it", "wait until it has finished"
        )


def _boot_line(client: Client) -> str | None:
    """The first line of the log, if it is the one a process writes when it starts (the log is in memory)."""
    try:
        lines = client.get("/logs")
    except Denied:
        return None
    first = str(lines[0]) if lines else ""
    return first if BOOT_LINE.search(first) else None


def _wait_for_restart(client: Client, before: str | None) -> None:
    def restarted() -> bool:
        try:
            line = _boot_line(client)
            return line is not None and line != before and not client.config().get("needs_restart")
        except (Unreachable, Faulty):  # between the two processes
            return False

    client.wait_until(restarted, RESTART_S, "its restart")
