"""The lab's submission host: what each port takes, where it leaves from, what the log says, what survives."""

from __future__ import annotations

import smtplib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate
from dualstream_assets.lab.submission import SubmissionHost
from dualstream_assets.lab.submission_queue import ask, listing
from dualstream_assets.maillog.outcomes import ReadSummary, read_log
from dualstream_assets.store.database import Database
from dualstream_assets.store.suppression import suppress
from dualstream_assets_tests.lab.mail_sink import Names, Sink, at
from dualstream_assets_tests.maillog.waves import CAMPAIGN_UUID, put_wave, states

HC_SENDER = "bounces@bounce-hc.performancewest.test"
TRUCKING_SENDER = "news@performancewest.test"
A, B = "a@practice.test", "b@practice.test"


def wait_for(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
    return found


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@dataclass
class Bench:
    """A running host with its sink, its resolver and its log."""

    estate: Estate
    clock: FixedClock
    database: Database
    folder: Path
    pem: bytes | None
    sink: Sink = field(default_factory=Sink)
    names: Names = field(default_factory=Names)

    def __post_init__(self) -> None:
        self.host = self.new_host()
        self.ports = self.host.start()

    @property
    def log_path(self) -> Path:
        return self.folder / "mail.log"

    def new_host(self) -> SubmissionHost:
        return SubmissionHost(
            self.estate, self.clock, ("127.0.0.1", 9), self.sink.port, self.database.url, self.log_path, self.pem,
            self.folder / "queue", resolver=self.names, policy_timeout_s=3.0,
        )  # fmt: skip

    def restart(self) -> None:
        self.host.stop()
        self.host = self.new_host()
        self.ports = self.host.start()

    def wave(self, *addresses: str, **more: Any) -> int:
        with self.database.transaction() as connection:
            return put_wave(connection, addresses, self.clock.now() - timedelta(seconds=1), **more)

    def send(self, port: int, sender: str, *recipients: str) -> tuple[int, str]:
        """Submit one message; the reply that decided."""
        message = (
            f"From: Performance West <help@performancewest.test>\r\nTo: {recipients[0]}\r\nSubject: x\r\n"
            f"Message-ID: <{recipients[0]}>\r\nDate: Mon, 30 Nov 2026 14:00:00 +0000\r\n"
            f"X-Listmonk-Campaign: {CAMPAIGN_UUID}\r\nX-Listmonk-Subscriber: {CAMPAIGN_UUID}\r\n"
            "List-Unsubscribe: <https://x.test/u>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
            "\r\nhello\r\n.dot\r\n"
        )
        with smtplib.SMTP("127.0.0.1", self.ports[port], timeout=20) as smtp:
            smtp.ehlo("listmonk.test")
            smtp.mail(sender)
            for recipient in recipients:
                code, text = smtp.rcpt(recipient)
                if code != 250:
                    return code, text.decode()
            code, text = smtp.data(message)
            return code, text.decode()

    def read(self) -> ReadSummary:
        return read_log(self.database, self.estate, self.log_path, self.clock)

    def states(self, wave: int) -> dict[str, str]:
        self.read()
        with self.database.transaction() as connection:
            return states(connection, wave)

    def lines(self, needle: str) -> list[str]:
        return [line for line in self.log_path.read_text().splitlines() if needle in line]

    def idle(self) -> None:
        """Wait until nothing is due."""
        queue, now = self.folder / "queue", self.clock.now().timestamp()
        wait_for(lambda: all(e.state == "hold" or e.next_at > now for e in listing(queue)))


@pytest.fixture
def bench(
    lab_estate: Estate, clock: FixedClock, database: Database, tmp_path: Path, key: rsa.RSAPrivateKey
) -> Iterator[Bench]:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    found = Bench(lab_estate, clock, database, tmp_path, pem)
    yield found
    found.host.stop()
    found.sink.shutdown()
    found.sink.server_close()


def test_each_port_leaves_from_its_own_address_and_says_its_own_name(bench: Bench) -> None:
    bench.wave(A, B, "c@practice.test")
    for port, recipient in ((2526, A), (2527, B), (2528, "c@practice.test")):
        assert bench.send(port, HC_SENDER, recipient)[0] == 250
    bench.idle()
    assert {(m.rcpt, m.peer, m.helo) for m in bench.sink.arrived} == {
        (A, "127.124.0.107", "hcmta01.performancewest.test"),
        (B, "127.124.0.108", "hcmta02.performancewest.test"),
        ("c@practice.test", "127.124.0.109", "hcmta03.performancewest.test"),
    }


def test_trucking_leaves_from_its_active_pool_and_from_nowhere_else(bench: Bench) -> None:
    for number in range(30):
        assert bench.send(25, TRUCKING_SENDER, f"t{number}@practice.test")[0] == 250
    bench.idle()
    assert {m.peer for m in bench.sink.arrived} == {"127.124.0.94", "127.124.0.95", "127.124.0.96"}


def test_the_log_of_a_delivery_is_read_back_whole(bench: Bench) -> None:
    wave = bench.wave(A)
    bench.send(2526, HC_SENDER, A)
    bench.send(25, TRUCKING_SENDER, B)
    bench.idle()
    found = bench.read()
    assert (found.unparsed, found.gap, dict(found.anomalies)) == (0, None, {})
    with bench.database.transaction() as connection:
        rows = connection.execute(
            "select d.recipient, d.transport, d.status, d.wave_id, m.submit_service, m.campaign_uuid::text, m.signed,"
            " m.removed_at is not null from delivery d join log_message m using (queue_id) order by 1"
        ).fetchall()
    assert rows[0] == (A, "hcout1", "sent", wave, "postfix/hcsubmit107", CAMPAIGN_UUID, True, True)
    assert rows[1][0] == B
    assert rows[1][1] in ("out05", "out06", "out07")
    assert bench.states(wave) == {A: "delivered"}


def test_the_message_is_signed_with_both_unsubscribe_headers_and_from_twice(
    bench: Bench, key: rsa.RSAPrivateKey
) -> None:
    import base64

    import dkim

    bench.wave(A)
    bench.send(2526, HC_SENDER, A)
    bench.idle()
    message = bench.sink.arrived[0].message
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    record = b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)
    assert dkim.verify(message, dnsfunc=lambda name, timeout=5: record)
    head = message.partition(b"\r\n\r\n")[0].replace(b"\r\n\t", b" ").lower()
    signature = next(line for line in head.split(b"\r\n") if line.startswith(b"dkim-signature"))
    assert b"list-unsubscribe-post" in signature
    assert signature.partition(b" h=")[2].partition(b";")[0].split(b":").count(b"from") == 2
    assert message.endswith(b"hello\r\n.dot\r\n")


