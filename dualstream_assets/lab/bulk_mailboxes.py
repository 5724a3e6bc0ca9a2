"""Who holds which mailbox: distinct (NPI, address) pairs of the three streams, with the ruling that each one deserves.

Rulings are what this module means to write (facts/nppes sections 3 and 4), never what the classifier says of it.
Left sides on real operators' domains begin with `lab.`, so none is a real person's; practices live under `.test` and
`.example`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from dualstream_assets.lab.bulk_laws import Draws, Scale, group_sizes, quantile_sizes, weights_of, with_rest
from dualstream_assets.lab.people import FIRST_NAMES, LAST_NAMES, PLACES, TRADES, asciified

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

SHARED = {"institutional": 0.12, "consumer": 0.02, "direct": 0.03}
"""How often a row uses a mailbox that its domain has already (facts/nppes section 7.2; consumer assumed)."""
EXTRA_DIRECT = 0.0152
ROWS_PER_DIRECT_DOMAIN = 6.5
CONSUMER_WEIGHTS = weights_of(
    "gmail.com:659 yahoo.com:155 hotmail.com:62 aol.com:27 outlook.com:19 comcast.net:13 icloud.com:10 msn.com:8"
    " sbcglobal.net:7 live.com:6 att.net:5 me.com:5 verizon.net:4 bellsouth.net:4 ymail.com:3 cox.net:2"
    " protonmail.com:2 mac.com:2 charter.net:2 tampabay.rr.com:2 nc.rr.com:1 yahoo.ca:1 hotmail.co.uk:1 coqui.net:1"
)
"""Domain -> rows of a thousand (facts/nppes section 3.2)."""
CONSUMER_RULES = {
    "tampabay.rr.com": "consumer-suffix",
    "nc.rr.com": "consumer-suffix",
    "yahoo.ca": "consumer-family",
    "hotmail.co.uk": "consumer-family",
}
"""What is no entry of a list but falls under a rule; every other domain: `consumer-domain`."""
DIRECT_PATTERNS: tuple[tuple[str, str], ...] = (
    ("direct.{}.test", "direct-label"),
    ("{}.nextgenshare.com", "direct-suffix"),
    ("{}.direct.athenahealth.com", "direct-label"),
    ("{}.updox.com", "direct-suffix"),
    ("{}.allscriptsdirect.net", "direct-suffix"),
    ("{}.eclinicaldirectplus.com", "direct-suffix"),
    ("hisp.{}.test", "direct-label"),
    ("{}.medicity.net", "direct-suffix"),
    ("{}.surescripts.net", "direct-suffix"),
    ("ehrdirect.{}.example", "direct-label"),
    ("{}.maxmddirect.com", "direct-suffix"),
    ("{}.directbygreenway.com", "direct-suffix"),
    ("direct.{}.nextgenshare.com", "direct-label"),
    ("{}.cernerdirect.com", "direct-suffix"),
)
ROLES = ("office", "info", "frontdesk", "billing", "contact", "admin", "reception", "scheduling")
_NAMES = len(FIRST_NAMES) * len(LAST_NAMES)
_STEP = 997
"""Prime to the number of names, so that a domain's mailboxes go through all of them before one comes twice."""


