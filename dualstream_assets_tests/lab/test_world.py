"""One seed, one world; and the truth in it adds up."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from dualstream_assets.lab.lists import revalidation_status
from dualstream_assets.lab.mailboxes import FALSE_FRIENDS
from dualstream_assets.lab.operators import OPERATORS
from dualstream_assets.lab.people import luhn_check_digit
from dualstream_assets.lab.world import MailboxTruth, Nature, World
from dualstream_assets.receivers.operators import CONSUMER_OPERATORS, operator_of
from dualstream_assets_tests.lab.small_world import SEED, estate_of_lab, small_world


@pytest.fixture(scope="module")
def full() -> World:
    return small_world(domains=320)


def test_the_same_seed_gives_the_same_world() -> None:
    assert small_world() == small_world()


def test_another_seed_gives_another_world() -> None:
    assert small_world().mailboxes != small_world(seed=SEED + 1).mailboxes


def test_a_world_does_not_depend_on_the_process_that_builds_it() -> None:
    code = (
        "from dualstream_assets_tests.lab.small_world import small_world\n"
        "from hashlib import sha256\n"
        "w = small_world()\n"
        "print(sha256(repr((w.domains, w.mailboxes, w.rows, w.lists, sorted(w.opts_out))).encode()).hexdigest())"
    )
    prints = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(__file__).parents[2])},
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(prints) == 1


def test_the_example_of_an_npi_has_its_known_check_digit() -> None:
    assert luhn_check_digit("123456789") == "3"  # 45 CFR 162.406: 1234567893


def test_every_npi_is_unique_and_passes_the_luhn_test(full: World) -> None:
    npis = [p.npi for p in full.providers]
    assert len(npis) == len(set(npis))
    assert all(len(n) == 10 and luhn_check_digit(n[:9]) == n[9] for n in npis)


def test_no_npi_can_be_a_real_persons(full: World) -> None:
    assert all(p.npi.startswith("2") for p in full.providers)


def test_every_row_belongs_to_a_provider(full: World) -> None:
    assert {row.npi for row in full.rows} <= {p.npi for p in full.providers}


def test_the_institutional_addresses_have_the_declared_mix(full: World) -> None:
    institutional = [e for e in full.expected.values() if e.segment == "institutional"]
    share = Counter(e.truth for e in institutional)
    assert 550 <= len(institutional) <= 620
    for truth, low, high in (
        (MailboxTruth.VALID, 0.62, 0.78),
        (MailboxTruth.DEAD, 0.07, 0.09),
        (MailboxTruth.FULL, 0.02, 0.04),
        (MailboxTruth.GREYLISTED, 0.03, 0.09),
        (MailboxTruth.BLOCKED, 0.015, 0.04),
        (MailboxTruth.ACCEPT_ALL, 0.06, 0.14),
    ):
        assert low <= share[truth] / len(institutional) <= high, truth


@pytest.mark.parametrize("domains", [24, 80, 320])
def test_every_nature_of_a_domain_occurs(domains: int) -> None:
    assert {d.nature for d in small_world(domains=domains).domains} == set(Nature)


def test_the_smallest_allowed_world_can_be_built() -> None:
    assert small_world(domains=10).counts()["institutional"] > 0


def test_a_third_of_the_practices_have_several_mailboxes(full: World) -> None:
    practices = {d.name for d in full.domains if d.owner}
    sizes = Counter(m.domain for m in full.mailboxes if m.domain in practices)
    assert 0.33 <= sum(1 for n in sizes.values() if n > 1) / len(practices) <= 0.37


def test_addresses_of_dropped_providers_are_expected_to_be_dropped(full: World) -> None:
    for npi, reason in full.lists.dropped.items():
        for row in full.rows:
            if row.npi == npi:
                for address in row.addresses:
                    assert full.expected[address].segment == "dropped"
                    assert full.expected[address].dropped is reason


def test_reactivated_and_opted_out_providers_stay(full: World) -> None:
    reactivated = [p.npi for p in full.providers if p.reactivated]
    opted_out = [npi for npi, _, _ in full.lists.opted_out]
    assert reactivated
    assert opted_out
    assert not {*reactivated, *opted_out} & set(full.lists.dropped)


def test_practice_names_with_direct_in_them_are_institutional(full: World) -> None:
    friends = {f"{label}.test" for label, _ in FALSE_FRIENDS}
    segments = {
        e.segment
        for a, e in full.expected.items()
        if a.split("@")[1] in friends and not e.dropped and a not in full.review
    }
    assert segments == {"institutional"}


def test_a_mailbox_can_be_filed_by_several_providers(full: World) -> None:
    assert max(len(e.npis) for e in full.expected.values()) >= 3


def test_revalidation_dates_are_as_often_overdue_as_in_the_real_list(full: World) -> None:
    today = full.epoch.date()
    each = Counter(revalidation_status([e], today) for e in full.lists.enrolments)
    dated = each["overdue"] + each["due_soon"] + each["due_later"]
    assert 0.35 <= each["tbd"] / len(full.lists.enrolments) <= 0.45
    assert 0.78 <= each["overdue"] / dated <= 0.88


def test_truckers_are_consumers_who_are_in_no_release(full: World) -> None:
    assert len(full.truckers) == 200
    assert not {t.email for t in full.truckers} & set(full.expected)
    assert {full.domain_of[t.email.split("@")[1]].owner for t in full.truckers} == {""}


def test_those_who_opt_out_take_mail_and_are_on_both_streams(full: World) -> None:
    assert 20 <= len(full.opts_out) <= 30
    assert all(full.mailbox_of[a].takes_mail for a in full.opts_out)
    institutional = {
        a for a in full.opts_out if a in full.expected and full.expected[a].segment == "institutional"
    }
    truckers = {t.email for t in full.truckers}
    assert institutional
    assert full.opts_out & truckers


def test_the_estates_seed_mailboxes_exist() -> None:
    world, estate = small_world(), estate_of_lab()
    assert {m.address for m in world.mailboxes if m.is_seed} == set(estate.seeds)
    assert {world.domain_of[s.split("@")[1]].operator for s in estate.seeds} == {"google", "microsoft"}


def test_consumer_mailboxes_are_made_up(full: World) -> None:
    consumer_run = {name for o in OPERATORS for name in o.consumer_domains}
    assert all(m.address.startswith("lab.") for m in full.mailboxes if m.domain in consumer_run)


def test_every_name_of_a_mail_host_has_one_address(full: World) -> None:
    address_of: dict[str, str | None] = {}
    for domain in full.domains:
        for host in domain.mx:
            assert address_of.setdefault(host.name, host.address) == host.address


def test_the_operator_of_every_domain_is_recognised_by_its_mail_hosts(full: World) -> None:
    found = {d.name: operator_of([h.name for h in d.hosts]) for d in full.domains if d.hosts}
    assert found == {d.name: d.operator for d in full.domains if d.hosts}


def test_practices_at_consumer_operators_are_recognised_as_such(full: World) -> None:
    run_by_consumers = {d.name for d in full.domains if d.owner and d.operator in CONSUMER_OPERATORS}
    assert run_by_consumers == {d.name for d in full.domains if d.nature is Nature.CONSUMER_RUN}
