"""The CMS and OIG lists of the pretend world: who is deactivated, excluded, revoked, opted out, due to revalidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from random import Random

from dualstream_assets.lab.people import Npis, Provider, made_provider

DUE_SOON_DAYS = 90


class Dropped(StrEnum):
    """Why a provider may not be mailed."""

    DEACTIVATED = "deactivated"
    EXCLUDED = "excluded"
    REVOKED = "revoked"


@dataclass(frozen=True)
class Enrolment:
    """One row of the revalidation list; `due` is None for TBD, `adjusted` replaces it when present."""

    enrolment_id: str
    npi: str
    state: str
    specialty: str
    due: date | None
    adjusted: date | None
    iso_date: bool

    @property
    def effective(self) -> date | None:
        """The date that counts: the adjusted one if there is one (facts/nppes section 2.1)."""
        return self.adjusted or self.due


@dataclass(frozen=True)
class Revocation:
    """A revoked provider; nobody may write while the re-enrolment bar is open."""

    npi: str
    effective: date
    bar_ends: date


@dataclass(frozen=True)
class Lists:
    """All lists, and the providers as changed by them (deactivated rows are blank).

    Attributes:
        dropped: NPI -> why it may not be mailed.
        deactivation_report: (NPI, day), the full list: reactivated ones are still in it.
        excluded: NPIs with the day of their OIG exclusion.
        opted_out: (NPI, first day, last day) of Medicare opt-out affidavits: lowers the rank, drops nobody.
    """

    providers: tuple[Provider, ...]
    dropped: dict[str, Dropped]
    deactivation_report: tuple[tuple[str, date], ...]
    excluded: tuple[tuple[str, date], ...]
    revoked: tuple[Revocation, ...]
    opted_out: tuple[tuple[str, date, date], ...]
    enrolments: tuple[Enrolment, ...]


def make_lists(
    rng: Random,
    providers: Sequence[Provider],
    sole_owners: Sequence[str],
    domains: int,
    epoch: date,
    release_day: date,
) -> Lists:
    """Put some of `sole_owners` (NPIs that alone hold a practice mailbox) on each list; shares of the world's size."""
    pool = list(sole_owners)
    rng.shuffle(pool)

    def some(share: float) -> list[str]:
        return [pool.pop() for _ in range(min(len(pool), max(1, round(domains * share))))]

    by_npi = {p.npi: p for p in providers}
    report: dict[str, date] = {}
    dropped: dict[str, Dropped] = {}

    def days_ago(low: int, high: int) -> date:
        return release_day - timedelta(days=rng.randrange(low, high))

    for npi in some(0.025):  # deactivated: CMS blanks the row, the endpoint row stays
        report[npi] = days_ago(60, 900)
        by_npi[npi] = replace(by_npi[npi], deactivated=report[npi], blank=True)
        dropped[npi] = Dropped.DEACTIVATED
    for npi in some(0.01):  # in the report of this month, not yet in npidata
        report[npi] = days_ago(1, 20)
        dropped[npi] = Dropped.DEACTIVATED
    for npi in some(0.02):  # reactivated: alive, though the report may still list it
        off = days_ago(400, 900)
        by_npi[npi] = replace(by_npi[npi], deactivated=off, reactivated=off + timedelta(days=120))
        report[npi] = off
    excluded = [(npi, days_ago(100, 2000)) for npi in some(0.016)]
    dropped |= {npi: Dropped.EXCLUDED for npi, _ in excluded}
    barred = [Revocation(npi, days_ago(100, 500), epoch + timedelta(days=700)) for npi in some(0.013)]
    dropped |= {r.npi: Dropped.REVOKED for r in barred}
    served = [Revocation(npi, days_ago(1500, 2000), epoch - timedelta(days=200)) for npi in some(0.006)]
    opted_out = [(npi, days_ago(50, 500), epoch + timedelta(days=300)) for npi in some(0.03)]
    unknown = Npis(rng)
    for _ in range(max(2, domains // 16)):  # long gone, without endpoints
        gone = made_provider(rng, unknown, release_day)
        if gone.npi not in by_npi:
            report[gone.npi] = days_ago(300, 2000)
            by_npi[gone.npi] = replace(gone, deactivated=report[gone.npi], blank=True)
    return Lists(
        providers=tuple(sorted(by_npi.values(), key=lambda p: p.npi)),
        dropped=dropped,
        deactivation_report=tuple(sorted(report.items())),
        excluded=tuple(sorted(excluded)),
        revoked=tuple(sorted(barred + served, key=lambda r: r.npi)),
        opted_out=tuple(sorted(opted_out)),
        enrolments=_enrolments(rng, [p for p in by_npi.values() if not p.blank], epoch),
    )


def revalidation_status(enrolments: Sequence[Enrolment], today: date) -> str:
    """`overdue`, `due_soon`, `due_later`, `tbd` or `none` for the enrolments of one NPI: the worst one counts."""
    if not enrolments:
        return "none"
    dates = [e.effective for e in enrolments if e.effective]
    if not dates:
        return "tbd"
    left = (min(dates) - today).days
    return "overdue" if left < 0 else "due_soon" if left <= DUE_SOON_DAYS else "due_later"


def month_end(day: date) -> date:
    """The last day of the month of `day`: revalidation falls due at month ends."""
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)


def _enrolments(rng: Random, providers: Sequence[Provider], epoch: date) -> tuple[Enrolment, ...]:
    """40 % TBD; of the dated 83 % overdue, 9 % due soon, 8 % later, never within 15 days of a border."""
    made: list[Enrolment] = []
    for provider in sorted(providers, key=lambda p: p.npi):
        if rng.random() < 0.12:  # noqa: PLR2004  # not in Medicare
            continue
        due = _due(rng, epoch)
        second = rng.random() < 0.13  # noqa: PLR2004  # 1.13 enrolments per NPI
        for number in range(2 if second else 1):
            adjusted = None
            if due and number == 0 and rng.random() < 0.01:  # noqa: PLR2004
                adjusted = month_end(epoch + timedelta(days=150))
            made.append(
                Enrolment(
                    f"{'I' if provider.is_person else 'O'}{20040101 + len(made) % 28}{len(made):06d}",
                    provider.npi,
                    provider.state,
                    provider.specialty,
                    due if number == 0 else _due(rng, epoch),
                    adjusted,
                    iso_date=len(made) % 40 != 7,  # noqa: PLR2004  # the raw format is not certain: both occur
                )
            )
    return tuple(made)


def _due(rng: Random, epoch: date) -> date | None:
    draw = rng.random()
    if draw < 0.4:  # noqa: PLR2004
        return None
    if draw < 0.4 + 0.6 * 0.83:
        return month_end(epoch - timedelta(days=rng.randrange(60, 1200)))
    if draw < 0.4 + 0.6 * 0.92:
        return _month_end_between(rng, epoch, 16, 75)
    return _month_end_between(rng, epoch, 106, 200)


def _month_end_between(rng: Random, epoch: date, low: int, high: int) -> date:
    ends = sorted({month_end(epoch + timedelta(days=d)) for d in range(low, high)})
    return rng.choice([e for e in ends if low <= (e - epoch).days <= high])
