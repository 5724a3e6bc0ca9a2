"""What an address is: institutional, consumer, Direct, for review, or dropped; each with the rule that fired.

Rules in their order, the first hit wins (facts: nppes sections 3 and 4). Direct is told by DNS label and by known
suffix on a label's border, never by substring: most names with "direct" are practices. `Endpoint Type` is no evidence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from dualstream_assets.audience.tables import Tables, packaged_tables
from dualstream_assets.estate.model import Estate, Segment

_DIRECT_WORD = re.compile(r"\bdirect\b", re.IGNORECASE)
_LOCAL_SAYS_DIRECT = re.compile(
    r"^direct$|direct[._-]?(?:messag|mail|address|secure|trust)|^direct[._-]|[._-]direct$"
)
_EPIC_EXPORT = re.compile(r"^[a-z]+\d{4,6}$")
"""The left side that an Epic export makes: letters, then four to six digits."""
_PROTECTED_TLDS = frozenset({"edu", "mil", "gov"})
_STEM_MIDDLES = frozenset({"co", "com", "net", "org", "ne"})


@dataclass(frozen=True)
class Ruling:
    """Where an address or domain belongs.

    Attributes:
        segment: `institutional`, `consumer`, `direct`, `review` or `dropped`.
        rule: stable id of the rule that fired.
        evidence: what it fired on, for people.
        role_account: the left side names a desk (info@, billing@); only set for addresses.
    """

    segment: Segment
    rule: str
    evidence: str
    role_account: bool = False


RULES: dict[str, str] = {
    "direct-label": "a DNS label of the domain is one that Direct networks use (direct, hisp, …)",
    "direct-suffix": "the domain lies below a known Direct network's name",
    "giant": "an organisation that is no prospect (the plan's five, and what the estate adds)",
    "misspelt-tld": "the ending is no top-level domain but nearly one",
    "misspelt-consumer": "a consumer domain with a typing error",
    "review-domain": "a domain that a person decides on",
    "review-vendor": "the bare name of a Direct network or records vendor: staff mail, or a mistyped Direct address",
    "review-direct-local-part": "the left side says that it is a Direct mailbox",
    "review-direct-shape": "the name begins or ends with direct, and the left side or the description points there too",
    "consumer-domain": "in our table of consumer mail domains",
    "consumer-suffix": "below a consumer operator's name",
    "consumer-family": "a consumer operator's name under a country code",
    "foreign-tld": "the ending of another country",
    "institutional": "none of the above: a practice's own domain",
}
"""Every rule with its meaning; ids are stable, other tables and files name them."""


class Classifier:
    """Rules over one set of tables."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    @classmethod
    def of(cls, estate: Estate) -> Classifier:
        """The packaged tables with the estate's additions."""
        return cls(packaged_tables().with_estate(estate.audience))

    def classify_domain(self, domain: str) -> Ruling:
        """Rule on a domain alone; case and a trailing dot do not matter."""
        name = domain.strip().rstrip(".").lower()
        return (
            self._direct(name)
            or self._dropped(name)
            or self._review(name)
            or self._consumer(name)
            or self._foreign(name)
            or Ruling("institutional", "institutional", "no other rule fired")
        )

    def classify_address(
        self, address: str, *, endpoint_type: str | None = None, description: str | None = None
    ) -> Ruling:
        """Rule on an address.

        Args:
            address: `local@domain`, any case.
            endpoint_type: as filed. Accepted so that callers may pass the whole row; it changes no ruling, because real
                rows put practice mailboxes under DIRECT and Direct ones under others.
            description: Endpoint Description, where a person may have written what the address is.

        Raises:
            ValueError: there is no local part or no domain.
        """
        del endpoint_type
        local, _, domain = address.strip().lower().rpartition("@")
        if not local or not domain:
            raise ValueError("an address needs a left side, an @ and a domain")
        ruling = self.classify_domain(domain)
        if ruling.segment == "institutional":
            ruling = self._shape(local, domain.rstrip("."), description or "") or ruling
        return replace(ruling, role_account=self.is_role(local))

    def is_role(self, local: str) -> bool:
        """Whether a left side names a desk, not a person."""
        return local in self.tables.roles

    def _direct(self, name: str) -> Ruling | None:
        labels = name.split(".")
        for label in labels[:-2]:
            if label in self.tables.direct_labels:
                return Ruling("direct", "direct-label", f"label {label!r} in {name}")
        for parent in _self_and_parents(name):
            if parent in self.tables.direct_any:
                return Ruling("direct", "direct-suffix", f"{parent} ({self.tables.direct_any[parent]})")
            if parent in self.tables.direct_below and parent != name:
                return Ruling(
                    "direct", "direct-suffix", f"below {parent} ({self.tables.direct_below[parent]})"
                )
        return None

    def _dropped(self, name: str) -> Ruling | None:
        for parent in _self_and_parents(name):
            if parent in self.tables.dropped:
                return Ruling("dropped", "giant", f"{parent} ({self.tables.dropped[parent]})")
        tld = name.rsplit(".", 1)[-1]
        if tld in self.tables.misspelt_tlds:
            return Ruling(
                "dropped", "misspelt-tld", f".{tld}, likely .{self.tables.misspelt_tlds[tld]} was meant"
            )
        if name in self.tables.misspelt and name not in self.tables.not_consumer:
            return Ruling(
                "dropped", "misspelt-consumer", f"{name}, likely {self.tables.misspelt[name]} was meant"
            )
        return None

    def _review(self, name: str) -> Ruling | None:
        if name in self.tables.review_bare:
            return Ruling("review", "review-vendor", f"{name}: {self.tables.review_bare[name]}")
        if name in self.tables.direct_below:
            vendor = self.tables.direct_below[name]
            return Ruling(
                "review", "review-vendor", f"bare {name} ({vendor}): staff mail or a mistyped Direct address"
            )
        for parent in _self_and_parents(name):
            if parent in self.tables.review_any:
                return Ruling("review", "review-domain", f"{parent}: {self.tables.review_any[parent]}")
        labels = name.split(".")
        if len(labels) > 1 and labels[-2] in self.tables.direct_labels:
            return Ruling("review", "review-direct-shape", f"the registered name itself is {labels[-2]!r}")
        return None

    def _consumer(self, name: str) -> Ruling | None:
        labels = name.split(".")
        if name in self.tables.not_consumer or labels[-1] in _PROTECTED_TLDS or "k12" in labels:
            return None
        if name in self.tables.consumer:
            operator, source = self.tables.consumer[name]
            return Ruling("consumer", "consumer-domain", f"{name} ({operator}, {source})")
        for parent in list(_self_and_parents(name))[1:]:
            if parent in self.tables.consumer_suffixes:
                return Ruling(
                    "consumer", "consumer-suffix", f"below {parent} ({self.tables.consumer_suffixes[parent]})"
                )
        operator = self.tables.consumer_stems.get(labels[0])
        if operator and self._is_country_form(labels[1:]):
            return Ruling("consumer", "consumer-family", f"{labels[0]}.* ({operator})")
        return None

    def _is_country_form(self, rest: list[str]) -> bool:
        """`ca`, `co.uk`, `com.mx`: a real country's code, alone or behind co, com, …"""
        middle, code = rest[:-1], rest[-1] if rest else ""
        is_country = len(code) == 2 and self.tables.open_codes.get(code, "territory") == "territory"  # noqa: PLR2004
        return is_country and (not middle or (len(middle) == 1 and middle[0] in _STEM_MIDDLES))

    def _foreign(self, name: str) -> Ruling | None:
        tld = name.rsplit(".", 1)[-1]
        return Ruling("dropped", "foreign-tld", f".{tld}") if self.is_foreign(name) else None

    def is_foreign(self, domain: str) -> bool:
        """Whether the domain's ending is another country's (US, its territories and world-wide sold codes are not)."""
        tld = domain.rsplit(".", 1)[-1]
        return (len(tld) == 2 and tld not in self.tables.open_codes) or tld.startswith("xn--")  # noqa: PLR2004

    def _shape(self, local: str, domain: str, description: str) -> Ruling | None:
        if _LOCAL_SAYS_DIRECT.search(local):
            return Ruling("review", "review-direct-local-part", "the left side says direct")
        labels = domain.split(".")
        registered = labels[-2] if len(labels) > 1 else ""
        if not (registered.startswith("direct") or registered.endswith("direct")):
            return None
        if _EPIC_EXPORT.match(local):
            return Ruling(
                "review", "review-direct-shape", f"{domain}, and a left side as an Epic export makes it"
            )
        if _DIRECT_WORD.search(description):
            return Ruling("review", "review-direct-shape", f"{domain}, and the description says direct")
        return None


@lru_cache(maxsize=1)
def _packaged() -> Classifier:
    return Classifier(packaged_tables())


def classify_domain(domain: str) -> Ruling:
    """Rule on a domain by the packaged tables alone (`Classifier.of(estate)` adds the estate's)."""
    return _packaged().classify_domain(domain)


def classify_address(
    address: str, *, endpoint_type: str | None = None, description: str | None = None
) -> Ruling:
    """Rule on an address by the packaged tables alone; arguments as in `Classifier.classify_address`."""
    return _packaged().classify_address(address, endpoint_type=endpoint_type, description=description)


def _self_and_parents(name: str) -> list[str]:
    """`a.b.c` gives `a.b.c`, `b.c`, `c`: a suffix is only ever matched at a label's border."""
    labels = name.split(".")
    return [".".join(labels[i:]) for i in range(len(labels))]
