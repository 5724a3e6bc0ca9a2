"""One process of the listmonk stand-in: everything that lives in its memory and is lost when it restarts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from dualstream_assets.lab import listmonk_settings
from dualstream_assets.lab.listmonk_engine import Engine, servers_of
from dualstream_assets.lab.listmonk_http import Call, HttpError, credentials
from dualstream_assets.lab.listmonk_import import Importer
from dualstream_assets.lab.listmonk_mail import Rendering

if TYPE_CHECKING:
    from collections.abc import Callable

    from dualstream_assets.clock import Clock
    from dualstream_assets.lab.listmonk_store import Store

VERSION = "v6.2.0"
KEPT_LOG_LINES = 5000


class Process:
    """Settings as loaded at its start, API users, log, importer, engine.

    Args:
        request_restart: called once settings are stored and nothing runs.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        port_map: Mapping[int, int],
        speed: float,
        request_restart: Callable[[], None],
    ) -> None:
        self.store = store
        self.clock = clock
        self.request_restart = request_restart
        self.settings = listmonk_settings.read(store)
        self.needs_restart = False
        self.logs: list[str] = []
        self.log(f"main.go:106: {VERSION} (stand-in {uuid4().hex[:8]})")
        self._users = {row["username"]: row["password"] for row in store.rows(_API_USERS)}
        self._links: dict[str, str] = {}
        self.importer = Importer(store, clock, self.settings)
        self.engine = Engine(
            store,
            clock,
            self.settings,
            servers_of(self.settings, port_map),
            Rendering(
                root_url=self.settings["app.root_url"],
                individual_tracking=self.settings["privacy.individual_tracking"],
                disable_tracking=self.settings["privacy.disable_tracking"],
                unsubscribe_header=self.settings["privacy.unsubscribe_header"],
                link_uuid=self._link_uuid,
            ),
            speed,
            self.log,
        )

    def log(self, line: str) -> None:
        """Add a line to the log in memory."""
        self.logs.append(f"{self.clock.now():%Y/%m/%d %H:%M:%S.%f} {line}")
        del self.logs[:-KEPT_LOG_LINES]

    def admit(self, call: Call) -> None:
        """Let an API user in.

        Raises:
            HttpError: 403.
        """
        user, token = credentials(call.headers)
        if self._users.get(user) != hashlib.sha256(token.encode()).hexdigest():
            raise HttpError(403, "invalid API credentials")

    def restart_or_mark(self) -> Any:
        """What follows a change of settings: a restart, or, while a campaign is processed, the need of one."""
        if self.engine.busy:
            self.needs_restart = True
            return {"needs_restart": True}
        self.request_restart()
        return True

    def die(self) -> None:
        """End at once, as a killed process does."""
        self.engine.die()
        self.importer.die()

    def _link_uuid(self, url: str) -> str:
        if url not in self._links:
            row = self.store.row(
                "insert into links (uuid, url, created_at) values (%s, %s, %s)"
                " on conflict (url) do update set url = excluded.url returning uuid",
                (uuid4(), url, self.clock.now()),
            )
            assert row is not None  # noqa: S101
            self._links[url] = str(row["uuid"])
        return self._links[url]


_API_USERS = "select username, password from users where type = 'api' and status = 'enabled'"


def get_config(process: Process, call: Call) -> dict[str, Any]:  # noqa: ARG001
    """What any API user may know."""
    return {
        "root_url": process.settings["app.root_url"],
        "from_email": process.settings["app.from_email"],
        "messengers": sorted(process.engine.servers),
        "needs_restart": process.needs_restart,
        "update": None,
        "version": VERSION,
    }


def get_settings(process: Process, call: Call) -> Any:  # noqa: ARG001
    """The stored settings (not necessarily those in force), secrets masked."""
    return listmonk_settings.masked(listmonk_settings.read(process.store))


def put_settings(process: Process, call: Call) -> Any:
    """Store a whole object; restarts even where nothing changed."""
    values = listmonk_settings.accepted(call.json(), listmonk_settings.read(process.store))
    listmonk_settings.write(process.store, values, process.clock.now())
    return process.restart_or_mark()


def put_setting(process: Process, call: Call) -> Any:
    """Store one key without looking at it; an unknown key is accepted and has no effect."""
    listmonk_settings.write(process.store, {call.path["key"]: call.json()}, process.clock.now())
    return process.restart_or_mark()


def reload(process: Process, call: Call) -> bool:  # noqa: ARG001
    """Restart, whatever runs."""
    process.request_restart()
    return True


def get_logs(process: Process, call: Call) -> list[str]:  # noqa: ARG001
    """The log of this process."""
    return list(process.logs)


def post_bounce(process: Process, call: Call) -> bool:
    """The bounce webhook: recorded by the rules of `bounce.actions`, an unknown person is only logged.

    Raises:
        HttpError: 404 or 503 where bounces are off, 400 for what is no bounce.
    """
    if not process.settings["bounce.webhooks_enabled"]:
        raise HttpError(404, "404 unknown endpoint")
    if not process.settings["bounce.enabled"]:
        raise HttpError(503, "Bounce processing is not enabled")
    sent = call.json()
    action = process.settings["bounce.actions"].get(sent.get("type"))
    if action is None:
        raise HttpError(400, f"Invalid data: {sent.get('type')}")
    person = process.store.row(
        "select id, status from subscribers where uuid::text = %(uuid)s or email = lower(%(email)s)",
        {"uuid": sent.get("subscriber_uuid") or "", "email": sent.get("email") or ""},
    )
    if person is None:
        process.log("bounced subscriber not found")
        return True
    _record_bounce(process, person, sent, action)
    return True


def _record_bounce(
    process: Process, person: Mapping[str, Any], sent: Mapping[str, Any], action: Mapping[str, Any]
) -> None:
    import json

    had = process.store.row(
        "select count(*) + 1 as n from bounces where subscriber_id = %s and type = %s::bounce_type",
        (person["id"], sent["type"]),
    )
    number = had["n"] if had else 1
    if person["status"] == "blocklisted":
        return
    if number <= action["count"]:
        process.store.run(
            "insert into bounces (subscriber_id, campaign_id, type, source, meta, created_at)"
            " values (%s, (select id from campaigns where uuid::text = %s), %s, %s, %s, %s)",
            (
                person["id"],
                sent.get("campaign_uuid") or "",
                sent["type"],
                sent.get("source") or "",
                json.dumps(sent.get("meta") or {}),
                process.clock.now(),
            ),
        )
    if number >= action["count"] and action["action"] == "blocklist":
        process.store.run("update subscribers set status = 'blocklisted' where id = %s", (person["id"],))
    if number >= action["count"] and action["action"] == "unsubscribe":
        process.store.run(
            "update subscriber_lists set status = 'unsubscribed' where subscriber_id = %s", (person["id"],)
        )


def is_uuid(text: str) -> bool:
    """Whether a part of a public address is a UUID."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
