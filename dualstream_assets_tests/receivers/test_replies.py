"""What servers say, and what it means: the wire forms of facts/verification sections 2.2, 2.3 and 3, and the traps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualstream_assets.receivers.operators import named_operators
from dualstream_assets.receivers.replies import Reply, enhanced_code, is_block, rule_reply, rules, wait_hint_s

D, U, F, S, R, B, K = ["deliverable", "undeliverable", "full", "suspended", "retry", "blocked", "risky"]

AT_RCPT = [
    # accepted
    (250, "2.1.5 Ok", "", D),
    (251, "2.1.5 User not local; will forward", "", D),
    (252, "2.1.5 Cannot VRFY user, but will accept message", "", K),
    # no such mailbox
    (550, "5.1.1 <a@b.test>: Recipient address rejected: User unknown in local recipient table", "", U),
    (
        550,
        "5.1.1 The email account that you tried to reach does not exist. Please try 5.1.1 double",
        "google",
        U,
    ),
    (551, "5.1.1 not here", "", U),
    (
        550,
        "5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient a@b.test not found by SMTP lookup",
        "microsoft",
        U,
    ),
    (550, "5.1.1 User Unknown", "proofpoint", U),
    (550, "Invalid Recipient [a1b2c3]", "mimecast", U),
    (550, "5.1.1 <a@b.test> Recipient not found", "godaddy", U),
    (550, "5.5.0 Requested action not taken: mailbox unavailable", "outlook_com", U),
    (550, "5.1.1 Not our Customer", "comcast", U),
    (550, "No such recipient here", "", U),
    (550, "Requested action not taken: mailbox unavailable", "ionos", U),
    (550, "cuda_nsu 5.1.1 no such user", "barracuda", U),
    (550, "5.1.1 Recipient verification failed (G8)", "rackspace", U),
    (550, "5.1.0 Address rejected: no such user", "", U),
    (550, "5.0.0 User unknown", "", U),
    (550, "5.1.6 The mailbox has moved", "", U),
    (553, "5.1.3 The recipient address is not a valid RFC 5321 address", "", U),
    (550, "5.7.1 Recipient rejected: user unknown", "", U),
    (
        550,
        "5.7.1 <a@b.test>: Recipient address rejected: Recipient marked as invalid",
        "proofpoint_essentials",
        U,
    ),
    (554, "5.7.1 <a@b.test>: Invalid-Recipient", "trendmicro", U),
    (556, "5.1.10 Recipient domain has a null MX", "", U),
    (554, "delivery error: dd This user doesn't have a example.test account", "yahoo", U),
    # a mailbox or a practice whose name is a block word
    (550, "5.1.1 <spam@policy-abuse.test>: Recipient address rejected: User unknown", "", U),
    (550, "5.1.1 blocked@b.test no such user", "", U),
    # blocks dressed up as dead mailboxes
    (550, "5.1.1 <a@b.test> Recipient rejected. Rate limit for your IP. IB607", "godaddy", B),
    (550, "5.1.1 recipient rejected IB607", "", B),
    (550, "5.2.1 Mailbox unavailable. Your IP 192.0.2.1 is blacklisted", "", B),
    (554, "5.7.1 <a@b.test>: Recipient address rejected: https://www.spamhaus.org/query/ip/192.0.2.1", "", B),
    (554, "5.7.1 <a@b.test>: Recipient address rejected: <https://www.spamhaus.org/sbl>", "", B),
    (550, "permanent failure for one or more recipients (a@b.test:blocked)", "barracuda", B),
    (552, "5.1.1 a@b.test not accepted due to a policy error", "zoho", B),
    (541, "5.4.1 domain filter", "zoho", B),
    (450, "cuda_nsu 4.7.1 Client host rejected: Abuse", "barracuda", B),
    (554, "5.7.1 ERS-RBL", "trendmicro", B),
    (550, "5.7.1 BLOCK-RCPT", "trendmicro", B),
    (451, "4.7.1 Received too many messages from a new or untrusted IP (G28)", "rackspace", B),
    (550, "5.7.1 no PTR record (G1F)", "rackspace", B),
    (450, "Reject due to policy violations", "ionos", B),
    (451, "excessive unknown recipients", "yahoo", B),
    # blocks in plain words
    (550, "5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.example.test", "", B),
    (550, "5.7.606 Access denied, banned sending IP [192.0.2.1]. AS(1430)", "microsoft", B),
    (550, "5.7.511 Access denied", "microsoft", B),
    (550, "5.7.507 Access denied, rejected by recipient", "microsoft", B),
    (450, "4.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.1]", "", B),
    (550, "5.7.25 The IP address sending this message does not have a PTR record", "google", B),
    (550, "5.7.23 SPF validation failed", "", B),
    (550, "5.7.26 Unauthenticated email is not accepted", "google", B),
    (550, "5.7.515 Access denied, sending domain does not meet the level", "microsoft", B),
    (451, "4.7.500 Server busy. Please try again later from [192.0.2.1]. AS(S77719)", "microsoft", B),
    (451, "4.7.650 The mail server [192.0.2.1] has been temporarily rate limited", "microsoft", B),
    (421, "4.7.0 Try again later, closing connection", "google", B),
    (421, "4.7.28 unusual rate of unsolicited mail", "google", B),
    (421, "4.3.2 The maximum number of concurrent connections has exceeded a limit", "microsoft", B),
    (421, "Too many invalid recipients in this session. IB510", "godaddy", B),
    (550, "5.1.8 <x@y.test>: Sender address rejected: Domain not found", "", B),
    (553, "5.1.7 bad sender", "", B),
    (550, "5.7.1 message refused", "", B),
    (550, "5.7.0 refused", "", B),
    (554, "5.7.0 refused PDR0001", "proofpoint", B),
    # full
    (452, "4.2.2 The recipient's inbox is out of storage space.", "google", F),
    (552, "5.2.2 Mailbox full", "microsoft", F),
    (452, "4.2.2 <a@b.test>: Mailbox is over quota", "", F),
    (550, "5.2.2 over quota", "", F),
    (552, "Requested mail action aborted: exceeded storage allocation", "", F),
    (452, "4.3.1 Insufficient system storage: mail system full", "", R),
    # suspended
    (550, "5.2.1 The email account that you tried to reach is disabled.", "google", S),
    (550, "5.2.1 Mailbox disabled", "", S),
    (550, "5.7.504 <a@b.test>: Recipient address rejected: Access denied", "microsoft", S),
    (550, "5.7.505 Access denied, banned recipient", "microsoft", S),
    (550, "Account suspended", "", S),
    # retry
    (
        450,
        "4.2.0 <a@b.test>: Recipient address rejected: Greylisted, see http://postgrey.example.test/",
        "",
        R,
    ),
    (451, "4.7.1 Greylisting in action, please come back in 00:05:00", "", R),
    (450, "4.7.1 Greylisted: temporarily blocked, try again in 300 seconds", "", R),
    (451, "Internal resource(s) temporarily unavailable [a1b2]", "mimecast", R),
    (451, "Invalid Recipient", "mimecast", R),
    (
        450,
        "4.1.1 <a@b.test>: Recipient address rejected: unverified address: Address verification in progress",
        "",
        R,
    ),
    (421, "4.1.1 verification in progress", "proofpoint_essentials", R),
    (450, "4.3.2 Service currently unavailable", "", R),
    (450, "4.2.1 The user you are trying to contact is receiving mail at a rate that", "google", R),
    (550, "5.2.1 The user you are trying to contact is receiving mail at a rate that", "google", R),
    (450, "4.2.1 The user is receiving mail too quickly", "", R),
    (451, "4.3.0 Multiple destination domains per transaction is unsupported", "google", R),
    (452, "4.5.3 Too many recipients", "", R),
    (452, "4.5.3 Too many recipients AS780090", "microsoft", R),
    (451, "4.5.3 Too many recipients", "outlook_com", R),
    (422, "License Expired", "barracuda", R),
    (450, "G6 check failed", "rackspace", R),
    (530, "5.7.0 Must issue a STARTTLS command first", "", R),
    (553, "this host requires TLS", "", R),
    (450, "try again", "", R),
    (421, "closing", "", R),
    # nothing said either way
    (550, "", "", K),
    (550, "rejected", "", K),
    (550, "5.1.1", "", U),
    (554, "5.7.1 <a@b.test>: Relay access denied", "", K),
    (550, "5.7.64 TenantAttribution; Relay Access Denied", "microsoft", K),
    (550, "5.7.51 tenant inbound restriction", "microsoft", K),
    (451, "4.4.4 Mail received as unauthenticated... no mail-enabled subscriptions", "microsoft", K),
    (550, "5.4.1 Recipient address rejected: Access denied. AS(201806281)", "microsoft", K),
    (550, "5.4.1 no answer from host", "", K),
    (550, "5.5.0 rejected", "", K),
    (550, "5.0.0 rejected", "", K),
    (571, "delivery not authorised", "", K),
    (550, "5.7.1 gcdp a1b2 - gsmtp", "google", K),
    (503, "5.5.1 Error: need MAIL command", "", K),
    (501, "5.5.4 Syntax: RCPT TO:<address>", "", K),
]


@pytest.mark.parametrize(("code", "text", "operator", "meant"), AT_RCPT)
def test_a_reply_to_rcpt_means_what_the_facts_say(code: int, text: str, operator: str, meant: str) -> None:
    ruling = rule_reply(Reply("rcpt", code, text, operator))
    assert (ruling.ruling, is_block(ruling)) == (meant, meant == B), ruling.rule


@pytest.mark.parametrize(
    ("stage", "code", "text", "meant"),
    [
        ("banner", 554, "mx.b.test no SMTP service for you", B),
        ("banner", 554, "5.1.1 user unknown", B),
        ("banner", 521, "mx.b.test does not accept mail", U),
        ("banner", 521, "5.7.1 blocked", B),
        ("banner", 421, "too many connections", B),
        ("banner", 450, "4.3.2 try again", R),
        ("ehlo", 550, "5.1.1 user unknown", B),
        ("ehlo", 501, "5.5.4 Invalid domain name in EHLO", K),
        ("mail", 550, "5.1.1 user unknown", B),
        ("mail", 451, "4.1.8 Domain of sender address does not resolve", B),
        ("mail", 451, "greylisted", R),
        ("mail", 530, "5.7.0 Must issue a STARTTLS command first", R),
    ],
)
def test_a_reply_before_rcpt_never_speaks_of_the_mailbox(
    stage: str, code: int, text: str, meant: str
) -> None:
    assert rule_reply(Reply(stage, code, text, "")).ruling == meant


def test_the_reply_to_a_message_is_read_like_one_to_rcpt() -> None:
    assert rule_reply(Reply("data", 550, "550 5.1.1 User unknown", "")).ruling == U


def test_the_enhanced_code_is_the_first_of_the_replys_own_class() -> None:
    assert enhanced_code("550-5.1.1 one\n550 5.7.1 two", 550) == "5.1.1"
    assert enhanced_code("mail server 2.10.1 says 5.2.2 full", 552) == "5.2.2"
    assert enhanced_code("see 4.7.1", 550) is None


def test_an_ip_address_is_no_enhanced_code() -> None:
    assert enhanced_code("blocked [5.1.1.9] by 5.1.1.10", 550) is None


def test_a_code_inside_an_address_does_not_count() -> None:
    assert enhanced_code("<x5.1.1@b.test> refused", 550) is None


def test_a_number_in_the_text_is_heard() -> None:
    assert wait_hint_s("Greylisted, try again in 300 seconds") == 300
    assert wait_hint_s("come back in 5 minutes") == 300
    assert wait_hint_s("come back later") is None
    assert wait_hint_s("come back in 9000 minutes") is None


def test_rule_ids_are_stable() -> None:
    assert rule_reply(Reply("rcpt", 550, "5.1.1 x", "")).rule == "no_such_mailbox"
    assert rule_reply(Reply("rcpt", 550, "x IB607", "godaddy")).rule == "godaddy_tag"
    assert rule_reply(Reply("rcpt", 599, "x", "")).rule == "bare_5xx"
    assert set(rules()) > {"microsoft_dbeb", "sender_bad", "greylisted"}


@given(
    code=st.integers(200, 599),
    text=st.text(max_size=80),
    operator=st.sampled_from(sorted(named_operators())),
    stage=st.sampled_from(["banner", "ehlo", "mail", "rcpt", "data"]),
)
def test_every_reply_gets_a_ruling_and_a_temporary_one_never_kills(
    code: int, text: str, operator: str, stage: str
) -> None:
    ruling = rule_reply(Reply(stage, code, text, operator))
    assert ruling.rule
    if code < 500:
        assert ruling.ruling != U
