"""A listmonk and a mail log small enough to kill: a JSON file for the one, the real tables for the other."""

from __future__ import annotations

import csv
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from psycopg import Connection

from dualstream_assets import keys
from dualstream_assets.clock import Clock
from dualstream_assets.estate import Estate
from dualstream_assets.listmonk.applying import Window
from dualstream_assets.listmonk.campaigns import Prepared, Status
from dualstream_assets.listmonk.errors import MembersNotListed
from dualstream_assets.listmonk.subscribers import OptOut
from dualstream_assets.sending.content import Content
from dualstream_assets.sending.ledger import Wave
from dualstream_assets.sending.requirements import required
from dualstream_assets.sending.waves import Sender
from dualstream_assets.store.database import Database
from dualstream_assets.store.evidence import Verdict, record
from dualstream_assets.store.permit import consume

NAMESPACE = uuid.UUID(int=7)


def uuid_of(address: str) -> str:
    """The subscriber UUID that the fake listmonk gives an address."""
    return str(uuid.uuid5(NAMESPACE, address))


def release(
    connection: Connection[Any], wave_id: int, permit_id: int, prepared: Prepared, now: datetime
) -> None:
    """What the listmonk room commits with the permit."""
    connection.execute(
        "update wave set state = 'released', released_at = %s, permit_id = %s, list_id = %s, campaign_id = %s,"
        " campaign_uuid = %s where id = %s and state = 'reserved'",
        (now, permit_id, prepared.list_id, prepared.campaign_id, prepared.campaign_uuid, wave_id),
    )
    for address, (number, subscriber_uuid) in prepared.subscribers.items():
        connection.execute(
            "update wave_member set state = 'released', subscriber_id = %s, subscriber_uuid = %s, changed_at = %s"
            " where wave_id = %s and address = %s",
            (number, subscriber_uuid, now, wave_id, address),
        )


class FileListmonk:
    """A listmonk in a JSON file: it survives the process, as the real one does."""

    def __init__(self, path: Path, database: Database, clock: Clock) -> None:
        self.path, self.database, self.clock = path, database, clock
        if not path.exists():
            self._write({"campaigns": {}, "blocklisted": [], "opted_out": [], "belt": None})

    def _read(self) -> dict[str, Any]:
        return json.loads(self.path.read_text())

    def _write(self, state: dict[str, Any]) -> None:
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(state))
        part.replace(self.path)

    def prepare(self, wave: Wave, addresses: Sequence[str], content: Content) -> Prepared:
        state = self._read()
        number = len(state["campaigns"]) + 1
        blocked = sum(a in state["blocklisted"] for a in addresses)
        if blocked:
            raise MembersNotListed(f"{blocked} of {len(addresses)} cannot be listed", "plan anew")
        members = {a: (i + 1, uuid_of(a)) for i, a in enumerate(addresses)}
        campaign_uuid = str(uuid.uuid4())
        state["campaigns"][str(number)] = {"uuid": campaign_uuid, "status": "draft", "members": list(members)}
        self._write(state)
        return Prepared(number, number, campaign_uuid, members)

    def start(self, wave: Wave, permit_id: int, prepared: Prepared) -> None:
        with self.database.transaction() as connection:
            consume(connection, permit_id, wave.stream, wave.id, wave.members_hash, self.clock.now())
            release(connection, wave.id, permit_id, prepared, self.clock.now())
        FAULTS.reach("released")
        self.resume(prepared.campaign_id)

    def resume(self, campaign_id: int) -> None:
        self.set_status(campaign_id, "running")

    def state(self, campaign_id: int) -> Status | None:
        found = self._read()["campaigns"].get(str(campaign_id))
        return Status(found["status"]) if found else None

    def cancel(self, campaign_id: int) -> None:
        self.set_status(campaign_id, "cancelled")

    def archive(self, list_id: int) -> None:
        state = self._read()
        state.setdefault("archived", []).append(list_id)
        self._write(state)

    def set_status(self, campaign_id: int, status: str) -> None:
        state = self._read()
        state["campaigns"][str(campaign_id)]["status"] = status
        self._write(state)

    def pull(self) -> Sequence[OptOut]:
        return [
            OptOut(address, "unsubscribed", "listmonk:subscribers", None)
            for address in self._read()["opted_out"]
        ]

    def push(self, addresses: Sequence[str]) -> int:
        state = self._read()
        new = [a for a in addresses if a not in state["blocklisted"]]
        state["blocklisted"] += new
        self._write(state)
        return len(new)

    def not_blocklisted(self, addresses: Sequence[str]) -> int:
        return len(set(addresses) - set(self._read()["blocklisted"]))

    def opt_out(self, address: str) -> None:
        state = self._read()
        state["opted_out"].append(address)
        self._write(state)

    def read(self) -> Window | None:
        belt = self._read()["belt"]
        return Window(*belt) if belt else None

    def write(self, belt: Window) -> None:
        state = self._read()
        state["belt"] = [belt.rate, belt.minutes]
        self._write(state)

    def dispatch(self, stop_after: int | None = None) -> list[tuple[str, str]]:
        """Send every running campaign, as the dispatch loop would; (campaign UUID, address) of what was handed on.

        With `stop_after`, listmonk dies after so many messages and, as the real one does, calls the campaign finished.
        """
        state = self._read()
        sent: list[tuple[str, str]] = []
        for campaign in state["campaigns"].values():
            if campaign["status"] != "running":
                continue
            for address in campaign["members"]:
                if stop_after is not None and len(sent) >= stop_after:
                    break
                if address not in state["blocklisted"]:
                    sent.append((campaign["uuid"], address))
            campaign["status"] = "finished"
        self._write(state)
        return sent


