"""The lists beside the NPPES release, as CMS and OIG write them (facts/nppes sections 2.1 and 2.2)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import date, timedelta

from dualstream_assets.lab.people import Provider
from dualstream_assets.lab.world import World

LEIE_COLUMNS = (
    "LASTNAME",
    "FIRSTNAME",
    "MIDNAME",
    "BUSNAME",
    "GENERAL",
    "SPECIALTY",
    "UPIN",
    "NPI",
    "DOB",
    "ADDRESS",
    "CITY",
    "STATE",
    "ZIP",
    "EXCLTYPE",
    "EXCLDATE",
    "REINDATE",
    "WAIVERDATE",
    "WVRSTATE",
)
REVALIDATION_COLUMNS = (
    "Enrollment ID",
    "National Provider Identifier",
    "First Name",
    "Last Name",
    "Organization Name",
    "Enrollment State Code",
    "Enrollment Type",
    "Provider Type Text",
    "Enrollment Specialty",
    "Revalidation Due Date",
    "Adjusted Due Date",
    "Individual Total Reassign To",
    "Receiving Benefits Reassignment",
)
REVOCATION_COLUMNS = (
    "ENRLMT_ID",
    "NPI",
    "FIRST_NAME",
    "MDL_NAME",
    "LAST_NAME",
    "ORG_NAME",
    "MULTIPLE_NPI_FLAG",
    "STATE_CD",
    "PROVIDER_TYPE_DESC",
    "REVOCATION_RSN",
    "REVOCATION_EFCTV_DT",
    "REENROLLMENT_BAR_EXPRTN_DT",
)
OPT_OUT_COLUMNS = (
    "First Name",
    "Last Name",
    "NPI",
    "Specialty",
    "Optout Effective Date",
    "Optout End Date",
    "First Line Street Address",
    "Second Line Street Address",
    "City Name",
    "State Code",
    "Zip code",
    "Eligible to Order and Refer",
    "Last updated",
)


def csv_lists(world: World) -> dict[str, bytes]:
    """File name -> content of the four CSV lists: OIG exclusions, revalidation, revocations, opt-out affidavits."""
    day = world.release_day
    return {
        "UPDATED.csv": _csv(LEIE_COLUMNS, _excluded(world)),
        "revalidation_base.csv": _csv(REVALIDATION_COLUMNS, _revalidation(world)),
        f"Revocation_Extract_{day:%Y.%m.%d}.csv": _csv(REVOCATION_COLUMNS, _revoked(world)),
        f"Opt_Out_Affidavits_{day:%Y.%m.%d}.csv": _csv(OPT_OUT_COLUMNS, _opted_out(world)),
    }


def us_date(day: date | None) -> str:
    """`MM/DD/YYYY`, empty for None."""
    return f"{day:%m/%d/%Y}" if day else ""


def _excluded(world: World) -> Iterable[Sequence[str]]:
    by_npi = {p.npi: p for p in world.providers}
    for npi, day in world.lists.excluded:
        p = by_npi[npi]
        yield _leie(p, npi, day)
    for i, p in enumerate(
        p for p in world.providers[:40:9] if p.is_person and not p.blank
    ):  # by name only: a flag
        yield _leie(p, "0000000000", world.release_day - timedelta(days=10 + i))


def _leie(p: Provider, npi: str, day: date) -> Sequence[str]:
    who = (p.last_name.upper(), p.first_name.upper(), "", p.organisation.upper())
    place = (p.street, p.city, p.state, p.postal[:5])
    return (
        *who,
        "IND- LIC HC SERV PRO",
        "SAMPLE",
        "",
        npi,
        "19700101",
        *place,
        "1128b4",
        f"{day:%Y%m%d}",
        "00000000",
        "00000000",
        "",
    )


def _revalidation(world: World) -> Iterable[Sequence[str]]:
    by_npi = {p.npi: p for p in world.providers}
    for e in world.lists.enrolments:
        p = by_npi[e.npi]
        due = "TBD" if e.due is None else f"{e.due:%Y-%m-%d}" if e.iso_date else us_date(e.due)
        adjusted = f"{e.adjusted:%Y-%m-%d}" if e.adjusted else ""
        who = (p.first_name, p.last_name, p.organisation)
        kind = ("3", "Non-DME Part B", e.specialty)
        yield (e.enrolment_id, e.npi, *who, e.state, *kind, due, adjusted, "", "")


def _revoked(world: World) -> Iterable[Sequence[str]]:
    by_npi = {p.npi: p for p in world.providers}
    for i, r in enumerate(world.lists.revoked):
        p = by_npi[r.npi]
        yield (
            f"I20200101{i:06d}",
            r.npi,
            p.first_name,
            "",
            p.last_name,
            p.organisation,
            "N",
            p.state,
            p.specialty,
            "424.535(a)(1) Noncompliance",
            us_date(r.effective),
            us_date(r.bar_ends),
        )


def _opted_out(world: World) -> Iterable[Sequence[str]]:
    by_npi = {p.npi: p for p in world.providers}
    for npi, start, end in world.lists.opted_out:
        p = by_npi[npi]
        place = (p.street, "", p.city, p.state, p.postal)
        yield (
            p.first_name,
            p.last_name,
            npi,
            p.specialty,
            us_date(start),
            us_date(end),
            *place,
            "Y",
            us_date(world.release_day),
        )


def _csv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """A list as data.cms.gov and OIG write it: quoted only where needed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()
