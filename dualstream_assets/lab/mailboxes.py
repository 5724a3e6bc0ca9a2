"""Mail domains and mailboxes of the pretend world, with the truth about each one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle, islice
from random import Random
from typing import TypeVar

from dualstream_assets.lab.operators import (
    BY_ID,
    CONSUMER_SHARES,
    HOSTING_DOMAIN,
    PRACTICE_SHARES,
    REFUSING_ADDRESS,
    MxHost,
    consumer_operator,
    self_hosted_mx,
    shared_out,
)
from dualstream_assets.lab.people import FIRST_NAMES, LAST_NAMES, asciified, practice_names

_T = TypeVar("_T")

ROLES = ("info", "office", "frontdesk", "billing", "admin", "contact", "reception", "appointments")
MULTI_SIZES = (2, 3, 2, 8, 2, 3, 4, 2, 5)
"""Mailboxes of the 35 % of domains that have several: 3.4 on average."""
FALSE_FRIENDS: tuple[tuple[str, str], ...] = (
    ("mydirectpt", "My Direct PT LLC"),
    ("newdirectionsaba", "New Directions ABA LLC"),
    ("valleydirectprimarycare", "Valley Direct Primary Care PC"),
    ("mobilecaredirect", "Mobile Care Direct LLC"),
)
"""Real kinds of practice names that a substring test for `direct` would misroute (facts/nppes section 4)."""


class MailboxTruth(StrEnum):
    """What is really behind an address."""

    VALID = "valid"
    DEAD = "dead"
    FULL = "full"
    GREYLISTED = "greylisted"
    """Exists; its host defers every unknown triple for a while."""
    BLOCKED = "blocked"
    """Its host refuses us, whatever the mailbox."""
    ACCEPT_ALL = "accept_all"
    NO_MAIL = "no_mail"
    """Null MX, or the domain does not exist."""
    UNRESOLVABLE = "unresolvable"
    """The name servers fail: nothing can be said."""
    UNREACHABLE = "unreachable"
    """The MX host refuses the connection."""


class Nature(StrEnum):
    """How a domain takes mail."""

    ORDINARY = "ordinary"
    GREYLISTING = "greylisting"
    BLOCKING = "blocking"
    ACCEPT_ALL = "accept_all"
    NULL_MX = "null_mx"
    NXDOMAIN = "nxdomain"
    SERVFAIL = "servfail"
    A_ONLY = "a_only"
    """No MX record: the A record is the mail host (RFC 5321 section 5.1)."""
    REFUSING = "refusing"
    FIRST_MX_DEAD = "first_mx_dead"
    CONSUMER_RUN = "consumer_run"
    """A practice domain whose MX is a consumer operator's: never for the healthcare stream."""


class Block(StrEnum):
    """The words in which a blocking host refuses."""

    LISTED = "listed"
    BANNER = "banner"
    GODADDY_LIMIT = "godaddy_limit"
    MICROSOFT_BANNED = "microsoft_banned"


class AtDelivery(StrEnum):
    """What a host says after the end of DATA, to mail that it let past RCPT."""

    ACCEPT = "accept"
    LATE = "late"
    """451 4.7.1 the first time, then accepted."""
    REFUSE = "refuse"
    """550 5.1.1: verification could not see it."""


_TRUTH_OF_NATURE = {
    Nature.GREYLISTING: MailboxTruth.GREYLISTED,
    Nature.BLOCKING: MailboxTruth.BLOCKED,
    Nature.ACCEPT_ALL: MailboxTruth.ACCEPT_ALL,
    Nature.CONSUMER_RUN: MailboxTruth.ACCEPT_ALL,
    Nature.NULL_MX: MailboxTruth.NO_MAIL,
    Nature.NXDOMAIN: MailboxTruth.NO_MAIL,
    Nature.SERVFAIL: MailboxTruth.UNRESOLVABLE,
    Nature.REFUSING: MailboxTruth.UNREACHABLE,
}


