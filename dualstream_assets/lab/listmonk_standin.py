"""A listmonk for the lab: small, but it does to people, settings and mail what listmonk v6.2.0 does.

Real PostgreSQL, real HTTP, real SMTP. Held to the contract suite that also runs against a real listmonk
(`dualstream_assets_tests/listmonk/test_contract.py`). Not here: UI, templates beyond a few tags, media, roles.
"""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from dualstream_assets.lab import listmonk_settings
from dualstream_assets.lab.listmonk_app import application
from dualstream_assets.lab.listmonk_process import Process
from dualstream_assets.lab.listmonk_store import Store

if TYPE_CHECKING:
    import uvicorn

    from dualstream_assets.clock import Clock

API_USER = "dualstream"
UI_USER = "admin"
HOST = "127.0.0.1"
START_S = 15.0
RESTART_DELAY_S = 0.1


class StandIn:
    """One listmonk stand-in.

    Args:
        name: for its threads.
        database_url: a database of its own; made if it is missing, kept between starts.
        clock: the lab's clock: times of rows, and the sliding window.
        token: of the API user `dualstream`.
        root_url: public address in links, as a fresh installation has it.
        smtp_default: host and port of the SMTP server of a fresh installation; None: the sample one, unreachable.
        speed: how much faster than real the workers' pauses pass (`message_rate` 1: one message a second, by speed).
        port_map: estate port -> real port of the submission host.
    """

    def __init__(
        self,
        name: str,
        database_url: str,
        clock: Clock,
        token: str,
        root_url: str,
        smtp_default: tuple[str, int] | None = None,
        speed: float = 50.0,
        port_map: Mapping[int, int] | None = None,
    ) -> None:
        self.name = name
        self._store = Store(database_url)
        self._clock = clock
        self._token = token
        self._root_url = root_url
        self._smtp_default = smtp_default
        self._speed = speed
        self._port_map = port_map or {}
        self._process: Process | None = None
        self._server: uvicorn.Server | None = None
        self._serving: threading.Thread | None = None
        self._port = 0
        self._restarts = threading.Lock()

    @property
    def process(self) -> Process:
        """The process that runs now.

        Raises:
            RuntimeError: it is not started.
        """
        process = self._process
        if process is None:
            raise RuntimeError(f"listmonk stand-in {self.name} does not run")
        return process

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://{HOST}:{self._port}"

    def start(self) -> str:
        """Install where the database is new, then serve; returns the base URL."""
        if self._store.prepare():
            self._install()
        self._set_token()
        self._boot()
        return self.url

    def stop(self) -> None:
        """End at once, as SIGTERM does to a listmonk: what was fetched and not sent is lost."""
        self._halt()
        self._store.close()

    def kill(self) -> None:
        """End at once but keep the database open, so that `start` goes on with what the tables say."""
        self._halt()

    def seed_subscribers(self, rows: Iterable[tuple[str, str, Mapping[str, Any]]], list_name: str) -> int:
        """Have these (email, name, attribs) on a list of that name; repeatable. Returns the list's id."""
        import json

        now = self._clock.now()
        with self._store.connection() as connection, connection.transaction():
            found = connection.execute("select id from lists where name = %s", (list_name,)).fetchone()
            found = (
                found
                or connection.execute(
                    "insert into lists (uuid, name, type, created_at, updated_at) values (%s, %s, 'private', %s, %s)"
                    " returning id",
                    (uuid4(), list_name, now, now),
                ).fetchone()
            )
            assert found is not None  # noqa: S101
            with connection.cursor() as cursor:
                cursor.executemany(
                    "with p as (insert into subscribers (uuid, email, name, attribs, created_at, updated_at)"
                    " values (%s, %s, %s, %s, %s, %s) on conflict (email) do update set name = excluded.name"
                    " returning id) insert into subscriber_lists (subscriber_id, list_id, created_at, updated_at)"
                    " select id, %s, %s, %s from p on conflict do nothing",
                    [
                        (
                            uuid4(),
                            email.lower(),
                            name,
                            json.dumps(dict(attribs)),
                            now,
                            now,
                            found["id"],
                            now,
                            now,
                        )
                        for email, name, attribs in rows
                    ],
                )
        return int(found["id"])

    # --- life of a process

    def _install(self) -> None:
        now = self._clock.now()
        sample = dict(listmonk_settings.SAMPLE_SERVER)
        if self._smtp_default:
            host, port = self._smtp_default
            plain = {"auth_protocol": "none", "tls_type": "none", "username": "", "password": ""}
            sample |= {"host": host, "port": port, **plain}
        listmonk_settings.install(self._store, {"app.root_url": self._root_url, "smtp": [sample]}, now)
        self._store.run(
            "insert into templates (name, body, is_default, created_at, updated_at) values (%s, %s, true, %s, %s)",
            ("Default campaign template", DEFAULT_TEMPLATE, now, now),
        )
        self._store.run(
            "insert into users (username, password, type, status) values (%s, %s, 'user', 'enabled')",
            (UI_USER, "a UI user never passes the API"),
        )

    def _set_token(self) -> None:
        hashed = hashlib.sha256(self._token.encode()).hexdigest()
        self._store.run(
            "insert into users (username, password, type, status) values (%s, %s, 'api', 'enabled')"
            " on conflict (username) do update set password = excluded.password",
            (API_USER, hashed),
        )

    def _boot(self) -> None:
        import uvicorn

        self._process = Process(self._store, self._clock, self._port_map, self._speed, self._restart_soon)
        listening = socket.create_server((HOST, self._port), reuse_port=False)
        self._port = listening.getsockname()[1]
        config = uvicorn.Config(
            application(lambda: self.process),
            log_level="error",
            lifespan="off",
            timeout_graceful_shutdown=1,
            access_log=False,
        )
        self._server = uvicorn.Server(config)
        self._serving = threading.Thread(
            target=self._server.run, args=([listening],), name=f"listmonk {self.name}", daemon=True
        )
        self._serving.start()
        ends = time.monotonic() + START_S
        while not self._server.started:
            if time.monotonic() > ends:
                raise RuntimeError(f"listmonk stand-in {self.name} did not start within {START_S:.0f} s")
            time.sleep(0.005)
        self._process.engine.start()

    def _halt(self) -> None:
        with self._restarts:
            self._end_process()

    def _end_process(self) -> None:
        if self._process:
            self._process.die()
        if self._server and self._serving:
            self._server.should_exit = True
            self._serving.join(timeout=START_S)
        self._process = self._server = self._serving = None

    def _restart_soon(self) -> None:
        """As listmonk: answer first, then end, refuse connections for a moment, and come back with an empty memory."""
        old = self._process

        def restart() -> None:
            time.sleep(RESTART_DELAY_S)
            with self._restarts:
                if self._process is old and old is not None:
                    self._end_process()
                    self._boot()

        threading.Thread(target=restart, daemon=True).start()


DEFAULT_TEMPLATE = (
    '<!doctype html><html><body>{{ template "content" . }}'
    '<p><a href="{{ UnsubscribeURL }}">Unsubscribe</a></p>{{ TrackView }}</body></html>'
)
