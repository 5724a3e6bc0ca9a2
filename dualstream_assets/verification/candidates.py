"""Which mailboxes are to be verified: the addresses of the institutional file."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from dualstream_assets import keys

MAX_ADDRESS = 254
"""RFC 5321 section 4.5.3.1.3, without the angle brackets."""


class CandidatesMissing(FileNotFoundError):
    """The file of people to verify is not there or lacks a column; the message names the next command."""


@dataclass(frozen=True)
class Candidate:
    """One address to verify, lower case, with its domain."""

    address: str
    domain: str


def read_candidates(audience: Path) -> tuple[Candidate, ...]:
    """Every address of the institutional file, once, in rank order.

    Raises:
        CandidatesMissing: the file was not built yet or has no column `email`.
    """
    path = audience / keys.INSTITUTIONAL_CSV
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            if not {"email", "domain"} <= set(rows.fieldnames or ()):
                raise CandidatesMissing(
                    f"{path.name} has no columns email and domain: build the audience again"
                )
            found = {row["email"]: Candidate(row["email"], row["domain"]) for row in rows}
    except FileNotFoundError as error:
        if isinstance(error, CandidatesMissing):
            raise
        raise CandidatesMissing(
            f"{path.name} is not built yet. Next: dagster asset materialize --select '+audience/institutional'"
            " -m dualstream_assets.definitions"
        ) from error
    return tuple(found.values())


def unsendable(address: str) -> str | None:
    """The rule by which this address cannot be put into an RCPT command; None if it can.

    A left side beyond ASCII needs SMTPUTF8 (RFC 6531), which we do not ask for.
    """
    local, at, domain = address.rpartition("@")
    broken = any(c in address for c in "\r\n\0<> \t")
    if not at or not local or not domain or broken or len(address) > MAX_ADDRESS:
        return "unsendable_address"
    try:
        on_the_wire(address)
    except UnicodeError:
        return "unsendable_address"
    return None if local.isascii() else "unsupported_eai"


def on_the_wire(address: str) -> str:
    """The address with its domain as A-labels (RFC 5890).

    Raises:
        UnicodeError: the domain has no such form.
    """
    local, _, domain = address.rpartition("@")
    return address if domain.isascii() else f"{local}@{domain.encode('idna').decode('ascii')}"
