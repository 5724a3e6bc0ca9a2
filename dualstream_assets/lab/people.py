"""Made-up people and practices of the pretend world: names, NPIs, registry rows. No real person is in here.

NPIs begin with 2: the standard allows it (45 CFR 162.406), CMS has only ever issued numbers that begin with 1.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import date, timedelta
from importlib import resources
from random import Random

_WORDS = tomllib.loads((resources.files("dualstream_assets.lab") / "words.toml").read_text(encoding="utf-8"))

FIRST_NAMES: tuple[str, ...] = tuple(_WORDS["first_names"])
LAST_NAMES: tuple[str, ...] = tuple(_WORDS["last_names"])
PLACES: tuple[str, ...] = tuple(_WORDS["places"])
TRADES: tuple[tuple[str, str], ...] = (
    ("dental", "Dental"),
    ("family", "Family Medicine"),
    ("therapy", "Therapy Group"),
    ("counseling", "Counseling Center"),
    ("pediatrics", "Pediatrics"),
    ("eyecare", "Eye Care"),
    ("chiro", "Chiropractic"),
    ("podiatry", "Podiatry"),
    ("pt", "Physical Therapy"),
    ("womenshealth", "Women's Health"),
    ("ortho", "Orthopaedics"),
    ("internal", "Internal Medicine"),
    ("behavioral", "Behavioral Health"),
    ("speech", "Speech and Language"),
    ("homecare", "Home Care"),
    ("clinic", "Clinic"),
)
SPECIALTIES: tuple[tuple[str, str, str], ...] = (
    ("207R00000X", "M.D.", "Internal Medicine"),
    ("207Q00000X", "MD", "Family Practice"),
    ("122300000X", "DDS", "Dentist"),
    ("152W00000X", "O.D.", "Optometry"),
    ("363L00000X", "FNP-C", "Nurse Practitioner"),
    ("101YM0800X", "LMHC", "Mental Health Counselor"),
    ("1041C0700X", "LCSW", "Clinical Social Worker"),
    ("225100000X", "DPT", "Physical Therapist In Private Practice"),
    ("111N00000X", "D.C.", "Chiropractic"),
    ("213E00000X", "DPM", "Podiatry"),
)
"""(taxonomy code, credential, Medicare enrolment specialty) of a person."""
ORGANISATION_SPECIALTY = ("261QM1300X", "", "Clinic/Group Practice")
CITIES: tuple[tuple[str, str, str], ...] = (
    ("SPRINGFIELD", "TX", "75001"),
    ("FAIRVIEW", "NY", "10901"),
    ("GREENVILLE", "FL", "32331"),
    ("BRISTOL", "PA", "19007"),
    ("CLINTON", "CA", "93612"),
    ("MARION", "OH", "43302"),
    ("FRANKLIN", "TN", "37064"),
    ("SALEM", "IN", "47167"),
    ("MADISON", "NC", "27025"),
    ("ASHLAND", "NJ", "08003"),
    ("GEORGETOWN", "KY", "40324"),
    ("SANTA ISABEL", "PR", "00757"),
)
"""(city, state, five digits of the postal code)."""


def luhn_check_digit(nine: str) -> str:
    """The tenth digit of an NPI: Luhn over `80840` and the first nine digits (45 CFR 162.406, ISO/IEC 7812)."""
    total = 0
    for position, digit in enumerate(reversed("80840" + nine)):
        value = int(digit) * (2 if position % 2 == 0 else 1)
        total += value - 9 if value > 9 else value  # noqa: PLR2004
    return str(-total % 10)


class Npis:
    """Hands out NPIs of one world: unique, valid, in no visible order."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._given: set[str] = set()

    def next(self) -> str:
        """A new NPI."""
        while True:
            nine = f"2{self._rng.randrange(10**8):08d}"
            if nine not in self._given:
                self._given.add(nine)
                return nine + luhn_check_digit(nine)


@dataclass(frozen=True)
class Provider:
    """One row of npidata: a person or an organisation.

    Attributes:
        taxonomies: (code, primary switch) of the slots in order; the primary is not always the first.
        blank: a deactivated row, of which CMS leaves only NPI and deactivation date.
    """

    npi: str
    organisation: str
    first_name: str
    last_name: str
    credential: str
    specialty: str
    taxonomies: tuple[tuple[str, str], ...]
    street: str
    city: str
    state: str
    postal: str
    phone: str
    enumerated: date
    updated: date
    deactivated: date | None = None
    reactivated: date | None = None
    blank: bool = False

    @property
    def is_person(self) -> bool:
        """Entity type 1."""
        return not self.organisation

    @property
    def name(self) -> str:
        """As a letter would address it."""
        return self.organisation or f"{self.first_name} {self.last_name}"


def made_provider(rng: Random, npis: Npis, release_day: date, organisation: str = "") -> Provider:
    """A provider; with `organisation` an organisation of that legal name."""
    code, credential, specialty = ORGANISATION_SPECIALTY if organisation else rng.choice(SPECIALTIES)
    slots = [(code, "Y")]
    if rng.random() < 0.28:  # noqa: PLR2004  # facts: 28 % fill a second slot
        other = rng.choice([c for c, _, _ in SPECIALTIES if c != code])
        slots = [(other, "N"), (code, "Y")] if rng.random() < 0.3 else [(code, "Y"), (other, "N")]  # noqa: PLR2004
    city, state, postal = rng.choice(CITIES)
    enumerated = release_day - timedelta(days=rng.randrange(400, 6500))
    return Provider(
        npi=npis.next(),
        organisation=organisation,
        first_name="" if organisation else rng.choice(FIRST_NAMES),
        last_name="" if organisation else rng.choice(LAST_NAMES),
        credential=credential,
        specialty=specialty,
        taxonomies=tuple(slots),
        street=f"{rng.randrange(1, 9900)} MAIN ST",
        city=city,
        state=state,
        postal=f"{postal}{rng.randrange(10000):04d}",
        phone=f"{rng.choice(('212', '303', '404', '512', '614'))}55501{rng.randrange(100):02d}",
        enumerated=enumerated,
        updated=enumerated + timedelta(days=rng.randrange(0, 390)),
    )


def practice_names(count: int) -> list[tuple[str, str]]:
    """`count` (domain label, legal name) of practices, all different, the same list every time."""
    made = []
    round_ = 0
    while len(made) < count:
        for shift in range(len(TRADES)):
            for i, place in enumerate(PLACES):
                label, trade = TRADES[(i + shift) % len(TRADES)]
                number = "" if round_ == 0 else str(round_ + 1)
                made.append(
                    (
                        f"{place}{number}-{label}",
                        f"{place.title()} {trade}{' ' + number if number else ''} LLC",
                    )
                )
        round_ += 1
    return made[:count]


def asciified(name: str) -> str:
    """A name as the left side of an address."""
    return name.lower().replace("ñ", "n").replace("'", "")
