"""What the lab's mail hosts answer: one reply per question, from the world's truth. No sockets here.

The words follow facts/verification sections 2.3 and 3, operator by operator, so that whoever reads replies has to
cope with what is really said: codes without enhanced codes, several lines, blocks dressed up as dead mailboxes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

from dualstream_assets.lab.mailboxes import AtDelivery, Block, Mailbox, MailboxTruth, MailDomain, Nature
from dualstream_assets.lab.operators import ESTATE_MX_ADDRESS, HOSTING_DOMAIN, OPERATORS, REFUSING_ADDRESS
from dualstream_assets.lab.world import World

GREYLIST_WINDOW = timedelta(seconds=60)
MAX_ERRORS = 20
"""Postfix: smtpd_hard_error_limit."""
GODADDY_MAX_UNKNOWN = 5


@dataclass(frozen=True)
class Reply:
    """An SMTP reply; `close` ends the connection after it."""

    code: int
    lines: tuple[str, ...]
    close: bool = False

    @property
    def wire(self) -> bytes:
        """As it goes over the wire (RFC 5321 section 4.2.1)."""
        last = len(self.lines) - 1
        return "".join(
            f"{self.code}{' ' if i == last else '-'}{line}\r\n" for i, line in enumerate(self.lines)
        ).encode()

    @property
    def accepts(self) -> bool:
        """A 2xx reply."""
        return 200 <= self.code < 300  # noqa: PLR2004


@dataclass(frozen=True)
class Served:
    """One listening address: whose it is, the name it greets with, whether it refuses everyone at the door."""

    address: str
    operator: str
    name: str
    refuses_at_banner: bool = False
    takes_anything: bool = False


@dataclass
class Memory:
    """What a lab's hosts remember between sessions."""

    first_seen: dict[tuple[str, str, str], datetime] = field(default_factory=dict)
    """Greylisting triple (client, sender, recipient) -> first attempt, lab time."""
    deferred: set[str] = field(default_factory=set)
    """Mailboxes whose first delivery was already answered late."""


def served_addresses(world: World, estate_domain: str) -> Mapping[str, Served]:
    """Every address that listens, from the world's operators and self-hosted domains, and the estate's own host."""
    found = {
        address: Served(address, operator.id, operator.patterns[i % len(operator.patterns)])
        for operator in OPERATORS
        for i, address in enumerate(operator.addresses)
    }
    for domain in world.domains:
        for host in domain.hosts:
            if host.address and host.address != REFUSING_ADDRESS and host.address not in found:
                found[host.address] = Served(
                    host.address, domain.operator, host.name, refuses_at_banner=domain.block is Block.BANNER
                )
    found[ESTATE_MX_ADDRESS] = Served(
        ESTATE_MX_ADDRESS, estate_domain, f"mail.{estate_domain}", takes_anything=True
    )
    return {a: _greeting(s) for a, s in found.items()}


def _greeting(served: Served) -> Served:
    """A tenant's own host name is no name to greet with: the operator's is."""
    name = served.name.replace("{tenant}", "BN8NAM11FT001").replace("{token}", "00000001")
    return Served(served.address, served.operator, name, served.refuses_at_banner, served.takes_anything)


def banner(served: Served, peer: str) -> Reply:
    """The greeting."""
    if served.refuses_at_banner:
        return Reply(
            554, (f"{served.name} no SMTP service for [{peer}]: blocked, poor reputation",), close=True
        )
    return Reply(220, (f"{served.name} ESMTP ready",))


def serves(served: Served, domain: MailDomain) -> bool:
    """Whether this address is one of the domain's hosts (or of the same operator's)."""
    return served.operator == domain.operator or any(h.address == served.address for h in domain.hosts)


def recipient(
    world: World, served: Served, memory: Memory, triple: tuple[str, str, str], now: datetime
) -> Reply:
    """The reply to RCPT TO; `triple` is (client address, sender, recipient), all lower case."""
    if served.takes_anything:
        return _accepted(served.operator, triple[2])
    domain = world.domain_of.get(triple[2].rpartition("@")[2])
    return _turned_away(domain, served, memory, triple, now) or _mailbox(world, domain, served, triple[2])


def _turned_away(
    domain: MailDomain | None, served: Served, memory: Memory, triple: tuple[str, str, str], now: datetime
) -> Reply | None:
    """A refusal that has nothing to do with the mailbox, None where there is none."""
    peer, _, address = triple
    if domain is None or not serves(served, domain):
        return Reply(554, (f"5.7.1 <{address}>: Relay access denied",))
    if domain.block:
        return _blocked(domain.block, address, peer)
    if domain.nature is Nature.GREYLISTING and not _waited(memory, triple, now):
        return _greylisted(served.operator, address)
    return None


