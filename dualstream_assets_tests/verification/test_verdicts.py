"""What a mailbox's host says becomes a verdict: dialogues with a scripted server, from address to table row."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dualstream_assets.outside.dns import MxAnswer
from dualstream_assets_tests.verification.conftest import Verifier
from dualstream_assets_tests.verification.smtpd import Host, always, unknown_unless

PATIENT = timedelta(minutes=15)
HERE = "127.40.0.1"


def test_a_live_and_a_dead_mailbox_are_told_apart(verifier: Verifier) -> None:
    verifier.domain("a.test", HERE, Host(unknown_unless("live@a.test")))
    verifier.verify("live@a.test", "dead@a.test")
    assert verifier.verdicts() == {"live@a.test": "deliverable", "dead@a.test": "undeliverable"}


def test_a_host_that_takes_everything_makes_no_mailbox_deliverable(verifier: Verifier) -> None:
    verifier.domain("a.test", HERE, Host())
    verifier.verify("one@a.test", "two@a.test")
    assert set(verifier.verdicts().values()) == {"catch_all"}


def test_the_random_recipient_is_asked_once_last_and_only_after_a_real_250(verifier: Verifier) -> None:
    verifier.domain("a.test", HERE, Host(unknown_unless("live@a.test")))
    verifier.domain("b.test", "127.40.0.2", Host(unknown_unless()))
    verifier.verify("live@a.test", "dead@a.test", "dead@b.test")
    asked = verifier.smtpd.rcpts()
    at_a = [address for address in asked if address.endswith("@a.test")]
    assert at_a[:2] == ["live@a.test", "dead@a.test"]
    assert len(at_a) == 3
    assert [address for address in asked if address.endswith("@b.test")] == ["dead@b.test"]


def test_no_second_random_probe_while_the_first_holds(verifier: Verifier) -> None:
    verifier.domain("a.test", HERE, Host(unknown_unless("one@a.test", "two@a.test")))
    verifier.verify("one@a.test")
    verifier.clock.sleep(3600)
    verifier.verify("one@a.test", "two@a.test")
    assert len(verifier.smtpd.rcpts()) == 3
    assert verifier.verdicts() == {"one@a.test": "deliverable", "two@a.test": "deliverable"}


def test_the_reply_decides(verifier: Verifier) -> None:
    replies = {
        b"452 4.2.2 over quota": "full",
        b"550 5.2.1 account disabled": "suspended",
        b"550 5.7.1 blocked using bl.example.test": "blocked",
        b"550 5.1.1 x rejected IB607": "blocked",
        b"450 4.2.0 Recipient address rejected: Greylisted": "retry",
        b"550 no": "risky",
        b"252 2.1.5 will try": "risky",
        b"554 5.7.1 Relay access denied": "risky",
        b"421 4.3.0 shutting down": "retry",
    }
    wanted = {}
    for i, (reply, verdict) in enumerate(replies.items(), 1):
        verifier.domain(f"d{i}.test", f"127.40.2.{i}", Host(always(reply + b"\r\n")))
        wanted[f"one@d{i}.test"] = verdict
    verifier.verify(*wanted)
    assert verifier.verdicts() == wanted


def test_a_greylisted_mailbox_is_settled_by_patience_alone(verifier: Verifier) -> None:
    seen: dict[str, float] = {}

    def greylist(address: str) -> bytes:
        first = seen.setdefault(address, verifier.clock.now().timestamp())
        if verifier.clock.now().timestamp() - first < 60:
            return b"450 4.2.0 Greylisted\r\n"
        return unknown_unless("live@a.test")(address)

    verifier.domain("a.test", HERE, Host(greylist))
    summary = verifier.verify("live@a.test", "dead@a.test", patience=PATIENT)
    assert verifier.verdicts() == {"live@a.test": "deliverable", "dead@a.test": "undeliverable"}
    assert summary.due == 0
    assert summary.next_visit is not None  # the next look at a verdict that is 45 days old
    assert summary.next_visit - verifier.clock.now() > timedelta(days=44)


def test_without_patience_the_next_visit_stays_in_the_table(verifier: Verifier) -> None:
    verifier.domain("a.test", HERE, Host(always(b"450 4.2.0 Greylisted\r\n")))
    began = verifier.clock.now()
    summary = verifier.verify("one@a.test")
    assert verifier.verdicts() == {"one@a.test": "retry"}
    assert summary.next_visit is not None
    assert timedelta(seconds=240) <= summary.next_visit - began <= timedelta(seconds=360)
    verifier.verify("one@a.test")
    assert verifier.smtpd.rcpts() == ["one@a.test"]


def test_a_mailbox_that_always_defers_ends_as_unknown_never_as_dead(verifier: Verifier) -> None:
    verifier.domain("a.test", HERE, Host(always(b"450 4.2.0 try again\r\n")))
    verifier.verify("one@a.test", patience=timedelta(days=10))
    assert verifier.verdicts() == {"one@a.test": "unknown"}
    assert len(verifier.smtpd.rcpts()) == 7


def test_a_host_that_refuses_connections_for_two_days_is_unreachable(verifier: Verifier) -> None:
    verifier.smtpd.add("127.40.0.9", Host())
    verifier.domain("a.test", "127.40.0.8")
    verifier.verify("one@a.test", patience=timedelta(days=10))
    assert verifier.verdicts() == {"one@a.test": "unreachable"}


@pytest.mark.parametrize(("status", "verdict"), [("null_mx", "undeliverable"), ("misconfigured", "risky")])
def test_dns_alone_settles_some(verifier: Verifier, status: str, verdict: str) -> None:
    verifier.resolver.known["a.test"] = MxAnswer(status)  # pyright: ignore[reportArgumentType]
    verifier.verify("one@a.test")
    assert verifier.verdicts() == {"one@a.test": verdict}


def test_a_name_that_does_not_exist_is_dead_only_when_it_does_not_exist_twice(verifier: Verifier) -> None:
    verifier.verify("one@gone.test")
    assert verifier.verdicts() == {"one@gone.test": "retry"}
    verifier.verify("one@gone.test", patience=PATIENT)
    assert verifier.verdicts() == {"one@gone.test": "undeliverable"}
    assert verifier.resolver.asked == ["gone.test", "gone.test"]


def test_a_name_that_comes_back_is_asked(verifier: Verifier) -> None:
    verifier.verify("one@a.test")
    verifier.domain("a.test", HERE, Host(unknown_unless("one@a.test")))
    verifier.verify("one@a.test", patience=PATIENT)
    assert verifier.verdicts() == {"one@a.test": "deliverable"}


def test_name_servers_that_fail_kill_nobody(verifier: Verifier) -> None:
    verifier.resolver.known["a.test"] = MxAnswer("unknown")
    verifier.verify("one@a.test", patience=timedelta(days=10))
    assert verifier.verdicts() == {"one@a.test": "unknown"}


def test_consumer_operators_are_never_asked(verifier: Verifier) -> None:
    verifier.domain("a.test", HERE, Host(), mx="mta5.am0.yahoodns.net")
    verifier.verify("one@a.test")
    assert verifier.rules() == {"one@a.test": "consumer_operator"}
    assert verifier.verdicts() == {"one@a.test": "risky"}
    assert not verifier.smtpd.connections


def test_a_dead_first_mx_leads_to_the_second(verifier: Verifier) -> None:
    verifier.smtpd.add("127.40.0.2", Host(unknown_unless("live@a.test")))
    verifier.resolver.host("a.test", ("old.a.test", "127.40.0.8"), ("mail.a.test", "127.40.0.2"))
    verifier.verify("live@a.test", "dead@a.test")
    assert verifier.verdicts() == {"live@a.test": "deliverable", "dead@a.test": "undeliverable"}


def test_a_block_at_the_banner_is_not_routed_around(verifier: Verifier) -> None:
    verifier.smtpd.add("127.40.0.1", Host(banner=b"554 5.7.1 you are blocked\r\n"))
    verifier.smtpd.add("127.40.0.2", Host(unknown_unless("live@a.test")))
    verifier.resolver.host("a.test", ("mx1.a.test", "127.40.0.1"), ("mx2.a.test", "127.40.0.2"))
    verifier.verify("live@a.test")
    assert verifier.verdicts() == {"live@a.test": "blocked"}
    assert not verifier.smtpd.connections["127.40.0.2"]


def test_a_refused_sender_says_nothing_of_the_mailbox(verifier: Verifier) -> None:
    verifier.domain("a.test", HERE, Host(mail=b"550 5.1.1 user unknown\r\n"))
    verifier.verify("one@a.test")
    assert verifier.verdicts() == {"one@a.test": "blocked"}


def test_a_server_that_closes_after_one_refusal_still_gets_the_live_one_verified(verifier: Verifier) -> None:
    host = Host(unknown_unless("live@a.test"), close_after=lambda reply: reply.startswith(b"550"))
    verifier.domain("a.test", HERE, host)
    verifier.verify("dead@a.test", "live@a.test")
    assert verifier.verdicts() == {"dead@a.test": "undeliverable", "live@a.test": "deliverable"}
    assert verifier.smtpd.connections[HERE] == 2


def test_a_barracuda_250_is_catch_all_without_a_random_probe(verifier: Verifier) -> None:
    verifier.domain("a.test", HERE, Host(), mx="d1a.ess.barracudanetworks.com")
    verifier.verify("one@a.test")
    assert verifier.verdicts() == {"one@a.test": "catch_all"}
    assert verifier.smtpd.rcpts() == ["one@a.test"]


def test_a_microsoft_access_denied_is_dead_beside_a_live_mailbox_only(verifier: Verifier) -> None:
    denied = b"550 5.4.1 Recipient address rejected: Access denied. AS(201806281)\r\n"
    mx = "a-test.mail.protection.outlook.com"
    verifier.domain("a.test", HERE, Host(lambda a: b"250 Ok\r\n" if a == "live@a.test" else denied), mx=mx)
    verifier.domain("b.test", "127.40.0.2", Host(always(denied)), mx="b-test.mail.protection.outlook.com")
    verifier.verify("dead@a.test", "live@a.test", "alone@b.test")
    assert verifier.verdicts() == {
        "dead@a.test": "undeliverable",
        "live@a.test": "deliverable",
        "alone@b.test": "risky",
    }
    verifier.clock.sleep(25 * 3600)
    verifier.verify("alone@b.test")
    assert verifier.verdicts()["alone@b.test"] == "undeliverable"


def test_an_old_verdict_is_asked_again(verifier: Verifier) -> None:
    verifier.domain("a.test", HERE, Host(unknown_unless("one@a.test")))
    verifier.verify("one@a.test")
    verifier.smtpd.hosts[HERE].rcpt = unknown_unless()
    verifier.clock.sleep(46 * 24 * 3600)
    verifier.verify("one@a.test")
    assert verifier.verdicts() == {"one@a.test": "undeliverable"}


def test_an_address_that_would_break_the_dialogue_is_never_put_into_it(verifier: Verifier) -> None:
    verifier.domain("a.test", HERE, Host())
    verifier.verify("x>\r\ndata\r\n@a.test", "a b@a.test", "ärzt@a.test")
    assert set(verifier.rules().values()) == {"unsendable_address", "unsupported_eai"}
    assert not verifier.smtpd.connections
