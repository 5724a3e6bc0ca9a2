"""The classifier's tables: data files with a source column, plus what the estate adds. Domain names, never persons.

A line that begins with `#` is a comment (provenance, licence). `consumer_domains.csv` is our own list, partly derived
from AfterShip/email-verifier (MIT, notice in the file).
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources

from dualstream_assets.estate.model import Audience

_FILES = (
    "consumer_domains",
    "consumer_rules",
    "country_codes",
    "direct_labels",
    "direct_suffixes",
    "giants",
    "misspelt_domains",
    "misspelt_tlds",
    "review_domains",
    "role_accounts",
)
_FROM_ESTATE = "estate.toml"


@dataclass(frozen=True)
class Tables:
    """Everything a ruling is looked up in. Keys are lower-case names; values say whose entry it is and from where.

    Attributes:
        consumer: domain -> (operator, source).
        consumer_suffixes: name -> operator; everything below the name is consumer (`rr.com`).
        consumer_stems: name -> operator; the name under any country code is consumer (`yahoo`).
        not_consumer: the estate's exceptions.
        direct_labels: a DNS label -> source.
        direct_any: suffix -> vendor, the name itself and below it.
        direct_below: suffix -> vendor, only below it.
        review_any, review_bare: domain -> why a person decides.
        dropped: domain -> source; the name and below it.
        misspelt, misspelt_tlds: what was written -> what was likely meant.
        open_codes: two-letter endings that may be written to -> why.
        roles: left sides that name a desk.
        version: hash of all tables, so that a build can be told from another.
    """

    consumer: Mapping[str, tuple[str, str]]
    consumer_suffixes: Mapping[str, str]
    consumer_stems: Mapping[str, str]
    not_consumer: frozenset[str]
    direct_labels: Mapping[str, str]
    direct_any: Mapping[str, str]
    direct_below: Mapping[str, str]
    review_any: Mapping[str, str]
    review_bare: Mapping[str, str]
    dropped: Mapping[str, str]
    misspelt: Mapping[str, str]
    misspelt_tlds: Mapping[str, str]
    open_codes: Mapping[str, str]
    roles: frozenset[str]
    version: str

    def with_estate(self, added: Audience) -> Tables:
        """These tables with the estate's own entries."""
        named = [
            f"{key}={','.join(sorted(_lower(values)))}"
            for key, values in (
                ("consumer", added.consumer_domains),
                ("not_consumer", added.not_consumer_domains),
                ("dropped", added.dropped_domains),
                ("direct", added.direct_suffixes),
            )
        ]
        return replace(
            self,
            consumer={
                **self.consumer,
                **dict.fromkeys(_lower(added.consumer_domains), ("estate", _FROM_ESTATE)),
            },
            not_consumer=self.not_consumer | frozenset(_lower(added.not_consumer_domains)),
            dropped={**dict.fromkeys(_lower(added.dropped_domains), _FROM_ESTATE), **self.dropped},
            direct_any={**dict.fromkeys(_lower(added.direct_suffixes), _FROM_ESTATE), **self.direct_any},
            version=hashlib.sha256("\n".join([self.version, *named]).encode()).hexdigest()[:16],
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
        not_consumer=frozenset(),
        direct_labels=pairs("direct_labels", "label", "source"),
        direct_any=pairs("direct_suffixes", "suffix", "vendor", scope="any"),
        direct_below=pairs("direct_suffixes", "suffix", "vendor", scope="below"),
        review_any=pairs("review_domains", "domain", "why", scope="any"),
        review_bare=pairs("review_domains", "domain", "why", scope="bare"),
        dropped=pairs("giants", "domain", "source"),
        misspelt=pairs("misspelt_domains", "misspelt", "meant"),
        misspelt_tlds=pairs("misspelt_tlds", "misspelt", "meant"),
        open_codes=pairs("country_codes", "tld", "why"),
        roles=frozenset(row["local"] for row in rows["role_accounts"]),
        version=hashlib.sha256("\n".join(texts.values()).encode()).hexdigest()[:16],
    )


def _text(name: str) -> str:
    return (resources.files("dualstream_assets.audience") / "data" / f"{name}.csv").read_text(
        encoding="utf-8"
    )


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(line for line in text.splitlines() if line and not line.startswith("#")))


def _lower(names: Iterable[str]) -> list[str]:
    return [name.strip().strip(".").lower() for name in names]
