"""What the estate says about ports and transports, and what a queue id tells by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from dualstream_assets.estate import Estate

LONG_ID_LETTERS = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"
"""Base 52 of Postfix's long queue ids (`mail_queue.h`): seconds, four digits of microseconds, `z`, inode."""


def queue_id_time(queue_id: str) -> datetime | None:
    """When a long queue id was given, to the second; None for a short one."""
    end = queue_id.rfind("z")
    if end < 10:  # noqa: PLR2004
        return None
    seconds = 0
    for letter in queue_id[: end - 4]:
        if letter not in LONG_ID_LETTERS:
            return None
        seconds = seconds * 52 + LONG_ID_LETTERS.index(letter)
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


@dataclass(frozen=True)
class Routes:
    """Which stream a port's syslog name and a transport belong to, and what counts as our own submission."""

    by_service: Mapping[str, str]
    by_transport: Mapping[str, str]
    sender_domain: Mapping[str, str]
    own_domains: frozenset[str]
    clients: tuple[IPv4Network | IPv6Network, ...]

    @classmethod
    def of(cls, estate: Estate) -> Routes:
        """Read them from the estate."""
        by_service = {e.submit_name: e.stream for e in estate.egress if e.submit_name}
        by_service |= {s.submit_name: name for name, s in estate.streams.items() if s.submit_name}
        returns = {name: s.return_path_domain for name, s in estate.streams.items() if s.return_path_domain}
        clients = {c for environment in estate.environments.values() for c in environment.clients}
        return cls(
            by_service=by_service,
            by_transport={e.transport: e.stream for e in estate.egress},
            sender_domain=returns,
            own_domains=frozenset({estate.organisation.domain, *returns.values()}),
            clients=tuple(ip_network(c, strict=False) for c in sorted(clients)),
        )

    def is_client(self, client: str) -> bool:
        """Whether `NAME[IP]` is a declared client of the submission ports."""
        try:
            address = ip_address(client.rpartition("[")[2].rstrip("]"))
        except ValueError:
            return False
        return any(address in network for network in self.clients)
