"""The bulk importer of the listmonk stand-in: asynchronous, one at a time, and as misleading as the real one.

Batches of 10,000 rows a transaction; bad rows are skipped with a log line; `finished` even where nothing came in; a
stop that comes after the file was read kills the next import. What the flags do to people: facts on listmonk section 5.
"""

from __future__ import annotations

import csv
import io
import json
import re
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dualstream_assets.lab.listmonk_http import HttpError

if TYPE_CHECKING:
    from psycopg import Connection

    from dualstream_assets.clock import Clock
    from dualstream_assets.lab.listmonk_store import Store

BATCH = 10_000
ADDRESS = re.compile(r"[^@\s<>\",;]+@[^@\s<>\",;]+")
LONGEST = 1000

UPSERT = """
with person as (
  insert into subscribers as s (uuid, email, name, attribs, status, created_at, updated_at)
  values (%(uuid)s, %(email)s, %(name)s, %(attribs)s, 'enabled', %(now)s, %(now)s)
  on conflict (email) do update set
    name = case when %(userinfo)s then excluded.name else s.name end,
    attribs = case when %(userinfo)s then excluded.attribs else s.attribs end, updated_at = excluded.updated_at
  returning id, status
)
insert into subscriber_lists as sl (subscriber_id, list_id, status, created_at, updated_at)
select p.id, l, case when p.status = 'blocklisted' then 'unsubscribed'
                     else %(status)s::subscription_status end, %(now)s, %(now)s
from person p, unnest(%(lists)s::int[]) l
on conflict (subscriber_id, list_id) do update set updated_at = excluded.updated_at,
  status = case when %(substatus)s then excluded.status else sl.status end
"""
BLOCKLIST = """
with person as (
  insert into subscribers (uuid, email, name, attribs, status, created_at, updated_at)
  values (%(uuid)s, %(email)s, %(name)s, %(attribs)s, 'blocklisted', %(now)s, %(now)s)
  on conflict (email) do update set status = 'blocklisted', updated_at = excluded.updated_at
  returning id
)
update subscriber_lists set status = 'unsubscribed', updated_at = %(now)s
where subscriber_id = (select id from person)
"""


@dataclass(frozen=True)
class Options:
    """Parameters of one import, checked."""

    mode: str
    lists: tuple[int, ...]
    status: str
    delim: str
    overwrite_userinfo: bool
    overwrite_status: bool

    @classmethod
    def read(cls, text: str) -> Options:
        """Read the form field `params`.

        Raises:
            HttpError: as listmonk answers.
        """
        try:
            raw = json.loads(text)
        except ValueError as error:
            raise HttpError(400, f"Invalid params: {error}") from None
        mode, lists = raw.get("mode", ""), tuple(raw.get("lists") or ())
        if not lists and mode != "blocklist":
            raise HttpError(403, "Permission denied: lists")
        if mode not in ("subscribe", "blocklist"):
            raise HttpError(400, "Invalid mode")
        status = raw.get("subscription_status") or ("unconfirmed" if mode == "subscribe" else "unsubscribed")
        if status not in ("unconfirmed", "confirmed", "unsubscribed"):
            raise HttpError(400, "Invalid subscription status")
        if len(raw.get("delim", "")) != 1:
            raise HttpError(400, "`delim` should be a single character")
        both = bool(raw.get("overwrite"))
        return cls(
            mode,
            lists,
            status,
            raw["delim"],
            both or bool(raw.get("overwrite_userinfo")),
            both or bool(raw.get("overwrite_subscription_status")),
        )