class Faults:
    """Ends the process, hard, at a named step."""

    def __init__(self) -> None:
        self.die_at: str | None = None

    def reach(self, step: str) -> None:
        if step == self.die_at:
            os._exit(9)


FAULTS = Faults()


class FakeMta:
    """Postfix with its log already parsed: writes the rows that the maillog room would write."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database, self.clock = database, clock
        self.handed: list[tuple[str, str, datetime]] = []
        self._number = 0

    def take(
        self,
        sent: Sequence[tuple[str, str]],
        stream: str = "healthcare",
        *,
        status: str = "sent",
        seconds_each: float = 0.6,
        enhanced_code: str = "2.0.0",
    ) -> None:
        """Accept messages one after the other and deliver (or defer, or bounce) each at once."""
        at = self.clock.now()
        with self.database.transaction() as connection:
            for campaign_uuid, address in sent:
                at += timedelta(seconds=seconds_each)
                self._number += 1
                queue_id = f"Q{self._number:06d}{uuid.uuid4().hex[:6]}"
                self.handed.append((campaign_uuid, address, at))
                row = connection.execute(
                    "select id from wave where campaign_uuid = %s", (campaign_uuid,)
                ).fetchone()
                wave_id = row[0] if row else None
                connection.execute(
                    "insert into policy_use (wave_id, stream, recipient, port, used_at) values (%s, %s, %s, 2526, %s)",
                    (wave_id, stream, address, at),
                )
                connection.execute(
                    "insert into log_message (queue_id, stream, submit_service, campaign_uuid, subscriber_uuid,"
                    " received_at, removed_at) values (%s, %s, 'postfix/hcsubmit107', %s, %s, %s, %s)",
                    (
                        queue_id,
                        stream,
                        campaign_uuid,
                        uuid_of(address),
                        at,
                        at if status != "deferred" else None,
                    ),
                )
                self._delivery(
                    connection, queue_id, stream, campaign_uuid, wave_id, address, status, at, enhanced_code
                )
                self._member(
                    connection, campaign_uuid, address, "delivered" if status == "sent" else status, at
                )
            self._read_up_to(connection, at)

    def _member(
        self, connection: Connection[Any], campaign_uuid: str, address: str, state: str, at: datetime
    ) -> None:
        connection.execute(
            "update wave_member m set state = %s, changed_at = %s from wave w where w.id = m.wave_id"
            " and w.campaign_uuid = %s and m.address = %s and m.state not in ('delivered', 'not_sent')",
            (state, at, campaign_uuid, address),
        )

    def _delivery(self, connection: Connection[Any], *values: Any) -> None:
        queue_id, stream, campaign_uuid, wave_id, address, status, at, code = values
        connection.execute(
            "insert into delivery (queue_id, recipient, transport, stream, campaign_uuid, wave_id, status, reply_code,"
            " enhanced_code, reply_text, operator, tls, at) values (%s, %s, 'hcout1', %s, %s, %s, %s, %s, %s, 'x',"
            " 'google', 'trusted', %s)",
            (
                queue_id,
                address,
                stream,
                campaign_uuid,
                wave_id,
                status,
                250 if status == "sent" else 550,
                code,
                at,
            ),
        )

    def deliver_deferred(self) -> int:
        """Deliver everything that is deferred, now."""
        at = self.clock.now()
        with self.database.transaction() as connection:
            rows = connection.execute(
                "select distinct on (queue_id) queue_id, stream, campaign_uuid, wave_id, recipient, status"
                " from delivery order by queue_id, at desc, id desc"
            ).fetchall()
            waiting = [row for row in rows if row[5] == "deferred"]
            for queue_id, stream, campaign_uuid, wave_id, address, _ in waiting:
                self._delivery(
                    connection, queue_id, stream, campaign_uuid, wave_id, address, "sent", at, "2.0.0"
                )
                self._member(connection, campaign_uuid, address, "delivered", at)
                connection.execute(
                    "update log_message set removed_at = %s where queue_id = %s", (at, queue_id)
                )
        return len(waiting)

    def others(self, count: int, stream: str) -> None:
        """Messages that somebody else sent on a stream, just delivered."""
        at = self.clock.now()
        with self.database.transaction() as connection:
            for _ in range(count):
                self._number += 1
                self._delivery(
                    connection,
                    f"F{self._number}",
                    stream,
                    None,
                    None,
                    f"d{self._number}@firm.test",
                    "sent",
                    at,
                    "2.0.0",
                )

    def read_log(self) -> None:
        """The reader stood at the end of the log now."""
        with self.database.transaction() as connection:
            self._read_up_to(connection, self.clock.now())

    def _read_up_to(self, connection: Connection[Any], at: datetime) -> None:
        connection.execute(
            "insert into log_source (path, inode, byte_offset, first_line_at, last_line_at, read_at)"
            " values ('mail.log', 1, 1, %s, %s, %s) on conflict (path) do update set read_at ="
            " greatest(log_source.read_at, excluded.read_at), last_line_at = excluded.last_line_at",
            (at, at, at),
        )


def make_green(database: Database, clock: Clock, estate: Estate, stream: str, days: float = 30) -> None:
    """Passing evidence for everything a wave of the stream needs."""
    with database.transaction() as connection:
        for subject in required(estate, stream, "wave", "lab"):
            record(connection, subject, Verdict.PASS, "seen", "test", clock.now(), timedelta(days=days))


def write_stock(
    folder: Path,
    count: int,
    *,
    segment: str = "institutional",
    operators: Sequence[str] = ("google", "microsoft", "own"),
) -> list[str]:
    """A file of people, one per domain, in rank order; returns their addresses."""
    folder.mkdir(parents=True, exist_ok=True)
    name = keys.VERIFIED_CSV if segment == "institutional" else keys.CONSUMER_CSV
    people = [f"office@practice{n:05d}.test" for n in range(count)]
    with (folder / name).open("w", newline="") as file:
        rows = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        rows.writerow(["email", "domain", "rank", "operator", "segment"])
        for n, person in enumerate(people):
            rows.writerow([person, person.partition("@")[2], n + 1, operators[n % len(operators)], segment])
    return people


def sender_for(
    database: Database,
    clock: Clock,
    estate: Estate,
    folder: Path,
    listmonk: FileListmonk,
    stream: str = "healthcare",
) -> Sender:
    """A sender of the lab on fakes."""
    return Sender(
        stream=stream,
        database=database,
        clock=clock,
        estate=estate,
        environment="lab",
        campaigner=listmonk,
        audience=folder / "audience",
        stamps=folder,
        at=FAULTS.reach,
    )


def write_stamp(folder: Path, at: datetime) -> None:
    """A stamp as the lab writes it."""
    (folder / "hc-warmup-start").write_text(at.isoformat() + "\n")


def ports(listmonk: FileListmonk, other: FileListmonk) -> Mapping[str, FileListmonk]:
    """Both streams' listmonks."""
    return {"trucking": other, "healthcare": listmonk}
