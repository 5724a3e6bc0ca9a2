"""Who runs the receiving end in the pretend world: host names, loopback addresses, and how each one talks.

The names of operators' MX hosts are the real suffixes of facts/verification section 3, because rooms recognise an
operator by them. They are answered by the lab's own DNS only and lead to loopback addresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

ESTATE_MX_ADDRESS = "127.30.15.1"
REFUSING_ADDRESS = "127.30.250.1"
"""Nobody listens here: a connection is refused."""
HOSTING_DOMAIN = "cedarhost.test"
SELF_HOSTED_ADDRESSES = 200
"""Self-hosted practices share this many addresses at most; a world of 39,000 domains needs no more sockets."""


@dataclass(frozen=True)
class MxHost:
    """One MX record's target; `address` is None where the name does not resolve."""

    preference: int
    name: str
    address: str | None


@dataclass(frozen=True)
class Operator:
    """A large receiver.

    Attributes:
        id: as `receivers.operators.operator_of` names it (the registrable domain for small ones).
        network: third-octet block: its hosts are 127.30.<network>.1 … <hosts>.
        hosts: how many addresses it has.
        patterns: host names; `{tenant}` and `{token}` make them differ by domain.
        consumer_domains: mailbox domains of consumers it runs in this world.
    """

    id: str
    network: int
    hosts: int
    patterns: tuple[str, ...]
    consumer_domains: tuple[str, ...] = ()

    def mx_of(self, domain: str) -> tuple[MxHost, ...]:
        """The MX set of one customer domain; a name shared by all customers always has the same address."""
        digest = sha256(f"{self.id}:{domain}".encode()).hexdigest()
        tenant, token = domain.replace(".", "-"), digest[:8]
        made = []
        for i, pattern in enumerate(self.patterns):
            first = int(digest[8:12], 16) if "{" in pattern else 0
            name = pattern.format(tenant=tenant, token=token)
            made.append(MxHost(10 * (i + 1), name, self.address((first + i) % self.hosts)))
        return tuple(made)

    def address(self, index: int) -> str:
        """Its loopback address number `index`, counted from 0."""
        return f"127.30.{self.network}.{index + 1}"

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address it listens on."""
        return tuple(self.address(i) for i in range(self.hosts))


OPERATORS: tuple[Operator, ...] = (
    Operator(
        "google", 1, 2, ("aspmx.l.google.com", "alt1.aspmx.l.google.com"), ("gmail.com", "googlemail.com")
    ),
    Operator("microsoft", 2, 6, ("{tenant}.mail.protection.outlook.com",)),
    Operator("proofpoint", 3, 3, ("mxa-{token}.gslb.pphosted.com", "mxb-{token}.gslb.pphosted.com")),
    Operator("mimecast", 4, 2, ("us-smtp-inbound-1.mimecast.com", "us-smtp-inbound-2.mimecast.com")),
    Operator("godaddy", 5, 2, ("smtp.secureserver.net", "mailstore1.secureserver.net")),
    Operator(
        "barracuda", 6, 2, ("d{token}a.ess.barracudanetworks.com", "d{token}b.ess.barracudanetworks.com")
    ),
    Operator(
        "yahoo",
        7,
        2,
        ("mta5.am0.yahoodns.net", "mta6.am0.yahoodns.net"),
        ("yahoo.com", "aol.com", "ymail.com", "verizon.net"),
    ),
    Operator(
        "outlook_com",
        8,
        2,
        ("{tenant}.olc.protection.outlook.com",),
        ("outlook.com", "hotmail.com", "msn.com", "live.com"),
    ),
    Operator("icloud", 9, 2, ("mx01.mail.icloud.com", "mx02.mail.icloud.com"), ("icloud.com", "me.com")),
    Operator("comcast", 10, 1, ("mx1a1.comcast.net",), ("comcast.net",)),
    Operator("att", 11, 1, ("ff-ip4-mx-vip1.prodigy.net",), ("att.net", "sbcglobal.net", "bellsouth.net")),
    Operator("charter.net", 12, 1, ("mx0.charter.net",), ("charter.net", "tampabay.rr.com")),
    Operator(HOSTING_DOMAIN, 13, 1, (f"mx1.{HOSTING_DOMAIN}",)),
)

BY_ID = {operator.id: operator for operator in OPERATORS}

PRACTICE_SHARES: tuple[tuple[str, int], ...] = (
    ("google", 29),
    ("microsoft", 28),
    ("proofpoint", 7),
    ("mimecast", 4),
    ("godaddy", 7),
    (HOSTING_DOMAIN, 6),
    ("self", 19),
)
"""Percent of ordinary practice domains by operator, after facts/verification section 3; `self` runs its own host."""

CONSUMER_SHARES: tuple[tuple[str, int], ...] = (
    ("gmail.com", 63),
    ("yahoo.com", 15),
    ("hotmail.com", 6),
    ("aol.com", 3),
    ("outlook.com", 2),
    ("comcast.net", 2),
    ("icloud.com", 2),
    ("msn.com", 1),
    ("sbcglobal.net", 1),
    ("att.net", 1),
    ("live.com", 1),
    ("me.com", 1),
    ("verizon.net", 1),
    ("tampabay.rr.com", 1),
)
"""Percent of consumer mailboxes by domain (facts/nppes section 3.2)."""


def self_hosted_mx(domain: str, index: int) -> tuple[MxHost, ...]:
    """The one MX host of a practice that runs its own; `index` picks the address."""
    slot = index % SELF_HOSTED_ADDRESSES
    return (MxHost(10, f"mail.{domain}", f"127.30.{32 + slot // 100}.{1 + slot % 100}"),)


def consumer_operator(domain: str) -> Operator | None:
    """Who runs this consumer domain, None for any other domain."""
    return next((o for o in OPERATORS if domain in o.consumer_domains), None)


def shared_out(shares: Sequence[tuple[str, int]], count: int) -> list[str]:
    """`count` names in the given shares (largest remainder), so that small worlds keep the mix too."""
    whole = sum(share for _, share in shares)
    exact = [(name, count * share / whole) for name, share in shares]
    made = [name for name, quota in exact for _ in range(int(quota))]
    by_remainder = sorted(exact, key=lambda pair: (-(pair[1] - int(pair[1])), pair[0]))
    return made + [name for name, _ in by_remainder[: count - len(made)]]