def test_the_return_path_names_the_recipient(bench: Bench) -> None:
    bench.wave(A)
    bench.send(2526, HC_SENDER, A)
    bench.idle()
    assert bench.sink.arrived[0].mail_from == "bounces+a=practice.test@bounce-hc.performancewest.test"


@pytest.mark.parametrize(
    ("port", "sender", "recipient", "code"),
    [
        (2526, TRUCKING_SENDER, A, 554),
        (2526, "", A, 554),
        (25, HC_SENDER, A, 554),
        (2526, HC_SENDER, "x@yahoo.com", 550),
        (2527, HC_SENDER, "x@sub.aol.com", 550),
        (2528, HC_SENDER, "x@ymail.com", 550),
        (2528, HC_SENDER, "x@hosted-at-yahoo.test", 550),
        (2526, HC_SENDER, "stranger@practice.test", 550),
    ],
)
def test_a_port_refuses_what_is_not_its_own(
    bench: Bench, port: int, sender: str, recipient: str, code: int
) -> None:
    bench.wave(A)
    bench.names.said["hosted-at-yahoo.test"] = at("mta5.am0.yahoodns.net")
    assert bench.send(port, sender, recipient)[0] == code
    assert bench.sink.arrived == []
    bench.read()
    with bench.database.transaction() as connection:
        assert connection.execute("select action, reply_code from log_refusal").fetchall() == [
            ("reject", code)
        ]


