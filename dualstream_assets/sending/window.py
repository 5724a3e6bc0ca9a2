"""When a stream may send: days, hours and federal holidays, in the estate's zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from dualstream_assets.estate.model import WEEKDAYS, Window


def is_holiday(day: date) -> str | None:
    """The US federal holiday of a date (observed days included), else None. Source: 5 U.S.C. 6103."""
    import holidays

    return holidays.country_holidays("US", years=day.year).get(day)


def is_send_day(window: Window, day: date) -> bool:
    """Whether any mail may leave on this local date."""
    return not_a_send_day(window, day) is None


def not_a_send_day(window: Window, day: date) -> str | None:
    """Why this local date is no send day; None if it is one."""
    weekday = WEEKDAYS[day.weekday()]
    if weekday not in window.days:
        return f"{weekday} is no send day"
    if window.holidays == "US":
        name = is_holiday(day)
        if name:
            return f"holiday: {name}"
    return None


def closed_because(window: Window, zone: ZoneInfo, now: datetime) -> str | None:
    """Why the window is closed at this moment; None while it is open (start included, end not)."""
    local = now.astimezone(zone)
    if not window.start <= local.time() < window.end:
        return f"outside the window ({hours(window)}, it is {local:%H:%M})"
    why = not_a_send_day(window, local.date())
    return f"outside the window ({why})" if why else None


def hours(window: Window) -> str:
    """The window's hours as people write them: `08:00-18:30`."""
    return f"{window.start:%H:%M}-{window.end:%H:%M}"


def midnight(zone: ZoneInfo, day: date) -> datetime:
    """The moment a local date begins, UTC."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def day_bounds(zone: ZoneInfo, day: date) -> tuple[datetime, datetime]:
    """A local date as [from, to), UTC: 23 to 25 hours long."""
    return midnight(zone, day), midnight(zone, day + timedelta(days=1))


def send_days(window: Window, first: date, count: int) -> list[date]:
    """The next `count` send days from `first` on."""
    found: list[date] = []
    day = first
    while len(found) < count and (day - first).days < 3660:  # noqa: PLR2004  # ten years: a window of no days ends
        if is_send_day(window, day):
            found.append(day)
        day += timedelta(days=1)
    return found
