"""The bytes of an SMTP dialogue: whole replies out of segments, and proof that nothing unasked lies behind them.

Both aiosmtplib and smtplib pair replies wrongly once a server sends one too many in a segment: every later mailbox
gets its neighbour's answer (facts: verification section 6). Here the buffer must be empty after each reply.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

MAX_LINE = 8_192
MAX_REPLY = 32_768
_LINE = re.compile(rb"^([2-5]\d\d)([ -]?)(.*)$", re.DOTALL)


class WireError(Exception):
    """The other side does not speak SMTP, or said more than was asked."""


class ClosedByServer(Exception):
    """The connection ended before a whole reply came."""


@dataclass(frozen=True)
class WireReply:
    """One whole reply: its code, and its lines joined by newlines."""

    code: int
    text: str


class ReplyReader:
    """Collects bytes and gives whole replies (RFC 5321 section 4.2.1); bare LF line ends are taken too."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._lines: list[tuple[int, str]] = []
        self._size = 0
        self._replies: list[WireReply] = []

    def feed(self, data: bytes) -> None:
        """Take what came.

        Raises:
            WireError: not a reply, a line over 8 kB, a reply over 32 kB, or codes that differ within one reply.
        """
        self._bytes += data
        while (end := self._bytes.find(b"\n")) >= 0:
            line = bytes(self._bytes[:end]).rstrip(b"\r")
            del self._bytes[: end + 1]
            self._take(line)
        if len(self._bytes) > MAX_LINE:
            raise WireError("a reply line of more than 8 kB")

    def _take(self, line: bytes) -> None:
        self._size += len(line)
        if len(line) > MAX_LINE or self._size > MAX_REPLY:
            raise WireError("a reply of more than 32 kB")
        match = _LINE.match(line)
        if not match:
            raise WireError("a line that is no SMTP reply")
        code, text = int(match[1]), _readable(match[3])
        if self._lines and self._lines[0][0] != code:
            raise WireError("a reply of two different codes")
        self._lines.append((code, text))
        if match[2] != b"-":
            self._replies.append(WireReply(code, "\n".join(text for _, text in self._lines)))
            self._lines, self._size = [], 0

    def next(self) -> WireReply | None:
        """The oldest whole reply, taken out; None if there is none."""
        return self._replies.pop(0) if self._replies else None

    @property
    def empty(self) -> bool:
        """Whether nothing is left: no whole reply and no part of one."""
        return not (self._replies or self._lines or self._bytes)

    @property
    def only_a_farewell(self) -> bool:
        """Whether what is left is exactly one 421, with which a server may end any session."""
        return [r.code for r in self._replies] == [421] and not self._lines and not self._bytes


def _readable(text: bytes) -> str:
    """UTF-8, else Latin-1 as old servers mean it; control characters (NUL cannot be stored) become question marks."""
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError:
        decoded = text.decode("latin-1")
    return "".join(c if c.isprintable() else "?" for c in decoded)


class SmtpWire(asyncio.Protocol):
    """One connection: sends a line, waits for its one reply."""

    def __init__(self) -> None:
        self.reader = ReplyReader()
        self._transport: asyncio.Transport | None = None
        self._arrived = asyncio.Event()
        self._fault: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take bytes; a fault of the other side closes the connection."""
        try:
            self.reader.feed(data)
        except WireError as error:
            self._fault = error
            self.close()
        self._arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Whoever waits learns of it."""
        self._fault = self._fault or ClosedByServer()
        self._arrived.set()

    def send(self, line: str) -> None:
        """Write one command line.

        Raises:
            WireError: the line holds a line break or NUL, or something unasked came before it.
            ClosedByServer: the connection is gone.
        """
        if any(c in line for c in "\r\n\0"):
            raise WireError("a command with a line break inside")
        if not self.reader.empty and not self.reader.only_a_farewell:
            raise WireError("an unasked reply")
        if self._fault or self._transport is None:
            raise self._fault or ClosedByServer()
        self._transport.write(line.encode("utf-8") + b"\r\n")

    async def reply(self, timeout_s: float) -> WireReply:
        """The next whole reply.

        Raises:
            TimeoutError: none came in time.
            WireError: it is no reply.
            ClosedByServer: the connection ended first.
        """
        async with asyncio.timeout(timeout_s):
            while True:
                found = self.reader.next()
                if found is not None:
                    return found
                if self._fault:
                    raise self._fault
                self._arrived.clear()
                await self._arrived.wait()

    def close(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()
