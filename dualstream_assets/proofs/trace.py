"""Everything we know of one address, in the order of its life. For the command line only: it shows the address."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from dualstream_assets import keys

if TYPE_CHECKING:
    from dualstream_assets.workplace import Workplace

FILES = (keys.INSTITUTIONAL_CSV, keys.CONSUMER_CSV, keys.DIRECT_CSV, keys.REVIEW_CSV, keys.REJECTS_CSV)


def trace_address(workplace: Workplace, address: str) -> list[str]:
    """One line per fact about `address`; empty if we never saw it."""
    wanted = address.strip().lower()
    return [*_audience(workplace, wanted), *_database(workplace, wanted)]


def _audience(workplace: Workplace, wanted: str) -> list[str]:
    lines = []
    for name in FILES:
        path = workplace.paths.audience / name
        if not path.exists():
            continue
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row.get("email", "").lower() == wanted:
                    reason = row.get("rule") or row.get("reason", "")
                    lines.append(f"source       {name}: NPI {row.get('npi', '')}, rule {reason}")
    return lines


def _database(workplace: Workplace, wanted: str) -> list[str]:
    zone = workplace.estate.zone
    lines = []
    with workplace.database.transaction() as connection:
        for verdict, rule, at in connection.execute(
            "select verdict, rule, observed_at from mailbox where address = %s", (wanted,)
        ):
            lines.append(f"verdict      {verdict} ({rule}), {at.astimezone(zone):%Y-%m-%d %H:%M}")
        for reason, source, since, lifted in connection.execute(
            "select reason, source, since, lifted_at from suppression where kind = 'address' and value = %s"
            " or kind = 'domain' and value = split_part(%s, '@', 2) order by id",
            (wanted, wanted),
        ):
            until = f", lifted {lifted.astimezone(zone):%Y-%m-%d %H:%M}" if lifted else ""
            lines.append(
                f"suppression  {reason} from {source}, {since.astimezone(zone):%Y-%m-%d %H:%M}{until}"
            )
        for wave, stream, campaign, state, at in connection.execute(
            "select wave_id, stream, campaign, state, changed_at from wave_member where address = %s order by wave_id",
            (wanted,),
        ):
            lines.append(
                f"wave         {wave} ({stream}, {campaign}): {state}, {at.astimezone(zone):%Y-%m-%d %H:%M}"
            )
        for at, transport, status, code, text, tls in connection.execute(
            "select at, transport, status, enhanced_code, reply_text, tls from delivery where recipient = %s"
            " order by at",
            (wanted,),
        ):
            when = f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}"
            lines.append(f"delivery     {when} {transport}: {status} {code or ''} TLS {tls}: {text[:120]}")
    return lines
