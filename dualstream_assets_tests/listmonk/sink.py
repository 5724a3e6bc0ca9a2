"""An SMTP server on loopback that keeps what it gets, and fails when told to."""

from __future__ import annotations

import socketserver
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message


@dataclass(frozen=True)
class Received:
    """One accepted message."""

    helo: str
    sender: str
    recipient: str
    message: Message


@dataclass
class Sink:
    """Records in order of arrival. `script` holds what to do at the next RCPTs: a reply, or `drop` to cut the line."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    script: deque[str] = field(default_factory=deque)
    always: str = ""
    slow_s: float = 0.0
    guard: threading.Lock = field(default_factory=threading.Lock)

    def to(self, addresses: set[str]) -> list[Received]:
        """What came for these people."""
        with self.guard:
            return [r for r in self.received if r.recipient in addresses]

    def wait_for(self, addresses: set[str], count: int, timeout_s: float = 30.0) -> list[Received]:
        """Wait until `count` messages for these people are there."""
        ends = time.monotonic() + timeout_s
        while len(self.to(addresses)) < count:
            assert time.monotonic() < ends, f"{len(self.to(addresses))} of {count} messages came"
            time.sleep(0.02)
        return self.to(addresses)

    def start(self) -> Sink:
        """Listen on a free port."""
        sink = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                _session(sink, self)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Server(("127.0.0.1", self.port), Session)
        self.port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        return self

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def _session(sink: Sink, session: socketserver.StreamRequestHandler) -> None:
    def say(text: str) -> None:
        session.wfile.write(f"{text}\r\n".encode())

    helo = sender = recipient = ""
    say("220 sink.test ESMTP")
    for raw in session.rfile:
        line = raw.decode().strip()
        verb = line.split(" ")[0].upper()
        if verb in ("EHLO", "HELO"):
            helo = line.partition(" ")[2]
            say("250 sink.test")
        elif verb == "MAIL":
            sender = line.partition("<")[2].partition(">")[0]
            say("250 2.1.0 Ok")
        elif verb == "RCPT":
            recipient = line.partition("<")[2].partition(">")[0]
            with sink.guard:
                todo = sink.script.popleft() if sink.script else sink.always
            if todo == "drop":
                return
            if todo:
                sink.refused.append(recipient)
            say(todo or "250 2.1.5 Ok")
        elif verb == "DATA":
            say("354 Go on")
            body = b""
            for data in session.rfile:
                if data == b".\r\n":
                    break
                body += data.removeprefix(b".") if data.startswith(b"..") else data
            time.sleep(sink.slow_s)
            with sink.guard:
                sink.received.append(Received(helo, sender, recipient, message_from_bytes(body)))
            say("250 2.0.0 Ok: queued as TEST")
        elif verb == "QUIT":
            say("221 2.0.0 Bye")
            return
        else:
            say("250 2.0.0 Ok")
