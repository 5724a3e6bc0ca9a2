"""listmonk's bulk importer, believed only by count: its `finished` can mean that nothing was imported.

The file is written strictly (a stray quote would leave a transaction open there until restart), always `subscribe`
without any overwrite, or `blocklist`. Nothing here can re-subscribe anybody.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from dualstream_assets.estate import Segment
from dualstream_assets.listmonk.client import Client
from dualstream_assets.listmonk.errors import ImportNotVerified, Invalid, UnsafeRow
from dualstream_assets.listmonk.people import listed, listed_count

IMPORT_S = 600.0
PEOPLE_TAG = "ds-people"
ATTRIBUTES = ("npi", "product_key", "state", "revalidation_status", "due_date", "rank", "segment")


@dataclass(frozen=True)
class CsvRow:
    """One line of an import file."""

    address: str
    name: str
    attribs: Mapping[str, Any]


@dataclass(frozen=True)
class Policy:
    """Who may be imported into a stream's listmonk.

    Attributes:
        segment: the segment that rides the stream.
        catch_all_policy: `send` lets accept-all mailboxes in.
        verdict_required: institutional people must be verified; consumer people ride trucking unverified (the user's
            standing practice there: their list is warm, and probing consumer operators would burn the probe).
    """

    segment: Segment
    catch_all_policy: Literal["hold", "send"] | None = None

    @property
    def verdict_required(self) -> bool:
        """Whether a verdict is asked of each row."""
        return self.segment != "consumer"

    @property
    def verdicts(self) -> frozenset[str]:
        """Verdicts that count as verified."""
        return frozenset({"deliverable", "catch_all"} if self.catch_all_policy == "send" else {"deliverable"})


@dataclass(frozen=True)
class Checked:
    """Rows that passed, and how many were left out for which reason."""

    rows: tuple[CsvRow, ...]
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Imported:
    """One verified import, counts of people.

    Attributes:
        asked: rows that passed the checks.
        unseen: of these, not on the list before.
        imported: as the importer says; equals `unseen`.
        listed_before, listed_after: on the list; the difference equals `unseen`.
    """

    list_id: int
    asked: int
    unseen: int
    imported: int
    listed_before: int
    listed_after: int
    left_out: Counter[str] = field(default_factory=Counter)


def checked(rows: Iterable[Mapping[str, str]], policy: Policy, suppressed: Collection[str]) -> Checked:
    """Look at every row again before it may be imported.

    Suppressed people are left out (they may have opted out after the file was written). A row that the file must not
    hold at all refuses the whole file.

    Raises:
        UnsafeRow: a row of another segment (Direct, dropped, …), or without a verdict that counts.
    """
    passed: dict[str, CsvRow] = {}
    left_out: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for row in rows:
        address = row["email"].strip().lower()
        if row.get("segment") != policy.segment:
            wrong[f"segment {row.get('segment') or 'missing'}"] += 1
        elif policy.verdict_required and row.get("verdict") not in policy.verdicts:
            wrong[f"verdict {row.get('verdict') or 'missing'}"] += 1
        elif address in suppressed:
            left_out["suppressed"] += 1
        elif address in passed:
            left_out["listed twice"] += 1
        else:
            passed[address] = CsvRow(address, _name(row), {k: row[k] for k in ATTRIBUTES if row.get(k)})
    if wrong:
        said = ", ".join(f"{count} with {what}" for what, count in wrong.most_common())
        raise UnsafeRow(
            f"rows that may not be imported as {policy.segment}: {said}; nothing was imported",
            "materialize the audience and verification assets again and look at their checks",
        )
    return Checked(tuple(passed.values()), left_out)


def import_people(client: Client, stream: str, found: Checked) -> Imported:
    """Import the people of a stream who are not there yet onto its one list, and verify it by count.

    Takes only what `checked` passed: an unverified row cannot get here.

    Raises:
        ImportNotVerified: counts do not add up.
    """
    list_id = people_list(client, stream)
    there = {subscriber.address for subscriber in listed(client, list_id)}
    unseen = [row for row in found.rows if row.address not in there]
    imported = run_import(client, unseen, mode="subscribe", lists=(list_id,)) if unseen else 0
    after = listed_count(client, list_id)
    if after != len(there) + len(unseen):
        raise ImportNotVerified(
            f"{client.url}: {len(there)} were listed, {len(unseen)} imported, but {after} are listed now",
            "look whether somebody else imports into that listmonk, then materialize it again: it is safe to repeat",
        )
    return Imported(list_id, len(found.rows), len(unseen), imported, len(there), after, found.left_out)


def people_list(client: Client, stream: str) -> int:
    """The id of the stream's list of everybody importable; made once, found by its tag."""
    tagged = list(client.pages("/lists", tag=PEOPLE_TAG))
    if len(tagged) > 1:
        raise Invalid(
            f"{client.url}: {len(tagged)} lists carry the tag {PEOPLE_TAG}",
            "archive and untag all but the oldest",
        )
    if tagged:
        return int(tagged[0]["id"])
    made = {
        "name": f"dualstream {stream}: people", "type": "private", "optin": "single", "tags": [PEOPLE_TAG],
        "description": "Everybody who may be put into a wave. Written by dualstream; waves have lists of their own.",
    }  # fmt: skip
    return int(client.post("/lists", made)["id"])


def run_import(
    client: Client, rows: Sequence[CsvRow], mode: Literal["subscribe", "blocklist"], lists: Sequence[int]
) -> int:
    """Run one import to its end; returns the number imported, which is the number of rows.

    Raises:
        ImportNotVerified: it failed, was restarted away, or imported fewer than there are rows.
        Invalid: another import is running.
    """
    params: dict[str, Any] = {
        "mode": mode,
        "delim": ",",
        "lists": list(lists),
        "overwrite": False,
        "overwrite_userinfo": False,
        "overwrite_subscription_status": False,
    }
    if mode == "subscribe":
        params["subscription_status"] = "unconfirmed"
    _not_busy(client)
    client.upload("/import/subscribers", json.dumps(params), "dualstream.csv", import_csv(rows))
    status: dict[str, Any] = {}

    def ended() -> bool:
        status.update(client.get("/import/subscribers"))
        return status["status"] not in ("importing", "stopping")

    client.wait_until(ended, IMPORT_S, "the end of the import")
    if status["status"] != "finished" or status["imported"] != len(rows):
        skipped = str(client.get("/import/subscribers/logs")).count("skipping line")
        raise ImportNotVerified(
            f"{client.url}: the import ended as {status['status']!r}: {status['imported']} of {len(rows)} imported,"
            f" {skipped} lines skipped by listmonk (a blocklisted domain, or no address)",
            "read that listmonk's import log; it is safe to import again",
        )
    return int(status["imported"])


def import_csv(rows: Iterable[CsvRow]) -> bytes:
    """The file: header `email,name,attributes`, every cell quoted."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(("email", "name", "attributes"))
    for row in rows:
        writer.writerow((row.address, _one_line(row.name), json.dumps(dict(row.attribs), ensure_ascii=True)))
    return text.getvalue().encode()


def _not_busy(client: Client) -> None:
    status = client.get("/import/subscribers")["status"]
    if status in ("importing", "stopping"):
        raise Invalid(f"{client.url}: another import is {status}", "wait until it has ended")


def _name(row: Mapping[str, str]) -> str:
    person = f"{row.get('first_name', '')} {row.get('last_name', '')}".strip()
    return person or row.get("organization", "")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
