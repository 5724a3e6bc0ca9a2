"""One SMTP session against a scripted server: order of commands, limits, and what a broken server cannot fake."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import pytest

import dualstream_assets.verification
from dualstream_assets.verification.dialogue import (
    DomainTask,
    Identity,
    SessionOutcome,
    SessionPlan,
    Timeouts,
)
from dualstream_assets.verification.dialogue import Host as MxAt
from dualstream_assets.verification.session import Session
from dualstream_assets.verification.targets import Reach
from dualstream_assets.verification.wire import ReplyReader, WireError
from dualstream_assets_tests.verification.smtpd import Host, Smtpd, always, unknown_unless

HERE = "127.41.0.1"
SOURCE = "127.124.1.10"
IDENTITY = Identity(SOURCE, "verify.probe.test", "verify@probe.test")
NOW = datetime(2026, 11, 30, 14, tzinfo=UTC)


def run(smtpd: Smtpd, *tasks: DomainTask, **changes: object) -> SessionOutcome:
    """One session to HERE; `changes` are fields of the plan."""
    plan = SessionPlan("", (MxAt("mx.test", HERE),), tasks, 20, 5)
    plan = replace(plan, **changes)
    committed: list[int] = []

    async def commit(outcome: SessionOutcome) -> None:
        committed.append(len(outcome.answers))
        assert "QUIT" not in smtpd.verbs()

    session = Session(
        plan,
        IDENTITY,
        smtpd.port,
        Timeouts(0.5, 0.5, 0.5, 3.0),
        now=lambda: NOW,
        reach=Reach(only=(ip_network("127.0.0.0/8"),)),
        commit=commit,
    )
    outcome = asyncio.run(session.run())
    assert committed == [len(outcome.answers)]
    return outcome


def task(*addresses: str, random: bool = False) -> DomainTask:
    domain = addresses[0].partition("@")[2]
    return DomainTask(domain, addresses, f"random@{domain}" if random else None)


def rulings(outcome: SessionOutcome) -> dict[str, str]:
    return {a.address: str(a.ruling.ruling) for a in outcome.answers}


def test_the_dialogue_is_in_order_and_ends_with_quit(smtpd: Smtpd) -> None:
    smtpd.add(HERE, Host(unknown_unless("live@a.test")))
    run(smtpd, task("live@a.test", "dead@a.test", random=True), task("x@b.test"))
    assert [line for _, line in smtpd.commands] == [
        "EHLO verify.probe.test",
        "MAIL FROM:<verify@probe.test>",
        "RCPT TO:<live@a.test>",
        "RCPT TO:<dead@a.test>",
        "RCPT TO:<random@a.test>",
        "RSET",
        "MAIL FROM:<verify@probe.test>",
        "RCPT TO:<x@b.test>",
        "QUIT",
    ]


def test_it_comes_from_the_probe_address(smtpd: Smtpd) -> None:
    smtpd.add(HERE, Host())
    run(smtpd, task("x@a.test"))
    assert dict(smtpd.peers) == {SOURCE: 1}


def test_an_accepted_recipient_is_never_followed_by_a_message(smtpd: Smtpd) -> None:
    smtpd.add(HERE, Host())
    run(smtpd, task("x@a.test", random=True))
    assert set(smtpd.verbs()) == {"EHLO", "MAIL", "RCPT", "QUIT"}


def test_the_room_does_not_know_the_commands_that_send_or_pry() -> None:
    room = Path(dualstream_assets.verification.__file__).parent
    for file in room.glob("*.py"):
        assert not re.search(r"\b(DATA|BDAT|VRFY|EXPN)\b", file.read_text()), file.name


def test_helo_where_ehlo_is_not_known(smtpd: Smtpd) -> None:
    smtpd.add(HERE, Host(unknown_unless(), ehlo=b"502 5.5.1 not implemented\r\n"))
    outcome = run(smtpd, task("x@a.test"))
    assert smtpd.verbs() == ["EHLO", "HELO", "MAIL", "RCPT", "QUIT"]
    assert rulings(outcome) == {"x@a.test": "undeliverable"}


@pytest.mark.parametrize("pieces", [1, 7])
def test_replies_in_pieces_and_of_many_lines_are_read_whole(smtpd: Smtpd, pieces: int) -> None:
    reply = (
        b"550-5.1.1 The account that you tried to reach\r\n550-5.1.1 does not exist.\r\n550 5.1.1 help\r\n"
    )
    smtpd.add(HERE, Host(always(reply), pieces=pieces))
    outcome = run(smtpd, task("x@a.test"))
    assert rulings(outcome) == {"x@a.test": "undeliverable"}
    assert outcome.answers[0].text.count("\n") == 2


def test_text_beyond_ascii_is_kept_readable(smtpd: Smtpd) -> None:
    smtpd.add(HERE, Host(always("550 5.1.1 Empfänger unbekannt\r\n".encode("latin-1") + b"")))
    assert "Empfänger" in run(smtpd, task("x@a.test")).answers[0].text


def test_an_unasked_reply_voids_the_session_instead_of_shifting_the_answers(smtpd: Smtpd) -> None:
    def stray(address: str) -> bytes:
        return b"250 Ok\r\n250 Ok\r\n" if address == "a@a.test" else b"550 5.1.1 User unknown\r\n"

    smtpd.add(HERE, Host(stray))
    outcome = run(smtpd, task("first@a.test", "a@a.test", "dead@a.test"))
    assert rulings(outcome) == {"first@a.test": "undeliverable"}
    assert outcome.unasked == [("a.test", "a@a.test"), ("a.test", "dead@a.test")]


def test_a_farewell_behind_a_reply_leaves_that_reply_standing(smtpd: Smtpd) -> None:
    smtpd.add(HERE, Host(always(b"550 5.1.1 User unknown\r\n421 4.3.2 bye\r\n")))
    outcome = run(smtpd, task("one@a.test", "two@a.test", "three@a.test"))
    assert rulings(outcome)["one@a.test"] == "undeliverable"
    assert "undeliverable" not in list(rulings(outcome).values())[1:]


@pytest.mark.parametrize(
    ("host", "stage", "rule"),
    [
        (Host(silent_at="BANNER"), "banner", "banner_timeout"),
        (Host(silent_at="EHLO"), "ehlo", "ehlo_timeout"),
        (Host(silent_at="MAIL"), "mail", "mail_timeout"),
        (Host(silent_at="RCPT"), "closed", "rcpt_timeout"),
        (Host(banner=b"421 too busy\r\n"), "banner", "banner_deferred"),
        (Host(banner=b"554 go away\r\n"), "banner", "banner_refused"),
        (Host(banner=b"SSH-2.0-OpenSSH\r\n"), "banner", "void_session"),
        (Host(banner=b"220 " + b"x" * 9000 + b"\r\n"), "banner", "void_session"),
        (Host(mail=b"451 4.3.0 later\r\n"), "mail", "mail_deferred"),
        (Host(close_after=lambda reply: b"8BITMIME" in reply), "mail", "closed_without_reply"),
    ],
)
def test_a_session_that_gets_nowhere_says_so_of_every_address(
    smtpd: Smtpd, host: Host, stage: str, rule: str
) -> None:
    smtpd.add(HERE, host)
    outcome = run(smtpd, task("one@a.test", "two@a.test"))
    assert {(a.stage, a.ruling.rule) for a in outcome.answers} == {(stage, rule)}
    assert len(outcome.answers) == 2
    assert "undeliverable" not in rulings(outcome).values()


def test_a_server_that_never_stops_talking_is_left(smtpd: Smtpd) -> None:
    smtpd.add(HERE, Host(ehlo=b"250-x\r\n" * 8000 + b"250 x\r\n"))
    assert run(smtpd, task("one@a.test")).answers[0].ruling.rule == "void_session"


def test_unknown_recipients_end_the_session_before_the_host_minds(smtpd: Smtpd) -> None:
    smtpd.add(HERE, Host(unknown_unless()))
    outcome = run(smtpd, task(*(f"d{i}@a.test" for i in range(8))), stop_at_unknown=3)
    assert len(smtpd.rcpts()) == 3
    assert len(outcome.unasked) == 5


def test_the_recipient_limit_counts_the_random_one(smtpd: Smtpd) -> None:
    smtpd.add(HERE, Host(unknown_unless(*(f"l{i}@a.test" for i in range(8)))))
    outcome = run(smtpd, task(*(f"l{i}@a.test" for i in range(8)), random=True), rcpt_limit=5)
    assert smtpd.rcpts() == ["l0@a.test", "l1@a.test", "l2@a.test", "l3@a.test", "random@a.test"]
    assert len(outcome.unasked) == 4


def test_two_blocks_in_a_row_end_it_and_the_rest_of_the_domain_is_not_asked(smtpd: Smtpd) -> None:
    smtpd.add(HERE, Host(always(b"550 5.7.1 blocked\r\n")))
    outcome = run(smtpd, task(*(f"a{i}@a.test" for i in range(5))), task("x@b.test"))
    assert len(smtpd.rcpts()) == 2
    assert set(rulings(outcome).values()) == {"blocked"}
    assert outcome.unasked == [("b.test", "x@b.test")]
    assert outcome.blocks == 2


def test_an_address_outside_the_lab_is_not_connected_to(smtpd: Smtpd) -> None:
    smtpd.add(HERE, Host())
    outcome = run(smtpd, task("x@a.test"), hosts=(MxAt("mx.test", "192.0.2.1"),))
    assert (outcome.connections, outcome.answers[0].ruling.rule) == (0, "target_refused")


def test_codes_that_differ_within_one_reply_are_no_reply() -> None:
    with pytest.raises(WireError):
        ReplyReader().feed(b"250-a\r\n550 b\r\n")


def test_bare_line_feeds_end_a_line_too() -> None:
    reader = ReplyReader()
    reader.feed(b"250-a\n250 b\n")
    reply = reader.next()
    assert reply is not None
    assert (reply.code, reply.text, reader.empty) == (250, "a\nb", True)
