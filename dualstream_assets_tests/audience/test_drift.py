"""Drift between two releases: what is counted, which limits are passed, and the way out that a person has."""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from dualstream_assets.audience.changes import (
    PREVIOUS_ROWS,
    UNMEASURED,
    Drift,
    FileDrift,
    Finding,
    compare,
)
from dualstream_assets.audience.drift import ACCEPTED, Acceptance, accept, accepted, judge, set_aside
from dualstream_assets.audience.manifest import MANIFEST
from dualstream_assets.audience.records import RecordRefused, RecordUnreadable
from dualstream_assets.audience.split import build_audience_from_zip
from dualstream_assets.cli import cli
from dualstream_assets.estate import Estate
from dualstream_assets.estate.model import Drift as Limits
from dualstream_assets_tests.registry.making import filed, person, release_zip

NOW = datetime(2026, 11, 30, 14, 0, tzinfo=UTC)
TIGHT = Limits(rule_rows=1)
A, B, C, D = "1003000126", "1003000134", "1003000142", "1003000159"
REVALIDATION = "National Provider Identifier,Revalidation Due Date,Adjusted Due Date\n"


@pytest.fixture
def estate(lab_estate: Estate) -> Estate:
    return lab_estate.model_copy(
        update={"limits": lab_estate.limits.model_copy(update={"zip_ratio": 1000.0})}
    )


class Audience:
    """One folder that releases are built into, one after the other."""

    def __init__(self, folder: Path, estate: Estate) -> None:
        self.inbox, self.out, self.estate = folder, folder / "out", estate

    def release(
        self, rows: Iterable[tuple[str, str]], gone: Iterable[str] = (), limits: Limits = TIGHT
    ) -> Drift | None:
        """Build the next release from (NPI, address); `gone` NPIs are deactivated."""
        people = [
            person(n, **({"NPI Deactivation Date": "01/01/2024"} if n in gone else {})) for n in (A, B, C, D)
        ]
        path = release_zip(self.inbox, people, [filed(npi, box) for npi, box in rows])
        drift = self.estate.audience.model_copy(update={"drift": limits})
        estate = self.estate.model_copy(update={"audience": drift})
        build_audience_from_zip(path, self.out, estate, today=date(2026, 11, 30))
        return compare(self.out)


@pytest.fixture
def audience(tmp_path: Path, estate: Estate) -> Audience:
    return Audience(tmp_path, estate)


def boxes(count: int, start: int = 0) -> list[tuple[str, str]]:
    return [(A, f"box{i}@clinic{i}.example") for i in range(start, start + count)]


def test_a_first_release_passes_and_says_so(audience: Audience) -> None:
    assert audience.release(boxes(3)) is None
    found = judge(audience.out, TIGHT)
    assert (found.passed, found.said) == (True, "the first release here: there is nothing to compare with")


def test_every_address_is_kept_added_left_or_moved(audience: Audience) -> None:
    before = [
        (A, "kept@clinic.example"),
        (A, "gone@clinic.example"),
        (B, "off@clinic.example"),
        (C, "x@gmail.com"),
        (D, "back@clinic.example"),
    ]
    audience.release(before, gone=[D])
    after = [
        *(b for b in before if not b[1].startswith("gone")),
        (A, "new@clinic.example"),
        (A, "y@gmail.com"),
    ]
    drift = audience.release(after, gone=[B])
    assert drift is not None
    assert drift.files["institutional"] == FileDrift(kept=1, added=1, left=1, moved_in=1, moved_out=1)
    assert drift.files["consumer"] == FileDrift(kept=1, added=1)
    assert drift.files["dropped"] == FileDrift(moved_in=1, moved_out=1)
    assert drift.moves == {("institutional", "dropped"): 1, ("dropped", "institutional"): 1}
    assert drift.rules["institutional"] == (3, 3)
    assert drift.rules["consumer-domain"] == (1, 2)
    assert (drift.files["institutional"].before, drift.files["institutional"].now) == (3, 3)