def test_a_probe_of_the_backstop_does_not_stop_the_stream_but_a_stranger_does(bench: Bench) -> None:
    def stops() -> int:
        with bench.database.transaction() as connection:
            return len(connection.execute("select 1 from stream_stop").fetchall())

    bench.send(2526, HC_SENDER, "x@yahoo.com")
    assert stops() == 0
    bench.send(2526, HC_SENDER, "stranger@practice.test")
    assert stops() == 1


def test_yahoo_on_the_trucking_port_is_trucking_s_business(bench: Bench) -> None:
    assert bench.send(25, TRUCKING_SENDER, "x@yahoo.com")[0] == 250


def test_a_second_recipient_in_one_message_is_put_off(bench: Bench) -> None:
    bench.wave(A, B)
    assert bench.send(2526, HC_SENDER, A, B)[0] == 452


def test_the_same_person_is_taken_once(bench: Bench) -> None:
    wave = bench.wave(A)
    assert bench.send(2526, HC_SENDER, A)[0] == 250
    assert bench.send(2527, HC_SENDER, A)[0] == 550
    bench.idle()
    assert len(bench.sink.arrived) == 1
    assert bench.states(wave) == {A: "delivered"}


def test_an_mx_that_becomes_yahoo_s_after_rcpt_is_put_off_without_a_connection(bench: Bench) -> None:
    bench.wave(A)
    bench.sink.replies[A] = ["450 4.2.0 Greylisted"]
    bench.send(2526, HC_SENDER, A)
    bench.idle()
    bench.names.said["practice.test"] = at("mta5.am0.yahoodns.net")
    bench.clock.sleep(301)
    wait_for(lambda: bench.lines("dsn=4.7.0"))
    assert bench.lines("relay=none")
    assert bench.sink.arrived == []


def test_a_policy_that_was_killed_holds_the_mail(bench: Bench) -> None:
    wave = bench.wave(A)
    bench.host.policy.stop()
    assert bench.send(2526, HC_SENDER, A)[0] == 250
    bench.idle()
    assert [e.state for e in bench.host.queue()] == ["hold"]
    assert bench.states(wave) == {A: "held"}
    assert bench.lines("problem talking to server")
    assert bench.sink.arrived == []


def test_held_mail_that_is_released_leaves_from_its_own_port_s_address(bench: Bench) -> None:
    wave = bench.wave(A)
    bench.host.policy.stop()
    bench.send(2527, HC_SENDER, A)
    queue_id = bench.host.queue()[0].queue_id
    assert bench.states(wave) == {A: "held"}
    bench.clock.sleep(1)
    ask(bench.folder / "queue", queue_id, "release")
    wait_for(lambda: bench.sink.arrived)
    bench.idle()
    assert bench.sink.arrived[0].peer == "127.124.0.108"
    assert bench.states(wave) == {A: "delivered"}


def test_greylisted_mail_is_delivered_when_the_lab_s_clock_has_moved(bench: Bench) -> None:
    wave = bench.wave(A)
    bench.sink.replies[A] = ["450 4.2.0 Greylisted, see help page"]
    bench.send(2526, HC_SENDER, A)
    bench.idle()
    assert bench.states(wave) == {A: "deferred"}
    bench.clock.sleep(299)
    bench.idle()
    assert bench.sink.arrived == []
    bench.clock.sleep(2)
    wait_for(lambda: bench.sink.arrived)
    bench.idle()
    assert bench.states(wave) == {A: "delivered"}


def test_a_dead_mailbox_bounces_and_no_notice_is_made(bench: Bench) -> None:
    wave = bench.wave(A)
    bench.sink.replies[A] = ["550 5.1.1 User unknown"]
    bench.send(2526, HC_SENDER, A)
    bench.idle()
    assert bench.states(wave) == {A: "bounced"}
    assert (bench.host.queue(), bench.lines("notification"), bench.sink.arrived) == ([], [], [])


