"""The gate: what opens it, what shuts it, and the words it refuses in."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import dualstream_assets
from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate, load_estate
from dualstream_assets.sending.arming import ArmingRefused, arm, disarm
from dualstream_assets.sending.brake import Brake, engage, release_brake
from dualstream_assets.sending.gate import GateShut, Standing, assess, mint
from dualstream_assets.sending.requirements import required
from dualstream_assets.store.database import Database
from dualstream_assets.store.evidence import Subject, Verdict, probing, record
from dualstream_assets_tests.sending.fakes import make_green

HC = "healthcare"


@pytest.fixture
def green(database: Database, clock: FixedClock, lab_estate: Estate) -> Database:
    make_green(database, clock, lab_estate, HC)
    return database


def look(database: Database, clock: FixedClock, estate: Estate, environment: str = "lab", kind: str = "wave"):
    with database.transaction() as connection:
        return assess(connection, estate, HC, clock.now(), kind, environment)  # type: ignore[arg-type]


def test_with_green_and_fresh_evidence_it_is_open(
    green: Database, clock: FixedClock, lab_estate: Estate
) -> None:
    report = look(green, clock, lab_estate)
    assert report.open
    assert report.refusal == ""


def test_without_any_evidence_every_fact_is_missing(
    database: Database, clock: FixedClock, lab_estate: Estate
) -> None:
    report = look(database, clock, lab_estate)
    missing = [row for row in report.rows if row.verdict is Standing.MISSING]
    assert len(missing) == len(required(lab_estate, HC, "wave", "lab"))
    assert not report.open


@pytest.mark.parametrize("verdict", [Verdict.UNKNOWN, Verdict.FAIL])
def test_the_newest_row_counts(
    green: Database, clock: FixedClock, lab_estate: Estate, verdict: Verdict
) -> None:
    subject = Subject(HC, "127.124.0.107", "fcrdns")
    with green.transaction() as connection:
        record(connection, subject, verdict, "PTR is missing", "test", clock.now(), timedelta(days=1))
    assert [row.verdict.value for row in look(green, clock, lab_estate).shut_by] == [verdict.value]


def test_a_check_that_raises_after_a_green_one_shuts_it(
    green: Database, clock: FixedClock, lab_estate: Estate
) -> None:
    subject = Subject(HC, "127.124.0.107", "fcrdns")

    def look_and_crash() -> None:
        with probing(green, clock, [subject], source="test", valid_for=timedelta(hours=1)):
            raise RuntimeError("resolver exploded")

    with pytest.raises(RuntimeError):
        look_and_crash()
    report = look(green, clock, lab_estate)
    assert [row.verdict for row in report.shut_by] == [Standing.UNKNOWN]
    with green.transaction() as connection, pytest.raises(GateShut):
        mint(
            connection,
            lab_estate,
            HC,
            clock.now(),
            kind="wave",
            wave_id=1,
            members_hash="x",
            environment="lab",
        )


def test_each_required_fact_alone_shuts_it(green: Database, clock: FixedClock, lab_estate: Estate) -> None:
    facts = required(lab_estate, HC, "wave", "lab")
    assert len(facts) >= 20
    for fact in facts:
        with green.transaction() as connection:
            record(connection, fact, Verdict.FAIL, "red", "test", clock.now(), timedelta(days=1))
        shut = look(green, clock, lab_estate).shut_by
        assert [(row.subject, row.fact) for row in shut] == [(fact.subject, fact.fact)]
        with green.transaction() as connection:
            record(connection, fact, Verdict.PASS, "green", "test", clock.now(), timedelta(days=1))


def test_a_refusal_reads_as_promised(database: Database, lab_estate: Estate, tmp_path: Path) -> None:
    """The format of the architecture facts, section 1, word for word."""
    text = (Path(dualstream_assets.__file__).parent / "estate" / "lab.toml").read_text()
    (tmp_path / "estate.toml").write_text(text.replace("127.124.0.", "207.174.124."))
    estate = load_estate(tmp_path / "estate.toml")
    stale_at = datetime(2026, 11, 24, 14, 12, tzinfo=UTC)  # 09:12 in New York
    clock = FixedClock(stale_at - timedelta(hours=1))
    make_green(database, clock, estate, HC, days=9)
    with database.transaction() as connection:
        record(
            connection,
            Subject(HC, "207.174.124.107", "fcrdns"),
            Verdict.PASS,
            "hcmta01",
            "test",
            clock.now(),
            timedelta(hours=1),
        )
    clock.at = stale_at + timedelta(hours=2)
    assert look(database, clock, estate).refusal == (
        "healthcare: gate shut: 207.174.124.107 fcrdns: stale since 2026-11-24 09:12. Next:"
        " dagster asset materialize --select 'healthcare/identity' -m dualstream_assets.definitions"
    )


def test_a_refusal_with_several_causes_says_how_many_more(
    database: Database, clock: FixedClock, lab_estate: Estate
) -> None:
    assert re.search(
        r"^healthcare: gate shut: 127\.124\.0\.107 fcrdns: never looked at"
        r" \(and \d+ more: dualstream gate healthcare\)\. Next: dagster asset materialize",
        look(database, clock, lab_estate).refusal,
    )


def test_a_clock_set_back_shuts_it(green: Database, clock: FixedClock, lab_estate: Estate) -> None:
    clock.at -= timedelta(minutes=1)
    assert "clock set back" in look(green, clock, lab_estate).refusal


@pytest.mark.parametrize("kind", ["hard", "block", "manual"])
def test_a_brake_shuts_it_until_a_person_releases_it(
    green: Database, clock: FixedClock, lab_estate: Estate, kind: str
) -> None:
    with green.transaction() as connection:
        engage(connection, Brake(HC, kind, "TSS04 burst", "3 replies", clock.now()))  # type: ignore[arg-type]
    assert "TSS04 burst" in look(green, clock, lab_estate).refusal
    with green.transaction() as connection:
        release_brake(connection, HC, "operator called", clock.now())
    assert look(green, clock, lab_estate).open


def test_a_stop_shuts_it_until_it_is_acknowledged(
    green: Database, clock: FixedClock, lab_estate: Estate
) -> None:
    with green.transaction() as connection:
        connection.execute(
            "insert into stream_stop (stream, reason, source, at) values (%s, 'not in a wave', 'policy', %s)",
            (HC, clock.now()),
        )
    assert "not in a wave" in look(green, clock, lab_estate).refusal
    assert not look(green, clock, lab_estate, kind="probe").open
    with green.transaction() as connection:
        connection.execute("update stream_stop set acknowledged_at = %s", (clock.now(),))
    assert look(green, clock, lab_estate).open


def test_production_needs_an_arming_that_has_not_ended(
    green: Database, clock: FixedClock, lab_estate: Estate
) -> None:
    assert "not armed" in look(green, clock, lab_estate, "production").refusal
    with green.transaction() as connection:
        arm(
            connection,
            lab_estate,
            HC,
            reason="first wave",
            ends_at=clock.now() + timedelta(hours=8),
            armed_by="op",
            now=clock.now(),
            environment="production",
        )
    assert look(green, clock, lab_estate, "production").open
    clock.sleep(9 * 3600)
    assert "not armed" in look(green, clock, lab_estate, "production").refusal


def test_disarming_shuts_it_at_once(green: Database, clock: FixedClock, lab_estate: Estate) -> None:
    with green.transaction() as connection:
        arm(
            connection,
            lab_estate,
            HC,
            reason="first wave",
            ends_at=clock.now() + timedelta(hours=8),
            armed_by="op",
            now=clock.now(),
            environment="production",
        )
        assert disarm(connection, HC, clock.now())
    assert not look(green, clock, lab_estate, "production").open


def test_dev_can_never_be_armed(green: Database, clock: FixedClock, lab_estate: Estate) -> None:
    with green.transaction() as connection, pytest.raises(ArmingRefused, match="dev cannot be armed"):
        arm(
            connection,
            lab_estate,
            HC,
            reason="try",
            ends_at=clock.now() + timedelta(hours=1),
            armed_by="op",
            now=clock.now(),
            environment="dev",
        )
    assert "dev cannot be armed" in look(green, clock, lab_estate, "dev").refusal


def _changed(estate: Estate, **changed: object) -> Estate:
    stream = estate.streams[HC].model_copy(update=changed)
    return estate.model_copy(update={"streams": {**estate.streams, HC: stream}})


def test_a_foreign_writer_of_the_cap_shuts_it_and_cannot_be_armed(
    green: Database, clock: FixedClock, lab_estate: Estate
) -> None:
    ramp = lab_estate.streams[HC].ramp.model_copy(update={"cap_writer": "/etc/cron.d/pw-hc-rampcap"})
    estate = _changed(lab_estate, ramp=ramp)
    assert "/etc/cron.d/pw-hc-rampcap" in look(green, clock, estate).refusal
    with green.transaction() as connection, pytest.raises(ArmingRefused, match="pw-hc-rampcap"):
        arm(
            connection,
            estate,
            HC,
            reason="try",
            ends_at=clock.now() + timedelta(hours=1),
            armed_by="op",
            now=clock.now(),
            environment="production",
        )


def test_a_missing_reply_to_shuts_it(green: Database, clock: FixedClock, lab_estate: Estate) -> None:
    empty = lab_estate.streams[HC].reply_to.model_copy(update={"address": None})
    assert "reply-to" in look(green, clock, _changed(lab_estate, reply_to=empty)).refusal


def test_a_live_look_that_finds_a_fault_refuses_the_permit(
    green: Database, clock: FixedClock, lab_estate: Estate
) -> None:
    with (
        green.transaction() as connection,
        pytest.raises(GateShut, match=r"127\.124\.0\.107 fcrdns: fail: PTR is gone"),
    ):
        mint(
            connection,
            lab_estate,
            HC,
            clock.now(),
            kind="wave",
            wave_id=1,
            members_hash="x",
            environment="lab",
            relook=lambda _stream: [("127.124.0.107", "PTR is gone")],
        )


def test_a_probe_needs_dns_and_postfix_but_no_message_evidence(
    database: Database, clock: FixedClock, lab_estate: Estate
) -> None:
    facts = required(lab_estate, HC, "probe", "lab")
    assert {"fcrdns", "spf", "backstop"} <= {s.fact for s in facts}
    assert not {"message_score", "content_lawful"} & {s.fact for s in facts}
    with database.transaction() as connection:
        for subject in facts:
            record(connection, subject, Verdict.PASS, "seen", "test", clock.now(), timedelta(days=1))
    assert look(database, clock, lab_estate, kind="probe").open


def test_twenty_probes_a_day_and_no_more(green: Database, clock: FixedClock, lab_estate: Estate) -> None:
    def probe() -> int:
        with green.transaction() as connection:
            return mint(
                connection,
                lab_estate,
                HC,
                clock.now(),
                kind="probe",
                wave_id=None,
                members_hash="s",
                environment="lab",
            )

    for _ in range(20):
        probe()
    with pytest.raises(GateShut, match="20 of 20 used today"):
        probe()
    clock.sleep(24 * 3600)
    assert probe() > 0


def test_only_the_gate_inserts_into_permit() -> None:
    package = Path(dualstream_assets.__file__).parent
    writers = [
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(r"insert\s+into\s+permit\b", path.read_text(encoding="utf-8"), re.IGNORECASE)
    ]
    assert writers == ["sending/gate.py"]


def test_consumer_streams_need_no_verification_evidence(lab_estate: Estate) -> None:
    assert not [s for s in required(lab_estate, "trucking", "wave", "lab") if s.subject == "verification"]
    assert [s for s in required(lab_estate, HC, "wave", "lab") if s.subject == "verification"]


def test_the_report_without_rows_is_not_open(green: Database, clock: FixedClock, lab_estate: Estate) -> None:
    assert not replace(look(green, clock, lab_estate), rows=()).open
