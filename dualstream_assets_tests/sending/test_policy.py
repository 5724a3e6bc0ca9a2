"""The wave policy: who passes a port, once, and what happens beyond the caps; and its server on the wire."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate
from dualstream_assets.sending.policy import Action, Request, decide
from dualstream_assets.sending.policy_server import PolicyServer
from dualstream_assets.store.database import Database
from dualstream_assets.store.suppression import suppress
from dualstream_assets_tests.maillog.waves import put_wave

A, B = "a@practice.test", "b@practice.test"
SEED = "seed@google-seed.test"
RCPT = Request("RCPT", A, "bounces@bounce-hc.performancewest.test", 2526)
END = replace(RCPT, protocol_state="END-OF-MESSAGE")


class Desk:
    """One policy, asked by a test."""

    def __init__(self, database: Database, estate: Estate, clock: FixedClock) -> None:
        self.database, self.estate, self.clock = database, estate, clock

    def ask(self, request: Request) -> Action:
        with self.database.transaction() as connection:
            return decide(connection, request, self.estate, self.clock.now())

    def both(self, recipient: str, port: int = 2526) -> str:
        """RCPT and, if that passes, END-OF-MESSAGE; the verb that decided."""
        for request in (RCPT, END):
            verb = self.ask(replace(request, recipient=recipient, server_port=port)).text.split()[0]
            if verb[:1] in "45":
                return verb
        return verb

    def wave(self, *addresses: str, released: bool = True, **more: Any) -> int:
        with self.database.transaction() as connection:
            return put_wave(connection, addresses, self.clock.now() if released else None, **more)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.database.transaction() as connection:
            return connection.execute(query.encode()).fetchall()

    def permit(self, stream: str = "healthcare") -> None:
        now = self.clock.now()
        with self.database.transaction() as connection:
            connection.execute(
                "insert into permit (kind, stream, members_hash, evidence_ids, minted_at, valid_until)"
                " values ('probe', %s, 'seeds', '{1}', %s, %s)",
                (stream, now, now + timedelta(minutes=2)),
            )


@pytest.fixture
def desk(database: Database, lab_estate: Estate, clock: FixedClock) -> Desk:
    return Desk(database, lab_estate, clock)


def test_a_member_of_a_released_wave_passes_once(desk: Desk) -> None:
    wave = desk.wave(A)
    assert desk.ask(RCPT).text == "DUNNO"
    assert desk.ask(END).text == "DUNNO"
    assert desk.rows("select wave_id, stream, recipient, port from policy_use") == [
        (wave, "healthcare", A, 2526)
    ]
    assert desk.ask(RCPT).text.startswith("550 5.7.1")
    assert desk.ask(END).text.startswith("550 5.7.1")
    assert desk.rows("select 1 from stream_stop") == []


def test_asking_at_rcpt_uses_nothing_up(desk: Desk) -> None:
    desk.wave(A)
    assert {desk.ask(RCPT).text for _ in range(3)} == {"DUNNO"}
    assert desk.rows("select 1 from policy_use") == []


def test_a_stranger_is_refused_and_stops_the_stream_once(desk: Desk) -> None:
    desk.wave(A)
    for _ in range(3):
        assert desk.ask(replace(RCPT, recipient=B)).text.startswith("550 5.7.1")
    assert desk.rows("select stream, source from stream_stop") == [("healthcare", "wave policy")]


def test_a_stream_that_was_acknowledged_is_stopped_again_by_the_next_stranger(desk: Desk) -> None:
    desk.ask(RCPT)
    desk.rows("update stream_stop set acknowledged_at = at, acknowledged_reason = 'test' returning 1")
    desk.ask(RCPT)
    assert desk.rows("select count(*) from stream_stop") == [(2,)]


def test_a_wave_that_is_not_released_lets_nobody_pass(desk: Desk) -> None:
    desk.wave(A, released=False)
    assert desk.ask(RCPT).rule == "not in a wave"


def test_a_person_proved_not_sent_does_not_pass_on_the_old_wave(desk: Desk) -> None:
    desk.wave(A)
    desk.rows("update wave_member set state = 'not_sent' returning 1")
    assert desk.ask(RCPT).rule == "not in a wave"


def test_a_wave_of_the_other_stream_does_not_open_this_port(desk: Desk) -> None:
    desk.wave(A, stream="trucking")
    assert desk.ask(RCPT).rule == "not in a wave"


def test_an_opt_out_after_the_release_is_refused_without_stopping_the_stream(desk: Desk) -> None:
    desk.wave(A)
    assert desk.ask(RCPT).text == "DUNNO"
    with desk.database.transaction() as connection:
        suppress(connection, "domain", "practice.test", "manual", "test", desk.clock.now())
    assert desk.ask(RCPT).rule == "suppressed"
    assert desk.ask(END).rule == "suppressed"
    assert desk.rows("select 1 from policy_use union all select 1 from stream_stop") == []


def test_the_address_is_compared_without_case(desk: Desk) -> None:
    desk.wave(A)
    request = Request.of(
        {
            "request": "smtpd_access_policy",
            "protocol_state": "RCPT",
            "recipient": "A@Practice.TEST",
            "server_port": "2526",
        }
    )
    assert desk.ask(request).text == "DUNNO"


def test_another_port_and_another_state_are_not_judged(desk: Desk) -> None:
    assert desk.ask(replace(RCPT, server_port=25)).text == "DUNNO"
    assert desk.ask(replace(RCPT, protocol_state="MAIL")).text == "DUNNO"
    assert desk.rows("select 1 from stream_stop") == []


def test_one_person_in_two_campaigns_passes_once_for_each(desk: Desk) -> None:
    desk.wave(A)
    desk.wave(A, campaign="other", campaign_uuid="5f0c1d1e-5b1c-4f0f-9d43-6f4c2f7a0002")
    assert [desk.both(A) for _ in range(3)] == ["DUNNO", "DUNNO", "550"]


def test_of_two_ports_at_the_same_moment_one_lets_the_message_through(desk: Desk) -> None:
    people = [f"p{i}@practice.test" for i in range(12)]
    desk.wave(*people)
    gate, answers = threading.Barrier(2), []

    def submit(port: int) -> None:
        for person in people:
            gate.wait(timeout=20)
            answers.append(desk.ask(replace(END, recipient=person, server_port=port)).text.split()[0])

    threads = [threading.Thread(target=submit, args=(port,)) for port in (2526, 2527)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["550"] * 12 + ["DUNNO"] * 12
    assert desk.rows("select count(*) from policy_use") == [(12,)]


def test_beyond_the_hour_two_waves_are_held_and_the_rest_is_put_off(desk: Desk) -> None:
    people = [f"p{i}@practice.test" for i in range(160)]
    desk.wave(*people, cap_per_hour=100, cap_per_day=10_000)
    verbs = [desk.both(person, 2526 + i % 3) for i, person in enumerate(people)]
    assert verbs == ["DUNNO"] * 125 + ["HOLD"] * 20 + ["450"] * 15
    assert desk.rows("select count(*) from policy_use") == [(145,)]
    desk.clock.sleep(3601)
    assert desk.both(people[-1]) == "DUNNO"


def test_beyond_the_day_it_is_the_same(desk: Desk) -> None:
    people = [f"p{i}@practice.test" for i in range(30)]
    desk.wave(*people, cap_per_hour=50, cap_per_day=10)
    verbs = []
    for person in people:
        verbs.append(desk.both(person))
        desk.clock.sleep(900)
    assert verbs == ["DUNNO"] * 11 + ["HOLD"] * 10 + ["450"] * 9


def test_yesterday_s_mail_does_not_count_today(desk: Desk) -> None:
    people = [f"p{i}@practice.test" for i in range(12)]
    desk.wave(*people, cap_per_hour=50, cap_per_day=10)
    assert [desk.both(person) for person in people[:11]] == ["DUNNO"] * 11
    desk.clock.sleep(86400)
    assert desk.both(people[11]) == "DUNNO"


def test_a_seed_passes_once_on_a_valid_probe_permit_and_stops_nothing(desk: Desk) -> None:
    assert desk.both(SEED) == "550"
    desk.permit("trucking")
    assert desk.both(SEED) == "550"
    desk.permit()
    assert [desk.both(SEED), desk.both(SEED)] == ["DUNNO", "550"]
    desk.permit()
    desk.clock.sleep(121)
    assert desk.both(SEED) == "550"
    assert desk.rows("select 1 from stream_stop") == []


def test_a_probe_permit_opens_for_nobody_but_seeds(desk: Desk) -> None:
    desk.permit()
    assert desk.both(A) == "550"


def test_the_twenty_first_probe_of_a_day_is_put_off(desk: Desk) -> None:
    verbs = []
    for _ in range(21):
        desk.permit()
        verbs.append(desk.both(SEED))
    assert verbs == ["DUNNO"] * 20 + ["450"]


@pytest.fixture
def policy(desk: Desk) -> Iterator[PolicyServer]:
    found = PolicyServer(Database(desk.database.url), desk.estate, desk.clock)
    found.start()
    yield found
    found.stop()


def exchange(server: PolicyServer, *requests: bytes) -> list[bytes]:
    """Answers on one connection; `b""` where it was closed without one."""
    answers = []
    with socket.create_connection(server.address, timeout=10) as connection:
        file = connection.makefile("rb")
        for request in requests:
            connection.sendall(request)
            answers.append(file.readline() + file.readline())
    return answers


def wire(state: str, recipient: str) -> bytes:
    return (
        f"request=smtpd_access_policy\nprotocol_state={state}\nprotocol_name=SMTP\nqueue_id=8045F2AB23\n"
        f"sender=bounces@bounce-hc.performancewest.test\nrecipient={recipient}\nrecipient_count=0\n"
        "client_address=127.0.0.1\nserver_port=2526\nsize=12345\nunknown_attribute=is ignored\n\n"
    ).encode()


def test_one_connection_carries_many_requests(desk: Desk, policy: PolicyServer) -> None:
    desk.wave(A)
    assert exchange(policy, wire("RCPT", A), wire("END-OF-MESSAGE", A), wire("END-OF-MESSAGE", A)) == [
        b"action=DUNNO\n\n",
        b"action=DUNNO\n\n",
        b"action=550 5.7.1 this wave's message was taken already\n\n",
    ]


def test_what_is_no_policy_request_gets_no_answer(policy: PolicyServer) -> None:
    assert exchange(policy, b"hello\n\n") == [b""]
    assert exchange(policy, b"request=something_else\n\n") == [b""]
    assert policy.answers["no answer"] == 2


def test_a_database_that_is_gone_gets_no_answer(desk: Desk) -> None:
    lost = PolicyServer(Database("postgresql://nobody@127.0.0.1:9/none"), desk.estate, desk.clock)
    lost.start()
    assert exchange(lost, wire("RCPT", A)) == [b""]
    lost.stop()
