"""The submission host among the lab's own DNS and mail hosts: the sinks and the log tell the same story."""

from __future__ import annotations

import json
import smtplib
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate
from dualstream_assets.lab.dns import LabDns
from dualstream_assets.lab.mx import MxHosts
from dualstream_assets.lab.submission import SubmissionHost
from dualstream_assets.lab.submission_queue import listing
from dualstream_assets.lab.zone import whole_zone
from dualstream_assets.maillog.outcomes import read_log
from dualstream_assets.store.database import Database
from dualstream_assets_tests.lab.small_world import small_world
from dualstream_assets_tests.maillog.waves import CAMPAIGN_UUID, put_wave

PORTS = (2526, 2527, 2528)


def test_every_mailbox_of_a_world_ends_in_the_log_as_its_receiver_saw_it(
    lab_estate: Estate, clock: FixedClock, database: Database, tmp_path: Path
) -> None:
    world = small_world(40)
    names = LabDns(whole_zone(world, lab_estate, ""), tmp_path)
    hosts = MxHosts(world, clock, lab_estate.organisation.domain, tmp_path)
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    host = SubmissionHost(
        lab_estate,
        clock,
        names.start(),
        hosts.start(),
        database.url,
        tmp_path / "mail.log",
        pem,
        tmp_path / "queue",
    )
    try:
        ports = host.start()
        people = [b.address for b in world.mailboxes][:150]
        with database.transaction() as connection:
            put_wave(
                connection, people, clock.now() - timedelta(seconds=1), cap_per_hour=1000, cap_per_day=9000
            )
        codes = Counter(_send(ports[PORTS[i % 3]], person) for i, person in enumerate(people))
        for _ in range(3):
            _wait_until_nothing_is_due(tmp_path / "queue", clock)
            clock.sleep(4001)
        _wait_until_nothing_is_due(tmp_path / "queue", clock)
    finally:
        host.stop()
        hosts.stop()
        names.stop()

    found = read_log(database, lab_estate, tmp_path / "mail.log", clock)
    assert (found.unparsed, found.gap, dict(found.anomalies)) == (0, None, {})
    assert codes[250] + codes[550] == len(people)  # 550: the Yahoo family does not ride this stream
    assert codes[250] > 100

    sinks = Counter((r["peer"], r["rcpt"], r["campaign_uuid"]) for r in _records(hosts.sinks))
    address_of = {e.transport: str(e.ip) for e in lab_estate.egress}
    with database.transaction() as connection:
        rows = connection.execute(
            "select transport, recipient, campaign_uuid::text from delivery where status = 'sent'"
        ).fetchall()
        unknown = connection.execute(
            "select count(*) from wave_member where state in ('reserved', 'released', 'unknown')"
        ).fetchone()
        statuses = dict(
            connection.execute("select status, count(*) from delivery group by status").fetchall()
        )
    assert Counter((address_of[t], r, c) for t, r, c in rows) == sinks
    assert {peer for peer, _, _ in sinks} == {"127.124.0.107", "127.124.0.108", "127.124.0.109"}
    assert unknown == (0,)
    assert {"sent", "bounced", "deferred"} <= set(statuses)


def _send(port: int, recipient: str) -> int:
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as smtp:
        smtp.ehlo("listmonk.test")
        smtp.mail("bounces@bounce-hc.performancewest.test")
        code, _ = smtp.rcpt(recipient)
        if code != 250:
            return code
        return smtp.data(
            f"From: help@performancewest.test\r\nTo: {recipient}\r\nMessage-ID: <{recipient}>\r\n"
            f"X-Listmonk-Campaign: {CAMPAIGN_UUID}\r\nSubject: x\r\n\r\nhello\r\n"
        )[0]


def _wait_until_nothing_is_due(queue: Path, clock: FixedClock) -> None:
    end = time.monotonic() + 20
    while any(e.state != "hold" and e.next_at <= clock.now().timestamp() for e in listing(queue)):
        assert time.monotonic() < end, "the queue does not come to rest"
        time.sleep(0.01)


def _records(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
