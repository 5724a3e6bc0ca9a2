"""What the checks and the look before a wave write down, and how the rim shows it."""

from __future__ import annotations

import dagster as dg
import pytest

from dualstream_assets.identity import probes
from dualstream_assets.identity.assets import assets
from dualstream_assets.identity.automation import automation
from dualstream_assets.identity.checks import checks
from dualstream_assets.store.evidence import Evidence, Subject, Verdict, newest
from dualstream_assets.workplace import Workplace
from dualstream_assets_tests.outside.nameserver import TinyDns

POINTER = "107.0.124.127.in-addr.arpa"
FCRDNS = Subject("healthcare", "127.124.0.107", "fcrdns")


def rows(workplace: Workplace, stream: str = "healthcare") -> dict[Subject, Evidence]:
    with workplace.database.transaction() as connection:
        return newest(connection, stream)


def materialize(workplace: Workplace, *selected: str, act: bool = True) -> dg.ExecuteInProcessResult:
    estate = workplace.estate
    everything = [*assets(estate, "lab"), *checks(estate, "lab")]
    return dg.materialize(
        everything,
        resources={"workplace": workplace},
        selection=dg.AssetSelection.from_string(" or ".join(f'key:"{key}"' for key in selected)),
        raise_on_error=False,
        instance=dg.DagsterInstance.ephemeral(),
    )


@pytest.mark.parametrize("stream", ["trucking", "healthcare"])
def test_every_fact_the_gate_needs_is_written(workplace: Workplace, stream: str):
    for fact in probes.LOOKS:
        probes.probe(workplace, stream, fact, "test")
    found = rows(workplace, stream)
    pool = [str(e.ip) for e in workplace.estate.pool(stream)]
    expected = {Subject(stream, ip, fact) for ip in pool for fact in ("fcrdns", "helo")}
    expected |= {Subject(stream, "performancewest.test", fact) for fact in ("spf", "dkim", "dmarc")}
    if stream == "healthcare":
        expected.add(Subject(stream, "bounce-hc.performancewest.test", "spf"))
    assert set(found) == expected
    assert {e.verdict for e in found.values()} == {Verdict.PASS}


def test_the_bounce_domain_may_not_let_the_other_stream_send(workplace: Workplace, zone: TinyDns):
    zone.put("TXT", "bounce-hc.performancewest.test", "v=spf1 ip4:127.124.0.0/24 -all")
    probes.probe(workplace, "healthcare", "spf", "test")
    row = rows(workplace)[Subject("healthcare", "bounce-hc.performancewest.test", "spf")]
    assert row.verdict is Verdict.FAIL
    assert "127.124.0.94 is pass" in row.evidence


def test_a_look_that_raises_after_a_green_one_leaves_unknown(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
):
    probes.probe(workplace, "healthcare", "fcrdns", "test")
    assert rows(workplace)[FCRDNS].verdict is Verdict.PASS
    monkeypatch.setattr(probes, "resolver_of", lambda _: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(OSError, match="no network"):
        probes.probe(workplace, "healthcare", "fcrdns", "test")
    assert rows(workplace)[FCRDNS].verdict is Verdict.UNKNOWN


def test_the_look_before_a_wave_names_what_broke_and_writes_it(workplace: Workplace, zone: TinyDns):
    assert probes.reprobe_fcrdns(workplace, "healthcare") == ()
    zone.drop("PTR", POINTER)
    assert probes.reprobe_fcrdns(workplace, "healthcare") == (
        ("127.124.0.107", f"no PTR ({POINTER}: nxdomain)"),
    )
    assert rows(workplace)[FCRDNS].verdict is Verdict.FAIL
    assert rows(workplace)[Subject("healthcare", "127.124.0.108", "fcrdns")].verdict is Verdict.PASS


def test_materializing_identity_is_green_and_shows_a_table(workplace: Workplace):
    result = materialize(workplace, "identity/dns_plan", "healthcare/identity")
    assert result.success
    (event,) = result.asset_materializations_for_node("healthcare__identity")
    assert event.metadata["verdict"].value == "pass"
    assert "| 127.124.0.107 | fcrdns | pass |" in str(event.metadata["evidence"].value)
    assert {e.check_name for e in result.get_asset_check_evaluations()} == {
        *probes.LOOKS,
        "soa_in_step",
        "blocklists",
    }


def test_a_broken_pointer_fails_the_run_and_its_check_says_why(workplace: Workplace, zone: TinyDns):
    zone.put("PTR", POINTER, "a.test.", "b.test.")
    result = materialize(workplace, "healthcare/identity")
    assert not result.success
    (said,) = [e for e in result.get_asset_check_evaluations() if e.check_name == "fcrdns"]
    assert not said.passed
    assert "2 PTR records: a.test, b.test" in str(said.description)


def test_no_message_makes_the_score_check_red_not_the_asset(workplace: Workplace):
    result = materialize(workplace, "healthcare/message_score")
    (event,) = result.asset_materializations_for_node("healthcare__message_score")
    assert event.metadata["verdict"].value == "unknown"
    (said,) = result.get_asset_check_evaluations()
    assert not said.passed


def test_no_metadata_names_a_mailbox(workplace: Workplace):
    result = materialize(workplace, "identity/dns_plan", "healthcare/identity", "healthcare/message_score")
    shown = [str(e.event_specific_data) for e in result.all_events]
    assert len(shown) > 5
    assert not [text for text in shown if "seed@" in text or "dmarc@" in text]


def test_looking_again_runs_by_itself(workplace: Workplace):
    found = automation(workplace.estate, "lab")
    assert [s.default_status for s in found.schedules] == [dg.DefaultScheduleStatus.RUNNING]
    assert [job.name for job in found.jobs] == ["recheck_identity"]