@dataclass(frozen=True)
class Mailboxes:
    """All pairs of a release: `pairs()` has `owner`, `address`, `segment`, `rule`, `stream`, sorted by owner.

    Owners are numbers: institutional ones first, then consumer, then Direct; `owners` is how many file an address.
    """

    draws: Draws
    scale: Scale

    @property
    def direct_npis(self) -> int:
        """NPIs with a Direct address; not a figure of the plan."""
        return round(self.scale.direct / (1 + EXTRA_DIRECT * 1.25))

    @property
    def mail_owners(self) -> int:
        """NPIs with an institutional or consumer address."""
        return self.scale.institutional_npis + self.scale.consumer_npis

    @property
    def owners(self) -> int:
        """NPIs with any address that the plan counts."""
        return self.mail_owners + self.direct_npis

    def pairs(self) -> pl.DataFrame:
        """The pairs of all streams."""
        import polars as pl

        return pl.concat([self._institutional(), self._consumer(), self._direct()])

    def practice(self, number: Ints) -> pl.Series:
        """Label of practice `number`, each another, and no two a typing error apart: place, surname and trade."""
        import polars as pl

        words = self._words
        capacity = len(PLACES) * len(LAST_NAMES) * len(TRADES)
        at = self.draws.scatter("practice", number % capacity, capacity)
        place, rest = at % len(PLACES), at // len(PLACES)
        surname, trade = rest % len(LAST_NAMES), rest // len(LAST_NAMES)
        again = pl.Series(number // capacity)
        frame = pl.DataFrame(
            [
                words[0].gather(place).alias("a"),
                words[1].gather(surname).alias("b"),
                words[2].gather(trade).alias("c"),
            ]
        )
        suffix = pl.when(again > 0).then(pl.format("-{}", again + 1)).otherwise(pl.lit(""))
        return frame.select(pl.concat_str("a", "b", pl.lit("-"), "c", suffix)).to_series()

    def domain(self, number: Ints) -> pl.Series:
        """Domain of practice `number`: under `.test`, some under `.example`."""
        import polars as pl

        endings = pl.Series([".test", ".example"]).gather((number % 4 == 3).astype(int))  # noqa: PLR2004
        return self.practice(number) + endings

    @cached_property
    def _words(self) -> tuple[pl.Series, pl.Series, pl.Series, pl.Series]:
        import polars as pl

        surnames = [asciified(name) for name in LAST_NAMES]
        return (
            pl.Series(PLACES),
            pl.Series(surnames),
            pl.Series([label for label, _ in TRADES]),
            pl.Series([asciified(name) for name in FIRST_NAMES]),
        )

    def _institutional(self) -> pl.DataFrame:
        import numpy as np
        import polars as pl

        sizes = self.scale.domain_sizes()
        giants = list(self.scale.giants)
        names = pl.concat([pl.Series(giants), self.domain(np.arange(self.scale.domains - len(giants)))])
        domain, owner, mailbox = self._held("institutional", sizes, self.scale.institutional_npis, 0)
        giant = domain < len(giants)
        local = self._locals(domain, mailbox, invented=giant)
        return _pairs(
            owner,
            local,
            names.gather(domain),
            pl.Series(["institutional", "dropped"]).gather(giant.astype(int)),
            pl.Series(["institutional", "giant"]).gather(giant.astype(int)),
            "institutional",
        )

    def _consumer(self) -> pl.DataFrame:
        import numpy as np
        import polars as pl

        weights = np.array(list(CONSUMER_WEIGHTS.values()))
        borders = np.rint(np.cumsum(weights) / weights.sum() * self.scale.consumer).astype(np.int64)
        sizes = np.diff(borders, prepend=0)
        names = list(CONSUMER_WEIGHTS)
        domain, owner, mailbox = self._held(
            "consumer", sizes, self.scale.consumer_npis, self.scale.institutional_npis
        )
        rules = [CONSUMER_RULES.get(name, "consumer-domain") for name in names]
        local = self._locals(domain, mailbox, invented=np.full(len(domain), fill_value=True))
        segment = pl.Series(["consumer"]).gather(np.zeros(len(domain), np.int64))
        return _pairs(
            owner,
            local,
            pl.Series(names).gather(domain),
            segment,
            pl.Series(rules).gather(domain),
            "consumer",
        )

    def _direct(self) -> pl.DataFrame:
        import numpy as np
        import polars as pl

        sizes = quantile_sizes(round(self.scale.direct / ROWS_PER_DIRECT_DOMAIN))
        sizes = with_rest(sizes, self.scale.direct - int(sizes.sum()))
        number = np.arange(len(sizes))
        label = self._words[1].gather(self.draws.below("direct practice", number, len(LAST_NAMES)))
        label = label + pl.Series(number).cast(pl.String)
        patterns = number % len(DIRECT_PATTERNS)
        ends = [pl.Series([p.split("{}")[i] for p, _ in DIRECT_PATTERNS]) for i in (0, 1)]
        names = ends[0].gather(patterns) + label + ends[1].gather(patterns)
        domain, owner, mailbox = self._held("direct", sizes, self.direct_npis, self.mail_owners)
        local = self._locals(domain, mailbox, invented=np.full(len(domain), fill_value=True))
        segment = pl.Series(["direct"]).gather(np.zeros(len(domain), np.int64))
        rules = pl.Series([rule for _, rule in DIRECT_PATTERNS]).gather(patterns[domain])
        return _pairs(owner, local, names.gather(domain), segment, rules, "direct")

    def _held(self, stream: str, sizes: Ints, npis: int, first_owner: int) -> tuple[Ints, Ints, Ints]:
        """(domain, owner, mailbox within the domain) of each row; no owner has one mailbox twice."""
        import numpy as np

        rows = int(sizes.sum())
        domain = np.repeat(np.arange(len(sizes)), sizes)
        begin = np.repeat(np.cumsum(sizes) - sizes, sizes)
        groups = group_sizes(npis, rows)[self.draws.order(f"{stream} owners", npis)]
        owner = np.repeat(np.arange(npis), groups)
        index = np.arange(rows)
        owners_first = np.diff(owner, prepend=-1) > 0
        again = self.draws.unit(f"{stream} shared", index) < SHARED[stream]
        fresh = ~(again & owners_first & (index > begin))
        before = np.cumsum(fresh) - fresh
        known = before - before[begin]
        mailbox = np.where(fresh, known, self.draws.below(f"{stream} which", index, np.maximum(known, 1)))
        return domain, owner + first_owner, mailbox

    def _locals(self, domain: Ints, mailbox: Ints, *, invented: NDArray[np.bool_]) -> pl.Series:
        """Left sides, different within a domain; `invented` ones cannot be anybody's."""
        import polars as pl

        at = (self.draws.below("names of", domain, _NAMES) + mailbox * _STEP) % _NAMES
        first = self._words[3].gather(at // len(LAST_NAMES))
        last = self._words[1].gather(at % len(LAST_NAMES))
        style = self.draws.below("style of", domain, 4)
        role = (mailbox == 0) & (self.draws.unit("role of", domain) < 0.2)  # noqa: PLR2004
        frame = pl.DataFrame(
            {
                "first": first,
                "last": last,
                "at": at,
                "number": mailbox,
                "style": style,
                "role": pl.Series(ROLES).gather(self.draws.below("which role", domain, len(ROLES))),
                "is_role": role,
                "invented": invented,
            }
        )
        return frame.select(
            pl.when("invented")
            .then(pl.format("lab.{}-{}-{}", "first", "last", "number"))
            .when("is_role")
            .then("role")
            .when(pl.col("style") == 0)
            .then(pl.format("{}.{}", "first", "last"))
            .when(pl.col("style") == 1)
            .then(pl.format("{}_{}", "first", "last"))
            .when(pl.col("style") == 2)  # noqa: PLR2004
            .then(pl.format("{}{}{}", pl.col("first").str.slice(0, 1), "last", "at"))
            .otherwise(pl.format("{}{}", "first", "last"))
        ).to_series()


def _pairs(
    owner: Ints, local: pl.Series, domain: pl.Series, segment: pl.Series, rule: pl.Series, stream: str
) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(
        {"owner": owner, "address": local + "@" + domain, "segment": segment, "rule": rule}
    ).with_columns(pl.lit(stream).alias("stream"))
