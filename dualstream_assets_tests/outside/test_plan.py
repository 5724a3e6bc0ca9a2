"""Plan, then apply: by hash, with the inverse kept, proved by reading back."""

from __future__ import annotations

import pytest

from dualstream_assets.clock import FixedClock
from dualstream_assets.outside.plan import (
    Change,
    Plan,
    PlanChanged,
    ReadBackFailed,
    apply_plan,
    difference,
)
from dualstream_assets.store.database import Database


class Shelf:
    """An outside that a plan changes: name -> text."""

    def __init__(self, **texts: str) -> None:
        self.texts = dict(texts)
        self.declared = {"a": "one", "b": "two"}

    def plan(self) -> Plan:
        names = sorted(self.texts.keys() | self.declared.keys())
        found = [difference(n, self.texts.get(n), self.declared.get(n)) for n in names]
        return Plan("shelf", tuple(c for c in found if c))

    def do(self, plan: Plan) -> None:
        for change in plan.changes:
            if change.after is None:
                del self.texts[change.target]
            else:
                self.texts[change.target] = change.after


def rows(database: Database):
    with database.transaction() as connection:
        return connection.execute(
            "select id, plan_hash, changes, inverse, read_back from applied_plan order by id"
        ).fetchall()


def test_an_applied_plan_takes_and_the_second_one_is_empty(database: Database, clock: FixedClock):
    shelf = Shelf(a="old", c="extra")
    plan = shelf.plan()
    applied = apply_plan(database, clock, plan, plan.plan_hash, shelf.do, shelf.plan)
    assert shelf.texts == shelf.declared
    assert shelf.plan().empty
    assert applied.row_id is not None
    assert rows(database)[0][4] == "as declared"


def test_applying_an_empty_plan_does_nothing_and_leaves_no_row(database: Database, clock: FixedClock):
    shelf = Shelf(a="one", b="two")
    plan = shelf.plan()

    def must_not_act(plan: Plan) -> None:
        pytest.fail(f"acted on {plan.target}")

    assert apply_plan(database, clock, plan, plan.plan_hash, must_not_act, shelf.plan).row_id is None
    assert rows(database) == []


def test_a_hash_of_another_plan_is_refused_untouched(database: Database, clock: FixedClock):
    shelf = Shelf(a="old")
    read = shelf.plan().plan_hash
    shelf.texts["a"] = "somebody was here"
    with pytest.raises(PlanChanged, match="nothing was changed"):
        apply_plan(database, clock, shelf.plan(), read, shelf.do, shelf.plan)
    assert shelf.texts == {"a": "somebody was here"}
    assert rows(database) == []


def test_a_change_between_planning_and_the_lock_is_seen(database: Database, clock: FixedClock):
    shelf = Shelf(a="old")
    plan = shelf.plan()
    shelf.texts["b"] = "moved meanwhile"
    with pytest.raises(PlanChanged):
        apply_plan(database, clock, plan, plan.plan_hash, shelf.do, shelf.plan)


@pytest.mark.parametrize("given", ["", "abc", "0" * 64])
def test_no_hash_or_a_wrong_one_is_refused(database: Database, clock: FixedClock, given: str):
    shelf = Shelf(a="old")
    with pytest.raises(PlanChanged):
        apply_plan(database, clock, shelf.plan(), given, shelf.do, shelf.plan)


def test_the_short_hash_that_the_diff_shows_is_enough(database: Database, clock: FixedClock):
    shelf = Shelf(a="old")
    plan = shelf.plan()
    short = plan.plan_hash[:12]
    assert short in plan.render_diff()
    apply_plan(database, clock, plan, short, shelf.do, shelf.plan)
    assert shelf.plan().empty


def test_what_did_not_take_is_an_error_and_stays_on_record(database: Database, clock: FixedClock):
    shelf = Shelf(a="old", b="two")
    plan = shelf.plan()
    with pytest.raises(ReadBackFailed, match="first at a"):
        apply_plan(database, clock, plan, plan.plan_hash, lambda _: None, shelf.plan)
    assert rows(database)[0][4] == "still differs: a"


def test_a_crash_while_applying_leaves_the_way_back_on_record(database: Database, clock: FixedClock):
    shelf = Shelf(a="old", b="two")
    plan = shelf.plan()

    def crash(_: Plan) -> None:
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        apply_plan(database, clock, plan, plan.plan_hash, crash, shelf.plan)
    ((_, _, _, inverse, read_back),) = rows(database)
    assert inverse[0]["after"] == "old"
    assert read_back == "failed while applying: OSError"


def test_the_inverse_takes_everything_back_in_reverse_order(database: Database, clock: FixedClock):
    shelf = Shelf(a="old", c="extra")
    before = dict(shelf.texts)
    plan = shelf.plan()
    apply_plan(database, clock, plan, plan.plan_hash, shelf.do, shelf.plan)
    shelf.do(plan.inverse)
    assert shelf.texts == before
    assert [c.target for c in plan.inverse.changes] == ["c", "b", "a"]


def test_the_hash_covers_every_field_of_a_change():
    base = Change("change", "a", "old", "new", "why")
    others = [
        Change("add", "a", "old", "new", "why"),
        Change("change", "b", "old", "new", "why"),
        Change("change", "a", None, "new", "why"),
        Change("change", "a", "old", "newer", "why"),
        Change("change", "a", "old", "new", "other"),
    ]
    hashes = {Plan("shelf", (c,)).plan_hash for c in (base, *others)} | {Plan("other", (base,)).plan_hash}
    assert len(hashes) == 7


def test_a_diff_shows_what_goes_and_what_comes():
    text = Plan(
        "shelf", (Change("change", "a", "x\ny\n", "x\nz\n"), Change("add", "b", None, "q"))
    ).render_diff()
    assert "-y" in text
    assert "+z" in text
    assert "+ q" in text


def test_a_huge_diff_is_cut_but_the_hash_is_of_all_of_it():
    long = [Plan("s", (Change("add", "a", None, "l\n" * 2000 + end),)) for end in ("x", "y")]
    assert len(long[0].render_diff()) < 10_000
    assert long[0].plan_hash != long[1].plan_hash
