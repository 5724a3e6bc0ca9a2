"""The two layouts that we read, V2: 330 columns of npidata_pfile, 19 of endpoint_pfile (facts: nppes 1.3, 1.4).

Columns are addressed by name, and the whole header is compared: a new layout is an error, never a shifted column.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass

from dualstream_assets.registry.errors import PAGE, VersionOneRelease, WrongHeader

TAXONOMY_SLOTS = 15
V1_COLUMN = "Provider Gender Code"
"""Column 42 of the old layout; V2 calls it `Provider Sex Code`."""

_NAME_PARTS = (
    "Last Name",
    "First Name",
    "Middle Name",
    "Name Prefix Text",
    "Name Suffix Text",
    "Credential Text",
)
_ADDRESS = (
    "Provider First Line Business {kind} Address",
    "Provider Second Line Business {kind} Address",
    "Provider Business {kind} Address City Name",
    "Provider Business {kind} Address State Name",
    "Provider Business {kind} Address Postal Code",
    "Provider Business {kind} Address Country Code (If outside U.S.)",
    "Provider Business {kind} Address Telephone Number",
    "Provider Business {kind} Address Fax Number",
)
_TAXONOMY = (
    "Healthcare Provider Taxonomy Code_{i}",
    "Provider License Number_{i}",
    "Provider License Number State Code_{i}",
    "Healthcare Provider Primary Taxonomy Switch_{i}",
)
_IDENTIFIER = (
    "Other Provider Identifier_{i}",
    "Other Provider Identifier Type Code_{i}",
    "Other Provider Identifier State_{i}",
    "Other Provider Identifier Issuer_{i}",
)

NPIDATA: tuple[str, ...] = (
    "NPI",
    "Entity Type Code",
    "Replacement NPI",
    "Employer Identification Number (EIN)",
    "Provider Organization Name (Legal Business Name)",
    "Provider Last Name (Legal Name)",
    *(f"Provider {part}" for part in _NAME_PARTS[1:]),
    "Provider Other Organization Name",
    "Provider Other Organization Name Type Code",
    *(f"Provider Other {part}" for part in _NAME_PARTS),
    "Provider Other Last Name Type Code",
    *(line.format(kind="Mailing") for line in _ADDRESS),
    *(line.format(kind="Practice Location") for line in _ADDRESS),
    "Provider Enumeration Date",
    "Last Update Date",
    "NPI Deactivation Reason Code",
    "NPI Deactivation Date",
    "NPI Reactivation Date",
    "Provider Sex Code",
    "Authorized Official Last Name",
    "Authorized Official First Name",
    "Authorized Official Middle Name",
    "Authorized Official Title or Position",
    "Authorized Official Telephone Number",
    *(column.format(i=i) for i in range(1, TAXONOMY_SLOTS + 1) for column in _TAXONOMY),
    *(column.format(i=i) for i in range(1, 51) for column in _IDENTIFIER),
    "Is Sole Proprietor",
    "Is Organization Subpart",
    "Parent Organization LBN",
    "Parent Organization TIN",
    "Authorized Official Name Prefix Text",
    "Authorized Official Name Suffix Text",
    "Authorized Official Credential Text",
    *(f"Healthcare Provider Taxonomy Group_{i}" for i in range(1, TAXONOMY_SLOTS + 1)),
    "Certification Date",
)

ENDPOINT: tuple[str, ...] = (
    "NPI",
    "Endpoint Type",
    "Endpoint Type Description",
    "Endpoint",
    "Affiliation",
    "Endpoint Description",
    "Affiliation Legal Business Name",
    "Use Code",
    "Use Description",
    "Other Use Description",
    "Content Type",
    "Content Description",
    "Other Content Description",
    "Affiliation Address Line One",
    "Affiliation Address Line Two",
    "Affiliation Address City",
    "Affiliation Address State",
    "Affiliation Address Country",
    "Affiliation Address Postal Code",
)

TAXONOMY_CODES = tuple(f"Healthcare Provider Taxonomy Code_{i}" for i in range(1, TAXONOMY_SLOTS + 1))
PRIMARY_SWITCHES = tuple(
    f"Healthcare Provider Primary Taxonomy Switch_{i}" for i in range(1, TAXONOMY_SLOTS + 1)
)

PROVIDER_PROJECTION: tuple[str, ...] = (
    "NPI",
    "Entity Type Code",
    "Provider Organization Name (Legal Business Name)",
    "Provider Last Name (Legal Name)",
    "Provider First Name",
    "Provider Credential Text",
    "Provider Business Practice Location Address State Name",
    "Provider Business Practice Location Address Country Code (If outside U.S.)",
    "Provider Business Practice Location Address Telephone Number",
    "Last Update Date",
    "NPI Deactivation Date",
    "NPI Reactivation Date",
    *TAXONOMY_CODES,
    *PRIMARY_SWITCHES,
)
"""The 42 columns we take of npidata: any of 15 slots may hold the primary taxonomy."""

ENDPOINT_PROJECTION: tuple[str, ...] = (
    "NPI",
    "Endpoint Type",
    "Endpoint",
    "Affiliation",
    "Endpoint Description",
    "Affiliation Legal Business Name",
)


@dataclass(frozen=True)
class Layout:
    """A table of the release: the prefix of its member's name and its columns in order."""

    prefix: str
    columns: tuple[str, ...]

    @property
    def quotes_per_line(self) -> int:
        """Double quotes of a good line: two per value, no inner ones (the README turns those into single quotes)."""
        return 2 * len(self.columns)


NPIDATA_LAYOUT = Layout("npidata_pfile", NPIDATA)
ENDPOINT_LAYOUT = Layout("endpoint_pfile", ENDPOINT)


def check_header(line: str, layout: Layout, where: str) -> None:
    """Compare a header row with the layout.

    Raises:
        WrongHeader: names the first column that differs, and its position.
        VersionOneRelease: it is the header of the old layout.
    """
    found: Sequence[str] = next(csv.reader([line]), [])
    if tuple(found) == layout.columns:
        return
    if V1_COLUMN in found:
        raise VersionOneRelease(
            f"{where}: {layout.prefix} has the column {V1_COLUMN!r} of the old layout (V1, ended 2026-03-03);"
            f" take the file whose name ends in _V2.zip from {PAGE}"
        )
    position = next(
        (i for i, (a, b) in enumerate(zip(found, layout.columns, strict=False)) if a != b),
        min(len(found), len(layout.columns)),
    )
    said = f"is {found[position][:60]!r}" if position < len(found) else "is missing"
    wanted = repr(layout.columns[position]) if position < len(layout.columns) else "none"
    raise WrongHeader(
        f"{where}: column {position + 1} of {layout.prefix} {said}, expected {wanted}"
        f" ({len(found)} columns, expected {len(layout.columns)}); give the unchanged V2 release,"
        " or see its fileheader member if CMS changed the layout"
    )