@dataclass(frozen=True)
class MailDomain:
    """One mail domain.

    Attributes:
        operator: id of who runs its mail (facts/verification section 3), the MX's registrable domain for small ones.
        mx: its MX set in preference order; empty where there is none (null MX, NXDOMAIN, A only).
        a: its own A record, where it has one.
        owner: legal name of the practice; empty for a consumer domain.
    """

    name: str
    operator: str
    nature: Nature
    mx: tuple[MxHost, ...]
    owner: str = ""
    a: str | None = None
    block: Block | None = None

    @property
    def hosts(self) -> tuple[MxHost, ...]:
        """Where its mail goes: the MX set, or itself where only an A record exists."""
        return self.mx or ((MxHost(0, self.name, self.a),) if self.nature is Nature.A_ONLY else ())


@dataclass(frozen=True)
class Mailbox:
    """One address and the truth about it."""

    address: str
    domain: str
    truth: MailboxTruth
    at_delivery: AtDelivery = AtDelivery.ACCEPT
    is_seed: bool = False
    """One of the estate's own: its messages are kept raw."""

    @property
    def takes_mail(self) -> bool:
        """Whether a message can end up in it."""
        taking = (MailboxTruth.VALID, MailboxTruth.GREYLISTED, MailboxTruth.ACCEPT_ALL)
        return self.truth in taking and self.at_delivery is not AtDelivery.REFUSE


def practice_domains(rng: Random, count: int) -> tuple[MailDomain, ...]:
    """`count` practice domains; from 24 on every nature occurs. The four false friends are among the ordinary ones."""
    names = [*FALSE_FRIENDS, *practice_names(count)]
    natures = _natures(rng, count)
    operators = iter(_shuffled(rng, shared_out(PRACTICE_SHARES, count)))
    blocks = cycle((Block.LISTED, Block.BANNER, Block.LISTED, Block.BANNER, Block.LISTED))
    rare_blocks = iter((Block.LISTED, Block.GODADDY_LIMIT, Block.MICROSOFT_BANNED))
    made = []
    ordinary, others = names[: len(FALSE_FRIENDS)], names[len(FALSE_FRIENDS) :]
    for i, nature in enumerate(natures):
        label, owner = (ordinary if nature is Nature.ORDINARY and ordinary else others).pop(0)
        block = next(rare_blocks, None) or next(blocks) if nature is Nature.BLOCKING else None
        made.append(_domain(f"{label}.test", owner, nature, next(operators), block, i))
    return tuple(made)


def consumer_domains() -> tuple[MailDomain, ...]:
    """The consumer domains of this world: names of operators, never a person's."""
    made = []
    for name, _ in CONSUMER_SHARES:
        operator = consumer_operator(name)
        assert operator is not None  # noqa: S101  # the two tables of operators.py belong together
        made.append(MailDomain(name, operator.id, Nature.ORDINARY, operator.mx_of(name)))
    return tuple(made)


def practice_mailboxes(rng: Random, domains: tuple[MailDomain, ...]) -> tuple[Mailbox, ...]:
    """Mailboxes of the practice domains: 8 % of all dead, 3 % full (among the ordinary domains)."""
    made = [
        Mailbox(f"{local}@{d.name}", d.name, _TRUTH_OF_NATURE.get(d.nature, MailboxTruth.VALID))
        for d, size in zip(domains, _sizes(rng, domains), strict=True)
        for local in _locals(rng, size)
    ]
    valid = _shuffled(rng, [i for i, m in enumerate(made) if m.truth is MailboxTruth.VALID])
    total = len(made)
    changes: dict[int, tuple[MailboxTruth, AtDelivery]] = {}

    def take(share: float, truth: MailboxTruth, at_delivery: AtDelivery) -> None:
        for _ in range(max(1, round(total * share))):
            changes[valid.pop()] = (truth, at_delivery)

    take(0.08, MailboxTruth.DEAD, AtDelivery.ACCEPT)
    take(0.03, MailboxTruth.FULL, AtDelivery.ACCEPT)
    take(0.02, MailboxTruth.VALID, AtDelivery.LATE)
    take(0.005, MailboxTruth.VALID, AtDelivery.REFUSE)
    return tuple(
        Mailbox(m.address, m.domain, *changes.get(i, (m.truth, m.at_delivery))) for i, m in enumerate(made)
    )


def consumer_mailboxes(rng: Random, role: str, count: int) -> tuple[Mailbox, ...]:
    """`count` made-up consumer mailboxes `lab.<role>-<number>@…`: Gmail and Yahoo allow no hyphen, so no person's."""
    domains = _shuffled(rng, shared_out(CONSUMER_SHARES, count))
    return tuple(
        Mailbox(f"lab.{role}-{i + 1:04d}@{domain}", domain, MailboxTruth.VALID)
        for i, domain in enumerate(domains)
    )


