"""The lab's mail hosts: real SMTP over loopback, one listening socket per address, one port for all.

What they answer is decided in `mx_behaviour`; here are the sockets, the order of commands (RFC 5321 section 4.1.4)
and the record of every message that was really accepted: the sinks, which no sender can write to.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import FileIO
from itertools import count
from pathlib import Path

from dualstream_assets.clock import Clock
from dualstream_assets.lab import mx_behaviour
from dualstream_assets.lab.mx_behaviour import Memory, Reply, Served
from dualstream_assets.lab.world import World

MAX_MESSAGE = 10_000_000
IDLE_S = 120.0
EXTENSIONS = ("PIPELINING", f"SIZE {MAX_MESSAGE}", "8BITMIME", "ENHANCEDSTATUSCODES")
_PATH = re.compile(r"^(?:FROM|TO):\s*<([^>]*)>", re.IGNORECASE)
_LISTMONK = re.compile(rb"^X-Listmonk-(Campaign|Subscriber):[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)


@dataclass
class _Session:
    """One connection's state."""

    served: Served
    peer: str
    helo: str = ""
    mail_from: str | None = None
    rcpts: list[str] = field(default_factory=list)
    errors: int = 0
    unknown: int = 0

    def reset(self) -> None:
        """Forget the transaction."""
        self.mail_from, self.rcpts = None, []


