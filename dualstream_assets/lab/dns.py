"""The lab's name server: authoritative for the whole pretend internet, UDP and TCP, on loopback.

What it answers can be changed from another process by `set_override`, so that a test or the demo breaks the estate's
DNS the way a person would: `set_override(folder, "PTR 107.0.124.127.in-addr.arpa", [])`.
"""

from __future__ import annotations

import fcntl
import json
import socket
import socketserver
import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualstream_assets.lab.zone import Zone

if TYPE_CHECKING:
    from dns.message import Message, QueryMessage

OVERRIDES = "dns_overrides.json"
FAILURES = ("SERVFAIL", "NXDOMAIN", "TIMEOUT")
"""Overrides that are no records: the server fails, denies the name, or does not answer."""
TTL_S = 300
Override = list[str] | str


def set_override(folder: Path, key: str, value: Sequence[str] | str) -> None:
    """From now on answer `key` (`"A hcmta01.performancewest.test"`) with these record texts.

    An empty list means no such record; one of `FAILURES` as text means that failure. TXT values are plain, unquoted.

    Raises:
        ValueError: the key is not a type and a name, or the failure is unknown.
    """
    if len(key.split()) != 2:  # noqa: PLR2004
        raise ValueError(f"a DNS override is named like 'A host.test', not {key!r}")
    if isinstance(value, str) and value not in FAILURES:
        raise ValueError(
            f"a DNS override is a list of records or one of {', '.join(FAILURES)}, not {value!r}"
        )
    _change(folder, lambda found: found | {_normal(key): value if isinstance(value, str) else list(value)})


def clear_override(folder: Path, key: str | None = None) -> None:
    """Tell the truth again about `key`, or about everything."""
    _change(
        folder, lambda found: {} if key is None else {k: v for k, v in found.items() if k != _normal(key)}
    )


def _normal(key: str) -> str:
    kind, name = key.split()
    return f"{kind.upper()} {name.lower().rstrip('.')}"


def _change(folder: Path, change: Any) -> None:
    """Read, change and replace the file; two processes do not lose each other's change."""
    path = folder / OVERRIDES
    with (folder / f".{OVERRIDES}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = json.loads(path.read_text()) if path.exists() else {}
        beside = path.with_suffix(".part")
        beside.write_text(json.dumps(change(found), indent=1, sort_keys=True))
        beside.replace(path)


class LabDns:
    """The name server of one lab.

    Args:
        zone: what it tells.
        folder: where `dns_overrides.json` may appear.
        port: 0 takes a free one; a taken one is replaced by a free one.
    """

    def __init__(self, zone: Zone, folder: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        self._zone = zone
        self._names = _with_parents(name for _, name in zone.records)
        self._path = folder / OVERRIDES
        self._seen: tuple[int, int, int] | None = None
        self._overrides: dict[str, Override] = {}
        self._host, self._wanted = host, port
        self._servers: list[socketserver.BaseServer] = []

    def start(self) -> tuple[str, int]:
        """Serve in threads; returns (address, port)."""
        udp, tcp = self._bound()
        self._servers = [udp, tcp]
        for server in self._servers:
            threading.Thread(
                target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="lab-dns", daemon=True
            ).start()
        return self._host, udp.server_address[1]

    def stop(self) -> None:
        """Stop serving and free the port."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._servers = []

    def _bound(self) -> tuple[socketserver.UDPServer, socketserver.TCPServer]:
        for port in (self._wanted, *([0] * 20)):
            try:
                udp = _Udp((self._host, port), _UdpRequest)
            except OSError:
                continue
            try:
                tcp = _Tcp((self._host, udp.server_address[1]), _TcpRequest)
            except OSError:
                udp.server_close()
                continue
            udp.lab = tcp.lab = self
            return udp, tcp
        raise OSError(f"no port of {self._host} is free for both UDP and TCP")

    def answer(self, wire: bytes, *, over_tcp: bool = False) -> bytes | None:
        """The response to a query in wire form; None means none is given."""
        import dns.exception
        import dns.message
        import dns.rcode

        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        response = dns.message.make_response(query, recursion_available=True)
        if not query.question:
            response.set_rcode(dns.rcode.FORMERR)
        elif not self._fill(query, response):
            return None
        limit = 65535 if over_tcp else max(512, query.payload if query.edns >= 0 else 512)
        return response.to_wire(max_size=limit, prefer_truncation=True)

    def _fill(self, query: Message, response: QueryMessage | Message) -> bool:
        """Put the answer in; False where no answer is to be given."""
        import dns.flags
        import dns.rcode
        import dns.rdatatype
        import dns.rrset

        question = query.question[0]
        name, kind = (
            question.name.to_text(omit_final_dot=True).lower(),
            dns.rdatatype.to_text(question.rdtype),
        )
        response.flags |= dns.flags.AA
        override = self._current_overrides().get(f"{kind} {name}")
        if override == "TIMEOUT":
            return False
        if override == "SERVFAIL" or (override is None and self._fails(name)):
            response.set_rcode(dns.rcode.SERVFAIL)
        elif override == "NXDOMAIN" or (override is None and name not in self._names):
            response.set_rcode(dns.rcode.NXDOMAIN)
        else:
            texts = self._zone.records.get((kind, name), ()) if override is None else override
            if texts:
                shown = [_quoted(t) if kind == "TXT" else t for t in texts]
                response.answer.append(dns.rrset.from_text(question.name, TTL_S, "IN", kind, *shown))
        return True

    def _fails(self, name: str) -> bool:
        return any(name == failing or name.endswith(f".{failing}") for failing in self._zone.failing)

    def _current_overrides(self) -> dict[str, Override]:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return {}
        seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if seen != self._seen:
            self._overrides = json.loads(self._path.read_text())
            self._seen = seen
        return self._overrides


def _with_parents(names: Any) -> frozenset[str]:
    """The names and all names above them: those exist too, though empty (RFC 8020)."""
    found: set[str] = set()
    for name in names:
        labels = name.split(".")
        found.update(".".join(labels[i:]) for i in range(len(labels)))
    return frozenset(found)


def _quoted(text: str) -> str:
    """A TXT value as its character-strings of at most 255 bytes (RFC 1035 section 3.3.14)."""
    escaped = [text[i : i + 255].replace("\\", "\\\\").replace('"', '\\"') for i in range(0, len(text), 255)]
    return " ".join(f'"{part}"' for part in escaped) or '""'


class _Udp(socketserver.UDPServer):
    lab: LabDns
    max_packet_size = 65535

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        super().server_bind()


class _Tcp(socketserver.ThreadingTCPServer):
    lab: LabDns
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64


def _lab_of(server: socketserver.BaseServer) -> LabDns:
    assert isinstance(server, _Udp | _Tcp)  # noqa: S101  # only these two are given our handlers
    return server.lab


class _UdpRequest(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        wire, reply_socket = self.request
        response = _lab_of(self.server).answer(wire)
        if response is not None:
            reply_socket.sendto(response, self.client_address)


class _TcpRequest(socketserver.StreamRequestHandler):
    timeout = 10

    def handle(self) -> None:
        while len(head := self.rfile.read(2)) == 2:  # noqa: PLR2004
            response = _lab_of(self.server).answer(
                self.rfile.read(struct.unpack("!H", head)[0]), over_tcp=True
            )
            if response is None:
                return
            self.wfile.write(struct.pack("!H", len(response)) + response)
