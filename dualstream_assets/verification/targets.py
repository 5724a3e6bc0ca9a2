"""Which addresses may be connected to: the public internet in production, loopback alone in the lab.

A domain's owner chooses its MX records, so they may point anywhere: at a neighbour in our own network, at ourselves.
`ip_address(...).is_global` alone lets multicast, NAT64 and 6to4 wrappings of inner addresses and protocol
assignments through on Python 3.11 (facts: verification section 5).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from dualstream_assets.estate import Estate

_NAT64 = ip_network("64:ff9b::/96")
_NOT_FOR_MAIL = tuple(
    ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocol assignments; 192.0.0.8 passes is_global
        "192.88.99.0/24",  # the former 6to4 relay
        "100.64.0.0/10",  # carriers' own networks: neither private nor global
        "64:ff9b:1::/48",  # local-use NAT64
    )
)

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


class ProbeRefused(RuntimeError):
    """Nothing was probed; the message says what must change."""


@dataclass(frozen=True)
class Reach:
    """What may be connected to.

    Attributes:
        only: prefixes outside of which nothing is reached (the lab's loopback); empty: any global unicast address.
        own: addresses of our own, never a target.
    """

    only: tuple[Network, ...] = ()
    own: frozenset[Address] = field(default_factory=frozenset)

    def refusal(self, address: str) -> str | None:
        """Why this address may not be connected to; None if it may."""
        try:
            inner = _unwrapped(ip_address(address))
        except ValueError:
            return "not an address"
        if inner in self.own:
            return "our own address"
        if self.only:
            inside = any(inner in network for network in self.only if network.version == inner.version)
            return None if inside else "outside the lab"
        return None if _is_global_unicast(inner) else "not a global unicast address"


def _unwrapped(address: Address) -> Address:
    """The address that a v4-mapped, NAT64 or 6to4 form leads to."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_global_unicast(address: Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in _NOT_FOR_MAIL if network.version == address.version)
    )


LOOPBACK = (ip_network("127.0.0.0/8"),)


def reach_of(estate: Estate, environment: str) -> Reach:
    """What a run of this environment may reach: only production leaves the machine."""
    own = frozenset(_own(estate))
    return Reach(own=own) if environment == "production" else Reach(only=LOOPBACK, own=own)


def _own(estate: Estate) -> Iterable[Address]:
    yield from (egress.ip for egress in estate.egress)
    if estate.probe.ip:
        yield estate.probe.ip


def probe_ip_fault(estate: Estate) -> str | None:
    """Why the probe address may not be used; None if it is apart from every sending address."""
    ip = estate.probe.ip
    if ip is None:
        return "no probe IP is declared: set probe.ip in the estate to an address that sends no mail"
    for egress in estate.egress:
        if egress.ip == ip:
            return f"probe.ip {ip} is a sending IP ({egress.transport}): declare another in the estate"
    near = next((e.ip for e in estate.egress if e.ip in ip_network(f"{ip}/24", strict=False)), None)
    return (
        None
        if near is None
        else f"probe.ip {ip} lies in the /24 of the sending IP {near}: blocklists take both"
    )
