"""Small V2 releases and lists for tests, in the exact form: every value quoted, `\\n` ends, fileheader members."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from xml.sax.saxutils import escape

from dualstream_assets.lab import xlsx
from dualstream_assets.registry.columns import ENDPOINT, NPIDATA

MONTHLY = "NPPES_Data_Dissemination_November_2026_V2.zip"
DAYS = "20050523-20261108"
SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def line(values: Iterable[str]) -> str:
    """One row as CMS writes it."""
    return '"' + '","'.join(values) + '"\n'


def person(npi: str, **columns: str) -> dict[str, str]:
    """An active person in New York with one taxonomy; keyword arguments replace columns by their exact name."""
    return {
        "NPI": npi,
        "Entity Type Code": "1",
        "Provider Last Name (Legal Name)": "SAMPLE",
        "Provider First Name": "PAT",
        "Provider Credential Text": "DPT",
        "Provider Business Practice Location Address State Name": "NY",
        "Provider Business Practice Location Address Country Code (If outside U.S.)": "US",
        "Provider Business Practice Location Address Telephone Number": "2125550100",
        "Last Update Date": "01/02/2025",
        "Healthcare Provider Taxonomy Code_1": "225100000X",
        "Healthcare Provider Primary Taxonomy Switch_1": "Y",
        **columns,
    }


def filed(
    npi: str, endpoint: str, kind: str = "DIRECT", description: str = "", **columns: str
) -> dict[str, str]:
    """An endpoint row."""
    return {
        "NPI": npi,
        "Endpoint Type": kind,
        "Endpoint": endpoint,
        "Endpoint Description": description,
        **columns,
    }


def table(columns: Sequence[str], rows: Iterable[Mapping[str, str] | str]) -> bytes:
    """A member's bytes; a row given as text is taken as it is."""
    lines = [row if isinstance(row, str) else line(row.get(name, "") for name in columns) for row in rows]
    return (line(columns) + "".join(lines)).encode()


def release_zip(
    folder: Path,
    people: Iterable[Mapping[str, str] | str] = (),
    endpoints: Iterable[Mapping[str, str] | str] = (),
    *,
    name: str = MONTHLY,
    members: Mapping[str, bytes | None] | None = None,
    days: str = DAYS,
) -> Path:
    """Write a release; `members` replaces or (None) leaves out members by prefix."""
    path = folder / name
    content: dict[str, bytes | None] = {
        "npidata_pfile": table(NPIDATA, people),
        "endpoint_pfile": table(ENDPOINT, endpoints),
        **(members or {}),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for prefix, data in content.items():
            if data is not None:
                archive.writestr(f"{prefix}_{days}_FileHeader.csv", data.partition(b"\n")[0] + b"\n")
                archive.writestr(f"{prefix}_{days}.csv", data)
        archive.writestr("NPPES_Data_Dissemination_Readme_v.2.pdf", b"%PDF-1.4")
    return path


def weekly_zip(
    folder: Path,
    people: Iterable[Mapping[str, str] | str] = (),
    endpoints: Iterable[Mapping[str, str] | str] = (),
    *,
    first: date = date(2026, 11, 9),
    last: date = date(2026, 11, 15),
    name: str | None = None,
) -> Path:
    """Write a weekly increment under its published name; it continues `release_zip` unless days are given."""
    published = f"NPPES_Data_Dissemination_{first:%m%d%y}_{last:%m%d%y}_Weekly_V2.zip"
    return release_zip(
        folder, people, endpoints, name=name or published, days=f"{first:%Y%m%d}-{last:%Y%m%d}"
    )


def blank(npi: str, deactivated: str) -> dict[str, str]:
    """A deactivated row: CMS leaves only the NPI and the date."""
    return {"NPI": npi, "NPI Deactivation Date": deactivated}


def rows_of(path: Path, prefix: str) -> list[dict[str, str]]:
    """The rows of a release's member, as a strict reader sees them: for the lab's or our own good files."""
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.startswith(prefix) and "fileheader" not in n.lower())
        return list(csv.DictReader(io.StringIO(archive.read(name).decode())))


def deactivation_report(path: Path, rows: Iterable[tuple[str, str]], *, inline: bool = False) -> Path:
    """The deactivation report: title, header, NPI and date; strings shared as Excel writes them, or inline."""
    texts: list[str] = []
    lines = []
    content = [("NPPES Deactivated NPI Report",), ("NPI", "NPPES Deactivation Date"), *rows]
    for number, row in enumerate(content, start=1):
        cells = ""
        for column, text in enumerate(row):
            place = f"{chr(65 + column)}{number}"
            if inline:
                cells += f'<c r="{place}" t="inlineStr"><is><t>{escape(text)}</t></is></c>'
            else:
                cells += f'<c r="{place}" t="s"><v>{len(texts)}</v></c>'
                texts.append(text)
        lines.append(f'<row r="{number}">{cells}</row>')
    book = io.BytesIO()
    sheet = f'<worksheet xmlns="{SHEET}"><sheetData>{"".join(lines)}</sheetData></worksheet>'
    with zipfile.ZipFile(book, "w") as archive:
        for name, text in (xlsx.FRAME | {"xl/worksheets/sheet1.xml": sheet}).items():
            archive.writestr(name, text)
        items = "".join(f"<si><t>{escape(text)}</t></si>" for text in texts)
        archive.writestr("xl/sharedStrings.xml", f'<sst xmlns="{SHEET}">{items}</sst>')
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("NPPES Deactivated NPI Report 20261108.xlsx", book.getvalue())
    return path
