"""A tiny authoritative name server for tests: UDP and TCP on loopback, dnspython inside."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from dualstream_assets.outside.dns import Resolver


@dataclass
class TinyDns:
    """What the server answers; change it while it runs.

    Attributes:
        records: (type, name) -> record texts; TXT values plain.
        failing: names that get SERVFAIL; silent: names that get no reply.
        asked: every (type, name) in order.
    """

    records: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    ttl: int = 300
    port: int = 0

    def put(self, kind: str, name: str, *texts: str) -> None:
        """Answer with these records from now on; none means the name exists without such a record."""
        self.records[kind, name.lower()] = list(texts)

    def drop(self, kind: str, name: str) -> None:
        """No such record any more."""
        self.records.pop((kind, name.lower()), None)

    @property
    def nameservers(self) -> tuple[tuple[str, int], ...]:
        """As `Resolver` takes them."""
        return (("127.0.0.1", self.port),)

    def resolver(self, timeout_s: float = 0.4, *, cache_size: int = 0) -> Resolver:
        """A resolver that asks this server."""
        return Resolver(self.nameservers, timeout_s, cache_size=cache_size)

    def respond(self, wire: bytes, *, over_tcp: bool) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((kind, name))
        if name in self.silent:
            return None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        if name in self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
            return response.to_wire()
        alias = self.records.get(("CNAME", name))
        target = name
        if alias and kind != "CNAME":
            response.answer.append(dns.rrset.from_text(question.name, self.ttl, "IN", "CNAME", *alias))
            target = alias[0].rstrip(".")
        texts = self.records.get((kind, target), [])
        if texts:
            shown = [_quoted(t) for t in texts] if kind == "TXT" else texts
            response.answer.append(dns.rrset.from_text(f"{target}.", self.ttl, "IN", kind, *shown))
        elif not any(known == target or known.endswith(f".{target}") for _, known in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire(max_size=65535 if over_tcp else 1232, prefer_truncation=True)


def _quoted(text: str) -> str:
    return " ".join(f'"{text[i : i + 255]}"' for i in range(0, len(text), 255)) or '""'


@contextmanager
def serving(tiny: TinyDns) -> Iterator[TinyDns]:
    """Serve `tiny` while the body runs; its port is free and chosen here."""

    class Udp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            wire, sock = self.request
            response = tiny.respond(wire, over_tcp=False)
            if response:
                sock.sendto(response, self.client_address)

    class Tcp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            size = struct.unpack("!H", self.request.recv(2))[0]
            response = tiny.respond(self.request.recv(size), over_tcp=True)
            if response:
                self.request.sendall(struct.pack("!H", len(response)) + response)

    udp, tcp = _bound(Udp, Tcp)
    tiny.port = udp.server_address[1]
    threads = [
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        for server in (udp, tcp)
    ]
    for thread in threads:
        thread.start()
    try:
        yield tiny
    finally:
        for server in (udp, tcp):
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


def _bound(
    udp_handler: type[socketserver.BaseRequestHandler], tcp_handler: type[socketserver.BaseRequestHandler]
) -> tuple[socketserver.UDPServer, socketserver.TCPServer]:
    """Both protocols on one port: a port that is free for one may be taken for the other."""
    for _ in range(50):
        udp = socketserver.ThreadingUDPServer(("127.0.0.1", 0), udp_handler)
        try:
            return udp, socketserver.ThreadingTCPServer(("127.0.0.1", udp.server_address[1]), tcp_handler)
        except OSError:
            udp.server_close()
    raise OSError("no port of 127.0.0.1 is free for both UDP and TCP")