def test_an_address_with_a_row_is_not_counted_by_its_rejects(audience: Audience) -> None:
    shared = [(A, "office@clinic.example"), (B, "office@clinic.example"), (C, "office@clinic.example")]
    audience.release(shared)
    drift = audience.release([*shared, *shared], gone=[C])
    assert drift is not None
    assert drift.files["institutional"] == FileDrift(kept=1)
    assert drift.files["dropped"] == FileDrift()
    assert set(drift.rules) == {"institutional"}


def test_a_change_of_status_is_counted_from_and_to(audience: Audience) -> None:
    lists = audience.inbox / "revalidation_base.csv"
    lists.write_text(f"{REVALIDATION}{A},2027-01-10,\n{B},2026-10-31,\n")
    rows = [(A, "a@clinic.example"), (B, "b@clinic.example"), (C, "c@clinic.example")]
    audience.release(rows)
    lists.write_text(f"{REVALIDATION}{A},2026-11-20,\n{B},2026-10-31,\n")
    rows[1:] = [(D, "b@clinic.example"), (C, "c@clinic.example")]  # a new NPI: another status, and off
    drift = audience.release(rows, gone=[D])
    assert drift is not None
    ((was, now), count), *others = drift.statuses.items()
    assert (now, count, others) == ("overdue", 1, [])
    assert was in ("due_soon", "due_later")


@pytest.mark.parametrize(
    ("after", "names"),
    [
        (boxes(100), set()),
        (boxes(115), set()),
        (boxes(116), {"institutional added"}),
        (boxes(90), set()),
        (boxes(89), {"institutional left"}),
        (boxes(131), {"institutional added", "rule institutional"}),
    ],
)
def test_a_limit_is_passed_by_the_first_address_beyond_it(
    audience: Audience, after: list[tuple[str, str]], names: set[str]
) -> None:
    audience.release(boxes(100))
    drift = audience.release([*after, (A, "y@gmail.com")])
    assert drift is not None
    found = {f.name for f in drift.findings(Limits(rule_rows=10))}
    assert found == names


def test_more_moves_out_of_a_file_than_the_limit_are_found(audience: Audience) -> None:
    audience.release(boxes(100))
    rows = boxes(97) + [(B, box) for _, box in boxes(3, start=97)]
    drift = audience.release(rows, gone=[B])
    assert drift is not None
    assert {f.name for f in drift.findings(Limits(rule_rows=10))} == {"institutional moved out"}


def test_a_file_that_was_empty_is_measured_against_the_smallest_size(audience: Audience) -> None:
    audience.release(boxes(3))
    drift = audience.release([*boxes(3), *((A, f"p{i}@gmail.com") for i in range(40))])
    assert drift is not None
    assert {f.name for f in drift.findings(Limits(rule_rows=200))} == {"consumer added"}
    assert drift.findings(Limits(rule_rows=300)) == ()


def test_a_jump_is_red_until_a_person_accepts_it_with_a_reason(audience: Audience) -> None:
    audience.release(boxes(10))
    audience.release(boxes(20))
    red = judge(audience.out, TIGHT)
    assert not red.passed
    assert "institutional: 10 added on 10 (limit 15%)" in red.said
    assert "dualstream audience accept" in red.said
    accept(audience.out, "CMS reopened enrolment", "pat", NOW, TIGHT)
    green = judge(audience.out, TIGHT)
    assert green.passed
    assert "accepted by pat on 2026-11-30: CMS reopened enrolment" in green.said
    with pytest.raises(RecordRefused, match="no drift to accept"):
        accept(audience.out, "again", "pat", NOW, TIGHT)


def test_an_acceptance_covers_this_release_only(audience: Audience) -> None:
    audience.release(boxes(10))
    audience.release(boxes(20))
    accept(audience.out, "fine", "pat", NOW, TIGHT)
    audience.release(boxes(40))
    assert not judge(audience.out, TIGHT).passed
    assert len(accepted(audience.out)) == 1


