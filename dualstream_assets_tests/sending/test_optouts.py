"""Opt-outs between two listmonks and us: everybody knows everything, and what could not be asked is unknown."""

from __future__ import annotations

from dualstream_assets.sending.engagement import Counted, engagement
from dualstream_assets.sending.optouts import look, pull_only, standing, sync
from dualstream_assets.store.evidence import Verdict
from dualstream_assets.store.suppression import suppress
from dualstream_assets_tests.sending import fakes
from dualstream_assets_tests.sending.conftest import Desk

LEAVER = "office@left.test"


def both(desk: Desk):
    return fakes.ports(desk.listmonk, desk.other)


def verdicts(desk: Desk) -> set[Verdict]:
    found = look(desk.database, desk.clock, desk.estate, both(desk))
    return {evidence.verdict for evidence in found.values()}


def test_an_opt_out_at_one_listmonk_is_blocklisted_at_the_other(desk: Desk) -> None:
    desk.listmonk.opt_out(LEAVER)
    found = sync(desk.database, desk.clock, desk.estate, both(desk))
    assert (found.complete, found.added, found.total) == (True, {"unsubscribed": 1}, 1)
    assert desk.other._read()["blocklisted"] == [LEAVER]
    assert verdicts(desk) == {Verdict.PASS}


def test_a_second_synchronisation_adds_nothing(desk: Desk) -> None:
    desk.listmonk.opt_out(LEAVER)
    sync(desk.database, desk.clock, desk.estate, both(desk))
    again = sync(desk.database, desk.clock, desk.estate, both(desk), everything=True)
    assert (again.added, again.pushed) == ({}, {"trucking": 0, "healthcare": 0})


def test_only_what_is_new_is_pushed_within_the_hour_and_everything_after_it(desk: Desk) -> None:
    with desk.database.transaction() as connection:
        suppress(connection, "address", "old@left.test", "manual", "phone", desk.clock.now())
    sync(desk.database, desk.clock, desk.estate, both(desk))
    desk.minute(10)
    sync(desk.database, desk.clock, desk.estate, both(desk))
    desk.listmonk.path.unlink()  # it is restored from an old backup
    fakes.FileListmonk(desk.listmonk.path, desk.database, desk.clock)
    desk.minute(10)
    assert sync(desk.database, desk.clock, desk.estate, both(desk)).pushed["healthcare"] == 0
    desk.minute(61)
    assert sync(desk.database, desk.clock, desk.estate, both(desk)).pushed["healthcare"] == 1


def test_an_opt_out_that_a_listmonk_does_not_know_is_seen(desk: Desk) -> None:
    with desk.database.transaction() as connection:
        suppress(connection, "address", LEAVER, "reply", "mailbox", desk.clock.now())
    assert verdicts(desk) == {Verdict.FAIL}


def test_an_opt_out_that_we_do_not_know_is_seen(desk: Desk) -> None:
    desk.listmonk.opt_out(LEAVER)
    assert verdicts(desk) == {Verdict.FAIL}


def test_a_listmonk_that_is_away_is_unknown_and_the_others_opt_outs_are_kept(desk: Desk) -> None:
    desk.listmonk.opt_out(LEAVER)
    desk.other.path.unlink()
    found = sync(desk.database, desk.clock, desk.estate, both(desk))
    assert not found.complete
    assert found.added == {"unsubscribed": 1}
    assert Verdict.PASS not in verdicts(desk)


def test_a_run_that_may_not_act_learns_and_tells_nobody(desk: Desk) -> None:
    desk.listmonk.opt_out(LEAVER)
    found = pull_only(desk.database, desk.clock, desk.estate, both(desk))
    assert found.added == {"unsubscribed": 1}
    assert desk.other._read()["blocklisted"] == []
    with desk.database.transaction() as connection:
        assert standing(connection) == [LEAVER]


def test_a_domain_is_pushed_as_such(desk: Desk) -> None:
    with desk.database.transaction() as connection:
        suppress(connection, "domain", "left.test", "manual", "postmaster", desk.clock.now())
    sync(desk.database, desk.clock, desk.estate, both(desk))
    assert desk.listmonk._read()["blocklisted"] == ["@left.test"]


class Counters:
    """A listmonk's counters."""

    def counts(self, campaign_ids):
        return [Counted(number, 6, 9, 2) for number in campaign_ids]


def test_engagement_shows_listmonks_counters_beside_our_own(desk: Desk) -> None:
    desk.tick()
    desk.deliver()
    desk.listmonk.opt_out(desk.people[0])
    desk.minute()
    sync(desk.database, desk.clock, desk.estate, both(desk))
    with desk.database.transaction() as connection:
        found = engagement(connection, "healthcare", Counters())
        without = engagement(connection, "healthcare", None)
    assert (found.waves, found.people, found.views, found.clicks, found.opted_out) == (1, 6, 9, 2, 1)
    assert (without.views, without.opted_out) == (0, 1)
