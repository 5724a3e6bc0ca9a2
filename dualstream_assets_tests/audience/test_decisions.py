"""What a person decides about the review file: what may be decided, what it changes, and that it fails closed."""

import csv
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from dualstream_assets import keys
from dualstream_assets.audience.classify import Classifier
from dualstream_assets.audience.decisions import (
    COLUMNS,
    FILE,
    Decision,
    DecisionRefused,
    Decisions,
    apply,
    decide,
    read,
    waiting,
)
from dualstream_assets.audience.records import RecordRefused, RecordUnreadable
from dualstream_assets.audience.split import build_audience_from_zip
from dualstream_assets.estate import Estate
from dualstream_assets_tests.registry.making import filed, person, release_zip

NOW = datetime(2026, 11, 30, 14, 0, 5, tzinfo=UTC)
VENDOR = "direct.example"  # its registered name is a Direct label: the tables leave it to a person
A, B = "1003000126", "1003000134"


@pytest.fixture
def classifier(lab_estate: Estate) -> Classifier:
    return Classifier.of(lab_estate)


@pytest.fixture
def estate(lab_estate: Estate) -> Estate:
    return lab_estate.model_copy(
        update={"limits": lab_estate.limits.model_copy(update={"zip_ratio": 1000.0})}
    )


def say(
    folder: Path, classifier: Classifier, subject: str, segment: str, reason: str = "asked them"
) -> Decision:
    return decide(folder, subject, segment, reason, "pat", NOW, classifier)


def ruled(*addresses: str, classifier: Classifier) -> pl.DataFrame:
    """As `rulings` gives it: one row per candidate, null where there is no address."""
    rows: list[tuple[object, ...]] = [(None,) * 6]
    for address in addresses:
        r = classifier.classify_address(address)
        rows.append((address, address.partition("@")[2], r.segment, r.rule, r.evidence, r.role_account))
    names = ["address", "domain", "segment", "rule", "evidence"]
    schema = dict.fromkeys(names, pl.String) | {"role_account": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


def build(folder: Path, estate: Estate, *boxes: str) -> Path:
    path = release_zip(folder, [person(A)], [filed(A, box) for box in boxes])
    build_audience_from_zip(path, folder / "out", estate, today=date(2026, 11, 30))
    return folder / "out"


def test_a_decision_is_a_row_with_who_when_what_and_why(tmp_path: Path, classifier: Classifier) -> None:
    say(tmp_path, classifier, " Direct.Example. ", "institutional", "their site lists\nthese mailboxes")
    with (tmp_path / FILE).open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {
                "decided_at": "2026-11-30T14:00:05Z",
                "by": "pat",
                "subject": "direct.example",
                "segment": "institutional",
                "reason": "their site lists these mailboxes",
            }
        ]


@pytest.mark.parametrize("segment", ["institutional", "consumer", "direct", "dropped"])
def test_what_waits_can_be_sent_anywhere(tmp_path: Path, classifier: Classifier, segment: str) -> None:
    say(tmp_path, classifier, VENDOR, segment)
    found = apply(ruled(f"office@{VENDOR}", classifier=classifier), read(tmp_path), classifier).row(
        1, named=True
    )
    assert (found["segment"], found["rule"]) == (segment, "decided")
    assert found["evidence"] == "asked them (pat, 2026-11-30)"


@pytest.mark.parametrize(
    ("subject", "is_now"),
    [
        ("office@direct.clinic.example", "direct"),
        ("direct.clinic.example", "direct"),
        ("someone@gmail.com", "consumer"),
        ("gmail.com", "consumer"),
        ("nurse@va.gov", "dropped"),
        ("x@gmial.com", "dropped"),
    ],
)
@pytest.mark.parametrize("segment", ["institutional", "consumer", "direct"])
def test_what_the_tables_rule_cannot_be_decided_otherwise(
    tmp_path: Path, classifier: Classifier, subject: str, is_now: str, segment: str
) -> None:
    with pytest.raises(DecisionRefused, match=rf"is {is_now} by rule .* \[audience\] in the estate"):
        say(tmp_path, classifier, subject, segment)
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("subject", ["gmail.com", "office@direct.clinic.example", "office@clinic.example"])
def test_anything_can_be_dropped(tmp_path: Path, classifier: Classifier, subject: str) -> None:
    say(tmp_path, classifier, subject, "dropped")
    box = subject if "@" in subject else f"someone@{subject}"
    found = apply(ruled(box, "other@clinic.example", classifier=classifier), read(tmp_path), classifier)
    assert found["segment"].to_list() == [None, "dropped", "institutional"]


