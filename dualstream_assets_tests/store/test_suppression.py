"""Nobody on the list is ever mailed again: by address, by domain, by a domain above it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dualstream_assets.clock import FixedClock
from dualstream_assets.store.database import Database
from dualstream_assets.store.suppression import Kind, all_suppressed, lift, suppress, suppressed


def put(database: Database, clock: FixedClock, kind: Kind, value: str) -> bool:
    with database.transaction() as connection:
        return suppress(connection, kind, value, "manual", "test", clock.now())


def those(database: Database, *addresses: str) -> set[str]:
    with database.transaction() as connection:
        return suppressed(connection, addresses)


def test_an_address_is_found_and_its_neighbour_is_not(database: Database, clock: FixedClock) -> None:
    assert put(database, clock, "address", "ann@clinic.example")
    assert those(database, "ann@clinic.example", "bob@clinic.example") == {"ann@clinic.example"}


def test_a_domain_covers_its_addresses_and_those_of_subdomains(database: Database, clock: FixedClock) -> None:
    put(database, clock, "domain", "clinic.example")
    covered = {"ann@clinic.example", "ann@mail.clinic.example", "ann@a.b.clinic.example"}
    assert those(database, *covered, "ann@otherclinic.example", "ann@example") == covered


def test_a_subdomain_does_not_cover_the_domain_above_it(database: Database, clock: FixedClock) -> None:
    put(database, clock, "domain", "mail.clinic.example")
    assert those(database, "ann@clinic.example") == set()


def test_a_domain_that_equals_an_address_part_is_no_address(database: Database, clock: FixedClock) -> None:
    put(database, clock, "address", "ann@clinic.example")
    assert those(database, "bob@ann@clinic.example", "x@sub.clinic.example") == set()


def test_upper_case_and_blanks_do_not_let_anyone_slip_through(database: Database, clock: FixedClock) -> None:
    put(database, clock, "address", " Ann@Clinic.EXAMPLE ")
    put(database, clock, "domain", "@Hospital.Example.")
    asked = {"ANN@clinic.example", "ann@clinic.example ", "bob@HOSPITAL.example"}
    assert those(database, *asked) == asked


def test_a_second_entry_changes_nothing_and_says_so(database: Database, clock: FixedClock) -> None:
    assert put(database, clock, "address", "ann@clinic.example")
    with database.transaction() as connection:
        assert not suppress(connection, "address", "ANN@clinic.example", "complaint", "later", clock.now())
        (entry,) = all_suppressed(connection)
    assert (entry.reason, entry.source) == ("manual", "test")


def test_a_lifted_entry_no_longer_counts_and_stays_on_record(database: Database, clock: FixedClock) -> None:
    put(database, clock, "address", "ann@clinic.example")
    with database.transaction() as connection:
        assert lift(connection, "address", "Ann@clinic.example", "asked by phone", clock.now())
        assert not lift(connection, "address", "ann@clinic.example", "again", clock.now())
        assert suppressed(connection, ["ann@clinic.example"]) == set()
        assert all_suppressed(connection) == []
        row = connection.execute("select lifted_reason from suppression").fetchone()
    assert row == ("asked by phone",)
    assert put(database, clock, "address", "ann@clinic.example")


def test_standing_entries_come_oldest_first(database: Database, clock: FixedClock) -> None:
    put(database, clock, "address", "late@clinic.example")
    clock.at -= timedelta(days=1)
    put(database, clock, "domain", "early.example")
    with database.transaction() as connection:
        assert [e.value for e in all_suppressed(connection)] == ["early.example", "late@clinic.example"]


def test_nobody_asked_is_nobody_suppressed(database: Database) -> None:
    assert those(database) == set()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("address", "hospital.example"),
        ("domain", "ann@hospital.example"),
        ("address", "@hospital.example"),
        ("domain", ""),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_without_repeating_it(
    database: Database, clock: FixedClock, kind: Kind, value: str
) -> None:
    with pytest.raises(
        ValueError, match=f"not an? {'address' if kind == 'address' else 'domain'} like"
    ) as refused:
        put(database, clock, kind, value)
    assert not value or value not in str(refused.value)