def test_an_acceptance_does_not_cover_what_is_found_later(audience: Audience) -> None:
    audience.release(boxes(10))
    audience.release(boxes(14))
    accept(audience.out, "fine", "pat", NOW, Limits(rule_rows=1, rule=0.5))
    found = judge(audience.out, TIGHT)
    assert [f.name for f in found.open] == ["rule institutional"]


def test_a_release_that_was_never_accepted_is_not_the_measure_of_the_next(audience: Audience) -> None:
    audience.release(boxes(10))
    audience.release(boxes(100))
    drift = audience.release(boxes(101))
    assert drift is not None
    assert drift.files["institutional"].before == 10
    assert not judge(audience.out, TIGHT).passed
    accept(audience.out, "fine", "pat", NOW, TIGHT)
    drift = audience.release(boxes(102))
    assert drift is not None
    assert drift.files["institutional"].before == 101


def test_files_that_are_not_the_manifests_are_not_kept(audience: Audience) -> None:
    audience.release(boxes(3))
    next(audience.out.glob("*institutional.csv")).write_text("x\n")
    with set_aside(audience.out, "another release", {}, audience.estate) as kept:
        assert kept is not None
        assert pl.read_parquet(kept).is_empty()  # a mark
    audience.release(boxes(3))
    audience.release(boxes(4))
    next(audience.out.glob("*institutional.csv")).write_text("x\n")
    with set_aside(audience.out, "another release", {}, audience.estate) as kept:
        assert kept is None  # the older rows stay the measure
    assert not list(audience.out.glob(".previous*"))


def test_the_same_release_again_keeps_the_measure_of_before(audience: Audience) -> None:
    audience.release(boxes(3))
    audience.release(boxes(4))
    kept = (audience.out / PREVIOUS_ROWS).read_bytes()
    audience.release(boxes(4))
    assert (audience.out / PREVIOUS_ROWS).read_bytes() == kept


def test_an_acceptance_does_not_cover_more_of_the_same_in_the_same_release(audience: Audience) -> None:
    rows, bulk = boxes(14), [(A, f"b{i}@x{i}.bulk.example") for i in range(30)]
    audience.release(boxes(10))
    estate = audience.estate
    dropped = estate.audience.model_copy(update={"dropped_domains": ("bulk.example",)})
    audience.estate = estate.model_copy(update={"audience": dropped})
    audience.release([*rows, *bulk])
    accept(audience.out, "4 more are right", "pat", NOW, TIGHT)
    assert judge(audience.out, TIGHT).passed
    audience.estate = estate  # the same release by other tables: 30 more
    audience.release([*rows, *bulk])
    assert "institutional moved in" in {f.name for f in judge(audience.out, TIGHT).open}


def test_an_acceptance_covers_no_more_than_was_seen() -> None:
    row = Acceptance("", "pat", "r", "f", "a", "institutional added: 70; rule giant: -12", "why")
    assert row.covers(Finding("institutional added", "", 70))
    assert not row.covers(Finding("institutional added", "", 71))
    assert row.covers(Finding("rule giant", "", -11))
    assert not row.covers(Finding("rule giant", "", 11))
    assert not row.covers(Finding("direct added", "", 1))


def test_an_acceptance_is_against_one_measure(audience: Audience) -> None:
    audience.release(boxes(10))
    audience.release(boxes(20))
    accept(audience.out, "fine", "pat", NOW, TIGHT)
    other = pl.read_parquet(audience.out / PREVIOUS_ROWS)
    other.write_parquet(audience.out / PREVIOUS_ROWS, metadata={"release": '{"name": "another"}'})
    assert not judge(audience.out, TIGHT).passed


def test_an_accepted_file_that_is_no_list_of_findings_is_refused(audience: Audience) -> None:
    audience.release(boxes(10))
    audience.release(boxes(20))
    accept(audience.out, "fine", "pat", NOW, TIGHT)
    path = audience.out / ACCEPTED
    path.write_text(path.read_text().replace("institutional added: 10", "institutional added"))
    with pytest.raises(RecordUnreadable, match="no list of findings"):
        judge(audience.out, TIGHT)
    path.write_text("")
    with pytest.raises(RecordUnreadable, match="does not begin with the columns"):
        judge(audience.out, TIGHT)


