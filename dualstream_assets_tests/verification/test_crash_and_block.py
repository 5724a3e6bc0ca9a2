"""A run that is killed, a lane that is blocked, a rule set that gets better: the journal remembers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dualstream_assets.settings import Settings
from dualstream_assets.verification import engine, journal, judge
from dualstream_assets.verification.findings import block_alarm
from dualstream_assets.verification.verdicts import rejudge
from dualstream_assets.workplace import Workplace
from dualstream_assets_tests.verification.conftest import Verifier
from dualstream_assets_tests.verification.smtpd import Host, always, unknown_unless

DOMAINS = 24
PROGRAM = textwrap.dedent(
    """
    import json, sys
    from datetime import timedelta
    from datetime import datetime
    from dualstream_assets.clock import FixedClock
    from dualstream_assets.estate import load_estate
    from dualstream_assets.estate.load import packaged_lab_estate
    from dualstream_assets.outside.dns import MxAnswer, MxHost
    from dualstream_assets.store.database import Database
    from dualstream_assets.verification.candidates import Candidate
    from dualstream_assets.verification.run import run_verification

    url, port, domains = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])

    class Resolver:
        def mx(self, domain):
            return MxAnswer("ok", (MxHost(10, f"mail.{domain}", (domains[domain],)),))

    targets = [Candidate(f"{who}@{d}", d) for d in domains for who in ("live", "dead")]
    run_verification(
        Database(url), FixedClock(datetime.fromisoformat(sys.argv[4])), load_estate(packaged_lab_estate()),
        Resolver(), port, targets, timedelta(0)
    )
    """
)


def test_a_run_killed_at_any_moment_loses_no_verdict_and_asks_no_settled_mailbox_again(
    verifier: Verifier,
) -> None:
    held = threading.Event()
    domains = {f"d{i}.test": f"127.42.0.{i + 1}" for i in range(DOMAINS)}
    for i, (domain, address) in enumerate(domains.items()):
        host = Host(unknown_unless(f"live@{domain}"), hold=held if i >= DOMAINS // 2 else None)
        verifier.domain(domain, address, host)
    moment = verifier.clock.now().isoformat()
    arguments = [verifier.database.url, str(verifier.smtpd.port), json.dumps(domains), moment]
    child = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments])
    try:
        _until(lambda: len(verifier.verdicts()) >= DOMAINS and verifier.smtpd.open.total() > 0)
        os.kill(child.pid, signal.SIGKILL)
    finally:
        child.wait()
    settled = verifier.verdicts()
    asked_before = Counter(verifier.smtpd.rcpts())
    under_way = set(asked_before) - set(settled)
    held.set()
    verifier.clock.at = verifier.clock.at.replace(
        year=verifier.clock.at.year
    )  # the clock of the table is the test's
    addresses = [f"{who}@{domain}" for domain in domains for who in ("live", "dead")]
    verifier.verify(*addresses)
    verdicts = verifier.verdicts()
    assert {a: v for a, v in verdicts.items() if a in settled} == settled
    assert verdicts == {a: "deliverable" if a.startswith("live@") else "undeliverable" for a in addresses}
    asked = Counter(verifier.smtpd.rcpts())
    assert all(asked[address] == 1 for address in settled)
    assert all(asked[address] <= 2 for address in addresses)
    # The random recipients of settled domains are in neither set of addresses; someone must have been cut off.
    assert {a for a in under_way if a in addresses}
    assert sum(asked[a] - 1 for a in addresses) <= verifier.smtpd.peak_of_all


def _until(true: Callable[[], bool], timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "waited in vain"
        threading.Event().wait(0.02)


def block_after(count: int) -> Host:
    """Says `user unknown` so often, then blocks."""
    seen: list[str] = []

    def answer(address: str) -> bytes:
        seen.append(address)
        if len(seen) <= count:
            return b"550 5.1.1 User unknown\r\n"
        return b"550 5.7.1 your IP is blocked\r\n"

    return Host(answer)


def test_three_block_replies_stop_the_lane_and_open_its_recent_dead_verdicts_again(
    verifier: Verifier,
) -> None:
    verifier.smtpd.add("127.42.1.1", block_after(4))
    for i in range(12):
        verifier.domain(f"d{i}.test", "127.42.1.1", mx="smtp.secureserver.net")
    summary = verifier.verify(*(f"x@d{i}.test" for i in range(12)))
    assert summary.stopped == ["godaddy"]
    assert len(verifier.smtpd.rcpts()) <= 4 + 4
    found = Counter(verifier.verdicts().values())
    assert "undeliverable" not in found
    assert found["retry"] == 4
    assert set(verifier.rules().values()) >= {"reopened_by_block_alarm"}


def test_a_stopped_lane_rests_and_is_asked_again_when_it_wakes(verifier: Verifier) -> None:
    verifier.smtpd.add("127.42.1.1", block_after(4))
    for i in range(12):
        verifier.domain(f"d{i}.test", "127.42.1.1", mx="smtp.secureserver.net")
    addresses = [f"x@d{i}.test" for i in range(12)]
    verifier.verify(*addresses)
    asked = len(verifier.smtpd.rcpts())
    verifier.clock.sleep(50 * 60)
    verifier.verify(*addresses)
    assert len(verifier.smtpd.rcpts()) == asked
    verifier.smtpd.hosts["127.42.1.1"].rcpt = unknown_unless()
    verifier.clock.sleep(3 * 3600)
    verifier.verify(*addresses)
    assert set(verifier.verdicts().values()) == {"undeliverable"}


def test_the_alarm_is_red_for_a_large_operator_and_not_for_one_small_host(
    verifier: Verifier, workplace: Workplace
) -> None:
    verifier.domain("small.test", "127.42.1.2", Host(always(b"550 5.7.1 blocked\r\n")))
    verifier.verify(*(f"x{i}@small.test" for i in range(4)))
    verifier.clock.sleep(2 * 3600)
    verifier.verify(*(f"x{i}@small.test" for i in range(4)))
    assert block_alarm(workplace).holds
    verifier.smtpd.add("127.42.1.1", block_after(0))
    for i in range(4):
        verifier.domain(f"d{i}.test", "127.42.1.1", mx="smtp.secureserver.net")
    verifier.verify(*(f"x@d{i}.test" for i in range(4)))
    found = block_alarm(workplace)
    assert found.holds is False
    assert "godaddy" in found.text


def test_the_alarm_is_red_when_many_small_hosts_block_at_once(
    verifier: Verifier, workplace: Workplace
) -> None:
    for i in range(6):
        verifier.domain(f"b{i}.test", f"127.42.2.{i + 1}", Host(always(b"550 5.7.1 blocked\r\n")))
    live = [f"m{i}@good.test" for i in range(50)]
    verifier.domain("good.test", "127.42.2.99", Host(unknown_unless(*live)))
    verifier.verify(*live, *(f"x@b{i}.test" for i in range(6)))
    assert block_alarm(workplace).holds is False


def test_blocked_mailboxes_are_no_strike_and_come_back(verifier: Verifier) -> None:
    verifier.domain("a.test", "127.42.1.1", Host(always(b"550 5.7.1 blocked\r\n")))
    verifier.verify("x@a.test")
    verifier.smtpd.hosts["127.42.1.1"].rcpt = unknown_unless("x@a.test")
    verifier.clock.sleep(2 * 3600)
    verifier.verify("x@a.test")
    assert verifier.verdicts() == {"x@a.test": "deliverable"}
    assert [row[0] for row in verifier.journal("attempt")] == [1, 1, 1]


def test_a_better_rule_set_judges_the_journal_again_without_asking(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier.domain("a.test", "127.42.1.1", Host(always(b"550 strange words\r\n")))
    verifier.verify("x@a.test")
    assert verifier.verdicts() == {"x@a.test": "risky"}
    asked = len(verifier.smtpd.rcpts())
    monkeypatch.setattr(judge, "ruled_again", lambda row: ("full", "strange_words"))
    assert rejudge(verifier.database, verifier.estate) == 1
    assert verifier.rules() == {"x@a.test": "strange_words"}
    assert len(verifier.smtpd.rcpts()) == asked


def test_verdicts_lost_from_the_table_come_back_from_the_journal(verifier: Verifier) -> None:
    verifier.domain("a.test", "127.42.1.1", Host(unknown_unless("live@a.test")))
    verifier.verify("live@a.test", "dead@a.test")
    before = verifier.verdicts()
    with verifier.database.transaction() as connection:
        connection.execute("delete from mailbox")
    rejudge(verifier.database, verifier.estate)
    assert verifier.verdicts() == before


def test_a_fault_of_ours_never_asks_a_stranger_in_a_loop(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "derive", lambda *_: 0)
    verifier.domain("a.test", "127.42.1.1", Host(unknown_unless("x@a.test")))
    summary = verifier.verify("x@a.test")
    assert (summary.due, verifier.smtpd.connections["127.42.1.1"]) == (1, 1)


def test_two_runs_never_work_at_one_shard(verifier: Verifier) -> None:
    verifier.domain("a.test", "127.42.1.1", Host())
    verifier.verify("x@a.test")
    with verifier.database.transaction() as connection:
        (shard,) = connection.execute("select shard from mail_domain").fetchone() or ("",)
    verifier.clock.sleep(60 * 24 * 3600)
    with verifier.database.advisory_lock(f"verification {shard}"):
        summary = verifier.verify("x@a.test")
    assert summary.busy == [shard]
    assert len(verifier.smtpd.rcpts()) == 2


def test_an_early_block_counts_once_however_many_mailboxes_it_settles(verifier: Verifier) -> None:
    verifier.domain("a.test", "127.42.1.1", Host(banner=b"554 blocked\r\n"))
    summary = verifier.verify(*(f"x{i}@a.test" for i in range(5)))
    assert summary.stopped == []
    with verifier.database.transaction() as connection:
        assert journal.block_replies(connection, "a.test", verifier.clock.now()) == 1
    assert set(verifier.verdicts().values()) == {"blocked"}


def test_lanes_rest_longer_each_time() -> None:
    first = datetime(2026, 11, 30, tzinfo=UTC)
    second = first + timedelta(hours=2)
    assert journal.rests_until([first]) == first + timedelta(hours=1)
    assert journal.rests_until([first, second]) == second + timedelta(hours=4)
    assert journal.rests_until([first, first + timedelta(days=9)]) == first + timedelta(days=9, hours=1)


@pytest.fixture
def workplace(verifier: Verifier, tmp_path: Path) -> Workplace:
    """A workplace over the verifier's world."""
    settings = Settings.read({"DUALSTREAM_STATE": str(tmp_path)})
    return Workplace(settings, verifier.estate, verifier.clock, given_database=verifier.database)
