"""Waves on the real ledger: released with a permit, once; refused; cut off and recovered; opted out and left out."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from dualstream_assets.sending import ledger
from dualstream_assets.sending.gate import GateShut, mint
from dualstream_assets.sending.ledger import LedgerRefused
from dualstream_assets.sending.optouts import sync
from dualstream_assets.sending.waves import WaveFailed, plan_next, release_wave
from dualstream_assets.store.evidence import Subject, Verdict, record
from dualstream_assets.store.permit import PermitRefused
from dualstream_assets.store.suppression import suppress
from dualstream_assets_tests.sending import fakes
from dualstream_assets_tests.sending.conftest import Desk, reserved


def test_planning_sends_nothing_and_writes_nothing(desk: Desk) -> None:
    plan = plan_next(desk.sender)
    assert plan.headline.startswith("PLANNED, nothing sent: a wave of 6 people")
    assert desk.states() == {}
    assert desk.listmonk.dispatch() == []


def test_a_tick_that_may_not_act_only_plans(desk: Desk) -> None:
    from dualstream_assets.sending.tick import run_tick

    result = run_tick(desk.sender, fakes.ports(desk.listmonk, desk.other), act=False)
    assert (result.outcome, result.headline[:21]) == ("nothing", "PLANNED, nothing sent")
    assert desk.states() == {}


def test_a_tick_releases_the_longest_overdue_first(desk: Desk) -> None:
    result = desk.tick()
    assert result.headline == f"RELEASED wave {result.wave_id}: 6 people"
    sent = [address for _, address in desk.listmonk.dispatch()]
    assert sorted(sent) == sorted(desk.people[:6])


def test_a_wave_is_handed_over_when_the_log_accounts_for_everybody_and_then_settled(desk: Desk) -> None:
    first = desk.tick()
    desk.deliver()
    desk.minute()
    second = desk.tick()
    assert second.settled.handed_over == (first.wave_id,)
    assert second.settled.settled == (first.wave_id,)
    assert desk.states() == {"delivered": 6}


def test_deferred_mail_is_handed_over_and_blocks_nothing(desk: Desk) -> None:
    first = desk.tick()
    desk.mta.take(desk.listmonk.dispatch(), status="deferred")
    desk.minute(6)
    second = desk.tick()
    assert second.settled.handed_over == (first.wave_id,)
    assert second.settled.settled == ()
    assert second.outcome == "released"


def test_the_next_wave_waits_six_minutes_and_for_the_last_one(desk: Desk) -> None:
    desk.tick()
    desk.minute()
    assert "being dispatched" in desk.tick().headline
    desk.deliver()
    desk.minute()
    assert "six minutes" in desk.tick().headline
    desk.minute(5)
    assert desk.tick().outcome == "released"


def test_cap_reached_plans_zero_and_says_so(desk: Desk) -> None:
    for _ in range(10):
        assert desk.tick().outcome == "released"
        desk.deliver()
        desk.minute(5.9)
        assert desk.tick().outcome == "nothing"
        desk.minute(0.1)
    assert desk.tick().headline == (
        "PLANNED, nothing sent: no wave now: cap reached: 60 of 60 in the last hour"
    )


def test_what_others_send_on_the_stream_leaves_less_for_us(desk: Desk) -> None:
    desk.mta.others(56, "healthcare")
    assert desk.tick().people == 4


def test_mail_delivered_late_counts_again_in_the_hour_in_which_it_arrives(desk: Desk) -> None:
    for _ in range(9):
        desk.tick()
        desk.mta.take(desk.listmonk.dispatch(), status="deferred")
        desk.minute(6)
    desk.minute(70)
    assert desk.mta.deliver_deferred() == 54
    desk.minute()
    result = desk.tick()
    assert result.plan is not None
    assert result.plan.units.own_hour == 54
    assert result.people == 6


def test_queued_mail_is_in_flight_until_it_is_final(desk: Desk) -> None:
    for _ in range(9):
        desk.tick()
        desk.mta.take(desk.listmonk.dispatch(), status="deferred")
        desk.minute(6)
    desk.minute(70)
    plan = plan_next(desk.sender)
    assert (plan.units.own_hour, plan.units.own_in_flight) == (0, 54)


def test_a_red_fact_refuses_and_nobody_is_taken(desk: Desk) -> None:
    with desk.database.transaction() as connection:
        subject = Subject("healthcare", "127.124.0.107", "fcrdns")
        record(connection, subject, Verdict.FAIL, "no PTR", "t", desk.clock.now(), timedelta(days=1))
    result = desk.tick()
    assert result.outcome == "refused"
    assert result.headline.startswith(
        "PLANNED, nothing sent: healthcare: gate shut: 127.124.0.107 fcrdns: fail: no PTR. Next: dagster asset"
    )
    assert desk.states() == {}


def test_a_gate_that_shuts_between_the_plan_and_the_permit_gives_everybody_back(desk: Desk) -> None:
    from dataclasses import replace

    looks: list[list[tuple[str, str]]] = [[("127.124.0.107", "PTR vanished")], []]
    sender = replace(desk.sender, relook=lambda _stream: looks.pop())
    with pytest.raises(GateShut, match="PTR vanished"):
        release_wave(sender, plan_next(sender))
    assert desk.states() == {"not_sent": 6}
    assert desk.tick().people == 6


def test_a_permit_for_another_wave_does_not_start_this_one(desk: Desk) -> None:
    wave, prepared = reserved(desk)
    with desk.database.transaction() as connection:
        connection.execute(
            "insert into wave (id, stream, campaign, local_date, state, size, cap_per_hour, cap_per_day, members_hash,"
            " planned_at) overriding system value values (999, 'healthcare', 'c', '2026-11-30', 'settled', 1, 1, 1,"
            " 'x', now())"
        )
        permit = mint(
            connection,
            desk.estate,
            "healthcare",
            desk.clock.now(),
            kind="wave",
            wave_id=999,
            members_hash=wave.members_hash,
            environment="lab",
        )
    with pytest.raises(PermitRefused):
        desk.listmonk.start(wave, permit, prepared)
    assert desk.listmonk.dispatch() == []


def test_a_permit_that_nobody_minted_does_not_start_a_wave(desk: Desk) -> None:
    wave, prepared = reserved(desk)
    with pytest.raises(PermitRefused):
        desk.listmonk.start(wave, 4711, prepared)


def test_two_plans_made_at_once_make_one_wave(desk: Desk) -> None:
    one, other = plan_next(desk.sender), plan_next(desk.sender)
    with desk.database.transaction() as connection:
        ledger.reserve(connection, one)
    with desk.database.transaction() as connection, pytest.raises(LedgerRefused, match="one wave at a time"):
        ledger.reserve(connection, other)
    assert desk.states() == {"reserved": 6}


def test_a_person_cannot_be_in_one_campaign_twice_and_the_refusal_names_no_address(desk: Desk) -> None:
    plan = plan_next(desk.sender)
    with desk.database.transaction() as connection:
        first = ledger.reserve(connection, plan)
        connection.execute("update wave set state = 'settled' where id = %s", (first.id,))
    with desk.database.transaction() as connection, pytest.raises(LedgerRefused) as refused:
        ledger.reserve(connection, plan)
    assert "@" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_somebody_who_opted_out_is_absent_from_the_next_wave(desk: Desk) -> None:
    desk.tick()
    desk.deliver()
    leaver = desk.people[6]
    desk.other.opt_out(leaver)  # told to the *other* stream's listmonk
    desk.minute(6)
    desk.tick()
    sent = [address for _, address in desk.listmonk.dispatch()]
    assert len(sent) == 6
    assert leaver not in sent
    assert leaver in desk.listmonk._read()["blocklisted"]


@pytest.mark.parametrize("kind", ["address", "domain"])
def test_what_a_person_entered_by_hand_is_left_out(desk: Desk, kind: str) -> None:
    leaver = desk.people[0]
    value = leaver if kind == "address" else leaver.partition("@")[2]
    with desk.database.transaction() as connection:
        suppress(connection, kind, value, "manual", "phone", desk.clock.now())  # type: ignore[arg-type]
    desk.tick()
    assert leaver not in [address for _, address in desk.listmonk.dispatch()]


def test_a_dead_mailbox_is_suppressed_before_the_next_wave(desk: Desk) -> None:
    desk.tick()
    desk.mta.take(desk.listmonk.dispatch(), status="bounced", enhanced_code="5.1.1")
    desk.minute()
    found = sync(desk.database, desk.clock, desk.estate, fakes.ports(desk.listmonk, desk.other))
    assert found.added == {"hard_bounce": 6}
    assert found.pushed == {"healthcare": 6, "trucking": 6}


def test_a_block_is_no_dead_mailbox(desk: Desk) -> None:
    desk.tick()
    desk.mta.take(desk.listmonk.dispatch(), status="bounced", enhanced_code="5.7.1")
    found = sync(desk.database, desk.clock, desk.estate, fakes.ports(desk.listmonk, desk.other))
    assert found.added == {}


def test_a_listmonk_that_does_not_answer_leaves_the_opt_outs_unknown_and_the_gate_shut(desk: Desk) -> None:
    desk.other.path.unlink()
    result = desk.tick()
    assert result.outcome == "refused"
    assert "suppression suppression_synced: unknown" in result.headline
    assert desk.states() == {}


def test_consumer_operated_domains_never_ride_the_hot_stream(desk: Desk) -> None:
    fakes.write_stock(desk.folder / "audience", 30, operators=["yahoo", "outlook_com", "google"])
    plan = plan_next(desk.sender)
    assert {person.operator for person in plan.people} == {"google"}


def test_a_domain_that_moved_to_a_consumer_operator_is_left_out(desk: Desk) -> None:
    from dataclasses import replace

    moved = desk.people[0].partition("@")[2]
    lost = desk.people[1].partition("@")[2]
    sender = replace(
        desk.sender,
        resolve=lambda domains: {
            d: "yahoo" if d == moved else None if d == lost else "google" for d in domains
        },
    )
    assert [p.address for p in plan_next(sender).people] == desk.people[2:8]


def test_the_consumer_stream_takes_the_consumer_file(desk: Desk) -> None:
    fakes.write_stock(desk.folder / "audience", 30, segment="consumer")
    fakes.make_green(desk.database, desk.clock, desk.estate, "trucking")
    sender = fakes.sender_for(
        desk.database, desk.clock, desk.estate, desk.folder, desk.other, stream="trucking"
    )
    share = desk.estate.streams["trucking"].share
    assert len(plan_next(sender).people) == 10 * share == 5  # a tenth of 100/h, of which half is ours


def test_without_a_file_the_next_command_is_named(desk: Desk) -> None:
    (desk.folder / "audience" / "npi_healthcare_institutional_verified.csv").unlink()
    result = desk.tick()
    assert result.outcome == "failed"
    assert "dagster asset materialize --select '+verification/verified_institutional'" in result.headline


def test_people_who_are_not_in_listmonk_are_given_back(desk: Desk) -> None:
    desk.listmonk.push(desk.people[:1])  # blocklisted there, unknown to us
    with pytest.raises(WaveFailed, match="1 of 6 cannot be listed"):
        release_wave(desk.sender, plan_next(desk.sender))
    assert desk.states() == {"not_sent": 6}


def test_two_virtual_days_on_the_real_ledger_fill_the_day_cap_and_break_no_hour(desk: Desk) -> None:
    """Six-minute ticks from 08:00 to the end of the window, deliveries at once: 150 a day at 60 an hour."""
    people = fakes.write_stock(desk.folder / "audience", 400)
    per_day: Counter[str] = Counter()
    desk.clock.sleep(-3600)
    for _ in range(2):
        minute = 0
        while minute < 630:
            result = desk.tick()
            per_day[str(result.at.date())] += result.people
            desk.deliver()
            step = 30 if "day cap reached" in result.headline else 6
            desk.minute(step)
            minute += step
        desk.minute(24 * 60 - minute)
    assert list(per_day.values()) == [150, 150]
    times = sorted(at for _, _, at in desk.mta.handed)
    most = max(sum(1 for t in times[n:] if t < times[n] + timedelta(hours=1)) for n in range(len(times)))
    assert most <= 60
    assert Counter(a for _, a, _ in desk.mta.handed) == Counter(people[:300])