def _mailbox(world: World, domain: MailDomain | None, served: Served, address: str) -> Reply:
    box = world.mailbox_of.get(address)
    takes_all = domain is not None and domain.nature in (Nature.ACCEPT_ALL, Nature.CONSUMER_RUN)
    if takes_all or served.operator == "yahoo" or address.startswith("postmaster@"):  # RFC 5321 section 4.5.1
        return _accepted(served.operator, address)
    if box is None or box.truth is MailboxTruth.DEAD:
        return _unknown(served.operator, address)
    if box.truth is MailboxTruth.FULL:
        return _full(served.operator, address)
    return _accepted(served.operator, address)


def end_of_data(served: Served, memory: Memory, boxes: list[Mailbox], queue_id: str) -> Reply:
    """The reply after the final dot; `boxes` are the known recipients of the transaction."""
    if any(box.at_delivery is AtDelivery.REFUSE for box in boxes):
        return Reply(550, ("5.1.1 User unknown: mailbox was removed",))
    late = [b.address for b in boxes if b.at_delivery is AtDelivery.LATE and b.address not in memory.deferred]
    if late:
        memory.deferred.update(late)
        return Reply(451, ("4.7.1 Please try again later",))
    texts = {
        "google": f"2.0.0 OK {queue_id} - gsmtp",
        "microsoft": f"2.6.0 <{queue_id}@prod.outlook.com> Queued mail for delivery",
    }
    return Reply(250, (texts.get(served.operator, f"2.0.0 Ok: queued as {queue_id}"),))


def too_many_errors(served: Served, unknown: int, errors: int) -> Reply | None:
    """The reply that ends a session with too many faults, None while it may go on."""
    if served.operator == "godaddy" and unknown >= GODADDY_MAX_UNKNOWN:
        return Reply(421, ("Too many invalid recipients in this session. IB510",), close=True)
    if errors >= MAX_ERRORS:
        return Reply(421, (f"4.7.0 {served.name} Error: too many errors",), close=True)
    return None


def _token(address: str) -> str:
    return sha256(address.encode()).hexdigest()[:12]


def _waited(memory: Memory, triple: tuple[str, str, str], now: datetime) -> bool:
    return now - memory.first_seen.setdefault(triple, now) >= GREYLIST_WINDOW


def _accepted(operator: str, address: str) -> Reply:
    texts = {"google": f"2.1.5 OK {_token(address)} - gsmtp", "microsoft": "2.1.5 Recipient OK"}
    return Reply(250, (texts.get(operator, "2.1.5 Ok"),))


def _greylisted(operator: str, address: str) -> Reply:
    if operator == "mimecast":
        return Reply(451, (f"Internal resource(s) temporarily unavailable [{_token(address)}]",))
    return Reply(450, (f"4.2.0 <{address}>: Recipient address rejected: Greylisted, see help page",))


def _full(operator: str, address: str) -> Reply:
    if operator == "google":
        return Reply(
            452,
            (
                "4.2.2 The recipient's inbox is out of storage space. Please direct the",
                f"4.2.2 recipient to our help pages. {_token(address)} - gsmtp",
            ),
        )
    if operator == "microsoft":
        return Reply(552, ("5.2.2 Mailbox full: STOREDRV.Deliver; the recipient's mailbox is full",))
    return Reply(452, (f"4.2.2 <{address}>: Mailbox is over quota",))


def _unknown(operator: str, address: str) -> Reply:
    replies = {
        "google": (
            "5.1.1 The email account that you tried to reach does not exist. Please try",
            "5.1.1 double-checking the recipient's email address for typos or",
            f"5.1.1 unnecessary spaces. {_token(address)} - gsmtp",
        ),
        "microsoft": (
            f"5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient {address} not found by SMTP address lookup",
        ),
        "proofpoint": ("5.1.1 User Unknown",),
        "mimecast": (f"Invalid Recipient [{_token(address)}]",),
        "godaddy": (f"5.1.1 <{address}> Recipient not found",),
        "outlook_com": ("5.5.0 Requested action not taken: mailbox unavailable",),
        "comcast": ("5.1.1 Not our Customer",),
        HOSTING_DOMAIN: ("No such recipient here",),
    }
    generic = (f"5.1.1 <{address}>: Recipient address rejected: User unknown in local recipient table",)
    return Reply(550, replies.get(operator, generic))


def _blocked(block: Block, address: str, peer: str) -> Reply:
    return {
        Block.LISTED: Reply(
            550, (f"5.7.1 Service unavailable; Client host [{peer}] blocked using bl.lab-blocklist.test",)
        ),
        Block.BANNER: Reply(554, (f"5.7.1 [{peer}] is blocked",)),
        Block.GODADDY_LIMIT: Reply(
            550, (f"5.1.1 <{address}> Recipient rejected. Rate limit for your IP. IB607",)
        ),
        Block.MICROSOFT_BANNED: Reply(550, (f"5.7.606 Access denied, banned sending IP [{peer}]. AS(1430)",)),
    }[block]
