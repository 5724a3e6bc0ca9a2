"""The pretend world: a pure function of seed, size and estate. One seed, one world, byte for byte.

It holds the ground truth that a test or the demo may compare with: for every address the segment it belongs to, what
is really behind it, and who runs its mail. Practice names end in `.test`; consumer domains carry operators' real names
with made-up left sides (`lab.…-0001`), never a person's. Nothing of it leaves the machine: the lab's own DNS answers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from random import Random

from dualstream_assets.estate import Estate
from dualstream_assets.lab.filings import EndpointRow, file_all
from dualstream_assets.lab.lists import Dropped, Lists, make_lists
from dualstream_assets.lab.mailboxes import (
    Mailbox,
    MailboxTruth,
    MailDomain,
    Nature,
    consumer_domains,
    consumer_mailboxes,
    practice_domains,
    practice_mailboxes,
)
from dualstream_assets.lab.operators import BY_ID, OPERATORS, Operator
from dualstream_assets.lab.people import FIRST_NAMES, LAST_NAMES, Provider

VERSION = 1
"""Raise it when the same seed gives another world: a running lab then writes its release anew."""
TRUCKERS = 200
LATEST_RELEASE_DAY = 15
"""By this day of the month the monthly release is out."""
SEED_OPERATORS = ("google", "microsoft")

__all__ = ["Dropped", "Expectation", "Mailbox", "MailboxTruth", "Nature", "Trucker", "World"]


@dataclass(frozen=True)
class Trucker:
    """A subscriber of the trucking listmonk: a consumer mailbox that is in no NPPES release."""

    email: str
    name: str


@dataclass(frozen=True)
class Expectation:
    """What a right classification and a right verification say of one address of the release.

    Attributes:
        segment: `institutional`, `consumer`, `direct`, `review` or `dropped`.
        dropped: why, where every NPI of the address is on a drop list; None for giants and typos.
        npis: who filed it.
        truth: what is behind it; None where this world has no such mailbox (Direct, giants, typos).
        operator: id of who runs its mail, empty where nobody does.
    """

    address: str
    segment: str
    dropped: Dropped | None
    npis: tuple[str, ...]
    truth: MailboxTruth | None
    operator: str


@dataclass(frozen=True)
class World:
    """Everything that is true in one lab."""

    seed: int
    epoch: datetime
    release_day: date
    domains: tuple[MailDomain, ...]
    mailboxes: tuple[Mailbox, ...]
    rows: tuple[EndpointRow, ...]
    lists: Lists
    truckers: tuple[Trucker, ...]
    opts_out: frozenset[str]
    """Addresses that unsubscribe when they are mailed."""
    direct: frozenset[str]
    review: frozenset[str]
    unmailable: frozenset[str]
    """Giants and misspelt domains: dropped by the classifier."""

    @classmethod
    def build(cls, seed: int, domains: int, estate: Estate) -> World:
        """The world of `seed` with `domains` practice domains; the estate gives the seeds and the first moment.

        Raises:
            ValueError: the estate has no `[lab]` table.
        """
        if estate.lab is None:
            raise ValueError("this estate has no [lab] table: no pretend world can be built from it")
        epoch = estate.lab.epoch
        release_day = release_day_of(epoch.date())

        def part(name: str) -> Random:  # parts do not disturb each other's luck
            return Random(f"{seed}:{name}")

        practices = practice_domains(part("domains"), domains)
        boxes = practice_mailboxes(part("mailboxes"), practices)
        consumers = consumer_mailboxes(part("consumers"), "npi", max(8, round(domains * 0.35)))
        drivers = consumer_mailboxes(part("drivers"), "driver", TRUCKERS)
        filed = file_all(part("filings"), practices, boxes, consumers, release_day)
        lists = make_lists(
            part("lists"),
            filed.providers,
            _sole_owners(boxes, filed.rows),
            domains,
            epoch.date(),
            release_day,
        )
        seeds = tuple(
            Mailbox(address.lower(), address.lower().split("@")[1], MailboxTruth.VALID, is_seed=True)
            for address in estate.seeds
        )
        seed_domains = tuple(
            MailDomain(box.domain, operator, Nature.ORDINARY, BY_ID[operator].mx_of(box.domain))
            for box, operator in zip(
                seeds, (_seed_operator(box, i) for i, box in enumerate(seeds)), strict=True
            )
        )
        names = part("names")
        world = cls(
            seed=seed,
            epoch=epoch,
            release_day=release_day,
            domains=practices + consumer_domains() + seed_domains,
            mailboxes=boxes + consumers + drivers + seeds,
            rows=filed.rows,
            lists=lists,
            truckers=tuple(
                Trucker(box.address, f"{names.choice(FIRST_NAMES)} {names.choice(LAST_NAMES)}")
                for box in drivers
            ),
            opts_out=frozenset(),
            direct=filed.direct,
            review=filed.review,
            unmailable=filed.typos | filed.giants,
        )
        return world._with_opt_outs(part("opt-outs"), domains)

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The large receivers of this world; small ones run themselves."""
        return OPERATORS

    @property
    def providers(self) -> tuple[Provider, ...]:
        """Every row of npidata, by NPI."""
        return self.lists.providers

    @cached_property
    def domain_of(self) -> Mapping[str, MailDomain]:
        """Domain name -> domain."""
        return {d.name: d for d in self.domains}

    @cached_property
    def mailbox_of(self) -> Mapping[str, Mailbox]:
        """Address (lower case) -> mailbox."""
        return {m.address: m for m in self.mailboxes}

    @cached_property
    def expected(self) -> Mapping[str, Expectation]:
        """Address -> what is to be found out about it, for every address that the release states."""
        npis: dict[str, list[str]] = defaultdict(list)
        for row in self.rows:
            for address in row.addresses:
                if row.npi not in npis[address]:
                    npis[address].append(row.npi)
        return {address: self._expectation(address, tuple(sorted(found))) for address, found in npis.items()}

    def counts(self) -> dict[str, int]:
        """Addresses per expected segment, and mailboxes per truth among the institutional ones (`truth.…`)."""
        found = Counter(e.segment for e in self.expected.values())
        found.update(f"truth.{e.truth}" for e in self.expected.values() if e.segment == "institutional")
        return dict(sorted(found.items()))

    def _expectation(self, address: str, npis: tuple[str, ...]) -> Expectation:
        box = self.mailbox_of.get(address)
        domain = self.domain_of.get(address.split("@")[1])
        reasons = [self.lists.dropped.get(npi) for npi in npis]
        dropped = reasons[0] if all(reasons) else None
        if dropped or address in self.unmailable:
            segment = "dropped"
        elif address in self.direct:
            segment = "direct"
        elif address in self.review:
            segment = "review"
        else:
            segment = "consumer" if domain and not domain.owner else "institutional"
        return Expectation(
            address, segment, dropped, npis, box.truth if box else None, domain.operator if domain else ""
        )

    def _with_opt_outs(self, rng: Random, domains: int) -> World:
        """Some who take mail ask to be left alone: 16 + 4 providers and 5 truckers in a world of 320 domains."""
        from dataclasses import replace

        def some(addresses: list[str], count: int) -> list[str]:
            return rng.sample(sorted(addresses), min(len(addresses), max(1, count)))

        taking = [e for e in self.expected.values() if (m := self.mailbox_of.get(e.address)) and m.takes_mail]
        chosen = some([e.address for e in taking if e.segment == "institutional"], domains // 20)
        chosen += some([e.address for e in taking if e.segment == "consumer"], domains // 80)
        chosen += some([t.email for t in self.truckers], 5)
        return replace(self, opts_out=frozenset(chosen))


def release_day_of(epoch: date) -> date:
    """The day in the name of the newest monthly release at `epoch`: CMS publishes around the 8th to the 14th."""
    published = epoch.day >= LATEST_RELEASE_DAY
    return (epoch if published else epoch.replace(day=1) - timedelta(days=1)).replace(day=8)


def _sole_owners(boxes: tuple[Mailbox, ...], rows: tuple[EndpointRow, ...]) -> list[str]:
    """NPIs that hold one practice mailbox alone: putting them on a drop list drops exactly that address."""
    known = {box.address for box in boxes}
    by_address: dict[str, set[str]] = defaultdict(set)
    by_npi: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for address in row.addresses:
            by_address[address].add(row.npi)
            by_npi[row.npi].add(address)
    return sorted(
        next(iter(npis))
        for address, npis in by_address.items()
        if address in known and len(npis) == 1 and len(by_npi[next(iter(npis))]) == 1
    )


def _seed_operator(box: Mailbox, index: int) -> str:
    """The operator a seed mailbox sits at: the one its domain names, else Google and Microsoft in turn."""
    named = next((o for o in SEED_OPERATORS if box.domain.startswith(o)), None)
    return named or SEED_OPERATORS[index % len(SEED_OPERATORS)]
