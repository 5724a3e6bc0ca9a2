"""What the pretend world's providers filed with the registry: endpoint rows, with every fault that real ones have.

Each row carries the addresses it really states (`EndpointRow.addresses`), so the truth never depends on a parser.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import islice
from random import Random

from dualstream_assets.lab.mailboxes import Mailbox, MailDomain, Nature
from dualstream_assets.lab.people import Npis, Provider, made_provider

TYPE_DESCRIPTIONS = {
    "DIRECT": "Direct Messaging Address",
    "CONNECT": "CONNECT URL",
    "FHIR": "FHIR URL",
    "SOAP": "SOAP URL",
    "OTHERS": "Other URL",
}
HISP_SUFFIXES = (
    "direct.{practice}.test",
    "{number}.direct.athenahealth.com",
    "direct.{practice}.nextgenshare.com",
    "{practice}.updox.com",
    "{practice}.allscriptsdirect.net",
    "{practice}.eclinicaldirectplus.com",
    "{practice}.medicity.net",
    "{practice}.surescripts.net",
    "{practice}.maxmddirect.com",
    "hisp.{practice}.test",
)
"""Direct addresses of this world: known HISP suffixes and labels (facts/nppes section 4)."""
JUNK: tuple[tuple[str, str], ...] = (
    ("CONNECT", "https://connect.lab-exchange.test:8291/Gateway/DocumentSubmission/2_0/XDRRequest_Service"),
    ("FHIR", "HTTPS://FHIR.LAB-EXCHANGE.TEST/R4"),
    ("FHIR", "https://fhir.lab-exchange.test/r4/metadata"),
    ("CONNECT", "www.lab-practice.test"),
    ("OTHERS", "lab-practice.test"),
    ("OTHERS", "Salisbury"),
    ("CONNECT", "6145550142"),
    ("CONNECT", "(614) 555-0142"),
    ("OTHERS", "N/A"),
    ("DIRECT", "n/a"),
    ("SOAP", "192.168.1,104"),
    ("CONNECT", "epic"),
    ("DIRECT", ""),
    ("DIRECT", "?"),
    ("OTHERS", "email"),
    ("CONNECT", "CONNECTURL"),
)
UNUSABLE = ("office..desk@lab-practice.test", "front@@lab-practice.test", "info@", "@lab-practice.test")
"""Endpoints that hold an `@` and are no address."""


@dataclass(frozen=True)
class EndpointRow:
    """One row of endpoint_pfile.

    Attributes:
        addresses: the addresses that the row really states, lower case.
        nested_quote: write the description with inner, unescaped double quotes, as the real file does now and then.
    """

    npi: str
    type: str
    endpoint: str
    addresses: tuple[str, ...]
    description: str = ""
    affiliation: str = "N"
    affiliation_name: str = ""
    use: tuple[str, str] = ("", "")
    content: tuple[str, str] = ("", "")
    street: str = ""
    city: str = ""
    state: str = ""
    postal: str = ""
    nested_quote: bool = False


@dataclass(frozen=True)
class Filings:
    """Everything filed: the providers, their endpoint rows, and addresses that only the registry knows."""

    providers: tuple[Provider, ...]
    rows: tuple[EndpointRow, ...]
    direct: frozenset[str]
    review: frozenset[str]
    typos: frozenset[str]
    giants: frozenset[str]


def file_all(
    rng: Random,
    domains: Sequence[MailDomain],
    practices: Sequence[Mailbox],
    consumers: Sequence[Mailbox],
    release_day: date,
) -> Filings:
    """Give every mailbox a provider and an endpoint row, and add what else a registry holds."""
    npis = Npis(rng)
    owner_of = {d.name: d.owner for d in domains}
    providers: list[Provider] = []
    rows: list[EndpointRow] = []

    def register(organisation: str = "") -> Provider:
        providers.append(made_provider(rng, npis, release_day, organisation))
        return providers[-1]

    for box in practices:
        local = box.address.split("@")[0]
        is_role = "." not in local and rng.random() < 0.2  # noqa: PLR2004  # facts: 20 % organisations
        provider = register(owner_of[box.domain] if is_role else "")
        rows.append(_row(rng, provider, box.address, (0.62, 0.18, 0.185, 0.015), owner_of[box.domain]))
    rows = _soiled(rng, rows, domains)
    rows += _shared(rng, rows, practices, register)
    consumer_rows = [_row(rng, register(), box.address, (0.45, 0.27, 0.27, 0.01)) for box in consumers]
    if consumer_rows:  # upper case, as people type it
        consumer_rows[0] = replace(consumer_rows[0], endpoint=consumer_rows[0].endpoint.upper())
    rows += consumer_rows

    count = len(domains)
    direct = _direct_addresses(rng, max(10, count // 2))
    rows += [_row(rng, register(), address, (1.0, 0.0, 0.0, 0.0)) for address in direct]
    friend = next((d.name for d in domains if d.name == "mobilecaredirect.test"), None)
    review = (f"kmorgan28953@{friend}",) if friend else ()
    typos = (f"office@{domains[-1].name.removesuffix('.test')}.con", "lab.npi-9001@gmail.con")
    giants = ("lab.nurse-0001@va.gov", "lab.pharmacist-0001@cvshealth.com")
    rows += [_row(rng, register(), a, (0.5, 0.3, 0.2, 0.0)) for a in (*review, *typos, *giants)]
    for i in range(max(len(JUNK), count // 3)):
        kind, text = JUNK[i % len(JUNK)]
        rows.append(replace(_row(rng, register(), text, (1.0, 0.0, 0.0, 0.0)), type=kind, addresses=()))
    rows += [replace(_row(rng, register(), text, (1.0, 0.0, 0.0, 0.0)), addresses=()) for text in UNUSABLE]
    rows += [rows[i] for i in rng.sample(range(len(rows)), round(len(rows) * 0.05))]  # exact repeats
    for _ in range(count // 8):  # providers without any endpoint
        register()
    rng.shuffle(rows)
    providers.sort(key=lambda p: p.npi)
    return Filings(
        tuple(providers),
        tuple(rows),
        frozenset(direct),
        frozenset(review),
        frozenset(typos),
        frozenset(giants),
    )


def _row(
    rng: Random,
    provider: Provider,
    address: str,
    chances: tuple[float, float, float, float],
    practice: str = "",
) -> EndpointRow:
    """A clean row; `chances` are those of DIRECT, CONNECT, OTHERS and SOAP."""
    coded = rng.random() < 0.3  # noqa: PLR2004
    return EndpointRow(
        npi=provider.npi,
        type=rng.choices(("DIRECT", "CONNECT", "OTHERS", "SOAP"), chances)[0],
        endpoint=address,
        addresses=(address,),
        description=rng.choice(("", "", "", "Email", "office email", "main mailbox")),
        affiliation="Y" if practice and rng.random() < 0.25 else "N",  # noqa: PLR2004
        affiliation_name="",
        use=rng.choice((("HIE", "Health Information Exchange (HIE)"), ("OTHER", "Other")))
        if coded
        else ("", ""),
        content=rng.choice((("CSV", "CSV"), ("OTHER", "Other"))) if coded else ("", ""),
        street=provider.street.title(),
        city=provider.city.title(),
        state=provider.state,
        postal=provider.postal,
    )


def _soiled(rng: Random, rows: list[EndpointRow], domains: Sequence[MailDomain]) -> list[EndpointRow]:
    """Dirt the rows at the rates of facts/nppes section 7.2, each kind at least once. The addresses stay the same."""
    order = rng.sample(range(len(rows)), len(rows))
    ordinary = {d.name for d in domains if d.nature is Nature.ORDINARY}
    queue = iter([i for i in order if rows[i].addresses[0].split("@")[1] in ordinary])
    made = list(rows)

    def some(share: float) -> list[int]:
        return list(islice(queue, max(1, round(len(rows) * share))))

    for i in some(0.10):
        made[i] = replace(made[i], endpoint=made[i].endpoint.title())
    for i in some(0.02):
        made[i] = replace(made[i], endpoint=made[i].endpoint.upper())
    for i in some(0.01):
        made[i] = replace(made[i], endpoint=f" {made[i].endpoint} ")
    for i in some(0.005):
        made[i] = replace(made[i], endpoint=f"mailto:{made[i].endpoint}")
    for i in some(0.005):
        made[i] = replace(made[i], endpoint=f"{made[i].endpoint}.")
    for i in some(0.005):
        made[i] = replace(made[i], endpoint="Email", description=made[i].endpoint)
    for i in some(0.002):
        made[i] = replace(made[i], description='call "front desk" first', nested_quote=True)
    for number, i in enumerate(some(0.005)):  # two addresses in one field: the second is another row's too
        other = next(queue, None)
        if other is not None:
            both = made[i].endpoint + ("; ", ", ", " / ")[number % 3] + made[other].addresses[0]
            made[i] = replace(made[i], endpoint=both, addresses=made[i].addresses + made[other].addresses)
    return made


def _shared(
    rng: Random, rows: list[EndpointRow], practices: Sequence[Mailbox], register: Callable[[], Provider]
) -> list[EndpointRow]:
    """One mailbox on several NPIs: in about one practice in eight, as one front desk serves all its clinicians."""
    row_of = {row.addresses[0]: row for row in rows}
    picked = rng.sample(range(len(practices)), max(1, len(practices) // 16))
    made = []
    for i in picked:
        first = row_of[practices[i].address]
        for _ in range(rng.randrange(1, 5)):
            local, domain = first.addresses[0].split("@")
            spelt = f"{local.capitalize()}@{domain}" if rng.random() < 0.3 else first.addresses[0]  # noqa: PLR2004
            made.append(
                replace(_row(rng, register(), first.addresses[0], (0.62, 0.18, 0.185, 0.015)), endpoint=spelt)
            )
    return made


def _direct_addresses(rng: Random, count: int) -> list[str]:
    made = []
    for i in range(count):
        suffix = HISP_SUFFIXES[i % len(HISP_SUFFIXES)]
        domain = suffix.format(practice=f"lab-practice{i % 17}", number=rng.randrange(10000, 99999))
        made.append(f"lab.dr-{i + 1:04d}@{domain}")
    return made