def test_after_five_days_a_message_expires_without_a_notice(bench: Bench) -> None:
    wave = bench.wave(A)
    bench.sink.replies[A] = ["450 4.2.0 later"] * 9
    bench.send(2526, HC_SENDER, A)
    bench.idle()
    bench.clock.sleep(5 * 86400 + 1)
    wait_for(lambda: bench.lines("status=expired"))
    wait_for(lambda: not bench.host.queue())
    assert bench.states(wave) == {A: "expired"}
    assert bench.sink.arrived == []


def test_a_deferred_message_survives_a_restart_and_its_port_stays(bench: Bench) -> None:
    bench.wave(A)
    bench.sink.replies[A] = ["450 4.2.0 later"]
    bench.send(2526, HC_SENDER, A)
    bench.idle()
    before = bench.ports
    bench.restart()
    assert bench.ports == before
    bench.clock.sleep(301)
    wait_for(lambda: bench.sink.arrived)
    assert [(m.rcpt, m.peer) for m in bench.sink.arrived] == [(A, "127.124.0.107")]


def test_mail_to_someone_who_opted_out_while_it_was_deferred_is_deleted(bench: Bench) -> None:
    wave = bench.wave(A, B)
    for person in (A, B):
        bench.sink.replies[person] = ["450 4.2.0 later"]
        bench.send(2526, HC_SENDER, person)
    bench.idle()
    with bench.database.transaction() as connection:
        suppress(connection, "address", A, "unsubscribed", "test", bench.clock.now())
    bench.clock.sleep(301)
    wait_for(lambda: bench.sink.arrived)
    bench.idle()
    assert [m.rcpt for m in bench.sink.arrived] == [B]
    assert bench.states(wave) == {A: "deleted", B: "delivered"}


def test_queued_mail_is_deleted_on_request(bench: Bench) -> None:
    bench.wave(A)
    bench.sink.replies[A] = ["450 4.2.0 later"]
    bench.send(2526, HC_SENDER, A)
    bench.idle()
    assert bench.host.delete_queued(A.upper()) == 1
    assert bench.host.queue() == []
    assert len(bench.lines("postfix/postsuper")) == 1


def test_nothing_old_is_sent_while_the_opt_outs_cannot_be_read(bench: Bench) -> None:
    bench.wave(A)
    bench.sink.replies[A] = ["450 4.2.0 later"]
    bench.send(2526, HC_SENDER, A)
    bench.idle()
    with bench.database.transaction() as connection:
        connection.execute("alter table suppression rename to away")
    bench.clock.sleep(301)
    attempts, looks = len(bench.lines("status=deferred")), bench.host.deliverer.looks
    wait_for(lambda: bench.host.deliverer.looks >= looks + 3)
    assert (len(bench.lines("status=deferred")), bench.sink.arrived) == (attempts, [])


def test_a_signer_that_is_down_lets_nothing_unsigned_leave(bench: Bench) -> None:
    bench.wave(A)
    bench.host.signer = None
    assert bench.send(2526, HC_SENDER, A)[0] == 451
    assert bench.host.queue() == []
    assert bench.read().unparsed == 0


def test_a_peer_that_closes_after_the_final_dot_is_counted(bench: Bench) -> None:
    bench.wave(A)
    bench.sink.breaks_off = True
    bench.send(2526, HC_SENDER, A)
    bench.idle()
    assert bench.read().anomalies["twice"] == 1


def test_a_runaway_is_held_at_the_margin_and_then_put_off(bench: Bench) -> None:
    people = [f"p{i}@practice.test" for i in range(40)]
    wave = bench.wave(*people, cap_per_hour=20, cap_per_day=1000)
    codes = [bench.send(2526 + i % 3, HC_SENDER, person)[0] for i, person in enumerate(people)]
    bench.idle()
    assert len(bench.sink.arrived) == 25
    assert len(bench.host.queue()) == 4
    assert codes == [250] * 29 + [450] * 11
    found = list(bench.states(wave).values())
    assert (found.count("delivered"), found.count("held"), found.count("refused")) == (25, 4, 11)
