"""What an address is: institutional, consumer, Direct, for review, or dropped; each with the rule that fired.

Rules in their order, the first hit wins (facts: nppes sections 3 and 4). Direct is told by DNS label and by known
suffix on a label's border, never by substring: most names with "direct" are practices. `Endpoint Type` is no evidence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from dualstream_assets.audience.tables import Tables, packaged_tables, self_and_parents
from dualstream_assets.estate.model import Estate, Segment

_DIRECT_WORD = re.compile(r"\bdirect\b", re.IGNORECASE)
_LOCAL_SAYS_DIRECT = re.compile(
    r"^direct$|direct[._-]?(?:messag|mail|address|secure|trust)|^direct[._-]|[._-]direct$"
)
_EPIC_EXPORT = re.compile(r"^[a-z]+\d{4,6}$")
"""The left side that an Epic export makes: letters, then four to six digits."""
_PROTECTED_TLDS = frozenset({"edu", "mil", "gov"})
RESERVED = frozenset({"local", "localhost", "invalid", "internal", "onion", "home.arpa"})
"""Endings that no mail on the Internet reaches (RFC 6761, 6762, 7686, 8375; ICANN for internal). `.test` and `.example`
are reserved too: our own fixtures live there, and no MX is found for them."""
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
    "disposable": "a throw-away mailbox that nobody reads after an hour",
    "misspelt-tld": "the ending is no top-level domain but nearly one",
    "misspelt-consumer": "a consumer domain with a typing error",
    "reserved-tld": "an ending for names inside one house or for none: no mail of ours reaches it",
    "review-domain": "a domain that a person decides on",
    "review-vendor": "the bare name of a Direct network or records vendor: staff mail, or a mistyped Direct address",
    "review-direct-local-part": "the left side says that it is a Direct mailbox",
    "review-direct-shape": "the name begins or ends with direct, and the left side or the description points there too",
    "consumer-domain": "in our table of consumer mail domains",
    "consumer-suffix": "below a consumer operator's name",
    "consumer-family": "a consumer operator's name under a country code",
    "foreign-tld": "the ending of another country",
    "institutional": "none of the above: a practice's own domain",
    "decided": "a person decided (`dualstream audience decide`)",
}
"""Every rule with its meaning; ids are stable, other tables and files name them."""

_INSTITUTIONAL = Ruling("institutional", "institutional", "no other rule fired")


class Classifier:
    """Rules over one set of tables."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._names = tables.names() | RESERVED

    @classmethod
    def of(cls, estate: Estate) -> Classifier:
        """The packaged tables with the estate's additions and removals."""
        return cls(packaged_tables().with_estate(estate.audience))

    def classify_domain(self, domain: str) -> Ruling:
        """Rule on a domain alone; case and a trailing dot do not matter."""
        name = domain.strip().rstrip(".").lower()
        return _INSTITUTIONAL if self._meets_no_entry(name) else self._by_rules(name)

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

    def is_foreign(self, domain: str) -> bool:
        """Whether the domain's ending is another country's (US, its territories and world-wide sold codes are not)."""
        tld = domain.rsplit(".", 1)[-1]
        return self._is_foreign_ending(tld) and self.tables.not_dropped.isdisjoint(self_and_parents(domain))

    def _meets_no_entry(self, name: str) -> bool:
        """The sieve before the rules: most domains are practices' own and need no rule but the last."""
        labels = name.split(".")
        if not self._names.isdisjoint(labels) or self._is_foreign_ending(labels[-1]):
            return False
        while name:
            if name in self._names:
                return False
            name = name.partition(".")[2]
        return True

    def _by_rules(self, name: str) -> Ruling:
        parents = self_and_parents(name)
        return (
            self._direct(parents)
            or self._dropped(parents)
            or self._reserved(parents)
            or self._review(parents)
            or self._consumer(parents)
            or (Ruling("dropped", "foreign-tld", f".{parents[-1]}") if self.is_foreign(name) else None)
            or _INSTITUTIONAL
        )

    def _direct(self, parents: list[str]) -> Ruling | None:
        tables, name = self.tables, parents[0]
        for label in name.split(".")[:-2]:
            if label in tables.direct_labels and tables.not_direct.isdisjoint(parents):
                return Ruling("direct", "direct-label", f"label {label!r} in {name}")
        for parent in parents:
            if parent in tables.direct_any:
                return Ruling("direct", "direct-suffix", f"{parent} ({tables.direct_any[parent]})")
            if parent in tables.direct_below and parent != name:
                return Ruling("direct", "direct-suffix", f"below {parent} ({tables.direct_below[parent]})")
            if parent in tables.not_direct:
                break
        return None

    def _dropped(self, parents: list[str]) -> Ruling | None:
        tables, name, tld = self.tables, parents[0], parents[-1]
        for parent in parents:
            if parent in tables.dropped:
                return Ruling("dropped", "giant", f"{parent} ({tables.dropped[parent]})")
            if parent in tables.disposable:
                return Ruling("dropped", "disposable", f"{parent} gives throw-away mailboxes")
            if parent in tables.not_dropped:
                return None
        if tld in tables.misspelt_tlds:
            return Ruling("dropped", "misspelt-tld", f".{tld}, likely .{tables.misspelt_tlds[tld]} was meant")
        known = name in tables.consumer or not tables.not_consumer.isdisjoint(parents)
        if name in tables.misspelt and not known:
            return Ruling("dropped", "misspelt-consumer", f"{name}, likely {tables.misspelt[name]} was meant")
        return None

    def _reserved(self, parents: list[str]) -> Ruling | None:
        ending = next((parent for parent in parents if parent in RESERVED), None)
        if ending is None or not self.tables.not_dropped.isdisjoint(parents):
            return None
        return Ruling("dropped", "reserved-tld", f".{ending} is reserved")

    def _review(self, parents: list[str]) -> Ruling | None:
        tables, name = self.tables, parents[0]
        if name in tables.review_bare:
            return Ruling("review", "review-vendor", f"{name}: {tables.review_bare[name]}")
        if name in tables.direct_below and name not in tables.not_review:
            return Ruling(
                "review",
                "review-vendor",
                f"bare {name} ({tables.direct_below[name]}): staff mail or a mistyped Direct address",
            )
        for parent in parents:
            if parent in tables.review_any:
                return Ruling("review", "review-domain", f"{parent}: {tables.review_any[parent]}")
            if parent in tables.not_review:
                return None
        labels = name.split(".")
        if len(labels) > 1 and labels[-2] in tables.direct_labels:
            return Ruling("review", "review-direct-shape", f"the registered name itself is {labels[-2]!r}")
        return None

    def _consumer(self, parents: list[str]) -> Ruling | None:
        tables, name = self.tables, parents[0]
        labels = name.split(".")
        if labels[-1] in _PROTECTED_TLDS or "k12" in labels:
            return None
        if name in tables.consumer:
            operator, source = tables.consumer[name]
            return Ruling("consumer", "consumer-domain", f"{name} ({operator}, {source})")
        for parent in parents:
            if parent in tables.consumer_suffixes and parent != name:
                return Ruling(
                    "consumer", "consumer-suffix", f"below {parent} ({tables.consumer_suffixes[parent]})"
                )
            if parent in tables.not_consumer:
                return None
        operator = tables.consumer_stems.get(labels[0])
        if operator and self._is_country_form(labels[1:]):
            return Ruling("consumer", "consumer-family", f"{labels[0]}.* ({operator})")
        return None

    def _is_country_form(self, rest: list[str]) -> bool:
        """`ca`, `co.uk`, `com.mx`: a real country's code, alone or behind co, com, …"""
        middle, code = rest[:-1], rest[-1] if rest else ""
        is_country = len(code) == 2 and self.tables.open_codes.get(code, "territory") == "territory"  # noqa: PLR2004
        return is_country and (not middle or (len(middle) == 1 and middle[0] in _STEM_MIDDLES))

    def _is_foreign_ending(self, tld: str) -> bool:
        return (len(tld) == 2 and tld not in self.tables.open_codes) or tld.startswith("xn--")  # noqa: PLR2004

    def _shape(self, local: str, domain: str, description: str) -> Ruling | None:
        if not self.tables.not_review.isdisjoint(self_and_parents(domain)):
            return None
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