class MxHosts:
    """All mail hosts of one lab.

    Args:
        world: the truth they answer from.
        clock: lab time, for greylisting and records.
        estate_domain: the estate's own mail domain, whose host takes anything.
        folder: where `sinks.jsonl` and the seed mailboxes' raw messages go.
        port: 0 takes a free one; a taken one is replaced by a free one.
    """

    def __init__(self, world: World, clock: Clock, estate_domain: str, folder: Path, port: int = 0) -> None:
        self._world, self._clock = world, clock
        self._served = mx_behaviour.served_addresses(world, estate_domain)
        self._memory = Memory()
        self._wanted = port
        self.sinks = folder / "sinks.jsonl"
        self._kept = folder / "mailboxes"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="lab-mx", daemon=True)
        self._sockets: list[socket.socket] = []
        self._numbers = count(1)
        self._record_file: FileIO | None = None

    @property
    def addresses(self) -> Mapping[str, Served]:
        """Every listening address."""
        return self._served

    def start(self) -> int:
        """Listen on every address; returns the port they share."""
        self.sinks.parent.mkdir(parents=True, exist_ok=True)
        self._record_file = FileIO(self.sinks, "ab")
        self._sockets, port = _listening(list(self._served), self._wanted)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(timeout=20)
        return port

    def stop(self) -> None:
        """Close every socket and end the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        if self._record_file:
            self._record_file.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()
        for listening in self._sockets:
            listening.close()

    async def _serve(self) -> None:
        for listening in self._sockets:
            await asyncio.start_server(self._connected, sock=listening, backlog=128)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        local, peer = writer.get_extra_info("sockname")[0], writer.get_extra_info("peername")[0]
        session = _Session(self._served[local], peer)
        try:
            async with asyncio.timeout(None) as limit:
                await self._converse(session, reader, writer, limit)
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass  # the client went away, fell asleep, or sent a line without end
        finally:
            writer.close()

    async def _converse(
        self,
        session: _Session,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        limit: asyncio.Timeout,
    ) -> None:
        loop = asyncio.get_running_loop()
        reply = mx_behaviour.banner(session.served, session.peer)
        while True:
            writer.write(reply.wire)
            await writer.drain()
            if reply.close:
                return
            limit.reschedule(loop.time() + IDLE_S)
            if reply.code == 354:  # noqa: PLR2004
                reply = self._received(session, await _message(reader))
                continue
            line = await reader.readline()
            if not line:
                return
            reply = self._answer(session, line.decode("utf-8", "replace").strip())

    def _answer(self, session: _Session, line: str) -> Reply:
        verb, _, rest = line.partition(" ")
        answer = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": lambda s, _: s.reset() or Reply(250, ("2.0.0 Ok",)),
            "NOOP": lambda _s, _r: Reply(250, ("2.0.0 Ok",)),
            "QUIT": lambda _s, _r: Reply(221, ("2.0.0 Bye",), close=True),
        }.get(verb.upper())
        reply = (
            answer(session, rest.strip()) if answer else Reply(502, ("5.5.2 Error: command not recognized",))
        )
        if reply.code >= 400:  # noqa: PLR2004
            session.errors += 1
        return mx_behaviour.too_many_errors(session.served, session.unknown, session.errors) or reply

    def _ehlo(self, session: _Session, name: str) -> Reply:
        session.helo = name
        session.reset()
        return Reply(250, (session.served.name, *EXTENSIONS))

    def _helo(self, session: _Session, name: str) -> Reply:
        session.helo = name
        session.reset()
        return Reply(250, (session.served.name,))

    def _mail(self, session: _Session, rest: str) -> Reply:
        path = _PATH.match(rest)
        if not session.helo:
            return Reply(503, ("5.5.1 Error: send HELO/EHLO first",))
        if session.mail_from is not None:
            return Reply(503, ("5.5.1 Error: nested MAIL command",))
        if not path:
            return Reply(501, ("5.5.4 Syntax: MAIL FROM:<address>",))
        session.mail_from = path[1]
        return Reply(250, ("2.1.0 Ok",))

    def _rcpt(self, session: _Session, rest: str) -> Reply:
        path = _PATH.match(rest)
        if session.mail_from is None:
            return Reply(503, ("5.5.1 Error: need MAIL command",))
        if not path:
            return Reply(501, ("5.5.4 Syntax: RCPT TO:<address>",))
        triple = (session.peer, session.mail_from.lower(), path[1].lower())
        reply = mx_behaviour.recipient(self._world, session.served, self._memory, triple, self._clock.now())
        if reply.accepts:
            session.rcpts.append(path[1])
        elif reply.code >= 500:  # noqa: PLR2004
            session.unknown += 1
        return reply

    def _data(self, session: _Session, _: str) -> Reply:
        if not session.rcpts:
            return Reply(554, ("5.5.1 Error: no valid recipients",))
        return Reply(354, ("End data with <CR><LF>.<CR><LF>",))

    def _received(self, session: _Session, message: bytes | None) -> Reply:
        """Record, then answer: an accepted message without a record cannot exist."""
        if message is None:
            return Reply(552, ("5.3.4 Message too big",), close=True)
        boxes = [b for r in session.rcpts if (b := self._world.mailbox_of.get(r.lower()))]
        reply = mx_behaviour.end_of_data(
            session.served, self._memory, boxes, f"4LAB{next(self._numbers):08d}"
        )
        if reply.accepts:
            for rcpt in session.rcpts:
                self._record(session, rcpt, message)
        session.reset()
        return reply

    def _record(self, session: _Session, rcpt: str, message: bytes) -> None:
        assert self._record_file is not None  # noqa: S101  # start() opened it
        now = self._clock.now()
        head = message.partition(b"\r\n\r\n")[0]
        uuids = {name.lower(): value.decode("ascii", "replace") for name, value in _LISTMONK.findall(head)}
        domain = rcpt.rpartition("@")[2].lower()
        known = self._world.domain_of.get(domain)
        hosts = known.hosts if known else ()
        box = self._world.mailbox_of.get(rcpt.lower())
        file: Path | None = None
        if box and box.is_seed:
            folder = self._kept / box.address
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / f"{now:%Y%m%dT%H%M%S.%f}-{next(self._numbers)}.eml"
            file.write_bytes(message)
        record = {
            "at": now.isoformat(),
            "peer": session.peer,
            "helo": session.helo,
            "mx_host": next(
                (h.name for h in hosts if h.address == session.served.address), session.served.name
            ),
            "mx_address": session.served.address,
            "operator": session.served.operator,
            "mail_from": session.mail_from,
            "rcpt": rcpt,
            "domain": domain,
            "campaign_uuid": uuids.get(b"campaign"),
            "subscriber_uuid": uuids.get(b"subscriber"),
            "size": len(message),
            "message_file": str(file) if file else None,
        }
        self._record_file.write(json.dumps(record).encode() + b"\n")  # unbuffered: one write, one line


async def _message(reader: asyncio.StreamReader) -> bytes | None:
    """The message up to the final dot, dots unstuffed (RFC 5321 section 4.5.2); None when it is too big."""
    lines: list[bytes] = []
    size = 0
    while (line := await reader.readline()) != b".\r\n":
        if not line:
            raise ConnectionError("closed inside DATA")
        size += len(line)
        if size > MAX_MESSAGE:
            return None
        lines.append(line.removeprefix(b"."))
    return b"".join(lines)


def _listening(addresses: list[str], wanted: int) -> tuple[list[socket.socket], int]:
    """Sockets on all addresses at one port; another port is tried where one of them is taken."""
    for attempt in (wanted, *([0] * 50)):
        made: list[socket.socket] = []
        port = attempt
        try:
            for address in addresses:
                made.append(socket.create_server((address, port), reuse_port=False))
                port = made[0].getsockname()[1]
        except OSError:
            for listening in made:
                listening.close()
            continue
        return made, port
    raise OSError(f"no free port for the lab's {len(addresses)} mail hosts on 127.30.0.0/16")
