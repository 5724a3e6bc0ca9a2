"""Who runs an MX host, and how gently that operator is asked.

An operator is the unit of politeness (facts: verification section 4.1): all its domains share its patience with us.
The suffix table lies beside this file. Policy of what to do with an operator's mail belongs to other rooms.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

CONSUMER_OPERATORS = frozenset(
    {
        "yahoo",
        "outlook_com",
        "icloud",
        "comcast",
        "att",
        # Small ones go by the registrable domain of their MX hosts.
        "aol.com",
        "charter.net",
        "cox.net",
        "centurylink.net",
        "earthlink.net",
        "frontier.com",
        "optonline.net",
        "cv.net",
        "mail.com",
        "protonmail.ch",
        "rr.com",
        "suddenlink.net",
        "windstream.net",
    }
)
"""Operators of consumer mailboxes: a practice domain hosted there shares their filters, so it never rides the hot
stream. Google is not here: its Workspace customers and gmail.com share hosts, and gmail.com is told by its domain."""

ACCEPTS_ALL_AT_RCPT = frozenset({"barracuda", "yahoo"})
"""A 250 says nothing there (facts: verification section 3), so a random probe would be a wasted strike."""

_SECOND_LEVEL = frozenset({"ac", "co", "com", "edu", "gov", "net", "ne", "or", "org"})
"""`example.co.uk`: registered one label further left under two-letter country domains."""


@dataclass(frozen=True)
class Lane:
    """How gently one operator is asked (facts: verification section 4.1).

    Attributes:
        connections: sessions open at once.
        sessions_per_s: how many sessions may start in a second.
        rcpt_per_session: recipients asked in one session, the random one included.
        stop_at_unknown: end the session after this many unknown recipients; None: do not count.
        domains_per_session: domains that may share one session by RSET.
        per_address: the limits hold for each MX address, not for the operator as a whole.
    """

    connections: int
    sessions_per_s: float
    rcpt_per_session: int
    stop_at_unknown: int | None
    domains_per_session: int = 5
    per_address: bool = False


_GOOGLE = Lane(connections=2, sessions_per_s=1.0, rcpt_per_session=20, stop_at_unknown=5)
_MICROSOFT = Lane(connections=2, sessions_per_s=1.0, rcpt_per_session=10, stop_at_unknown=5)
_FILTER = Lane(connections=2, sessions_per_s=0.5, rcpt_per_session=10, stop_at_unknown=5)
_TOUCHY = Lane(connections=1, sessions_per_s=0.2, rcpt_per_session=5, stop_at_unknown=3)
_ONE_BY_ONE = Lane(
    connections=1, sessions_per_s=0.2, rcpt_per_session=1, stop_at_unknown=None, domains_per_session=1
)
_ANY_OTHER = Lane(connections=1, sessions_per_s=0.2, rcpt_per_session=10, stop_at_unknown=5, per_address=True)

_LANES = {
    "google": _GOOGLE,
    "microsoft": _MICROSOFT,
    "proofpoint": _FILTER,
    "proofpoint_essentials": _FILTER,
    "mimecast": _FILTER,
    "godaddy": _TOUCHY,
    "ionos": _TOUCHY,
    "rackspace": _TOUCHY,
    "barracuda": _TOUCHY,
    "yahoo": _ONE_BY_ONE,
    "outlook_com": _ONE_BY_ONE,
}


def lane_of(operator: str) -> Lane:
    """The limits of an operator; any other MX than the named ones is asked one session per address per 5 s."""
    return _LANES.get(operator, _ANY_OTHER)


@cache
def _suffixes() -> dict[str, str]:
    table = resources.files("dualstream_assets.receivers") / "operators.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    return {row["suffix"]: row["operator"] for row in csv.DictReader(lines)}


@cache
def named_operators() -> frozenset[str]:
    """The operators that have a name of their own: those of the suffix table."""
    return frozenset(_suffixes().values())


def operator_of(mx_hosts: Sequence[str]) -> str:
    """The operator of a domain, from its MX hosts in order of preference; empty text if there are none.

    The first host decides, by the longest suffix of the table that matches on label borders, else by the registrable
    domain of its name. A consumer operator anywhere in the set decides instead: mail may end there.
    """
    found = [_operator_of_host(host) for host in mx_hosts if host.strip(". ")]
    return next((operator for operator in found if operator in CONSUMER_OPERATORS), found[0] if found else "")


def _operator_of_host(host: str) -> str:
    labels = host.strip(". ").lower().split(".")
    for start in range(len(labels)):
        operator = _suffixes().get(".".join(labels[start:]))
        if operator:
            return operator
    return registrable_domain(host)


def registrable_domain(host: str) -> str:
    """The domain a host's owner registered, well enough for grouping: no public suffix list is consulted.

    `mx1.mail.example.test` -> `example.test`, `mx.example.co.uk` -> `example.co.uk`; an address stays whole.
    """
    labels = host.strip(". ").lower().split(".")
    if all(label.isdigit() for label in labels):
        return ".".join(labels)
    country = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL  # noqa: PLR2004
    return ".".join(labels[-3:] if country else labels[-2:])
