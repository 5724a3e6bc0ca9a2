"""How people really type: spellings of a good address, texts that are none, and what else stands in the field.

Rates: facts/nppes section 7.2, kinds: section 1.4. What has to be found in each is stated here, beside the making.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualstream_assets.lab.bulk_laws import Draws
from dualstream_assets.lab.filings import JUNK
from dualstream_assets.lab.people import FIRST_NAMES, LAST_NAMES, PLACES, TRADES, asciified

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

SPELLINGS: dict[str, float] = {
    "case": 0.10,
    "upper": 0.02,
    "space": 0.01,
    "mailto": 0.005,
    "trailing_dot": 0.005,
    "inner_space": 0.0015,
    "described": 0.0005,
}
"""Kind -> share of the lines with an address; the others are `plain`. `described`: only in Endpoint Description."""
SEVERAL = 0.003
"""Lines with two addresses, of institutional and consumer pairs."""
SEPARATORS = ("; ", ", ", " / ")
NESTED, CP1252, UNREADABLE = 10_000, 50_000, 100_000
"""One line in so many: inner double quotes; a byte that is not UTF-8; quotes that make too many values (junk only)."""
NESTED_TEXT = 'call "front desk" first'
UNREADABLE_TEXT = 'ask for "Ann","Bob" or "Eve"'
CP1252_TEXT = "Clínica principal"
ODD: tuple[tuple[str, float, str | None, str | None, str | None], ...] = (
    ("con", 0.002, "dropped", "misspelt-tld", None),
    ("webmail typo", 0.001, "dropped", "misspelt-consumer", None),
    ("foreign", 0.0005, "dropped", "foreign-tld", None),
    ("therapist host", 0.001, "review", "review-domain", None),
    ("vendor", 0.002, "review", "review-vendor", None),
    ("says direct", 0.002, "review", "review-direct-local-part", None),
    ("epic export", 0.001, "review", "review-direct-shape", None),
    ("double_dot", 0.001, None, None, "double_dot"),
    ("double_at", 0.001, None, None, "double_at"),
    ("torn", 0.0015, None, None, "words_before"),
    ("no local", 0.0002, None, None, "no_local_part"),
    ("no domain", 0.0002, None, None, "no_domain"),
)
"""(kind, share of institutional and consumer pairs, segment, rule, reason): lines outside the plan's three streams."""
_VENDORS = ("athenahealth.com", "surescripts.com", "updox.com", "allscripts.com")
_TYPOS = ("gamil.com", "gmial.com", "gmai.com", "yaho.com")
_BRANDS = (
    "COMPULINK",
    "epic",
    "eCW",
    "Athena",
    "NextGen",
    "N/A",
    "n/a",
    "Na",
    "?",
    "email",
    "URL",
    "CONNECTURL",
    "none",
)
_JUNK_TYPES = (*["CONNECT"] * 8, *["OTHERS"] * 7, *["DIRECT"] * 9, "SOAP")
DESCRIPTIONS = (
    "",
    "email",
    "Email",
    "Office Email",
    "email address",
    "main mailbox",
    "Dalton location",
    "Cell",
    "work",
)
DESCRIPTION_WEIGHTS = (54, 12, 9, 6, 6, 4, 4, 3, 2)


def odd_lines(draws: Draws, pairs: int, practices: pl.Series) -> pl.DataFrame:
    """Lines that no stream counts: `kind`, `endpoint`, `address`, `segment`, `rule`, `reason`.

    Args:
        pairs: how many pairs the shares are of.
        practices: some practice domains.
    """
    import numpy as np
    import polars as pl

    rows: list[tuple[str | None, ...]] = []
    for kind, share, segment, rule, reason in ODD:
        index = np.arange(max(1, round(pairs * share)))
        first, last, where = (
            draws.below(f"{kind} {part}", index, 10**6) for part in ("first", "last", "where")
        )
        for i in index.tolist():
            names = (FIRST_NAMES[first[i] % len(FIRST_NAMES)], LAST_NAMES[last[i] % len(LAST_NAMES)])
            name = ".".join(asciified(part) for part in names)
            practice = str(practices[int(where[i]) % len(practices)])
            endpoint, address = _odd(kind, i, name, practice)
            rows.append((kind, endpoint, address, segment, rule, reason))
    schema = ("kind", "endpoint", "address", "segment", "rule", "reason")
    return pl.DataFrame(rows, schema=dict.fromkeys(schema, pl.String), orient="row")


