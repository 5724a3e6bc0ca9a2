"""The whole pretend internet is verified over real sockets and real DNS, and held against its ground truth."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path

from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate
from dualstream_assets.lab.dns import LabDns
from dualstream_assets.lab.mailboxes import MailboxTruth as Truth
from dualstream_assets.lab.mailboxes import Nature
from dualstream_assets.lab.mx import MxHosts
from dualstream_assets.lab.world import World
from dualstream_assets.lab.zone import whole_zone
from dualstream_assets.outside.dns import Resolver
from dualstream_assets.store.database import Database
from dualstream_assets.verification.candidates import Candidate
from dualstream_assets.verification.run import Summary, run_verification

TRUTHS = {
    Truth.VALID: "deliverable",
    Truth.GREYLISTED: "deliverable",
    Truth.DEAD: "undeliverable",
    Truth.NO_MAIL: "undeliverable",
    Truth.FULL: "full",
    Truth.BLOCKED: "blocked",
    Truth.ACCEPT_ALL: "catch_all",
    Truth.UNRESOLVABLE: "retry",
    Truth.UNREACHABLE: "retry",
}


def test_every_mailbox_of_the_lab_gets_the_verdict_that_is_true(
    database: Database, clock: FixedClock, lab_estate: Estate, tmp_path: Path
) -> None:
    assert lab_estate.lab is not None
    world = World.build(lab_estate.lab.seed, lab_estate.lab.domains, lab_estate)
    targets = [
        Candidate(e.address, e.address.partition("@")[2])
        for e in world.expected.values()
        if e.segment == "institutional"
    ]
    summary = verified(world, database, clock, lab_estate, tmp_path, targets)
    with database.transaction() as connection:
        found = dict(connection.execute("select address, verdict from mailbox").fetchall())
        operators = dict(connection.execute("select domain, operator from mail_domain").fetchall())
    wrong = Counter(
        (str(truth), wanted, found[address])
        for address, truth, wanted in ((c.address, *wanted_of(world, c)) for c in targets)
        if found[address] != wanted
    )
    assert not wrong
    assert len(found) == len(targets)
    assert summary.stopped == []
    truly = {c.domain: world.domain_of[c.domain] for c in targets}
    assert {d: o for d, o in operators.items() if o and o != truly[d].operator} == {}
    assert summary.random_probes <= len(truly) * 1.1  # greylisted domains may take a second


def verified(
    world: World,
    database: Database,
    clock: FixedClock,
    estate: Estate,
    folder: Path,
    targets: list[Candidate],
) -> Summary:
    """One patient run over the lab's own DNS and mail hosts."""
    dns = LabDns(whole_zone(world, estate, "v=DKIM1; p="), folder)
    hosts = MxHosts(world, clock, estate.organisation.domain, folder)
    nameserver, port = dns.start(), hosts.start()
    try:
        resolver = Resolver((nameserver,), cache_size=1000)
        return run_verification(database, clock, estate, resolver, port, targets, timedelta(minutes=15))
    finally:
        hosts.stop()
        dns.stop()
        assert not hosts.sinks.exists() or hosts.sinks.stat().st_size == 0


def wanted_of(world: World, candidate: Candidate) -> tuple[Truth | None, str]:
    """The truth about a mailbox, and the verdict that it should get."""
    box, domain = world.mailbox_of.get(candidate.address), world.domain_of[candidate.domain]
    truth = box.truth if box else Truth.DEAD
    return truth, "risky" if domain.nature is Nature.CONSUMER_RUN else TRUTHS[truth]
