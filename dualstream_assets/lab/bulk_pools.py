# ruff: noqa: PLR2004  # shares and lengths are the data here
"""Pools of made-up runs of npidata columns: neighbouring values already joined, so that a row is a handful of gathers.

Fill rates and lengths are those of a real head (facts/nppes sections 1.2, 7.2). No real person: names are made of
syllables, streets of the lab's words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from dualstream_assets.lab.bulk_laws import weights_of
from dualstream_assets.lab.people import FIRST_NAMES, LAST_NAMES, PLACES, TRADES

if TYPE_CHECKING:
    import polars as pl

BORDER = '","'
STATES = weights_of(
    "TX:89 NY:73 FL:69 PA:61 CA:60 OH:55 TN:36 IN:34 NC:33 NJ:33 KY:26 MD:25 MI:25 AZ:24 GA:24 IL:22 MO:21 LA:20"
    " CT:18 VA:18 MA:16 WA:15 AL:14 WI:14 CO:14 MN:13 SC:13 OK:11 OR:10 KS:9 AR:9 MS:9 IA:8 PR:8 NE:7 UT:7 NM:6"
    " NV:6 WV:6 ID:5 NH:5 ME:5 HI:3 RI:3 MT:3 DE:3 SD:3 ND:2 AK:2 DC:2 VT:2 WY:2"
)
"""State -> rows of a thousand, after facts/nppes section 7.2; the tail is assumed."""
SPECIALTIES: tuple[tuple[str, str, int], ...] = tuple(
    (name.split("|")[0], name.split("|")[1], weight)
    for name, weight in weights_of(
        "207R00000X|M.D.:154 207Q00000X|MD:109 152W00000X|O.D.:45 207W00000X|M.D.:43 363L00000X|FNP-C:41"
        " 207V00000X|M.D.:37 363A00000X|PA-C:34 207X00000X|MD:34 2085R0202X|M.D.:33 111N00000X|D.C.:27"
        " 213E00000X|DPM:26 208600000X|MD:25 225100000X|PT:18 367500000X|CRNA:17 122300000X|DDS:60"
        " 163W00000X|RN:60 101YM0800X|LMHC:40 1041C0700X|LCSW:35 103T00000X|PH.D.:20 235Z00000X|CCC-SLP:20"
        " 225X00000X|OTR/L:20"
    ).items()
)
"""(taxonomy code, credential, weight): Medicare clinicians as in section 7.2, the tail assumed."""
THERAPISTS = frozenset({"101YM0800X", "1041C0700X", "103T00000X", "225100000X", "225X00000X", "235Z00000X"})
"""About 35 % of the providers that file an e-mail address (section 7.2)."""
ORGANISATIONS = weights_of(
    "261QM1300X:3 332B00000X:1 3336C0003X:1 251E00000X:1 314000000X:1 207Q00000X:2 1223G0001X:1"
)
FOREIGN = (
    ("TORONTO", "ON", "M5G1X8", "CA"),
    ("LONDON", "LONDON", "W1G8YS", "GB"),
    ("TIJUANA", "BAJA CALIFORNIA", "22010", "MX"),
)
_SYLLABLES = (
    "bar",
    "cal",
    "den",
    "el",
    "far",
    "gil",
    "hart",
    "in",
    "jor",
    "kel",
    "lan",
    "mor",
    "nor",
    "ol",
    "pren",
    "quin",
)
_MIDDLES = (
    "a",
    "ber",
    "de",
    "e",
    "ing",
    "i",
    "len",
    "mer",
    "o",
    "ring",
    "ta",
    "ver",
    "wick",
    "ston",
    "u",
    "za",
)
_ENDINGS = (
    "by",
    "dale",
    "den",
    "er",
    "field",
    "ford",
    "ham",
    "ington",
    "ker",
    "ley",
    "man",
    "nan",
    "o",
    "son",
    "ton",
    "well",
)
_ISSUERS = (
    "BCBS",
    "AETNA",
    "RAILROAD MEDICARE",
    "CIGNA",
    "UNITED HEALTHCARE",
    "HEALTHLINK",
    "TRICARE",
    "AVMED",
    "",
)
_TITLES = (
    "OWNER",
    "PRESIDENT",
    "CEO",
    "OFFICE MANAGER",
    "ADMINISTRATOR",
    "CHIEF FINANCIAL OFFICER",
    "PRACTICE MANAGER",
    "DIRECTOR",
)
_STREETS = (
    "MAIN ST",
    "CENTRAL AVE",
    "KING STREET",
    "MEDICAL CENTER DR",
    "PARK AVE STE 100",
    "STATE ROAD 46",
    "UNIVERSITY BLVD N",
    "W 5TH ST",
)
_GROUPS = (
    "193400000X SINGLE SPECIALTY  GROUP",
    "193200000X MULTI-SPECIALTY GROUP",
    "193400000X MULTIPLE SINGLE SPECIALTY GROUP",
)


@dataclass(frozen=True)
class Pools:
    """Runs of columns by their 0-based positions in npidata; persons, organisations and blank rows apart.

    Attributes:
        person, organisation: 1–19, names.
        address: 20–25 or 28–33; `states` in the same order.
        official: 42–45. taxonomy: 47–106, of persons, of persons who file e-mail, of organisations.
        identifiers: 107–306. standing: 307–313, of persons and organisations. groups: 314–328.
    """

    person: pl.Series
    organisation: pl.Series
    address: pl.Series
    official: pl.Series
    taxonomy: tuple[pl.Series, pl.Series, pl.Series]
    identifiers: pl.Series
    standing: tuple[pl.Series, pl.Series]
    groups: pl.Series
    surnames: pl.Series
    firsts: pl.Series


def make_pools(seed: int) -> Pools:
    """All pools of one seed; about 30 MB."""
    import polars as pl

    rng = Random(f"pools:{seed}")
    surnames = [a + b + c for a in _SYLLABLES for b in _MIDDLES for c in _ENDINGS]
    surnames = [name.upper() for name in surnames] + [n.upper().replace("Ñ", "N") for n in LAST_NAMES]
    firsts = [n.upper() for n in FIRST_NAMES] + [(a + b).upper() for a in _SYLLABLES for b in _MIDDLES]

    def pool(count: int, make: Callable[[], Sequence[str]]) -> pl.Series:
        return pl.Series([BORDER.join(make()) for _ in range(count)], dtype=pl.String)

    return Pools(
        person=pool(32_768, lambda: _person(rng, surnames, firsts)),
        organisation=pool(16_384, lambda: _organisation(rng, surnames)),
        address=pool(32_768, lambda: _address(rng)),
        official=pool(
            8_192,
            lambda: (
                rng.choice(surnames),
                rng.choice(firsts),
                rng.choice("  ABCJLMR").strip(),
                rng.choice(_TITLES),
            ),
        ),
        taxonomy=(
            pool(16_384, lambda: _taxonomies(rng, [(c, w) for c, _, w in SPECIALTIES])),
            pool(
                8_192,
                lambda: _taxonomies(
                    rng, [(c, w * (2.5 if c in THERAPISTS else 1)) for c, _, w in SPECIALTIES]
                ),
            ),
            pool(8_192, lambda: _taxonomies(rng, list(ORGANISATIONS.items()))),
        ),
        identifiers=pool(8_192, lambda: _identifiers(rng)),
        standing=(
            pool(256, lambda: (rng.choices("NYX", (77, 14, 9))[0], *[""] * 6)),
            pool(2_048, lambda: _subpart(rng, surnames)),
        ),
        groups=pool(64, lambda: _groups(rng)),
        surnames=pl.Series(surnames),
        firsts=pl.Series(firsts),
    )


def _sometimes(rng: Random, chance: float, value: str) -> str:
    return value if rng.random() < chance else ""


def _person(rng: Random, surnames: list[str], firsts: list[str]) -> list[str]:
    credential = rng.choices([c for _, c, _ in SPECIALTIES], [w for _, _, w in SPECIALTIES])[0]
    middle = _sometimes(
        rng, 0.72, rng.choice("ABCDEFGHJKLMNPRSTVW") if rng.random() < 0.6 else rng.choice(firsts)
    )
    prefix, suffix = (
        _sometimes(rng, 0.5, rng.choice(("DR.", "DR.", "MR.", "MRS.", "MS."))),
        _sometimes(rng, 0.03, "JR."),
    )
    made = ["1", "", "", "", rng.choice(surnames), rng.choice(firsts), middle, prefix, suffix]
    made += [_sometimes(rng, 0.9, credential), "", ""]
    other = rng.random() < 0.08
    return made + ([rng.choice(surnames), rng.choice(firsts), "", "", "", "", "1"] if other else [""] * 7)


def _organisation(rng: Random, surnames: list[str]) -> list[str]:
    ending = rng.choice(("LLC", "INC", "P.C.", "PLLC", ", INC.", "GROUP LLC"))
    trade = rng.choice(TRADES)[1].upper()
    name = f"{rng.choice(surnames) if rng.random() < 0.6 else rng.choice(PLACES).upper()} {trade} {ending}"
    other = ("<UNAVAIL>", "6") if rng.random() < 0.45 else ("", "")
    return ["2", "", "<UNAVAIL>", name, *[""] * 6, *other, *[""] * 7]


def _address(rng: Random) -> list[str]:
    street = (
        f"{rng.randrange(1, 19_999)} {rng.choice(_STREETS)}"
        if rng.random() < 0.85
        else f"PO BOX {rng.randrange(9_999)}"
    )
    second = _sometimes(rng, 0.35, f"{rng.choice(('SUITE', 'STE', 'APT', 'UNIT'))} {rng.randrange(1, 999)}")
    if rng.random() < 0.001:
        return [street, second, *rng.choice(FOREIGN)]
    state = rng.choices(list(STATES), list(STATES.values()))[0]
    postal = f"{rng.randrange(10_000, 99_999)}{rng.randrange(10_000):04d}"
    return [
        street,
        second,
        f"{rng.choice(PLACES)} {rng.choice(('', 'city', 'park', 'falls'))}".strip().upper(),
        state,
        postal,
        "US",
    ]


def _taxonomies(rng: Random, codes: Sequence[tuple[str, float]]) -> list[str]:
    """1 to 15 slots; in about one row of seven the primary one is not the first (facts/nppes section 1.3)."""
    draw = rng.random()
    slots = 1 + sum(draw < border for border in (0.28, 0.065, 0.025, 0.014, 0.01, 0.006, 0.004, 0.001))
    chosen = rng.choices([c for c, _ in codes], [w for _, w in codes], k=slots)
    primary = rng.randrange(slots) if rng.random() < 0.98 else -1  # -1: no slot says Y
    state = rng.choice(list(STATES))
    made: list[str] = []
    for i, code in enumerate(chosen):
        licence = rng.choice(("", "ME", "A", "00")) + str(rng.randrange(1_000, 999_999))
        made += [
            code,
            _sometimes(rng, 0.9, licence),
            _sometimes(rng, 0.93, state),
            "Y" if i == primary else "N",
        ]
    return made + [""] * (60 - len(made))


def _identifiers(rng: Random) -> list[str]:
    draw = rng.random()
    count = sum(draw < border for border in (0.15, 0.07, 0.04, 0.025, 0.02, 0.015, 0.01, 0.007, 0.005, 0.003))
    made: list[str] = []
    for _ in range(count):
        kind = rng.choice(("01", "05"))
        issuer = rng.choice(_ISSUERS) if kind == "01" else ""
        made += [str(rng.randrange(10_000, 999_999_999)), kind, rng.choice(list(STATES)), issuer]
    return made + [""] * (200 - len(made))


def _subpart(rng: Random, surnames: list[str]) -> list[str]:
    parent = rng.random() < 0.06
    made = (
        ["", "Y", f"{rng.choice(surnames)} HEALTH SYSTEM INC", "<UNAVAIL>"] if parent else ["", "N", "", ""]
    )
    return [
        *made,
        _sometimes(rng, 0.6, rng.choice(("MR.", "MRS.", "DR."))),
        "",
        _sometimes(rng, 0.3, rng.choice(("M.D.", "RN", "MD"))),
    ]


def _groups(rng: Random) -> list[str]:
    return [_sometimes(rng, 0.2, rng.choice(_GROUPS)), *[""] * 14]
