"""Who runs an MX host, and how gently it is asked."""

from __future__ import annotations

import pytest

from dualstream_assets.receivers.operators import (
    CONSUMER_OPERATORS,
    lane_of,
    named_operators,
    operator_of,
    registrable_domain,
)


@pytest.mark.parametrize(
    ("hosts", "operator"),
    [
        (["aspmx.l.google.com"], "google"),
        (["SMTP.Google.com."], "google"),
        (["practice-test.mail.protection.outlook.com"], "microsoft"),
        (["practice.a-v1.mx.microsoft"], "microsoft"),
        (["hotmail-com.olc.protection.outlook.com"], "outlook_com"),
        (["mta5.am0.yahoodns.net"], "yahoo"),
        (["mxa-0001.gslb.pphosted.com"], "proofpoint"),
        (["mx1-us1.ppe-hosted.com"], "proofpoint_essentials"),
        (["us-smtp-inbound-1.mimecast.com"], "mimecast"),
        (["mailstore1.secureserver.net"], "godaddy"),
        (["d1a.ess.barracudanetworks.com"], "barracuda"),
        (["mx1.emailsrvr.com"], "rackspace"),
        (["mail.practice.test"], "practice.test"),
        (["mx.practice.co.uk"], "practice.co.uk"),
        (["notgoogle.com"], "notgoogle.com"),
        (["mx.google.com.practice.test"], "practice.test"),
        ([], ""),
        (["."], ""),
    ],
)
def test_the_operator_is_told_by_suffix_on_label_borders(hosts: list[str], operator: str) -> None:
    assert operator_of(hosts) == operator


def test_the_first_host_decides() -> None:
    assert operator_of(["mail.practice.test", "aspmx.l.google.com"]) == "practice.test"


def test_a_consumer_operator_anywhere_in_the_set_decides() -> None:
    assert operator_of(["mail.practice.test", "mta5.am0.yahoodns.net"]) == "yahoo"


def test_an_address_as_host_stays_whole() -> None:
    assert registrable_domain("192.0.2.1") == "192.0.2.1"


def test_google_workspace_is_no_consumer_operator() -> None:
    assert "google" not in CONSUMER_OPERATORS
    assert {"yahoo", "outlook_com", "icloud", "comcast", "att"} < CONSUMER_OPERATORS


def test_touchy_operators_are_asked_one_session_at_a_time() -> None:
    touchy = [lane_of(operator) for operator in ("godaddy", "ionos", "rackspace", "barracuda")]
    assert {(lane.connections, lane.rcpt_per_session, lane.stop_at_unknown) for lane in touchy} == {(1, 5, 3)}


def test_unnamed_hosts_are_limited_per_address() -> None:
    assert lane_of("practice.test").per_address
    assert not any(lane_of(operator).per_address for operator in ("google", "microsoft", "proofpoint"))


def test_no_lane_reaches_the_errors_after_which_postfix_slows_down() -> None:
    for operator in named_operators():
        stop = lane_of(operator).stop_at_unknown
        assert stop is None or stop + 1 < 10  # the random recipient may be one more
