"""The classifier's tables: data files with a source column, plus what the estate adds and removes. Domain names, never
persons.

A line that begins with `#` is a comment (provenance, licence). `consumer_domains.csv` is our own list, partly derived
from AfterShip/email-verifier (MIT, notice in the file).
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from importlib import resources
from typing import TypeVar

from dualstream_assets.estate.findings import domain_name
from dualstream_assets.estate.model import Audience

_FILES = (
    "consumer_domains",
    "consumer_rules",
    "country_codes",
    "direct_labels",
    "direct_suffixes",
    "disposable_domains",
    "giants",
    "misspelt_domains",
    "misspelt_tlds",
    "review_domains",
    "role_accounts",
)
_FROM_ESTATE = "estate.toml"
_Entry = TypeVar("_Entry")
_ESTATE_KEYS = tuple(name for name in Audience.model_fields if name.endswith(("_domains", "_suffixes")))
"""Keys of `[audience]` that name domains."""


@dataclass(frozen=True)
class Tables:
    """Everything a ruling is looked up in. Keys are lower-case names; values say whose entry it is and from where.

    Attributes:
        consumer: domain -> (operator, source).
        consumer_suffixes: name -> operator; everything below the name is consumer (`rr.com`).
        consumer_stems: name -> operator; the name under any country code is consumer (`yahoo`).
        direct_labels: a DNS label -> source.
        direct_any: suffix -> vendor, the name itself and below it.
        direct_below: suffix -> vendor, only below it.
        review_any, review_bare: domain -> why a person decides.
        dropped: domain -> source; the name and below it.
        disposable: domain -> source; the name and below it.
        misspelt, misspelt_tlds: what was written -> what was likely meant.
        open_codes: two-letter endings that may be written to -> why.
        roles: left sides that name a desk.
        not_consumer, not_direct, not_dropped, not_review: names that the estate takes out of a kind, with all below.
        version: hash of all tables, so that a build can be told from another.
    """

    consumer: Mapping[str, tuple[str, str]]
    consumer_suffixes: Mapping[str, str]
    consumer_stems: Mapping[str, str]
    direct_labels: Mapping[str, str]
    direct_any: Mapping[str, str]
    direct_below: Mapping[str, str]
    review_any: Mapping[str, str]
    review_bare: Mapping[str, str]
    dropped: Mapping[str, str]
    disposable: Mapping[str, str]
    misspelt: Mapping[str, str]
    misspelt_tlds: Mapping[str, str]
    open_codes: Mapping[str, str]
    roles: frozenset[str]
    version: str
    not_consumer: frozenset[str] = frozenset()
    not_direct: frozenset[str] = frozenset()
    not_dropped: frozenset[str] = frozenset()
    not_review: frozenset[str] = frozenset()

    def with_estate(self, declared: Audience) -> Tables:
        """These tables with the estate's own entries; each stands for its name and everything below it.

        What an entry takes out is gone from the packaged tables; what the estate adds is put in afterwards. Where both
        touch a domain, the longer name wins (the same name in both is a finding of the estate's own check).
        """
        names = {
            key: frozenset(filter(None, map(domain_name, getattr(declared, key)))) for key in _ESTATE_KEYS
        }
        told = "\n".join(f"{key}={','.join(sorted(names[key]))}" for key in _ESTATE_KEYS)
        consumer, dropped = names["consumer_domains"], names["dropped_domains"]
        direct, review = names["direct_suffixes"], names["review_domains"]
        no_consumer, no_dropped = names["not_consumer_domains"], names["not_dropped_domains"]
        no_direct, no_review = names["not_direct_suffixes"], names["not_review_domains"]
        ours = dict.fromkeys
        return replace(
            self,
            consumer=_without(self.consumer, no_consumer) | ours(consumer, ("estate", _FROM_ESTATE)),
            consumer_suffixes=_without(self.consumer_suffixes, no_consumer) | ours(consumer, _FROM_ESTATE),
            dropped=_without(self.dropped, no_dropped) | ours(dropped, _FROM_ESTATE),
            disposable=_without(self.disposable, no_dropped),
            direct_any=_without(self.direct_any, no_direct) | ours(direct, _FROM_ESTATE),
            direct_below=_without(self.direct_below, no_direct),
            review_any=_without(self.review_any, no_review) | ours(review, _FROM_ESTATE),
            review_bare=_without(self.review_bare, no_review),
            not_consumer=no_consumer,
            not_direct=no_direct,
            not_dropped=no_dropped,
            not_review=no_review,
            version=_hash([self.version, told]),
        )

    def names(self) -> frozenset[str]:
        """Every name and label of the tables: a domain with none among its labels and suffixes meets no entry."""
        apart = {"version", "roles", "open_codes"}
        return frozenset().union(
            *(getattr(self, field.name) for field in fields(self) if field.name not in apart)
        )


@lru_cache(maxsize=1)
def packaged_tables() -> Tables:
    """The tables that travel with the wheel."""
    texts = {name: _text(name) for name in _FILES}
    rows = {name: _rows(text) for name, text in texts.items()}

    def pairs(name: str, key: str, value: str, **where: str) -> dict[str, str]:
        kept = (row for row in rows[name] if all(row[k] == v for k, v in where.items()))
        return {row[key]: row[value] for row in kept}

    return Tables(
        consumer={row["domain"]: (row["operator"], row["source"]) for row in rows["consumer_domains"]},
        consumer_suffixes=pairs("consumer_rules", "pattern", "operator", kind="suffix"),
        consumer_stems=pairs("consumer_rules", "pattern", "operator", kind="stem"),
        direct_labels=pairs("direct_labels", "label", "source"),
        direct_any=pairs("direct_suffixes", "suffix", "vendor", scope="any"),
        direct_below=pairs("direct_suffixes", "suffix", "vendor", scope="below"),
        review_any=pairs("review_domains", "domain", "why", scope="any"),
        review_bare=pairs("review_domains", "domain", "why", scope="bare"),
        dropped=pairs("giants", "domain", "source"),
        disposable=pairs("disposable_domains", "domain", "source"),
        misspelt=pairs("misspelt_domains", "misspelt", "meant"),
        misspelt_tlds=pairs("misspelt_tlds", "misspelt", "meant"),
        open_codes=pairs("country_codes", "tld", "why"),
        roles=frozenset(row["local"] for row in rows["role_accounts"]),
        version=_hash(texts.values()),
    )


def _without(table: Mapping[str, _Entry], removed: frozenset[str]) -> dict[str, _Entry]:
    """The entries that are neither a removed name nor below one."""
    return {name: entry for name, entry in table.items() if removed.isdisjoint(self_and_parents(name))}


def self_and_parents(name: str) -> list[str]:
    """`a.b.c` gives `a.b.c`, `b.c`, `c`: a suffix is only ever matched at a label's border."""
    labels = name.split(".")
    return [".".join(labels[i:]) for i in range(len(labels))]


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _text(name: str) -> str:
    return (resources.files("dualstream_assets.audience") / "data" / f"{name}.csv").read_text(
        encoding="utf-8"
    )


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(line for line in text.splitlines() if line and not line.startswith("#")))
