"""Serves the wave policy over Postfix's policy delegation protocol (SMTPD_POLICY_README), TCP on loopback.

Name=value lines up to an empty line, answered by `action=…` and an empty line; a connection carries many requests.
Where no decision can be reached (database gone, request unreadable) the connection is closed without an answer:
Postfix then takes its `default_action`, HOLD. An answer is never guessed.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from dualstream_assets.clock import Clock
from dualstream_assets.estate import Estate
from dualstream_assets.sending.policy import Action, Request, decide
from dualstream_assets.store.database import Database

WORKERS = 4
"""Decisions at a time; each worker keeps one database connection."""
MAX_ATTRIBUTES = 200


class PolicyServer:
    """The policy service.

    Args:
        database: the ops database.
        port: 0 takes a free one.
    """

    def __init__(self, database: Database, estate: Estate, clock: Clock, port: int = 0) -> None:
        self._database, self._estate, self._clock = database, estate, clock
        self._wanted = port
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="policy")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="policy", daemon=True)
        self._started = threading.Event()
        self._server: asyncio.Server | None = None
        self._failed: OSError | None = None
        self.address: tuple[str, int] = ("127.0.0.1", 0)
        self.answers: Counter[str] = Counter()
        """Rule -> how often it answered; `no answer` where none could be given."""

    def start(self) -> tuple[str, int]:
        """Listen; returns the address.

        Raises:
            OSError: the port is taken.
        """
        self._thread.start()
        self._started.wait()
        if self._failed:
            raise self._failed
        return self.address

    def stop(self) -> None:
        """Close every connection and end; stopping twice is no fault."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=10)
        self._workers.shutdown(wait=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._server = self._loop.run_until_complete(
                asyncio.start_server(self._serve, "127.0.0.1", self._wanted)
            )
            self.address = self._server.sockets[0].getsockname()[:2]
        except OSError as error:
            self._failed = error
        self._started.set()
        if self._failed is None:
            self._loop.run_forever()
            assert self._server is not None  # noqa: S101
            self._server.close()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (attributes := await read_attributes(reader)) is not None:
                action = await self._loop.run_in_executor(self._workers, self._decide, attributes)
                self.answers[action.rule] += 1
                writer.write(f"action={action.text}\n\n".encode())
                await writer.drain()
        except Exception:  # noqa: BLE001  # whatever it is: no answer, so that Postfix holds the message
            self.answers["no answer"] += 1
        finally:
            writer.close()

    def _decide(self, attributes: dict[str, str]) -> Action:
        request = Request.of(attributes)
        with self._database.transaction() as connection:
            return decide(connection, request, self._estate, self._clock.now())


async def read_attributes(reader: asyncio.StreamReader) -> dict[str, str] | None:
    """One request or answer; None at the end of the connection.

    Raises:
        ValueError: too many attributes, or a line without `=`.
    """
    found: dict[str, str] = {}
    while True:
        line = (await reader.readline()).decode("utf-8", "replace")
        if not line:
            return None
        if line == "\n":
            return found
        name, equals, value = line.rstrip("\n").partition("=")
        if not equals or len(found) >= MAX_ATTRIBUTES:
            raise ValueError("not the policy delegation protocol")
        found[name] = value