def test_a_practice_that_does_not_wait_can_only_be_dropped(tmp_path: Path, classifier: Classifier) -> None:
    with pytest.raises(DecisionRefused, match=r"no row of it is in npi_review\.csv"):
        say(tmp_path, classifier, "clinic.example", "consumer")


def test_an_address_that_waits_for_its_left_side_is_decided_on_its_own(
    tmp_path: Path, estate: Estate, classifier: Classifier
) -> None:
    out = build(tmp_path, estate, "direct@clinic.example", "office@clinic.example")
    with pytest.raises(DecisionRefused, match="only single addresses of it wait"):
        say(out, classifier, "clinic.example", "institutional")
    say(out, classifier, "direct@clinic.example", "institutional")
    boxes = ruled("direct@clinic.example", "office@clinic.example", classifier=classifier)
    assert apply(boxes, read(out), classifier)["rule"].to_list() == [None, "decided", "institutional"]


def test_a_domain_sends_on_no_left_side_that_says_direct_and_nothing_that_waits_for_itself(
    tmp_path: Path, classifier: Classifier
) -> None:
    told = Decisions(
        tuple(
            Decision("2026-11-30T14:00:00Z", "pat", subject, "institutional", "why")
            for subject in (VENDOR, "clinic.example", "directclinic.example")
        )
    )
    boxes = (
        f"office@{VENDOR}",
        f"Direct@{VENDOR}".lower(),
        f"hd30directmessaging@{VENDOR}",
        "direct@clinic.example",
        "abc1234@directclinic.example",  # as an Epic export makes it
    )
    after = apply(ruled(*boxes, classifier=classifier), told, classifier)
    assert after["segment"].to_list() == [None, "institutional", "review", "review", "review", "review"]
    dropped = Decisions((Decision("2026-11-30T14:00:00Z", "pat", VENDOR, "dropped", "why"),))
    after = apply(ruled(*boxes, classifier=classifier), dropped, classifier)
    assert after["segment"].to_list() == [None, "dropped", "dropped", "dropped", "review", "review"]


def test_an_address_beats_its_domain_and_the_newest_beats_the_older(
    tmp_path: Path, classifier: Classifier
) -> None:
    one, other = f"one@{VENDOR}", f"other@{VENDOR}"
    for subject, segment in ((one, "dropped"), (VENDOR, "direct"), (VENDOR, "institutional")):
        say(tmp_path, classifier, subject, segment)
    found = apply(ruled(one, other, classifier=classifier), read(tmp_path), classifier)
    assert found["segment"].to_list() == [None, "dropped", "institutional"]


def test_deciding_review_takes_a_decision_back(tmp_path: Path, classifier: Classifier) -> None:
    box = f"one@{VENDOR}"
    say(tmp_path, classifier, VENDOR, "institutional")
    say(tmp_path, classifier, box, "review", "a mistyped Direct address")
    frame = ruled(box, f"two@{VENDOR}", classifier=classifier)
    assert apply(frame, read(tmp_path), classifier)["segment"].to_list() == [None, "review", "institutional"]
    say(tmp_path, classifier, VENDOR, "review")
    assert apply(frame, read(tmp_path), classifier).equals(frame)
    with pytest.raises(DecisionRefused, match="nothing to take back"):
        say(tmp_path, classifier, VENDOR, "review")