class Importer:
    """The importer of one process; its state is lost with it."""

    def __init__(self, store: Store, clock: Clock, settings: Mapping[str, Any]) -> None:
        self._store = store
        self._clock = clock
        self._blocked = set(settings["privacy.domain_blocklist"])
        self._allowed = set(settings["privacy.domain_allowlist"])
        self._guard = threading.Lock()
        self._stop_pending = False
        self._died = False
        self._status: dict[str, Any] = {"name": "", "total": 0, "imported": 0, "status": "none"}
        self._log: list[str] = []

    @property
    def status(self) -> dict[str, Any]:
        """Name, total, imported, status."""
        with self._guard:
            return dict(self._status)

    @property
    def log(self) -> str:
        """The log of the last import."""
        return "\n".join(self._log)

    def die(self) -> None:
        """The process ends: an import ends with it, what was committed stays."""
        self._died = True

    def stop(self) -> None:
        """Ask a running import to stop, or forget a finished one."""
        with self._guard:
            if self._status["status"] == "importing":
                self._stop_pending = True
                self._status["status"] = "stopping"
            else:
                self._status = {"name": "", "total": 0, "imported": 0, "status": "none"}

    def start(self, options: Options, name: str, content: bytes) -> None:
        """Begin.

        Raises:
            HttpError: 400 while another one imports, 500 while one is stopping.
        """
        with self._guard:
            if self._status["status"] == "importing":
                raise HttpError(
                    400, "An import is already running. Wait for it to finish or stop it before trying again."
                )
            if self._status["status"] == "stopping":
                raise HttpError(500, "Error starting import: an import is already running")
            self._status = {"name": name, "total": 0, "imported": 0, "status": "importing"}
            self._log = [f"processing '{name}'"]
        threading.Thread(target=self._import, args=(options, content), daemon=True).start()

    def _import(self, options: Options, content: bytes) -> None:
        ended = "failed"
        try:
            text = content.decode(errors="replace").lstrip("\N{ZERO WIDTH NO-BREAK SPACE}")
            with self._guard:
                self._status["total"] = max(0, text.count("\n") - 1)
            ended = self._read(options, text)
        except csv.Error as error:
            self._log.append(f"error reading CSV '{error}'")
        finally:
            with self._guard:
                self._status["status"] = ended

    def _read(self, options: Options, text: str) -> str:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=options.delim, strict=True)
        header = [name.strip() for name in next(reader, [])]
        columns = {name: header.index(name) for name in ("email", "name", "attributes") if name in header}
        if "email" not in columns:
            self._log.append("'email' column not found")
            return "failed"
        batch: list[dict[str, Any]] = []
        for number, cells in enumerate(reader, 1):
            if self._stop_pending:  # also one that was meant for the import before
                self._stop_pending = False
                self._log.append("stop request received")
                break
            if len(cells) != len(header):
                self._log.append(f"skipping line {number}: wrong number of fields")
                continue
            person = self._person({name: cells[at] for name, at in columns.items()}, number)
            if person:
                batch.append(person)
            if len(batch) == BATCH:
                if not self._commit(options, batch):
                    return "finished"
                batch = []
        if batch:
            self._commit(options, batch)
        self._log.append("imported finished")
        return "finished"

    def _person(self, row: Mapping[str, str], number: int) -> dict[str, Any] | None:
        email = row["email"].strip().lower()
        domain = email.rpartition("@")[2]
        if len(email) > LONGEST or not ADDRESS.fullmatch(email):
            self._log.append(f"skipping line {number}: Invalid e-mail.")
            return None
        refused = not _among(domain, self._allowed) if self._allowed else _among(domain, self._blocked)
        if refused:
            self._log.append(f"skipping line {number}: The e-mail domain is blocklisted.")
            return None
        name = row.get("name", "").strip() or email.partition("@")[0].replace(".", " ").title()
        attribs: Any = None  # a row without attributes stores null, as listmonk does
        if row.get("attributes"):
            try:
                attribs = json.loads(row["attributes"])
            except ValueError:
                self._log.append(f"skipping invalid attributes JSON on line {number}")
        return {"uuid": uuid.uuid4(), "email": email, "name": name, "attribs": json.dumps(attribs)}

    def _commit(self, options: Options, batch: list[dict[str, Any]]) -> bool:
        """One transaction; a row that fails takes its batch with it and ends the import, which still `finished`."""
        import psycopg

        common = {
            "now": self._clock.now(), "lists": list(options.lists), "status": options.status,
            "userinfo": options.overwrite_userinfo, "substatus": options.overwrite_status,
        }  # fmt: skip
        sql = UPSERT if options.mode == "subscribe" else BLOCKLIST
        if self._died:
            return False
        try:
            with self._store.connection() as connection, connection.transaction():
                _run_all(connection, sql, [{**common, **person} for person in batch])
        except psycopg.Error as error:
            self._log.append(f"error executing insert: {type(error).__name__}")
            return False
        with self._guard:
            self._status["imported"] += len(batch)
        self._log.append(f"imported {len(batch)}")
        return True


def _run_all(connection: Connection[Any], sql: str, rows: list[dict[str, Any]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(sql.encode(), rows)


def _among(domain: str, domains: set[str]) -> bool:
    """Whether a list of domains names this one: by itself, or by `*` for its first label (which bars the rest too)."""
    if domain in domains or f"*.{domain}" in domains:
        return True
    return domain.count(".") > 1 and f"*.{domain.partition('.')[2]}" in domains
