"""What only the stand-in can show: its life, its death in the middle of a campaign, its clock, its safety."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest
import requests

from dualstream_assets.clock import FixedClock
from dualstream_assets.lab.listmonk_http import form_of
from dualstream_assets.lab.listmonk_mail import Server
from dualstream_assets.lab.listmonk_settings import SAMPLE_SERVER
from dualstream_assets.lab.listmonk_standin import StandIn
from dualstream_assets.settings import Settings
from dualstream_assets.store.postgres import server_url
from dualstream_assets_tests.listmonk.conftest import end
from dualstream_assets_tests.listmonk.sink import Sink

TOKEN = "lab-token"
AUTH = {"Authorization": f"token dualstream:{TOKEN}"}


@pytest.fixture
def sink() -> Iterator[Sink]:
    running = Sink().start()
    yield running
    running.stop()


@pytest.fixture
def make(server: Settings, clock: FixedClock, sink: Sink) -> Iterator[Callable[..., StandIn]]:
    """Makes stand-ins whose one SMTP server (estate port 25) is the sink."""
    made: list[StandIn] = []

    def one(**arguments: object) -> StandIn:
        url = server_url(server, f"standin_{uuid.uuid4().hex[:8]}")
        options = {"smtp_default": ("127.0.0.1", 25), "port_map": {25: sink.port}, **arguments}
        made.append(StandIn("test", url, clock, TOKEN, "https://lists.performancewest.test", **options))  # type: ignore[arg-type]
        return made[-1]

    yield one
    for stand_in in made:
        end(server, stand_in)


def call(stand_in: StandIn, method: str, path: str, body: object = None) -> object:
    answer = requests.request(method, f"{stand_in.url}/api{path}", json=body, headers=AUTH, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def settings(stand_in: StandIn, **values: object) -> None:
    """Change settings and wait until they are in force."""
    whole = {**call(stand_in, "GET", "/settings"), **{k.replace("__", "."): v for k, v in values.items()}}  # type: ignore[dict-item]
    boot = boot_line(stand_in)
    call(stand_in, "PUT", "/settings", whole)
    until(lambda: boot_line(stand_in) not in (None, boot))


def boot_line(stand_in: StandIn) -> str | None:
    """The first line of its log; None between two processes."""
    try:
        return str(call(stand_in, "GET", "/logs")[0])  # type: ignore[index]
    except requests.ConnectionError:
        return None


def until(done: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while not done():
        assert time.monotonic() < ends, "did not happen in time"
        time.sleep(0.01)


def people(count: int) -> list[tuple[str, str, dict[str, str]]]:
    return [(f"p{n:03}@practice.example", f"Person {n}", {}) for n in range(count)]


def run_campaign(stand_in: StandIn, list_id: int) -> int:
    body = {"name": "c", "subject": "s", "lists": [list_id], "body": "<p>x</p>", "content_type": "html"}
    made = call(stand_in, "POST", "/campaigns", {**body, "from_email": "A <a@performancewest.test>"})
    call(stand_in, "PUT", f"/campaigns/{made['id']}/status", {"status": "running"})  # type: ignore[index]
    return int(made["id"])  # type: ignore[index]


def status(stand_in: StandIn, campaign_id: int) -> str:
    return str(call(stand_in, "GET", f"/campaigns/{campaign_id}")["status"])  # type: ignore[index]


def test_it_makes_its_own_database_and_finds_it_again(make: Callable[..., StandIn]) -> None:
    stand_in = make()
    stand_in.start()
    first = stand_in.seed_subscribers(people(3), "Truckers")
    stand_in.kill()
    stand_in.start()
    assert stand_in.seed_subscribers(people(3), "Truckers") == first, "seeding can be repeated"
    assert call(stand_in, "GET", "/subscribers")["total"] == 3  # type: ignore[index]


def test_it_keeps_its_port_over_a_restart(make: Callable[..., StandIn]) -> None:
    stand_in = make()
    url = stand_in.start()
    settings(stand_in)
    assert stand_in.url == url


def test_the_ui_user_of_the_installation_never_passes(make: Callable[..., StandIn]) -> None:
    stand_in = make()
    stand_in.start()
    answer = requests.get(
        f"{stand_in.url}/api/config", auth=("admin", "a UI user never passes the API"), timeout=5
    )
    assert (answer.status_code, answer.json()) == (403, {"message": "invalid API credentials"})


def test_an_estate_port_leads_to_its_real_port(make: Callable[..., StandIn], sink: Sink) -> None:
    stand_in = make()
    stand_in.start()
    campaign = run_campaign(stand_in, stand_in.seed_subscribers(people(2), "x"))
    until(lambda: status(stand_in, campaign) == "finished")
    assert len(sink.received) == 2


def test_people_are_mailed_by_ascending_id(make: Callable[..., StandIn], sink: Sink) -> None:
    stand_in = make()
    stand_in.start()
    settings(stand_in, app__concurrency=1, app__batch_size=3)
    campaign = run_campaign(stand_in, stand_in.seed_subscribers(people(8), "x"))
    until(lambda: status(stand_in, campaign) == "finished")
    assert [r.recipient for r in sink.received] == [address for address, _, _ in people(8)]


def test_a_kill_loses_what_was_fetched_and_not_sent(make: Callable[..., StandIn], sink: Sink) -> None:
    """As seen on the real one: the campaign then ends as finished, and nobody says that people were skipped."""
    stand_in = make()
    stand_in.start()
    settings(stand_in, app__concurrency=1, app__message_rate=1, app__batch_size=10)
    sink.slow_s = 0.2
    campaign = run_campaign(stand_in, stand_in.seed_subscribers(people(30), "x"))
    until(lambda: len(sink.received) == 3)
    stand_in.kill()
    sink.slow_s = 0.0
    stand_in.start()
    until(lambda: status(stand_in, campaign) == "finished")
    mailed = {r.recipient for r in sink.received}
    lost = 30 - len(mailed)
    assert 1 <= lost <= 10 + 2 + 1, "at most a batch, the queue (workers x rate x 2) and one in the air"
    assert len(sink.received) == len(mailed), "nobody twice"


def test_a_restart_begins_a_new_window(make: Callable[..., StandIn], sink: Sink) -> None:
    """Why the cap is also kept outside listmonk."""
    stand_in = make()
    stand_in.start()
    window = {
        "app__message_sliding_window": True,
        "app__message_sliding_window_duration": "6m",
        "app__message_sliding_window_rate": 4,
    }
    settings(stand_in, app__concurrency=1, app__batch_size=4, **window)
    run_campaign(stand_in, stand_in.seed_subscribers(people(20), "x"))
    until(lambda: len(sink.received) == 4)
    stand_in.kill()
    stand_in.start()
    until(lambda: len(sink.received) == 8)


def test_a_sleep_on_the_window_does_not_move_the_clock(
    make: Callable[..., StandIn], sink: Sink, clock: FixedClock
) -> None:
    stand_in = make()
    stand_in.start()
    settings(
        stand_in,
        app__message_sliding_window=True,
        app__message_sliding_window_duration="6m",
        app__message_sliding_window_rate=2,
    )
    before = clock.now()
    run_campaign(stand_in, stand_in.seed_subscribers(people(3), "x"))
    until(lambda: len(sink.received) == 2)
    assert clock.now() == before
    clock.sleep(360)
    until(lambda: len(sink.received) == 3)


def test_a_paused_campaign_goes_on_after_the_last_one_sent(make: Callable[..., StandIn], sink: Sink) -> None:
    stand_in = make()
    stand_in.start()
    settings(stand_in, app__concurrency=1, app__message_rate=1, app__batch_size=10)
    sink.slow_s = 0.1
    campaign = run_campaign(stand_in, stand_in.seed_subscribers(people(20), "x"))
    until(lambda: len(sink.received) == 3)
    call(stand_in, "PUT", f"/campaigns/{campaign}/status", {"status": "paused"})
    until(lambda: not stand_in.process.engine.busy)
    sink.slow_s = 0.0
    call(stand_in, "PUT", f"/campaigns/{campaign}/status", {"status": "running"})
    until(lambda: status(stand_in, campaign) == "finished")
    assert sorted(r.recipient for r in sink.received) == [address for address, _, _ in people(20)]


def test_workers_pause_after_the_message_rate_by_speed(make: Callable[..., StandIn], sink: Sink) -> None:
    stand_in = make(speed=10.0)
    stand_in.start()
    settings(stand_in, app__concurrency=1, app__message_rate=1)
    began = time.monotonic()
    campaign = run_campaign(stand_in, stand_in.seed_subscribers(people(6), "x"))
    until(lambda: status(stand_in, campaign) == "finished")
    assert time.monotonic() - began >= 5 * 0.1


def test_it_sends_to_this_machine_only(make: Callable[..., StandIn], sink: Sink) -> None:
    stand_in = make(smtp_default=("198.51.100.7", 25))
    stand_in.start()
    campaign = run_campaign(stand_in, stand_in.seed_subscribers(people(1), "x"))
    until(lambda: status(stand_in, campaign) == "finished")
    assert any("sends to this machine only" in line for line in stand_in.process.logs)
    assert call(stand_in, "GET", f"/campaigns/{campaign}")["sent"] == 0  # type: ignore[index]
    assert sink.received == []


def test_a_message_with_a_line_of_one_dot_arrives_whole(sink: Sink) -> None:
    from email.message import EmailMessage
    from email.policy import SMTP

    settings = {**SAMPLE_SERVER, "host": "127.0.0.1", "max_conns": 1}
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"] = "a@performancewest.test", "b@practice.example"
    message.set_content("one\n.\n..two\n")
    server = Server(settings, sink.port)
    server.send(message)
    server.close()
    assert sink.received[0].message.get_payload() == "one\r\n.\r\n..two\r\n"


def test_two_stand_ins_share_nothing(make: Callable[..., StandIn]) -> None:
    one, other = make(), make()
    one.start()
    other.start()
    one.seed_subscribers(people(2), "x")
    assert call(other, "GET", "/subscribers")["total"] == 0  # type: ignore[index]


def test_stopping_leaves_no_thread_and_no_connection(make: Callable[..., StandIn], server: Settings) -> None:
    stand_in = make()
    stand_in.start()
    call(stand_in, "GET", "/subscribers")
    stand_in.stop()
    assert not [t for t in threading.enumerate() if t.name == "listmonk test"]
    with psycopg.connect(server_url(server, "postgres"), autocommit=True) as admin:
        name = stand_in._store.url.rpartition("/")[2].partition("?")[0]

        def open_connections() -> int:
            row = admin.execute(
                "select count(*) from pg_stat_activity where datname = %s", (name,)
            ).fetchone()
            return int(row[0]) if row else 0

        until(lambda: open_connections() == 0)


def test_a_form_with_a_file_is_read_whole() -> None:
    raw = (
        b'--XX\r\nContent-Disposition: form-data; name="params"\r\n\r\n{"a": 1}\r\n'
        b'--XX\r\nContent-Disposition: form-data; name="file"; filename="x.csv"\r\nContent-Type: text/csv\r\n\r\n'
        b'email\r\n"a"\n\r\n--XX--\r\n'
    )
    assert form_of("multipart/form-data; boundary=XX", raw) == {
        "params": '{"a": 1}',
        "file": ("x.csv", b'email\r\n"a"\n'),
    }
