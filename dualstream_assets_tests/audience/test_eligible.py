"""Where a practice must be: what the release does not say is not taken for the United States."""

from datetime import date

import polars as pl
import pytest

from dualstream_assets.audience.eligible import US_COUNTRIES, US_STATES, eligibility
from dualstream_assets.registry.medicare import EXCLUSION_COLUMNS
from dualstream_assets.registry.providers import COLUMNS
from dualstream_assets.registry.shelf import ListTables

NPI = "1003000126"
KINDS = {"date": pl.Date, "bool": pl.Boolean, "string": pl.String, "int": pl.Int64}
NO_LISTS = ListTables(
    None, pl.LazyFrame(schema={name: KINDS[kind] for name, kind, _ in EXCLUSION_COLUMNS}), {}
)


def block(country: str | None, state: str | None) -> tuple[str | None, str | None]:
    """What keeps an active person at such an address out, and the evidence."""
    values = {"npi": NPI, "entity_type": "person", "deactivated": False, "state": state, "country": country}
    providers = pl.DataFrame(
        [[values.get(name)] for name, _, _ in COLUMNS],
        schema={name: KINDS[kind] for name, kind, _ in COLUMNS},
    ).with_columns(pl.col("state", "country").cast(pl.Categorical))
    row = eligibility(providers, pl.Series("npi", [NPI]), NO_LISTS, date(2026, 11, 30)).row(0, named=True)
    return row["block"], row["block_evidence"]


@pytest.mark.parametrize("state", [*sorted(US_STATES), "ny", " NY ", "New York", "PUERTO RICO", "AE"])
@pytest.mark.parametrize("country", ["US", "us", None])
def test_a_state_of_ours_is_domestic_by_code_and_by_name(country: str | None, state: str) -> None:
    assert block(country, state) == (None, None)


@pytest.mark.parametrize(
    ("country", "state"), [("US", None), *((code, "SAN JUAN") for code in sorted(US_COUNTRIES - {"US"}))]
)
def test_a_country_that_is_ours_may_lack_a_state_and_a_territory_may_name_anything(
    country: str, state: str | None
) -> None:
    assert block(country, state)[0] is None


@pytest.mark.parametrize(
    ("country", "state", "reason", "evidence"),
    [
        (None, None, "practice-unknown", "country not stated, state not stated"),
        ("US", "ONTARIO", "practice-unknown", "country US, state ONTARIO"),
        ("US", "XX", "practice-unknown", "country US, state XX"),
        ("US", "ZZ", "practice-unknown", "country US, state ZZ"),
        (None, "BAVARIA", "foreign-practice", "country not stated, state BAVARIA"),
        ("CA", "ON", "foreign-practice", "country CA, state ON"),
        ("CA", "NY", "foreign-practice", "country CA, state NY"),
        ("MX", None, "foreign-practice", "country MX, state not stated"),
    ],
)
def test_what_is_not_known_to_be_here_is_out(
    country: str | None, state: str | None, reason: str, evidence: str
) -> None:
    assert block(country, state) == (reason, evidence)
