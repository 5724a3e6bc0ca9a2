"""Who is to be asked now, and who is judged without being asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from dualstream_assets.receivers.operators import CONSUMER_OPERATORS
from dualstream_assets.receivers.replies import Ruling, RulingKind
from dualstream_assets.verification.candidates import Candidate, unsendable
from dualstream_assets.verification.mx import MailDomain
from dualstream_assets.verification.verdicts import Mailbox

BY_DNS = {
    "null_mx": Ruling(RulingKind.UNDELIVERABLE, "null_mx"),
    "nxdomain": Ruling(RulingKind.UNDELIVERABLE, "nxdomain"),
    "nodata": Ruling(RulingKind.UNDELIVERABLE, "nodata"),
    "misconfigured": Ruling(RulingKind.RISKY, "mx_misconfigured"),
    "unknown": Ruling(RulingKind.RETRY, "dns_unknown"),
}
CONSUMER = Ruling(RulingKind.RISKY, "consumer_operator")


def without_asking(candidate: Candidate, row: MailDomain) -> Ruling | None:
    """The ruling of an address whose host is not contacted; None if it has to be asked."""
    broken = unsendable(candidate.address)
    if broken:
        return Ruling(RulingKind.RISKY, broken)
    if row.operator in CONSUMER_OPERATORS:
        return CONSUMER
    if row.ruling != "ok":
        return BY_DNS[row.ruling]
    return None if row.usable_hosts() else Ruling(RulingKind.RETRY, "no_address_of_any_host")


def due_now(
    targets: Iterable[Candidate],
    mailboxes: Mapping[str, Mailbox],
    domains: Mapping[str, MailDomain],
    resting: Mapping[str, datetime],
    now: datetime,
    valid: timedelta,
) -> tuple[list[Candidate], datetime | None]:
    """(who is to be asked now, when the next one after that is); lanes that rest are asked when they wake."""
    due: list[Candidate] = []
    next_at: datetime | None = None
    for candidate in targets:
        row = domains.get(candidate.domain)
        if row is None:
            continue
        box = mailboxes.get(candidate.address)
        at = box.due_at(valid) if box else now
        if row.contacted:
            at = max(at, resting.get(row.operator, at))
        if at <= now:
            due.append(candidate)
        else:
            next_at = at if next_at is None else min(next_at, at)
    return due, next_at
