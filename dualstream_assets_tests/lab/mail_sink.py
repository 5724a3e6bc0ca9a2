"""A receiving mail host for tests: records peer, HELO, sender and recipient; can greylist and break off."""

from __future__ import annotations

import socketserver
import threading
from dataclasses import dataclass

from dualstream_assets.outside.dns import MxAnswer, MxHost


@dataclass(frozen=True)
class Arrived:
    """One accepted message."""

    peer: str
    helo: str
    mail_from: str
    rcpt: str
    message: bytes


class _Handler(socketserver.StreamRequestHandler):
    server: Sink

    def handle(self) -> None:
        sink, helo, sender, rcpt = self.server, "", "", ""
        self.wfile.write(b"220 mx1.practice.test ESMTP\r\n")
        while line := self.rfile.readline().decode().strip():
            verb = line[:4].upper()
            if verb == "DATA":
                self.wfile.write(b"354 go\r\n")
                message = b""
                while (part := self.rfile.readline()) != b".\r\n":
                    message += part.removeprefix(b".")
                sink.arrived.append(Arrived(self.client_address[0], helo, sender, rcpt, message))
                if sink.breaks_off:
                    return
                self.wfile.write(b"250 2.0.0 Ok: queued as SINK\r\n")
            elif verb == "RCPT":
                rcpt = line.partition("<")[2].partition(">")[0]
                self.wfile.write(sink.reply_to(rcpt).encode() + b"\r\n")
            else:
                if verb == "EHLO":
                    helo = line[5:]
                if verb == "MAIL":
                    sender = line.partition("<")[2].partition(">")[0]
                self.wfile.write(b"221 bye\r\n" if verb == "QUIT" else b"250 Ok\r\n")


class Sink(socketserver.ThreadingTCPServer):
    """Listens on 127.20.7.1 at a free port."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.20.7.1", 0), _Handler)
        self.arrived: list[Arrived] = []
        self.replies: dict[str, list[str]] = {}
        """Recipient -> replies to its next RCPTs; 250 afterwards."""
        self.breaks_off = False
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def reply_to(self, rcpt: str) -> str:
        waiting = self.replies.get(rcpt)
        return waiting.pop(0) if waiting else "250 2.1.5 Ok"


class Names:
    """A resolver: every domain's mail goes to the sink, but for what a test says otherwise."""

    def __init__(self) -> None:
        self.said: dict[str, MxAnswer] = {}

    def mx(self, domain: str) -> MxAnswer:
        return self.said.get(domain) or at("mx1.practice.test")


def at(host: str) -> MxAnswer:
    """An answer with one host at the sink's address."""
    return MxAnswer("ok", (MxHost(10, host, ("127.20.7.1",)),))