@pytest.mark.parametrize("segment", ["institutional", "consumer", "direct"])
def test_a_decision_loses_its_force_when_the_tables_know_better(
    tmp_path: Path, classifier: Classifier, lab_estate: Estate, segment: str
) -> None:
    say(tmp_path, classifier, VENDOR, segment)
    for key in ("direct_suffixes", "dropped_domains"):
        added = lab_estate.audience.model_copy(update={key: (VENDOR,)})
        newer = Classifier.of(lab_estate.model_copy(update={"audience": added}))
        frame = ruled(f"office@{VENDOR}", classifier=newer)
        after = apply(frame, read(tmp_path), newer)
        assert after.equals(frame)
        assert read(tmp_path).facts(after) | {"sha256": ""} == {
            "sha256": "",
            "standing": 1,
            "segments": {segment: 1},
            "applied": 0,
            "addresses": 0,
            "not_applied": 1,
            "absent": 0,
        }


def test_the_facts_tell_what_stands_and_what_took_effect(tmp_path: Path, classifier: Classifier) -> None:
    nothing = read(tmp_path).facts()
    say(tmp_path, classifier, VENDOR, "institutional")
    say(tmp_path, classifier, "nobody.example", "dropped")
    frame = ruled(f"a@{VENDOR}", f"b@{VENDOR}", f"b@{VENDOR}", classifier=classifier)
    facts = read(tmp_path).facts(apply(frame, read(tmp_path), classifier))
    assert (facts["applied"], facts["addresses"], facts["absent"]) == (1, 2, 1)
    assert facts["sha256"] != nothing["sha256"]
    say(tmp_path, classifier, VENDOR, "review")
    say(tmp_path, classifier, "nobody.example", "review")
    assert read(tmp_path).facts() == nothing


def test_a_frame_that_holds_repeated_text_as_codes_is_decided_alike(classifier: Classifier) -> None:
    plain = ruled(f"a@{VENDOR}", "a@clinic.example", f"b@{VENDOR}", classifier=classifier)
    coded = plain.cast(dict.fromkeys(("domain", "segment", "rule", "evidence"), pl.Categorical))
    told = Decisions((Decision("2026-11-30T14:00:00Z", "pat", VENDOR, "consumer", "why"),))
    before = coded.clone()
    after = apply(coded, told, classifier)
    assert after.cast(plain.schema).equals(apply(plain, told, classifier))
    assert after["segment"].to_list() == [None, "consumer", "institutional", "consumer"]
    assert coded.equals(before)


def test_the_same_frame_comes_back_without_decisions_and_its_order_is_kept(classifier: Classifier) -> None:
    frame = ruled("z@clinic.example", f"b@{VENDOR}", "a@gmail.com", f"b@{VENDOR}", classifier=classifier)
    assert apply(frame, Decisions(), classifier) is frame
    one = Decision("2026-11-30T14:00:00Z", "pat", VENDOR, "consumer", "why")
    after = apply(frame, Decisions((one,)), classifier)
    assert after.columns == frame.columns
    assert after["address"].to_list() == frame["address"].to_list()


@pytest.mark.parametrize("reason", ["", "  ", "x" * 301, "as someone@clinic.example said"])
def test_a_reason_must_be_one_that_can_be_shown(tmp_path: Path, classifier: Classifier, reason: str) -> None:
    with pytest.raises(RecordRefused):
        say(tmp_path, classifier, VENDOR, "dropped", reason)
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize(
    "subject", ["", "clinic", "a b@clinic.example", "x@y@clinic.example", '"x"@a.example']
)
def test_a_subject_must_be_an_address_or_a_domain(
    tmp_path: Path, classifier: Classifier, subject: str
) -> None:
    with pytest.raises(DecisionRefused, match="neither an address nor a domain"):
        say(tmp_path, classifier, subject, "dropped")


def test_what_a_spreadsheet_would_run_is_harmless_in_the_file_and_itself_when_read(
    tmp_path: Path, classifier: Classifier
) -> None:
    say(tmp_path, classifier, "=cmd|x!a1@clinic.example", "dropped", "=HYPERLINK(1)")
    (cells,) = list(csv.reader((tmp_path / FILE).open(newline="")))[1:]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    (row,) = read(tmp_path).rows
    assert (row.subject, row.reason) == ("=cmd|x!a1@clinic.example", "=HYPERLINK(1)")
    say(tmp_path, classifier, "-x@clinic.example", "dropped")
    assert read(tmp_path).rows[0] == row


