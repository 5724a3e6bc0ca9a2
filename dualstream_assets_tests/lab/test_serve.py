"""A lab starts everything in order, says where it is, and leaves nothing running or half-started."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import dkim
import dns.resolver
import pytest
from cryptography.hazmat.primitives import serialization

from dualstream_assets.clock import LabClock
from dualstream_assets.lab.founding import dkim_key, dkim_record, keep_release, write_stamps
from dualstream_assets.lab.serve import Lab, Services
from dualstream_assets.settings import Settings
from dualstream_assets.workplace import Endpoints
from dualstream_assets_tests.lab.small_world import SEED, estate_of_lab, small_world

PORTS = {25: 40025, 2526: 42526, 2527: 42527, 2528: 42528}


@dataclass
class Told:
    """What the stand-ins of this test were told, in order."""

    events: list[str] = field(default_factory=list)
    arguments: dict[str, dict[str, Any]] = field(default_factory=dict)
    seeded: dict[str, list[tuple[str, str, dict[str, Any]]]] = field(default_factory=dict)


def pretend_services(told: Told, failing: str = "") -> Services:
    class Submission:
        def __init__(self, **arguments: Any) -> None:
            told.arguments["submission"] = arguments

        def start(self) -> Mapping[int, int]:
            told.events.append("start submission")
            return PORTS

        def stop(self) -> None:
            told.events.append("stop submission")

    class Listmonk:
        def __init__(self, **arguments: Any) -> None:
            self.name = arguments["name"]
            told.arguments[self.name] = arguments

        def start(self) -> str:
            if self.name == failing:
                raise OSError("no port")
            told.events.append(f"start {self.name}")
            return f"http://127.0.0.1:1/{self.name}"

        def stop(self) -> None:
            told.events.append(f"stop {self.name}")

        def seed_subscribers(self, rows: Any, list_name: str) -> None:
            told.seeded[f"{self.name}/{list_name}"] = list(rows)

    return Services(lambda _settings, name: f"postgresql://x/{name}", Submission, Listmonk)


def make_lab(folder: Path, told: Told, failing: str = "") -> Lab:
    settings = Settings.read({"DUALSTREAM_STATE": str(folder.parent)})
    return Lab(folder, settings, estate_of_lab(), pretend_services(told, failing))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def lab(tmp_path: Path, told: Told) -> Iterator[Lab]:
    running = make_lab(tmp_path / "lab", told)
    running.start()
    yield running
    running.stop()


def is_open(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def test_a_running_lab_says_where_everything_is(lab: Lab) -> None:
    at = Endpoints.from_json(lab.endpoints.to_json())
    assert at == lab.endpoints
    assert at.submission == PORTS
    assert set(at.listmonk) == {"trucking", "healthcare"}
    assert {p.name for p in at.inbox.iterdir()} >= {
        "NPPES_Data_Dissemination_November_2026_V2.zip",
        "UPDATED.csv",
    }
    assert at.maillog is not None
    assert at.maillog.exists()
    assert at.sinks is not None
    assert at.sinks.exists()


def test_its_name_server_and_mail_hosts_answer(lab: Lab) -> None:
    resolver = dns.resolver.Resolver(configure=False)
    ((host, resolver.port),) = lab.endpoints.nameservers
    resolver.nameservers = [host]
    mx = min(resolver.resolve("gmail.com", "MX", search=False), key=lambda r: r.preference)
    address = resolver.resolve(mx.exchange, "A", search=False)[0].to_text()
    assert is_open(address, lab.endpoints.smtp_port)


def test_the_services_start_after_what_they_need_and_stop_in_reverse(tmp_path: Path, told: Told) -> None:
    lab = make_lab(tmp_path / "lab", told)
    lab.start()
    lab.stop()
    assert told.events == [
        "start submission",
        "start trucking",
        "start healthcare",
        "stop healthcare",
        "stop trucking",
        "stop submission",
    ]


def test_each_service_is_told_what_it_was_promised(lab: Lab, told: Told) -> None:
    submission, trucking, healthcare = (told.arguments[n] for n in ("submission", "trucking", "healthcare"))
    assert submission["nameserver"] == lab.endpoints.nameservers[0]
    assert submission["smtp_port"] == lab.endpoints.smtp_port
    assert submission["ops_database_url"].endswith("/dualstream")
    assert trucking["smtp_default"] == ("127.0.0.1", PORTS[25])
    assert healthcare["smtp_default"] is None
    assert healthcare["port_map"] == PORTS
    assert healthcare["database_url"].endswith("/lab_listmonk_healthcare")
    assert healthcare["token"] == lab.endpoints.listmonk["healthcare"].token
    assert healthcare["token"] != trucking["token"]


def test_the_truckers_are_on_truckings_listmonk_only(lab: Lab, told: Told) -> None:
    assert set(told.seeded) == {"trucking/Truckers"}
    assert len(told.seeded["trucking/Truckers"]) == 200


def test_its_clock_starts_at_the_estates_epoch_and_is_not_set_back(tmp_path: Path, told: Told) -> None:
    estate = estate_of_lab()
    assert estate.lab is not None
    lab = make_lab(tmp_path / "lab", told)
    clock = LabClock(tmp_path / "lab" / "clock")
    lab.start()
    assert timedelta(0) <= clock.now() - estate.lab.epoch < timedelta(minutes=1)
    clock.sleep(3600)
    lab.stop()
    lab.start()
    assert clock.now() - estate.lab.epoch >= timedelta(hours=1)
    lab.stop()


def test_a_service_that_fails_leaves_nothing_running(tmp_path: Path, told: Told) -> None:
    lab = make_lab(tmp_path / "lab", told, failing="healthcare")
    with pytest.raises(OSError, match="no port"):
        lab.start()
    assert told.events[-2:] == ["stop trucking", "stop submission"]
    host, port = told.arguments["submission"]["nameserver"]
    assert not is_open(host, port)
    assert not is_open("127.30.1.1", told.arguments["submission"]["smtp_port"])
    with pytest.raises(RuntimeError, match="not started"):
        _ = lab.endpoints


def test_two_labs_run_side_by_side(lab: Lab, tmp_path: Path, told: Told) -> None:
    second = make_lab(tmp_path / "other" / "lab", Told())
    second.start()
    try:
        assert second.endpoints.nameservers != lab.endpoints.nameservers
        assert second.endpoints.smtp_port != lab.endpoints.smtp_port
    finally:
        second.stop()
    assert is_open("127.30.1.1", lab.endpoints.smtp_port)


def test_the_published_key_verifies_what_the_private_key_signs(tmp_path: Path) -> None:
    key = dkim_key(tmp_path / "dkim.pem")
    message = b"From: help@performancewest.test\r\nSubject: Hello\r\n\r\nHello\r\n"
    signature = dkim.sign(message, b"mail", b"performancewest.test", key, include_headers=[b"From"])
    assert dkim.verify(signature + message, dnsfunc=lambda _name, timeout=5: dkim_record(key).encode())


def test_the_key_is_made_once_long_enough_and_private(tmp_path: Path) -> None:
    path = tmp_path / "dkim.pem"
    assert dkim_key(path) == dkim_key(path)
    assert path.stat().st_mode & 0o077 == 0
    public = serialization.load_der_public_key(
        base64.b64decode(dkim_record(path.read_bytes()).split("p=")[1])
    )
    assert public.key_size == 2048  # pyright: ignore[reportAttributeAccessIssue]


def test_the_release_is_written_once_and_anew_for_another_world(tmp_path: Path) -> None:
    keep_release(small_world(), tmp_path)
    first = {p.name: (p.read_bytes(), p.stat().st_ino) for p in tmp_path.iterdir()}
    keep_release(small_world(), tmp_path)
    assert {p.name: (p.read_bytes(), p.stat().st_ino) for p in tmp_path.iterdir()} == first
    keep_release(small_world(seed=SEED + 1), tmp_path)
    assert all((tmp_path / name).read_bytes() != content for name, (content, _) in first.items())


def test_a_file_that_somebody_put_into_the_inbox_stays(tmp_path: Path) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text("x")
    keep_release(small_world(), tmp_path)
    keep_release(small_world(seed=SEED + 1), tmp_path)
    assert mine.read_text() == "x"


def test_a_release_file_that_was_lost_is_written_again(tmp_path: Path) -> None:
    keep_release(small_world(), tmp_path)
    (tmp_path / "UPDATED.csv").unlink()
    keep_release(small_world(), tmp_path)
    assert (tmp_path / "UPDATED.csv").exists()


def test_the_warmup_stamp_is_the_epoch_and_an_existing_one_is_kept(tmp_path: Path) -> None:
    stamp = tmp_path / "hc-warmup-start"
    write_stamps(estate_of_lab(), tmp_path)
    assert stamp.read_text() == "2026-11-30T06:30:00-05:00\n"
    stamp.write_text("2026-06-12T00:00:00-04:00\n")
    write_stamps(estate_of_lab(), tmp_path)
    assert stamp.read_text() == "2026-06-12T00:00:00-04:00\n"


USER_OF_A_LAB = """
import json, requests
from dualstream_assets.lab.serve import ensure
from dualstream_assets.settings import Settings
at = ensure(Settings.read())
people = {}
for stream, listmonk in at.listmonk.items():
    headers = {"Authorization": f"token {listmonk.user}:{listmonk.token}"}
    answer = requests.get(f"{listmonk.url}/api/subscribers", headers=headers, timeout=10)
    answer.raise_for_status()
    people[stream] = answer.json()["data"]["total"]
print(json.dumps({"people": people, "ports": sorted(at.submission), "smtp_port": at.smtp_port}))
"""


def test_a_real_lab_starts_for_whoever_needs_it_and_ends_with_its_last_user(tmp_path: Path) -> None:
    environment = os.environ | {"DUALSTREAM_ENV": "lab", "DUALSTREAM_STATE": str(tmp_path)}
    for _ in range(2):  # the second start finds everything as it was left
        said = subprocess.run(
            [sys.executable, "-c", USER_OF_A_LAB],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
        ).stdout
        told = json.loads(said)
        assert told["people"] == {"trucking": 200, "healthcare": 0}
        assert told["ports"] == [25, 2526, 2527, 2528]
        deadline = time.monotonic() + 20
        while (tmp_path / "lab" / "lab.json").exists() or is_open("127.30.1.1", told["smtp_port"]):
            assert time.monotonic() < deadline, "the lab outlived its last user"
            time.sleep(0.05)