def _odd(kind: str, i: int, name: str, practice: str) -> tuple[str, str | None]:  # noqa: PLR0911
    """(what is filed, the address in it or None)."""
    last = name.split(".")[1]
    stem = practice.rsplit(".", 1)[0]
    match kind:
        case "con":
            return _stated(f"{name}@{stem}.con")
        case "webmail typo":
            return _stated(f"lab.{last}-{i}@{_TYPOS[i % len(_TYPOS)]}")
        case "foreign":
            return _stated(f"lab.{last}-{i}@{stem}.{('ca', 'de', 'co.uk')[i % 3]}")
        case "therapist host":
            return _stated(f"lab.{last}-{i}@therapysecure.com")
        case "vendor":
            return _stated(f"lab.{last}-{i}@{_VENDORS[i % len(_VENDORS)]}")
        case "says direct":
            return _stated(f"{last}.direct@{practice}")
        case "epic export":
            return _stated(f"{last[:7]}{10_000 + i}@{stem}direct.test")
        case "double_dot":
            return f"{name.replace('.', '..')}@{practice}", None
        case "double_at":
            return f"{name}@@{practice}", None
        case "torn":
            return f"{name.replace('.', ' ')}@{practice}", None
        case "no local":
            return f"@{practice}", None
        case _:
            return f"{last}@", None


def _stated(address: str) -> tuple[str, str]:
    return address, address


def junk(draws: Draws, count: int) -> pl.DataFrame:
    """`count` lines without any address: `type` and `endpoint`, at the likeness of real ones."""
    import numpy as np
    import polars as pl

    pool = list(JUNK)
    index = np.arange(4_000)
    kind, a, b = (draws.below(f"junk {part}", index, 10**6) for part in ("kind", "a", "b"))
    for k, i, j in zip(kind.tolist(), a.tolist(), b.tolist(), strict=True):
        place, trade = PLACES[i % len(PLACES)], TRADES[j % len(TRADES)][0]
        text = (
            f"https://fhir.{place}-{trade}.test/r4/{j % 97}",
            f"{200 + i % 700}555{100 + j % 100:04d}",
            f"www.{place}-{trade}.test",
            f"{place}{trade}.example",
            place.title(),
            _BRANDS[i % len(_BRANDS)],
            f"https://urldefense.proofpoint.com/v2/url?u=http-3A__{place}.test&d={j:06d}",
        )[k % 7]
        fhir = "REST" if j % 50 == 0 else "FHIR"  # the sixth type is seldom
        pool.append((_JUNK_TYPES[j % len(_JUNK_TYPES)] if k % 7 else fhir, text))
    which = draws.below("junk which", np.arange(count), len(pool))
    types, texts = pl.Series([t for t, _ in pool]), pl.Series([x for _, x in pool])
    return pl.DataFrame({"type": types.gather(which), "endpoint": texts.gather(which)})


def spelt() -> pl.Expr:
    """What is filed for `address` (and `second`) by `kind`."""
    import polars as pl

    address, kind = pl.col("address"), pl.col("kind")
    return (
        pl.when(pl.col("endpoint").is_not_null())
        .then("endpoint")
        .when(kind == "several")
        .then(pl.concat_str("address", "separator", "second"))
        .when(kind == "case")
        .then(pl.concat_str(address.str.slice(0, 1).str.to_uppercase(), address.str.slice(1)))
        .when(kind == "upper")
        .then(address.str.to_uppercase())
        .when(kind == "space")
        .then(pl.format(" {} ", address))
        .when(kind == "mailto")
        .then(pl.format("mailto:{}", address))
        .when(kind == "trailing_dot")
        .then(pl.format("{}.", address))
        .when(kind == "inner_space")
        .then(address.str.replace("@", " @ ", literal=True))
        .when(kind == "described")
        .then(pl.lit("Email"))
        .otherwise(address)
    )
