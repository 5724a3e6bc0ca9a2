"""The rendered Postfix: each port its own address, pools apart, nothing listens to the world, copies as rendered."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from dualstream_assets.estate import Estate, load_estate
from dualstream_assets.mta.files import entries
from dualstream_assets.mta.names import copy_name
from dualstream_assets.mta.render import config_hash, render, write_copies
from dualstream_assets.mta.tables import CONSUMER_DOMAINS, CONSUMER_MX_SUFFIXES
from dualstream_assets.receivers.operators import CONSUMER_OPERATORS, operator_of

INFRA = Path(__file__).parents[2] / "infra"
MASTER = "/etc/postfix/master.cf#hc"


@pytest.fixture(scope="session")
def estate() -> Estate:
    return load_estate(INFRA / "estate.toml")


@pytest.fixture(scope="session")
def files(estate: Estate):
    return render(estate, "production")


@pytest.fixture(scope="session")
def services(files):
    return {e.service: e for e in entries(files[MASTER])}


def rule(text: str, key: str) -> str:
    """The result of a pcre table for a key, as Postfix finds it: the first rule that matches."""
    for line in text.splitlines():
        pattern, _, result = line.removeprefix("/").rpartition("/  ")
        found = re.search(pattern, key, re.IGNORECASE | re.DOTALL) if line.startswith("/") else None
        if found:
            return found.expand(result.replace("${1}", r"\1"))
    return ""


def test_every_port_has_a_listener_on_each_declared_address_and_no_other(estate: Estate, services):
    listeners = {s.name for s in services.values() if s.kind == "inet"}
    assert listeners == {f"{a}:{p}" for a in ("127.0.0.1", "172.18.0.1") for p in (2526, 2527, 2528)}
    assert not [name for name in listeners if name.startswith("0.0.0.0")]


def test_each_port_leads_to_its_own_transport_and_each_transport_to_its_own_address(estate: Estate, services):
    for egress in estate.pool("healthcare"):
        listener = services[f"127.0.0.1:{egress.port}/inet"]
        assert listener.options["content_filter"] == f"{egress.transport}:"
        assert listener.options["syslog_name"] == egress.submit_name
        delivery = services[f"{egress.transport}/unix"]
        assert delivery.options["smtp_bind_address"] == str(egress.ip)
        assert delivery.options["smtp_helo_name"] == egress.helo
    bound = [s.options["smtp_bind_address"] for s in services.values() if s.command == "smtp"]
    assert len(set(bound)) == len(bound) == 3


def test_every_delivery_enforces_its_address_and_speaks_ipv4_only(services):
    deliveries = [s for s in services.values() if s.command == "smtp"]
    assert deliveries
    for service in deliveries:
        assert service.options["smtp_bind_address_enforce"] == "yes"
        assert service.options["inet_protocols"] == "ipv4"
        assert service.options["smtp_fallback_relay"] == ""
        assert service.options["smtp_discard_ehlo_keywords"] == "dsn"


def test_no_address_of_trucking_is_in_any_service_or_filter(estate: Estate, files):
    text = "".join(t for place, t in files.items() if not place.endswith(".nft"))
    for egress in (e for e in estate.egress if e.stream == "trucking"):
        assert not re.search(rf"\b{re.escape(str(egress.ip))}\b", text)
        assert f"{egress.transport}:" not in text


def test_every_listener_lets_one_client_one_sender_and_one_recipient_in(services):
    listeners = [s for s in services.values() if s.kind == "inet"]
    for service in listeners:
        assert service.options["mynetworks"] == "127.0.0.1/32"
        assert service.options["smtpd_client_restrictions"] == "permit_mynetworks,reject"
        assert service.options["smtpd_sender_restrictions"].endswith("permit_mynetworks, reject")
        assert service.options["smtpd_recipient_limit"] == "1"
        assert service.options["cleanup_service_name"] == "hccleanup"


def test_the_backstop_is_asked_before_the_wave_policy(services):
    recipients = services["127.0.0.1:2526/inet"].options["smtpd_recipient_restrictions"]
    assert (
        recipients.index("recipient_access")
        < recipients.index("recipient_mx_access")
        < recipients.index("policy")
    )
    assert "default_action=HOLD" in recipients


def test_nested_headers_are_never_logged_as_a_send(services):
    assert services["hccleanup/unix"].options["nested_header_checks"] == ""


def test_every_decision_carries_its_reason(files):
    lines = files[MASTER].splitlines()
    first = lines[: lines.index("")]
    options = [n for n, line in enumerate(first) if line.startswith("    -o ")]
    assert len(options) > 15
    assert all(first[n - 1].startswith("    # ") for n in options)


@pytest.mark.parametrize("domain", CONSUMER_DOMAINS)
def test_a_consumer_domain_is_refused(files, domain: str):
    table = files["/etc/postfix/hc/recipient_access"]
    assert rule(table, f"someone@{domain}").startswith("550 5.7.1")
    assert rule(table, f"someone@not{domain}") == ""


@pytest.mark.parametrize("suffix", CONSUMER_MX_SUFFIXES)
def test_a_consumer_mail_host_is_refused_and_hidden_at_delivery(files, suffix: str):
    assert operator_of([f"mx1.{suffix}"]) in CONSUMER_OPERATORS
    assert rule(files["/etc/postfix/hc/recipient_mx_access"], f"mx1.{suffix}").startswith("550")
    answer = f"clinic.test. 1800 IN MX 1 mx1.{suffix}."
    assert rule(files["/etc/postfix/hc/dns_reply_filter"], answer) == "IGNORE"


@pytest.mark.parametrize(
    "host", ["clinic.mail.protection.outlook.com", "aspmx.l.google.com", "mx.clinic.test"]
)
def test_an_institutional_mail_host_is_not_refused(files, host: str):
    assert rule(files["/etc/postfix/hc/recipient_mx_access"], host) == ""
    assert rule(files["/etc/postfix/hc/dns_reply_filter"], f"clinic.test. 1800 IN MX 1 {host}.") == ""


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("MAIL FROM:<b@d.test> SIZE=9", "MAIL FROM:<b@d.test> SIZE=9 XVERP=+="),
        ("mail from: <b@d.test>", "mail from: <b@d.test> XVERP=+="),
        ("MAIL FROM:<b@d.test> XVERP=+=", ""),
        ("MAIL FROM:<>", ""),
        ("RCPT TO:<r@d.test> NOTIFY=SUCCESS,DELAY ORCPT=x", "RCPT TO:<r@d.test> NOTIFY=NEVER"),
        ("DATA", ""),
    ],
)
def test_commands_are_heard_without_notices_and_with_verp(files, said: str, heard: str):
    assert rule(files["/etc/postfix/hc/command_filter"], said) == heard


def test_only_the_streams_envelope_may_submit(files):
    table = files["/etc/postfix/hc/sender_access"]
    assert rule(table, "bounces+u=d.test@bounce-hc.performancewest.net") == "DUNNO"
    for sender in ("help@performancewest.net", "<>", "x@bounce-hc.performancewest.net.evil.test"):
        assert "554 5.7.1" in rule(table, sender)


def test_a_requeued_message_finds_its_pool_by_its_received_line(files):
    table = files["/etc/postfix/dualstream/requeue_header_checks"]
    line = "Received: from localhost (localhost [127.0.0.1])\n\tby {} (Postfix) with ESMTP id 4ABC\n\tfor <x@y.test>"
    assert rule(table, line.format("hcmta02.performancewest.net")) == "FILTER hcout2:"
    assert rule(table, line.format("app.performancewest.net")) == ""
    assert rule(table, "Subject: by hcmta02.performancewest.net (Postfix) with ESMTP id 4ABC") == ""


def test_the_kernel_guard_knows_all_sixteen_addresses_and_the_forward_hook(estate: Estate, files):
    text = files["/etc/nftables.d/dualstream.nft"]
    assert all(str(e.ip) in text for e in estate.egress)
    assert "hook forward" in text
    assert "207.174.124.93" not in text


def test_rendering_twice_gives_the_same_hash_and_another_estate_another(estate: Estate, lab_estate: Estate):
    assert config_hash(render(estate, "production")) == config_hash(render(estate, "production"))
    assert config_hash(render(estate, "production")) != config_hash(render(lab_estate, "lab"))


def test_the_committed_copies_are_the_render(estate: Estate, files, tmp_path: Path):
    expected = {copy_name(place): text for place, text in files.items()}
    root = INFRA / "postfix"
    found = {str(p.relative_to(root)): p.read_text() for p in (root / "etc").rglob("*") if p.is_file()}
    assert found == expected, "write them again: mta.render.write_copies"


def test_writing_copies_removes_what_is_no_longer_rendered(estate: Estate, tmp_path: Path):
    stale = tmp_path / "etc" / "postfix" / "hc" / "old_table"
    stale.parent.mkdir(parents=True)
    stale.write_text("x")
    written = write_copies(estate, tmp_path)
    assert not stale.exists()
    assert len(written) == len(render(estate, "production"))


def test_the_old_setup_script_is_a_door_to_plan_and_apply():
    script = INFRA / "postfix" / "hc_stream_setup.sh"
    assert script.stat().st_mode & stat.S_IXUSR
    assert "mta plan" in script.read_text()
    assert "mta apply --hash" in script.read_text()