def _natures(rng: Random, count: int) -> list[Nature]:
    shares = {
        Nature.GREYLISTING: 0.06,
        Nature.BLOCKING: 0.031,
        Nature.ACCEPT_ALL: 0.08,
        Nature.CONSUMER_RUN: 0.009,
        Nature.NULL_MX: 0.006,
        Nature.NXDOMAIN: 0.006,
        Nature.SERVFAIL: 0.006,
        Nature.A_ONLY: 0.006,
        Nature.REFUSING: 0.006,
        Nature.FIRST_MX_DEAD: 0.006,
    }
    special = [nature for nature, share in shares.items() for _ in range(max(1, round(count * share)))]
    special = special[: count // 2]
    return _shuffled(rng, special + [Nature.ORDINARY] * (count - len(special)))


def _domain(
    name: str, owner: str, nature: Nature, operator: str, block: Block | None, index: int
) -> MailDomain:
    """One practice domain; its nature may overrule the operator drawn for it."""
    own = self_hosted_mx(name, index)
    refusing = MxHost(5, f"old.{name}", REFUSING_ADDRESS)
    odd: dict[Nature, tuple[str, tuple[MxHost, ...]]] = {
        Nature.NULL_MX: ("", ()),
        Nature.NXDOMAIN: ("", ()),
        Nature.SERVFAIL: ("", ()),
        Nature.A_ONLY: (name, ()),
        Nature.REFUSING: (name, (refusing,)),
        Nature.FIRST_MX_DEAD: (name, (refusing, *own)),
    }
    if nature in odd:
        runs, mx = odd[nature]
        return MailDomain(
            name, runs, nature, mx, owner, a=own[0].address if nature is Nature.A_ONLY else None
        )
    if block is Block.BANNER:  # the banner comes before the domain is known, so the address must be its own
        own = (MxHost(10, f"mail.{name}", f"127.30.40.{1 + index % 250}"),)
    chosen = {
        Nature.CONSUMER_RUN: "yahoo",
        Nature.ACCEPT_ALL: "barracuda" if index % 3 == 0 else operator,
        Nature.GREYLISTING: ("self", "mimecast", HOSTING_DOMAIN)[index % 3],
        Nature.BLOCKING: {Block.GODADDY_LIMIT: "godaddy", Block.MICROSOFT_BANNED: "microsoft"}.get(
            block or Block.LISTED, "self"
        ),
    }.get(nature, operator)
    if chosen == "self":
        return MailDomain(name, name, nature, own, owner, block=block)
    return MailDomain(name, chosen, nature, BY_ID[chosen].mx_of(name), owner, block=block)


def _sizes(rng: Random, domains: tuple[MailDomain, ...]) -> list[int]:
    """Mailboxes per domain: 35 % have several; blocking and broken domains stay small."""
    roomy = (Nature.ORDINARY, Nature.GREYLISTING, Nature.ACCEPT_ALL)
    small = [d.name for d in domains if d.nature not in roomy]
    pairs = round(len(small) * 0.35)
    multi = round(len(domains) * 0.35) - pairs
    deck = _shuffled(rng, list(islice(cycle(MULTI_SIZES), multi)) + [1] * (len(domains) - len(small) - multi))
    pair_deck = _shuffled(rng, [2] * pairs + [1] * (len(small) - pairs))
    return [deck.pop() if d.nature in roomy else pair_deck.pop() for d in domains]


def _locals(rng: Random, size: int) -> list[str]:
    """Left sides of one practice: a role account in every third place, people otherwise."""
    made: list[str] = []
    while len(made) < size:
        first, last = asciified(rng.choice(FIRST_NAMES)), asciified(rng.choice(LAST_NAMES))
        style = rng.random()
        local = (
            rng.choice(ROLES)
            if style < 0.33  # noqa: PLR2004
            else f"{first[0]}{last}"
            if style < 0.6  # noqa: PLR2004
            else f"{first}.{last}"
            if style < 0.8  # noqa: PLR2004
            else first
        )
        if local not in made:
            made.append(local)
    return made


def _shuffled(rng: Random, items: Iterable[_T]) -> list[_T]:
    listed = list(items)
    rng.shuffle(listed)
    return listed