def test_decisions_of_many_writers_are_all_kept(tmp_path: Path, classifier: Classifier) -> None:
    names = [f"c{i}.example" for i in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: say(tmp_path, classifier, name, "dropped"), names))
    assert sorted(row.subject for row in read(tmp_path).rows) == sorted(names)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-30T14:00:00Z,pat,clinic.example,dropped,why\n",
        "nonsense\n1\n",
        ",".join(COLUMNS) + "\n2026-11-30T14:00:00Z,pat,clinic.example,dropped\n",
        ",".join(COLUMNS) + "\n2026-11-30T14:00:00Z,pat,clinic.example,maybe,why\n",
        ",".join(COLUMNS) + "\n2026-11-30T14:00:00Z,pat,Clinic.example,dropped,why\n",
    ],
)
def test_a_damaged_file_stops_everything(tmp_path: Path, classifier: Classifier, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(RecordUnreadable, match=r"decisions\.csv"):
        read(tmp_path)
    with pytest.raises(RecordUnreadable):
        say(tmp_path, classifier, VENDOR, "dropped")
    assert (tmp_path / FILE).read_text() == text


def test_what_waits_is_listed_by_domain_most_rows_first(tmp_path: Path, estate: Estate) -> None:
    assert waiting(tmp_path) == []
    out = build(tmp_path, estate, "direct@clinic.example", f"b@{VENDOR}", f"a@{VENDOR}")
    first, second = waiting(out)
    assert (first.domain, first.rows, first.rules) == (VENDOR, 2, ("review-direct-shape",))
    assert first.addresses == (f"a@{VENDOR}", f"b@{VENDOR}")
    assert (second.domain, second.evidence) == ("clinic.example", "the left side says direct")


def test_a_build_puts_decided_rows_into_their_files(tmp_path: Path, estate: Estate) -> None:
    boxes = (f"a@{VENDOR}", f"b@{VENDOR}", "direct@clinic.example", "office@clinic.example")
    out = build(tmp_path, estate, *boxes)
    say(out, Classifier.of(estate), VENDOR, "institutional")
    say(out, Classifier.of(estate), f"b@{VENDOR}", "dropped")
    build(tmp_path, estate, *boxes)
    where = {
        row["email"]: (file, row["rule"])
        for file in (keys.INSTITUTIONAL_CSV, keys.REVIEW_CSV, keys.REJECTS_CSV)
        for row in csv.DictReader((out / file).open(newline=""))
    }
    assert where == {
        f"a@{VENDOR}": (keys.INSTITUTIONAL_CSV, "decided"),
        f"b@{VENDOR}": (keys.REJECTS_CSV, "decided"),
        "direct@clinic.example": (keys.REVIEW_CSV, "review-direct-local-part"),
        "office@clinic.example": (keys.INSTITUTIONAL_CSV, "institutional"),
    }


def test_decisions_that_stood_at_the_build_and_are_gone_stop_everything(
    tmp_path: Path, estate: Estate, classifier: Classifier
) -> None:
    out = build(tmp_path, estate, "office@clinic.example")
    say(out, classifier, "clinic.example", "dropped")
    build(tmp_path, estate, "office@clinic.example")
    whole = (out / FILE).read_text()
    (out / FILE).write_text(whole.splitlines(keepends=True)[0])
    with pytest.raises(RecordUnreadable, match=r"has 0 decisions, and 1 stood at the last build"):
        read(out)
    (out / FILE).unlink()
    with pytest.raises(RecordUnreadable, match=r"decisions\.csv is gone, and 1 stood at the last build"):
        build(tmp_path, estate, "office@clinic.example")
    (out / FILE).write_text(whole)
    assert len(read(out).rows) == 1


@pytest.mark.parametrize("damage", [b"", b"a,b\n1,2\n", b'"email"\n"x'])
def test_a_damaged_review_file_is_one_line(tmp_path: Path, estate: Estate, damage: bytes) -> None:
    out = build(tmp_path, estate, f"a@{VENDOR}")
    (out / keys.REVIEW_CSV).write_bytes(damage)
    with pytest.raises(RecordUnreadable, match=r"npi_review\.csv is damaged: build the audience again"):
        waiting(out)
