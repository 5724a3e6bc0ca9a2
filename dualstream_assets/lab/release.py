"""The pretend world as CMS would publish it: the NPPES release in its V2 form, and the lists that go with it.

Layouts: facts/nppes sections 1.1 (names), 1.2 (every value quoted, `\\n`), 1.4 (19 endpoint columns).
Timestamps inside archives are fixed, so one world gives the same bytes every time.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from importlib import resources
from pathlib import Path

from dualstream_assets.lab.cms_files import csv_lists, us_date
from dualstream_assets.lab.filings import TYPE_DESCRIPTIONS, EndpointRow
from dualstream_assets.lab.people import Provider
from dualstream_assets.lab.world import World
from dualstream_assets.lab.xlsx import xlsx_bytes

OTHERNAME_COLUMNS = (
    "NPI",
    "Provider Other Organization Name",
    "Provider Other Organization Name Type Code",
    "Created Date",
)
PL_COLUMNS = (
    "NPI",
    "Provider Secondary Practice Location Address- Address Line 1",
    "Provider Secondary Practice Location Address-  Address Line 2",
    "Provider Secondary Practice Location Address - City Name",
    "Provider Secondary Practice Location Address - State Name",
    "Provider Secondary Practice Location Address - Postal Code",
    "Provider Secondary Practice Location Address - Country Code (If outside U.S.)",
    "Provider Secondary Practice Location Address - Telephone Number",
    "Provider Secondary Practice Location Address - Telephone Extension",
    "Provider Practice Location Address - Fax Number",
)
_FIXED_TIME = (2026, 1, 1, 0, 0, 0)


def npidata_columns() -> list[str]:
    """The 330 column names of npidata_pfile, V2."""
    return _names("npidata_columns.txt")


def endpoint_columns() -> list[str]:
    """The 19 column names of endpoint_pfile."""
    return _names("endpoint_columns.txt")


def release_files(world: World) -> dict[str, bytes]:
    """File name -> content: the NPPES ZIP first, then the deactivation report and the CSV lists."""
    day = world.release_day
    tables: dict[str, tuple[Sequence[str], Iterable[str]]] = {
        "npidata_pfile": (npidata_columns(), _npidata(world)),
        "othername_pfile": (OTHERNAME_COLUMNS, _othernames(world)),
        "pl_pfile": (PL_COLUMNS, _locations(world)),
        "endpoint_pfile": (endpoint_columns(), (_endpoint(row) for row in world.rows)),
    }
    members: dict[str, bytes] = {}
    for name, (header, lines) in tables.items():
        stem = f"{name}_20050523-{day:%Y%m%d}"
        members[f"{stem}.csv"] = (_line(header) + "".join(lines)).encode()
        members[f"{stem}_fileheader.csv"] = _line(header).encode()
    report = f"NPPES Deactivated NPI Report {day:%Y%m%d}.xlsx"
    return {
        f"NPPES_Data_Dissemination_{day:%B}_{day:%Y}_V2.zip": _zipped(members),
        f"NPPES_Deactivated_NPI_Report_{day:%m%d%y}_V2.zip": _zipped({report: _deactivated(world)}),
        **csv_lists(world),
    }


def write_release(world: World, folder: Path) -> Path:
    """Write the NPPES ZIP and the five lists into `folder`; returns the path of the ZIP."""
    folder.mkdir(parents=True, exist_ok=True)
    files = release_files(world)
    for name, content in files.items():
        put(folder / name, content, world.release_day)
    return folder / next(iter(files))


def _names(file: str) -> list[str]:
    return (resources.files("dualstream_assets.lab") / file).read_text(encoding="utf-8").splitlines()


def _line(values: Iterable[str]) -> str:
    """One line, every value quoted; inner double quotes become single ones, as the README of CMS promises."""
    return '"' + '","'.join(value.replace('"', "'") for value in values) + '"\n'


def _npidata(world: World) -> Iterable[str]:
    columns = npidata_columns()
    for provider in world.providers:
        values = _blank(provider) if provider.blank else _filled(provider)
        yield _line(values.get(column, "") for column in columns)


def _blank(provider: Provider) -> Mapping[str, str]:
    return {"NPI": provider.npi, "NPI Deactivation Date": us_date(provider.deactivated)}


def _filled(provider: Provider) -> Mapping[str, str]:
    person = provider.is_person
    values = {
        "NPI": provider.npi,
        "Entity Type Code": "1" if person else "2",
        "Employer Identification Number (EIN)": "" if person else "<UNAVAIL>",
        "Provider Organization Name (Legal Business Name)": provider.organisation.upper(),
        "Provider Last Name (Legal Name)": provider.last_name.upper(),
        "Provider First Name": provider.first_name.upper(),
        "Provider Credential Text": provider.credential,
        "Provider Enumeration Date": us_date(provider.enumerated),
        "Last Update Date": us_date(provider.updated),
        "NPI Deactivation Date": us_date(provider.deactivated),
        "NPI Reactivation Date": us_date(provider.reactivated),
        "Is Sole Proprietor": "N" if person else "",
        "Is Organization Subpart": "" if person else "N",
        "Certification Date": us_date(provider.updated),
    }
    for kind in ("Mailing", "Practice Location"):
        values |= {
            f"Provider First Line Business {kind} Address": provider.street,
            f"Provider Business {kind} Address City Name": provider.city,
            f"Provider Business {kind} Address State Name": provider.state,
            f"Provider Business {kind} Address Postal Code": provider.postal,
            f"Provider Business {kind} Address Country Code (If outside U.S.)": "US",
            f"Provider Business {kind} Address Telephone Number": provider.phone,
        }
    if not person:
        values |= {
            "Authorized Official Last Name": "OWNER",
            "Authorized Official First Name": "SAMPLE",
            "Authorized Official Title or Position": "OWNER",
            "Authorized Official Telephone Number": provider.phone,
        }
    for slot, (code, switch) in enumerate(provider.taxonomies, start=1):
        values[f"Healthcare Provider Taxonomy Code_{slot}"] = code
        values[f"Healthcare Provider Primary Taxonomy Switch_{slot}"] = switch
    return values


def _othernames(world: World) -> Iterable[str]:
    for provider in world.providers:
        if not provider.is_person and not provider.blank:
            yield _line(
                (provider.npi, f"{provider.organisation.upper()} DBA", "3", us_date(provider.updated))
            )


def _locations(world: World) -> Iterable[str]:
    for provider in [p for p in world.providers if not p.blank][::9]:
        yield _line(
            (
                provider.npi,
                "2 ANNEX RD",
                "",
                provider.city,
                provider.state,
                provider.postal,
                "US",
                provider.phone,
                "",
                "",
            )
        )


def _endpoint(row: EndpointRow) -> str:
    values = (
        row.npi,
        row.type,
        TYPE_DESCRIPTIONS[row.type],
        row.endpoint,
        row.affiliation,
        row.description,
        row.affiliation_name,
        *row.use,
        "",
        *row.content,
        "",
        row.street,
        "",
        row.city,
        row.state,
        "US",
        row.postal,
    )
    if row.nested_quote:  # against the README's promise: inner quotes stay double, as the real file has it
        return '"' + '","'.join(values) + '"\n'
    return _line(values)


def _deactivated(world: World) -> bytes:
    title = f"NPPES Deactivated NPI Report as of {world.release_day:%m/%d/%Y}"
    rows = [(npi, us_date(day)) for npi, day in world.lists.deactivation_report]
    return xlsx_bytes([(title,), ("NPI", "NPPES Deactivation Date"), *rows])


def _zipped(members: Mapping[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, _FIXED_TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return data.getvalue()


def put(path: Path, content: bytes, day: date) -> None:
    """Write beside, then rename: a reader never sees half a file. Its time is `day`: a list's age may go by that."""
    noon = datetime.combine(day, time(12), UTC).timestamp()
    beside = path.with_name(f".{path.name}.part")
    beside.write_bytes(content)
    os.utime(beside, (noon, noon))
    beside.replace(path)
