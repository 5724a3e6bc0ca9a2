"""The guards against a leak, each seen red, and the evidence they leave for both streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address

import dagster as dg
import pytest

from dualstream_assets.estate import Estate
from dualstream_assets.mta import probes
from dualstream_assets.mta.assets import assets
from dualstream_assets.mta.automation import automation
from dualstream_assets.mta.checks import checks
from dualstream_assets.mta.files import STOCK_MASTER
from dualstream_assets.mta.guard import addresses_up, bind_test, judge_addresses, pools_disjoint
from dualstream_assets.mta.live import Live, target_for
from dualstream_assets.mta.render import render
from dualstream_assets.outside.ssh import Ran
from dualstream_assets.store.evidence import Evidence, Subject, Verdict, newest
from dualstream_assets.workplace import Workplace
from dualstream_assets_tests.mta.conftest import Ports

GOOD_LIVE = Live({}, {}, {"hcout1": "127.124.0.107", "out05": "127.124.0.94"})


def row(workplace: Workplace, fact: str, stream: str = "healthcare") -> Evidence:
    with workplace.database.transaction() as connection:
        return newest(connection, stream)[Subject(stream, "postfix", fact)]


def materialize(workplace: Workplace, *selected: str, act: bool | None = None) -> dg.ExecuteInProcessResult:
    everything = [*assets(workplace.estate, "lab"), *checks(workplace.estate, "lab")]
    chosen = selected or ("mta/config", "mta/deployed", "mta/drift")
    config = {"ops": {"mta__deployed": {"config": {"act": act}}}} if act is not None else None
    return dg.materialize(
        everything,
        resources={"workplace": workplace},
        selection=dg.AssetSelection.from_string(" or ".join(f'key:"{key}"' for key in chosen)),
        run_config=config,
        raise_on_error=False,
        instance=dg.DagsterInstance.ephemeral(),
    )


def disjoint(estate: Estate, live: Live | None = GOOD_LIVE, **changed: str):
    return pools_disjoint(estate, {**render(estate, "lab"), **changed}, live)


def test_the_lab_estates_pools_are_apart(lab_estate: Estate):
    assert disjoint(lab_estate).verdict is Verdict.PASS


def test_an_unreadable_deployment_is_unknown(lab_estate: Estate):
    assert disjoint(lab_estate, None).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(("name", "value"), [("ip", IPv4Address("127.124.0.94")), ("transport", "out05")])
def test_an_address_or_transport_of_both_streams_fails(lab_estate: Estate, name: str, value: object):
    egress = [e.model_copy(update={name: value}) if e.transport == "hcout1" else e for e in lab_estate.egress]
    shared = lab_estate.model_copy(update={"egress": tuple(egress)})
    found = disjoint(shared)
    assert found.verdict is Verdict.FAIL
    assert "trucking and healthcare" in found.evidence


def test_a_rendered_service_that_binds_a_foreign_address_or_listens_to_the_world_fails(lab_estate: Estate):
    block = render(lab_estate, "lab")["/etc/postfix/master.cf#hc"]
    for wrong in (
        block.replace("smtp_bind_address=127.124.0.107", "smtp_bind_address=127.124.0.94"),
        block.replace("127.0.0.1:2526 inet", "0.0.0.0:2526 inet"),
        block.replace("127.0.0.1:2526 inet", "2526 inet"),
    ):
        assert disjoint(lab_estate, **{"/etc/postfix/master.cf#hc": wrong}).verdict is Verdict.FAIL


def test_a_live_transport_of_another_stream_on_our_address_fails(lab_estate: Estate):
    live = replace(GOOD_LIVE, bound={**GOOD_LIVE.bound, "out06": "127.124.0.107"})
    found = disjoint(lab_estate, live)
    assert found.verdict is Verdict.FAIL
    assert "out06 binds 127.124.0.107" in found.evidence


def test_a_rotation_that_names_a_retired_transport_again_fails(lab_estate: Estate):
    live = replace(GOOD_LIVE, main={"transport_maps": "randmap:{out05:,out06:,out18:}"})
    found = disjoint(lab_estate, live)
    assert found.verdict is Verdict.FAIL
    assert "transport_maps still names out18" in found.evidence


def test_a_source_address_that_is_not_here_is_seen():
    found = bind_test([IPv4Address("127.124.0.107"), IPv4Address("192.0.2.7")])
    assert found == {"127.124.0.107": True, "192.0.2.7": False}
    judged = judge_addresses(found)
    assert judged.verdict is Verdict.FAIL
    assert "192.0.2.7 not up" in judged.evidence
    assert judge_addresses({}).verdict is Verdict.UNKNOWN


def test_on_a_host_an_address_counts_only_if_an_interface_has_it():
    class Host:
        def run(self, words: Sequence[str], *, text: str | None = None, timeout_s: float = 30.0) -> Ran:
            out = "2: eth0    inet 192.0.2.94/24 scope global eth0\n2: eth0    inet 192.0.2.107/24 scope global\n"
            return Ran(tuple(words), 0, out, "")

    found = addresses_up(Host(), [IPv4Address("192.0.2.10"), IPv4Address("192.0.2.107")])
    assert found == {"192.0.2.10": False, "192.0.2.107": True}


def test_all_ports_refusing_yahoo_is_green_for_both_streams_and_never_reaches_data(
    workplace: Workplace, ports: Ports
):
    found = probes.probe_backstop_ports(workplace, "test")
    assert found.verdict is Verdict.PASS
    assert row(workplace, "backstop").verdict is Verdict.PASS
    assert row(workplace, "backstop", "trucking").verdict is Verdict.PASS
    assert {number for number, _ in ports.heard} == {2526, 2527, 2528}
    verbs = {line.split()[0].upper() for _, line in ports.heard}
    assert "DATA" not in verbs
    assert "RSET" in verbs
    assert (2526, "mail FROM:<backstop-probe@bounce-hc.performancewest.test>") in ports.heard


def test_one_port_that_accepts_yahoo_is_red(workplace: Workplace, ports: Ports):
    ports.rcpt[2527] = "250 2.1.5 Ok"
    found = probes.probe_backstop_ports(workplace, "test")
    assert found.verdict is Verdict.FAIL
    assert "port 2527 ACCEPTS" in found.evidence
    assert row(workplace, "backstop").verdict is Verdict.FAIL


@pytest.mark.parametrize("reply", ["450 4.7.1 later", "421 4.3.2 shutting down"])
def test_a_port_that_puts_off_is_unknown(workplace: Workplace, ports: Ports, reply: str):
    ports.rcpt[2528] = reply
    assert probes.probe_backstop_ports(workplace, "test").verdict is Verdict.UNKNOWN


def test_a_port_that_refuses_our_sender_was_never_asked(workplace: Workplace, ports: Ports):
    ports.mail[2526] = "554 5.7.1 who are you"
    found = probes.probe_backstop_ports(workplace, "test")
    assert found.verdict is Verdict.UNKNOWN
    assert "MAIL refused" in found.evidence


def test_a_port_that_nobody_serves_is_unknown(workplace: Workplace, ports: Ports):
    del ports.real[2528]
    assert probes.probe_backstop_ports(workplace, "test").verdict is Verdict.UNKNOWN


def test_drift_is_seen_after_a_file_was_changed_by_hand(workplace: Workplace):
    materialize(workplace)
    assert row(workplace, "live_is_reviewed").verdict is Verdict.PASS
    target = target_for(workplace)
    target.write("/etc/postfix/hc/recipient_access", "# emptied by hand\n")
    found = probes.probe_live(workplace, "test")
    assert found.verdict is Verdict.FAIL
    assert "/etc/postfix/hc/recipient_access" in found.evidence


def test_a_missing_source_address_is_red_only_for_its_stream(workplace: Workplace):
    egress = tuple(
        e.model_copy(update={"ip": IPv4Address("192.0.2.7")}) if e.transport == "hcout1" else e
        for e in workplace.estate.egress
    )
    moved = replace(workplace, estate=workplace.estate.model_copy(update={"egress": egress}))
    probes.probe_addresses(moved, "test")
    assert row(moved, "source_addresses").verdict is Verdict.FAIL
    assert row(moved, "source_addresses", "trucking").verdict is Verdict.PASS


def test_the_lab_applies_by_itself_and_every_fact_turns_green(workplace: Workplace):
    result = materialize(workplace)
    assert result.success
    (deployed,) = result.asset_materializations_for_node("mta__deployed")
    assert deployed.metadata["applied"].value == 12
    (drift,) = result.asset_materializations_for_node("mta__drift")
    assert drift.metadata["state"].value == "as declared"
    for stream in ("trucking", "healthcare"):
        for fact in ("pools_disjoint", "live_is_reviewed", "backstop", "source_addresses"):
            assert row(workplace, fact, stream).verdict is Verdict.PASS


def test_told_not_to_act_it_shows_the_plan_and_the_gate_stays_shut(workplace: Workplace):
    result = materialize(workplace, act=False)
    assert not result.success
    (deployed,) = result.asset_materializations_for_node("mta__deployed")
    assert deployed.metadata["applied"].value == 0
    assert deployed.metadata["differences"].value == 12
    assert row(workplace, "live_is_reviewed").verdict is Verdict.FAIL


def test_a_fault_of_what_is_deployed_does_not_block_the_apply_that_cures_it(workplace: Workplace):
    target = target_for(workplace)
    target.write(
        "/etc/postfix/master.cf",
        STOCK_MASTER + "hcout9 unix - - n - - smtp -o smtp_bind_address=127.124.0.107\n",
    )
    result = materialize(workplace)
    assert result.success
    assert row(workplace, "pools_disjoint").verdict is Verdict.FAIL
    assert row(workplace, "live_is_reviewed").verdict is Verdict.PASS


def test_a_declared_fault_blocks_the_apply(workplace: Workplace):
    egress = tuple(
        e.model_copy(update={"ip": IPv4Address("127.124.0.94")}) if e.transport == "hcout1" else e
        for e in workplace.estate.egress
    )
    shared = replace(workplace, estate=workplace.estate.model_copy(update={"egress": egress}))
    result = materialize(shared)
    assert not result.success
    assert target_for(shared).read("/etc/postfix/master.cf") is None


def test_a_wrong_hash_fails_the_run_with_one_line(workplace: Workplace):
    result = dg.materialize(
        assets(workplace.estate, "lab"),
        resources={"workplace": workplace},
        selection=dg.AssetSelection.from_string('key:"mta/deployed"'),
        run_config={"ops": {"mta__deployed": {"config": {"act": True, "plan_hash": "0" * 12}}}},
        raise_on_error=False,
        instance=dg.DagsterInstance.ephemeral(),
    )
    assert not result.success
    (failure,) = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    assert "nothing was changed" in str(failure.step_failure_data.user_failure_data)


def test_in_production_materializing_all_writes_nothing(workplace: Workplace):
    settings = replace(workplace.settings, environment="production")
    estate = workplace.estate
    app = estate.hosts["app"].model_copy(update={"address": None})
    bare = estate.model_copy(
        update={
            "hosts": {**estate.hosts, "app": app},
            "environments": {**estate.environments, "production": estate.environments["lab"]},
        }
    )
    production = replace(workplace, settings=settings, estate=bare)
    result = materialize(production)
    (deployed,) = result.asset_materializations_for_node("mta__deployed")
    assert deployed.metadata["state"].value == "unknown"
    assert deployed.metadata["applied"].value == 0
    assert row(production, "live_is_reviewed").verdict is Verdict.UNKNOWN
    assert not (production.paths.mta / "deployed").exists()


def test_only_looking_runs_by_itself(workplace: Workplace):
    found = automation(workplace.estate, "production")
    assert {job.name for job in found.jobs} == {"plan_changes", "apply_changes", "recheck_postfix"}
    (hourly,) = found.schedules
    assert (hourly.job_name, hourly.default_status) == ("recheck_postfix", dg.DefaultScheduleStatus.RUNNING)
    defs = dg.Definitions(
        assets=assets(workplace.estate, "lab"),
        asset_checks=checks(workplace.estate, "lab"),
        jobs=list(found.jobs),
        resources={"workplace": workplace},
    )
    for name, acts in (("plan_changes", False), ("recheck_postfix", False), ("apply_changes", True)):
        config = defs.resolve_job_def(name).run_config
        assert config is not None
        assert config["ops"]["mta__deployed"]["config"]["act"] is acts
