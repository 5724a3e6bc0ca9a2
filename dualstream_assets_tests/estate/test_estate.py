"""The estate: every fact of the plan, every finding at once, and what only the user can answer."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from dualstream_assets.estate import EstateError, load_estate
from dualstream_assets.estate.load import find_estate, packaged_lab_estate
from dualstream_assets.estate.questions import unanswered

ROOT = Path(__file__).resolve().parents[2]
PRODUCTION = ROOT / "infra" / "estate.toml"


@pytest.fixture
def broken(tmp_path):
    """Write the production estate with replacements and return its findings as text."""

    def findings(*replacements: tuple[str, str]) -> list[str]:
        text = PRODUCTION.read_text()
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "estate.toml"
        path.write_text(text)
        with pytest.raises(EstateError) as caught:
            load_estate(path)
        return [str(finding) for finding in caught.value.findings]

    return findings


def test_the_sixteen_egresses_of_the_plan_are_declared():
    estate = load_estate(PRODUCTION)
    assert [str(e.ip) for e in estate.egress] == [f"207.174.124.{n}" for n in range(94, 110)]
    assert [e.transport for e in estate.egress] == [f"out{n:02d}" for n in range(5, 18)] + [
        "hcout1",
        "hcout2",
        "hcout3",
    ]


def test_the_pools_are_the_plans():
    estate = load_estate(PRODUCTION)
    assert [str(e.ip)[-3:] for e in estate.pool("trucking")] == [".94", ".95", ".96"]
    hot = estate.pool("healthcare")
    assert [(e.port, e.helo, e.submit_name, e.former_transport) for e in hot] == [
        (2526, "hcmta01.performancewest.net", "postfix/hcsubmit107", "out18"),
        (2527, "hcmta02.performancewest.net", "postfix/hcsubmit108", "out19"),
        (2528, "hcmta03.performancewest.net", "postfix/hcsubmit109", "out20"),
    ]


def test_the_ramp_is_the_plans_table():
    stages = load_estate(PRODUCTION).streams["healthcare"].ramp.stages
    assert [(s.from_day, s.cap_per_hour, s.cap_per_day) for s in stages] == [
        (0, 100, 1000),
        (2, 300, 3000),
        (5, 600, 6000),
        (10, 1000, 10000),
    ]


def test_the_live_trucking_cap_has_its_own_writer():
    ramp = load_estate(PRODUCTION).streams["trucking"].ramp
    assert ramp.cap_writer == "/usr/local/bin/pw-listmonk-rampcap"
    assert (ramp.stages[0].cap_per_hour, ramp.stages[0].cap_per_day) == (300, 4000)


def test_an_address_in_two_pools_is_named_with_both_keys(broken):
    found = broken(('ip = "207.174.124.107"', 'ip = "207.174.124.96"'))
    assert found == ["egress[13].ip: 207.174.124.96 also belongs to trucking (egress[2])"]


def test_all_findings_are_shown_at_once(broken):
    found = broken(
        ('ip = "207.174.124.107"', 'ip = "207.174.124.96"'),
        ("end = 18:30:00", "end = 07:30:00"),
        ('listen = ["127.0.0.1", "172.18.0.1"]', 'listen = ["0.0.0.0"]'),
    )
    assert len(found) == 3


def test_an_unknown_key_names_the_nearest_right_one(broken):
    found = broken(("max_conns = 2", "max_con = 2"))
    assert found == [
        "streams.healthcare.listmonk.max_con: unknown key; did you mean streams.healthcare.listmonk.max_conns?"
    ]


def test_a_missing_key_names_a_misspelt_one(broken):
    found = broken(('dkim_selector = "mail"', 'dkim_selektor = "mail"'))
    assert "dns.dkim_selector: missing; is 'dkim_selektor' meant to be 'dkim_selector'?" in found


def test_a_zone_that_does_not_exist_is_refused(broken):
    found = broken(
        ('domain = "performancewest.net"', 'domain = "performancewest.net"\ntime_zone = "Mars/Base"')
    )
    assert found == [
        "organisation.time_zone: 'Mars/Base' is not an IANA time zone such as 'America/New_York'"
    ]


def test_a_probe_on_a_sending_address_is_refused(broken):
    found = broken(("[probe]", '[probe]\nip = "207.174.124.108"'))
    assert found == ["probe.ip: 207.174.124.108 is a sending IP (hcout2); probe from another"]


def test_a_ramp_that_falls_is_refused(broken):
    found = broken(("cap_per_hour = 600, cap_per_day = 6000", "cap_per_hour = 200, cap_per_day = 6000"))
    assert found == ["streams.healthcare.ramp.stages[2]: a later stage may not have lower caps"]


def test_no_stream_may_carry_direct_addresses(broken):
    found = broken(('segment = "institutional"', 'segment = "direct"'))
    assert found == ["streams.healthcare.segment: 'direct' may not be mailed by any stream"]


def test_an_audience_entry_without_a_dot_would_stand_for_everything_below_it(broken):
    found = broken(("[audience]", '[audience]\nnot_direct_suffixes = ["com"]'))
    assert found == ["audience.not_direct_suffixes: 'com' is no domain such as clinic.example"]


def test_a_file_that_is_not_toml_is_one_finding(tmp_path):
    path = tmp_path / "estate.toml"
    path.write_text("[organisation\n")
    with pytest.raises(EstateError, match="not readable as TOML"):
        load_estate(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(EstateError, match=r"nowhere\.toml does not exist"):
        load_estate(tmp_path / "nowhere.toml")


def test_nothing_that_only_the_user_knows_has_a_default():
    keys = {question.key for question in unanswered(load_estate(PRODUCTION))}
    assert {
        "probe.ip",
        "probe.helo",
        "probe.mail_from",
        "campaign.postal_address",
        "campaign.tool_url",
        "campaign.product_url",
        "campaign.from_address",
        "campaign.reply_to",
        "seeds",
        "organisation.time_zone",
        "organisation.alert_target",
        "verification.catch_all_policy",
    } <= keys


def test_the_lab_estate_answers_all_but_production_hosts():
    keys = {question.key for question in unanswered(load_estate(packaged_lab_estate()))}
    assert keys == {
        "environments.production.bridge_if",
        "streams.trucking.listmonk.url",
        "streams.healthcare.listmonk.url",
    }


def test_the_lab_estate_uses_only_reserved_names_and_loopback():
    raw = tomllib.loads(packaged_lab_estate().read_text())
    assert raw["organisation"]["domain"].endswith(".test")
    assert all(e["ip"].startswith("127.") and e["helo"].endswith(".test") for e in raw["egress"])


def test_the_lab_never_takes_the_production_file(tmp_path):
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "estate.toml").write_text(PRODUCTION.read_text())
    assert find_estate("lab", None, tmp_path).path == packaged_lab_estate()
    assert find_estate("production", None, tmp_path).path == tmp_path / "infra" / "estate.toml"
