"""Submission ports that answer as a test wants, and a workplace around them."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate
from dualstream_assets.settings import Settings
from dualstream_assets.store.database import Database
from dualstream_assets.workplace import Endpoints, Workplace


@dataclass
class Ports:
    """What each submission port says; change it while it runs.

    Attributes:
        mail: estate port -> reply to MAIL; rcpt: -> reply to RCPT.
        heard: every command line, with its port.
        real: estate port -> real port.
    """

    mail: dict[int, str] = field(default_factory=dict)
    rcpt: dict[int, str] = field(default_factory=dict)
    heard: list[tuple[int, str]] = field(default_factory=list)
    real: dict[int, int] = field(default_factory=dict)


def _server(ports: Ports, number: int) -> socketserver.ThreadingTCPServer:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 app.test ESMTP\r\n")
            for raw in self.rfile:
                line = raw.decode().strip()
                ports.heard.append((number, line))
                verb = line.upper()[:4]
                reply = {
                    "MAIL": ports.mail.get(number, "250 2.1.0 Ok"),
                    "RCPT": ports.rcpt.get(number, "550 5.7.1 consumer mailbox"),
                    "QUIT": "221 2.0.0 Bye",
                }.get(verb, "250 Ok")
                self.wfile.write(f"{reply}\r\n".encode())
                if verb == "QUIT":
                    return

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    return server


@pytest.fixture
def ports() -> Iterator[Ports]:
    """Ports 2526-2528, all refusing Yahoo, until the test changes them."""
    found = Ports()
    with ExitStack() as stack:
        for number in (2526, 2527, 2528):
            server = stack.enter_context(_server(found, number))
            found.real[number] = server.server_address[1]
            thread = threading.Thread(
                target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
            )
            thread.start()
            stack.callback(server.shutdown)
        yield found


def endpoints_for(ports: Ports, folder: Path) -> Endpoints:
    return Endpoints(
        nameservers=(),
        smtp_port=25,
        submission_host="127.0.0.1",
        submission=ports.real,
        listmonk={},
        maillog=None,
        sinks=None,
        inbox=folder,
        stamps=folder,
    )


@pytest.fixture
def workplace(
    lab_estate: Estate,
    settings: Settings,
    database: Database,
    clock: FixedClock,
    ports: Ports,
    tmp_path: Path,
) -> Workplace:
    """A lab workplace whose submission host is `ports`."""
    endpoints = endpoints_for(ports, tmp_path)
    return Workplace(
        settings, lab_estate, given_clock=clock, given_endpoints=endpoints, given_database=database
    )
