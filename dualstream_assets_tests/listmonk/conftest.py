"""A listmonk to test with: the stand-in always, a real one too where DUALSTREAM_LISTMONK_URL names it."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate
from dualstream_assets.lab.listmonk_standin import StandIn
from dualstream_assets.listmonk.applying import apply, read_plan
from dualstream_assets.listmonk.client import Client
from dualstream_assets.listmonk.declared import Declared
from dualstream_assets.settings import Settings
from dualstream_assets.store.postgres import server_url
from dualstream_assets_tests.listmonk.sink import Sink

TOKEN = "contract-token"
REAL_URL = os.environ.get("DUALSTREAM_LISTMONK_URL", "")
BENCHES = ["stand-in", *([pytest.param("real", marks=pytest.mark.listmonk)] if REAL_URL else [])]


@dataclass
class Bench:
    """One listmonk with the sink that its SMTP servers lead to."""

    client: Client
    sink: Sink
    declared: Declared
    is_real: bool
    clock: FixedClock | None = None

    def pass_time(self, seconds: float) -> None:
        """Let time pass for this listmonk: the stand-in's clock is moved, a real one is waited for."""
        if self.clock:
            self.clock.sleep(seconds)
        else:
            time.sleep(seconds)

    def people(self, count: int) -> list[str]:
        """Addresses nobody used before."""
        mark = uuid.uuid4().hex[:10]
        return [f"p{number}.{mark}@practice.example" for number in range(count)]

    def new_list(self, name: str = "a list", optin: str = "single") -> int:
        """A private list of this test's own."""
        made = {"name": f"{name} {uuid.uuid4().hex[:6]}", "type": "private", "optin": optin, "tags": []}
        return int(self.client.post("/lists", made)["id"])

    def wave_id(self) -> int:
        """A wave number nobody used before."""
        return uuid.uuid4().int % 1_000_000_000


def declared_for_sink(port: int) -> Declared:
    """Settings for tests: two servers that lead to the sink, a Return-Path, a batch of ten, fast enough workers."""
    common = {
        "enabled": True, "host": "127.0.0.1", "port": port, "auth_protocol": "none", "tls_type": "none",
        "email_headers": [{"Return-Path": "bounces@bounce-hc.performancewest.test"}], "max_conns": 2,
        "max_msg_retries": 4, "idle_timeout": "15s", "from_addresses": [],
    }  # fmt: skip
    servers = tuple(
        {"name": f"email-hcout{n}", "hello_hostname": f"hcmta0{n}.performancewest.test", **common}
        for n in (1, 2)
    )
    values = {
        "app.root_url": "https://lists-hc.performancewest.test",
        "app.notify_emails": [],
        "app.check_updates": False,
        "app.concurrency": 2,
        "app.message_rate": 10,
        "app.batch_size": 10,
        "app.max_send_errors": 3,
        "privacy.individual_tracking": True,
        "privacy.unsubscribe_header": True,
        "privacy.allow_wipe": False,
        "privacy.domain_blocklist": ["consumer.example", "*.hosted.example"],
        "bounce.enabled": True,
        "bounce.webhooks_enabled": True,
    }
    return Declared("healthcare", True, values, servers, 601, 9001)


def stand_in(server: Settings, name: str, clock: FixedClock, **arguments: object) -> StandIn:
    """A stand-in on a database of its own."""
    url = server_url(server, f"lm_{name}_{uuid.uuid4().hex[:8]}")
    return StandIn(name, url, clock, TOKEN, "http://localhost:9000", **arguments)  # type: ignore[arg-type]


def end(server: Settings, running: StandIn) -> None:
    """Stop a stand-in and drop its database: on a server that is named it would stay for ever."""
    running.stop()
    name = conninfo_to_dict(running._store.url)["dbname"]
    with psycopg.connect(server_url(server, "postgres"), autocommit=True) as admin:
        admin.execute(f'drop database if exists "{name}" with (force)'.encode())


@pytest.fixture(scope="package", params=BENCHES)
def bench(request: pytest.FixtureRequest, server: Settings) -> Iterator[Bench]:
    """A listmonk with the test settings in force."""
    sink = Sink().start()
    declared = declared_for_sink(sink.port)
    running: StandIn | None = None
    clock: FixedClock | None = None
    if request.param == "real":
        user = os.environ.get("DUALSTREAM_LISTMONK_USER", "dualstream")
        client = Client(REAL_URL, user, os.environ["DUALSTREAM_LISTMONK_TOKEN"])
    else:
        clock = FixedClock(datetime(2026, 11, 30, 14, 0, tzinfo=UTC))
        running = stand_in(server, "contract", clock)
        client = Client(running.start(), "dualstream", TOKEN)
    apply(client, declared, read_plan(client, declared).hash)
    yield Bench(client, sink, declared, running is None, clock)
    if running:
        end(server, running)
    sink.stop()


@pytest.fixture(autouse=True)
def patient_sink(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test finds the sink accepting everything at once."""
    yield
    if "bench" in request.fixturenames:
        sink: Sink = request.getfixturevalue("bench").sink
        sink.script.clear()
        sink.always, sink.slow_s = "", 0.0


@pytest.fixture
def hc_declared(lab_estate: Estate) -> Declared:
    """The declared settings of the lab's healthcare stream."""
    from dualstream_assets.listmonk.declared import declared_for

    return declared_for(lab_estate, "healthcare", "lab", ("consumer.example",))