def _without_manifest(out: Path) -> None:
    (out / MANIFEST).unlink()


def _damaged_manifest(out: Path) -> None:
    (out / MANIFEST).write_text("{")


def _changed_file(out: Path) -> None:
    with next(out.glob("*rejects.csv")).open("a") as file:
        file.write("\n")


@pytest.mark.parametrize("harm", [_without_manifest, _damaged_manifest, _changed_file])
def test_a_release_after_files_that_nobody_can_vouch_for_is_not_the_first(
    audience: Audience, harm: Callable[[Path], None]
) -> None:
    audience.release(boxes(10))
    harm(audience.out)
    audience.release(boxes(11))
    found = judge(audience.out, Limits())
    assert not found.passed
    assert [f.name for f in found.open] == [UNMEASURED]
    assert "what was here before: " in found.said
    audience.release(boxes(11))
    assert not judge(audience.out, Limits()).passed  # again is no way out
    accept(audience.out, "looked at all of them", "pat", NOW, Limits())
    assert judge(audience.out, Limits()).passed
    audience.release(boxes(12), limits=Limits())
    assert "institutional 11 → 12" in judge(audience.out, Limits()).said


def test_the_same_release_by_other_tables_or_lists_is_measured_against_what_it_was(
    audience: Audience,
) -> None:
    audience.release(boxes(10))
    estate = audience.estate
    dropped = estate.audience.model_copy(
        update={"dropped_domains": tuple(f"clinic{i}.example" for i in range(5))}
    )
    audience.estate = estate.model_copy(update={"audience": dropped})
    drift = audience.release(boxes(10))
    assert drift is not None
    assert drift.files["institutional"] == FileDrift(kept=5, moved_out=5)
    audience.estate = estate
    accept(audience.out, "they are giants", "pat", NOW, TIGHT)
    audience.estate = audience.estate.model_copy(update={"audience": dropped})
    (audience.inbox / "UPDATED_2026.11.08.csv").write_text(
        f"LASTNAME,FIRSTNAME,NPI,STATE,EXCLDATE,REINDATE\nX,Y,{A},NY,20240101,00000000\n"
    )
    drift = audience.release(boxes(10))
    assert drift is not None
    assert drift.files["institutional"] == FileDrift(moved_out=5)
    assert not judge(audience.out, TIGHT).passed


def test_damaged_rows_of_the_release_before_are_red(audience: Audience) -> None:
    audience.release(boxes(3))
    audience.release(boxes(4))
    (audience.out / PREVIOUS_ROWS).write_bytes(b"PAR1nonsense")
    found = judge(audience.out, TIGHT)
    assert not found.passed
    assert "previous.parquet is damaged: put back a backup" in found.said


def test_the_tables_and_the_texts_name_no_address(audience: Audience) -> None:
    audience.release(boxes(10))
    drift = audience.release([*boxes(5), (A, "y@gmail.com")])
    assert drift is not None
    texts = "\n".join([*drift.tables().values(), judge(audience.out, TIGHT).said])
    assert "@" not in texts
    assert "| institutional | 10 | 5 | 0 | 5 | 0 | 0 | 5 |" in drift.tables()["files"]


def test_the_command_accepts_and_says_what(audience: Audience, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUALSTREAM_STATE", str(audience.inbox / "state"))
    audience.release(boxes(300))
    audience.release(boxes(400))
    words = ["audience", "accept", "--reason", "looked at it", "--by", "pat", "--out", str(audience.out)]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    assert "institutional added" in result.output
    assert (audience.out / ACCEPTED).exists()
    again = CliRunner().invoke(cli, words)
    assert again.exit_code == 1
    assert "no drift to accept" in str(again.exception)
