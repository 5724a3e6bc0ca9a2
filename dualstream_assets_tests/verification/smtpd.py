"""A scripted SMTP server on loopback: one behaviour per address, every command recorded. It would take mail."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

Rcpt = Callable[[str], bytes]


def unknown_unless(*known: str) -> Rcpt:
    """Accepts these addresses, and says `user unknown` of all others."""

    def answer(address: str) -> bytes:
        return b"250 2.1.5 Ok\r\n" if address in known else b"550 5.1.1 User unknown\r\n"

    return answer


def always(reply: bytes) -> Rcpt:
    """One reply to every recipient."""
    return lambda _address: reply


@dataclass
class Host:
    """What one address answers.

    Attributes:
        rcpt: recipient -> bytes on the wire.
        close_after: closes the connection after a reply for which this is true.
        pieces: sends each reply in pieces of this many bytes.
        hold: RCPT replies wait for this event.
        silent_at: never answers this verb (`BANNER`: never greets).
    """

    rcpt: Rcpt = field(default_factory=lambda: always(b"250 2.1.5 Ok\r\n"))
    banner: bytes = b"220 mx.test ESMTP\r\n"
    ehlo: bytes = b"250-mx.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
    mail: bytes = b"250 2.1.0 Ok\r\n"
    close_after: Callable[[bytes], bool] = lambda _reply: False
    pieces: int = 0
    hold: threading.Event | None = None
    silent_at: str = ""


class Smtpd:
    """Listens on any number of loopback addresses, one port for all; runs in a thread of its own."""

    def __init__(self) -> None:
        self.hosts: dict[str, Host] = {}
        self.commands: list[tuple[str, str]] = []
        """(address, command line) as they came."""
        self.peers: Counter[str] = Counter()
        self.connections: Counter[str] = Counter()
        self.open: Counter[str] = Counter()
        self.peak: defaultdict[str, int] = defaultdict(int)
        self.peak_of_all = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def add(self, address: str, host: Host) -> None:
        """Listen on one more address."""
        self.hosts[address] = host
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, self.port))
        self.port = listening.getsockname()[1]
        start = asyncio.start_server(self._serve, sock=listening)
        asyncio.run_coroutine_threadsafe(start, self._loop).result(5)

    def stop(self) -> None:
        """Close everything."""
        for host in self.hosts.values():
            if host.hold:
                host.hold.set()

        def cancel() -> None:
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.call_soon(self._loop.stop)

        self._loop.call_soon_threadsafe(cancel)
        self._thread.join(5)

    def rcpts(self) -> list[str]:
        """Every recipient asked, in order."""
        return [line[9:-1] for _, line in list(self.commands) if line.startswith("RCPT TO:<")]

    def verbs(self) -> list[str]:
        """The verb of every command, in order."""
        return [line.split(" ")[0].split(":")[0] for _, line in list(self.commands)]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = writer.get_extra_info("sockname")[0]
        self.peers[writer.get_extra_info("peername")[0]] += 1
        self.connections[address] += 1
        self.open[address] += 1
        self.peak[address] = max(self.peak[address], self.open[address])
        self.peak_of_all = max(self.peak_of_all, self.open.total())
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await self._converse(self.hosts[address], address, reader, writer)
        self.open[address] -= 1
        writer.close()

    async def _converse(
        self, host: Host, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        reply, verb = host.banner, "BANNER"
        while True:
            if host.silent_at == verb:
                await reader.read()
                return
            await self._send(host, writer, reply)
            if host.close_after(reply) or verb == "QUIT" or (verb == "BANNER" and reply[:1] != b"2"):
                return
            line = await reader.readline()
            if not line:
                return
            command = line.decode("utf-8", "replace").rstrip("\r\n")
            self.commands.append((address, command))
            verb = command.split(" ")[0].upper()
            if verb == "RCPT" and host.hold:
                while not host.hold.is_set():
                    await asyncio.sleep(0.01)
            reply = self._reply(host, verb, command)

    def _reply(self, host: Host, verb: str, command: str) -> bytes:
        if verb == "RCPT":
            return host.rcpt(command[9:-1])
        replies = {
            "EHLO": host.ehlo,
            "HELO": b"250 mx.test\r\n",
            "MAIL": host.mail,
            "DATA": b"354 go on\r\n",
            "QUIT": b"221 bye\r\n",
        }
        return replies.get(verb, b"250 Ok\r\n")

    async def _send(self, host: Host, writer: asyncio.StreamWriter, reply: bytes) -> None:
        step = host.pieces or max(1, len(reply))
        for start in range(0, len(reply), step):
            writer.write(reply[start : start + step])
            await writer.drain()
            if host.pieces:
                await asyncio.sleep(0.002)
