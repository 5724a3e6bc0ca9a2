"""Every class of mailbox is answered as the world declares it, over real sockets."""

from __future__ import annotations

import json
import smtplib
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest

from dualstream_assets.clock import FixedClock
from dualstream_assets.lab.mailboxes import AtDelivery, Block
from dualstream_assets.lab.mx import MxHosts
from dualstream_assets.lab.world import Mailbox, MailboxTruth, Nature, World
from dualstream_assets_tests.lab.small_world import mailbox, small_world

PROBE = "127.124.1.10"
EGRESS = "127.124.0.107"
SENDER = "verify@mailboxcheck.test"
DOMAIN = "performancewest.test"


class Running:
    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder
        self.clock = FixedClock(datetime(2026, 11, 30, 14, tzinfo=UTC))
        self.hosts = MxHosts(world, self.clock, DOMAIN, folder)
        self.port = self.hosts.start()

    def connect(self, address: str, peer: str = PROBE) -> smtplib.SMTP:
        session = smtplib.SMTP(address, self.port, source_address=(peer, 0), timeout=10)
        session.ehlo("verify.mailboxcheck.test")
        return session

    def host_of(self, name: str) -> str:
        return self.world.domain_of[name].hosts[-1].address or ""

    def rcpt(self, address: str, peer: str = PROBE) -> tuple[int, str]:
        with self.connect(self.host_of(address.split("@")[1]), peer) as session:
            session.mail(SENDER)
            code, text = session.rcpt(address)
        return code, text.decode()

    def deliver(self, box: Mailbox, peer: str = EGRESS, campaign: str | None = "11111111-aaaa") -> str:
        """The reply to the final dot."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "help@performancewest.test", box.address, "Hello"
        if campaign:
            message["X-Listmonk-Campaign"], message["X-Listmonk-Subscriber"] = campaign, "22222222-bbbb"
        message.set_content("Hello\n.a line that begins with a dot\n")
        with self.connect(self.host_of(box.domain), peer) as session:
            session.mail("bounce@bounce-hc.performancewest.test")
            assert session.rcpt(box.address)[0] == 250
            code, text = session.data(message.as_bytes().replace(b"\n", b"\r\n"))
        return f"{code} {text.decode()}"

    def sinks(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.hosts.sinks.read_text().splitlines()]


@pytest.fixture(scope="module")
def world() -> World:
    return small_world(domains=320)


@pytest.fixture
def lab(world: World, tmp_path: Path) -> Iterator[Running]:
    running = Running(world, tmp_path)
    yield running
    running.hosts.stop()


def blocked_domain(world: World, block: Block) -> str:
    return next(d.name for d in world.domains if d.block is block)


@pytest.mark.parametrize("operator", ["google", "microsoft", "proofpoint", "mimecast", "godaddy"])
def test_a_valid_mailbox_is_accepted_and_an_unknown_one_refused(lab: Running, operator: str) -> None:
    box = mailbox(lab.world, MailboxTruth.VALID, operator)
    assert lab.rcpt(box.address)[0] == 250
    assert lab.rcpt(f"nobody-of-this-name@{box.domain}")[0] == 550


@pytest.mark.parametrize(
    ("operator", "words"),
    [("google", "5.1.1"), ("microsoft", "5.1.10"), ("proofpoint", "5.1.1 User Unknown")],
)
def test_a_dead_mailbox_is_refused_in_its_operators_words(lab: Running, operator: str, words: str) -> None:
    code, text = lab.rcpt(mailbox(lab.world, MailboxTruth.DEAD, operator).address)
    assert (code, words in text) == (550, True)


def test_a_full_mailbox_says_so(lab: Running) -> None:
    full = [m for m in lab.world.mailboxes if m.truth is MailboxTruth.FULL]
    assert full
    for box in full:
        code, text = lab.rcpt(box.address)
        assert (code, text[:5]) in ((452, "4.2.2"), (552, "5.2.2"))


def test_every_mailbox_is_answered_by_its_truth(lab: Running) -> None:
    expected = {
        MailboxTruth.VALID: {250},
        MailboxTruth.DEAD: {550},
        MailboxTruth.FULL: {452, 552},
        MailboxTruth.GREYLISTED: {450, 451},
        MailboxTruth.ACCEPT_ALL: {250},
    }
    wrong = [
        m.address
        for m in lab.world.mailboxes
        if m.truth in expected and lab.rcpt(m.address)[0] not in expected[m.truth]
    ]
    assert wrong == []


def test_a_greylisting_host_lets_the_same_triple_pass_once_lab_time_has_moved(lab: Running) -> None:
    address = mailbox(lab.world, MailboxTruth.GREYLISTED).address
    assert lab.rcpt(address)[0] in (450, 451)
    lab.clock.sleep(59)
    assert lab.rcpt(address)[0] in (450, 451)
    lab.clock.sleep(1)
    assert lab.rcpt(address)[0] == 250
    assert lab.rcpt(address, peer=EGRESS)[0] in (450, 451)  # another client is another triple


def test_a_greylisting_host_refuses_an_unknown_mailbox_after_the_wait(lab: Running) -> None:
    address = f"nobody-of-this-name@{mailbox(lab.world, MailboxTruth.GREYLISTED).domain}"
    assert lab.rcpt(address)[0] in (450, 451)
    lab.clock.sleep(60)
    assert lab.rcpt(address)[0] == 550


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (Block.LISTED, "5.7.1 Service unavailable"),
        (Block.GODADDY_LIMIT, "IB607"),
        (Block.MICROSOFT_BANNED, "5.7.606"),
    ],
)
def test_a_blocking_host_refuses_whoever_is_asked_for(lab: Running, block: Block, words: str) -> None:
    code, text = lab.rcpt(f"anyone@{blocked_domain(lab.world, block)}")
    assert (code, words in text) == (550, True)


def test_a_blocking_host_can_refuse_at_the_door(lab: Running) -> None:
    with pytest.raises(smtplib.SMTPConnectError) as refused:
        lab.rcpt(f"anyone@{blocked_domain(lab.world, Block.BANNER)}")
    assert refused.value.smtp_code == 554


def test_an_accept_all_domain_accepts_a_mailbox_that_does_not_exist(lab: Running) -> None:
    domain = mailbox(lab.world, MailboxTruth.ACCEPT_ALL, nature=Nature.ACCEPT_ALL).domain
    assert lab.rcpt(f"nobody-of-this-name@{domain}")[0] == 250


def test_a_practice_at_a_consumer_operator_accepts_everything(lab: Running) -> None:
    box = mailbox(lab.world, MailboxTruth.ACCEPT_ALL, nature=Nature.CONSUMER_RUN)
    assert lab.world.domain_of[box.domain].hosts[0].name.endswith(".yahoodns.net")
    assert lab.rcpt(f"nobody-of-this-name@{box.domain}")[0] == 250


def test_a_refusing_mx_refuses_the_connection(lab: Running) -> None:
    with pytest.raises(ConnectionRefusedError):
        lab.rcpt(mailbox(lab.world, MailboxTruth.UNREACHABLE).address)


def test_where_the_first_mx_is_dead_the_second_answers(lab: Running) -> None:
    domain = next(d for d in lab.world.domains if d.nature is Nature.FIRST_MX_DEAD)
    first, second = domain.hosts
    assert first.preference < second.preference
    with pytest.raises(ConnectionRefusedError):
        lab.connect(first.address or "")
    assert lab.rcpt(f"postmaster@{domain.name}")[0] == 250


def test_a_host_does_not_relay_for_other_domains(lab: Running) -> None:
    with lab.connect(lab.host_of("gmail.com")) as session:
        session.mail(SENDER)
        assert session.rcpt("someone@hotmail.com")[0] == 554


def test_godaddy_ends_a_session_with_too_many_unknown_recipients(lab: Running) -> None:
    domain = mailbox(lab.world, MailboxTruth.VALID, "godaddy").domain
    with lab.connect(lab.host_of(domain)) as session:
        session.mail(SENDER)
        codes = [session.rcpt(f"nobody{i}@{domain}")[0] for i in range(5)]
        assert codes == [550, 550, 550, 550, 421]


def test_twenty_errors_end_any_session(lab: Running) -> None:
    with lab.connect(lab.host_of("gmail.com")) as session:
        codes = [session.docmd("NONSENSE")[0] for _ in range(20)]
        assert codes[-2:] == [502, 421]


def test_commands_out_of_order_are_refused(lab: Running) -> None:
    with smtplib.SMTP(lab.host_of("gmail.com"), lab.port) as session:
        assert session.docmd("MAIL", "FROM:<a@a.test>")[0] == 503
        session.ehlo("a.test")
        assert session.docmd("RCPT", "TO:<a@a.test>")[0] == 503
        assert session.docmd("MAIL", "a@a.test")[0] == 501
        session.mail("a@a.test")
        assert session.docmd("DATA")[0] == 554
        assert session.rset()[0] == 250


def test_pipelined_commands_are_answered_in_order(lab: Running) -> None:
    box = mailbox(lab.world, MailboxTruth.VALID, "google")
    with socket.create_connection((lab.host_of(box.domain), lab.port)) as raw:
        lines = ("EHLO a.test", f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{box.address}>", "RSET", "QUIT")
        raw.sendall("".join(f"{line}\r\n" for line in lines).encode())
        said = b"".join(iter(lambda: raw.recv(4096), b"")).decode().splitlines()
    finals = [line[:3] for line in said if line[3] == " "]
    assert finals == ["220", "250", "250", "250", "250", "221"]


def test_an_accepted_message_is_recorded_with_the_address_it_really_came_from(lab: Running) -> None:
    box = mailbox(lab.world, MailboxTruth.VALID, "microsoft")
    assert lab.deliver(box).startswith("250 ")
    (record,) = lab.sinks()
    assert record["peer"] == EGRESS
    assert record["rcpt"] == box.address
    assert record["domain"] == box.domain
    assert record["operator"] == "microsoft"
    assert record["mx_host"] == lab.world.domain_of[box.domain].mx[0].name
    assert record["mx_address"] == lab.host_of(box.domain)
    assert record["helo"] == "verify.mailboxcheck.test"
    assert record["mail_from"] == "bounce@bounce-hc.performancewest.test"
    assert (record["campaign_uuid"], record["subscriber_uuid"]) == ("11111111-aaaa", "22222222-bbbb")
    assert record["at"] == "2026-11-30T14:00:00+00:00"
    assert record["message_file"] is None


def test_mail_that_is_no_campaigns_has_no_uuids(lab: Running) -> None:
    lab.deliver(mailbox(lab.world, MailboxTruth.VALID, "google"), campaign=None)
    assert [(r["campaign_uuid"], r["subscriber_uuid"]) for r in lab.sinks()] == [(None, None)]


def test_a_probe_leaves_no_record(lab: Running) -> None:
    assert lab.rcpt(mailbox(lab.world, MailboxTruth.VALID).address)[0] == 250
    assert lab.sinks() == []


def test_a_seed_mailbox_keeps_the_raw_message(lab: Running) -> None:
    seed = next(m for m in lab.world.mailboxes if m.is_seed)
    lab.deliver(seed)
    raw = Path(str(lab.sinks()[0]["message_file"])).read_bytes()
    assert raw.startswith(b"From: help@performancewest.test\r\n")
    assert raw.endswith(b"Hello\r\n.a line that begins with a dot\r\n")


def test_some_mailboxes_answer_late_and_take_the_second_try(lab: Running) -> None:
    box = next(m for m in lab.world.mailboxes if m.at_delivery is AtDelivery.LATE)
    assert lab.deliver(box).startswith("451 4.7.1")
    assert lab.sinks() == []
    assert lab.deliver(box).startswith("250 ")
    assert len(lab.sinks()) == 1


def test_some_mailboxes_bounce_what_verification_could_not_foresee(lab: Running) -> None:
    box = next(m for m in lab.world.mailboxes if m.at_delivery is AtDelivery.REFUSE)
    assert lab.rcpt(box.address)[0] == 250
    assert lab.deliver(box).startswith("550 5.1.1")
    assert lab.sinks() == []


def test_the_estates_own_host_takes_bounces_and_replies(lab: Running) -> None:
    with lab.connect("127.30.15.1") as session:
        session.mail("")
        assert session.rcpt("bounces@bounce-hc.performancewest.test")[0] == 250


def test_truckers_and_consumers_take_mail(lab: Running) -> None:
    for trucker in lab.world.truckers[:20]:
        assert lab.rcpt(trucker.email)[0] == 250


def test_two_labs_have_ports_of_their_own(lab: Running, tmp_path: Path) -> None:
    second = MxHosts(lab.world, lab.clock, DOMAIN, tmp_path / "second", port=lab.port)
    port = second.start()
    try:
        assert port != lab.port
        with smtplib.SMTP(lab.host_of("gmail.com"), port) as session:
            assert session.noop()[0] == 250
        assert lab.rcpt(lab.world.truckers[0].email)[0] == 250
    finally:
        second.stop()
