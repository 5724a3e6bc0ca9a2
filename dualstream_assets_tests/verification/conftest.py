"""Fixtures of this room: a scripted SMTP server, a pretend resolver, and one call that verifies addresses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate
from dualstream_assets.outside.dns import MxAnswer, MxHost
from dualstream_assets.store.database import Database
from dualstream_assets.verification.candidates import Candidate
from dualstream_assets.verification.run import Summary, run_verification
from dualstream_assets_tests.verification.smtpd import Host, Smtpd


@dataclass
class PretendResolver:
    """MX answers by domain; everything else does not exist."""

    known: dict[str, MxAnswer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def mx(self, domain: str) -> MxAnswer:
        self.asked.append(domain)
        return self.known.get(domain, MxAnswer("nxdomain"))

    def host(self, domain: str, *hosts: tuple[str, str]) -> None:
        """The domain's MX hosts: (name, address), best first."""
        found = tuple(MxHost(10 * i, name, (address,)) for i, (name, address) in enumerate(hosts, 1))
        self.known[domain] = MxAnswer("ok", found)


@dataclass
class Verifier:
    """Everything one run needs."""

    database: Database
    clock: FixedClock
    estate: Estate
    resolver: PretendResolver
    smtpd: Smtpd

    def domain(self, domain: str, address: str, host: Host | None = None, *, mx: str | None = None) -> None:
        """A domain whose one MX host is at `address`."""
        if address not in self.smtpd.hosts and host is not None:
            self.smtpd.add(address, host)
        self.resolver.host(domain, (mx or f"mail.{domain}", address))

    def verify(
        self, *addresses: str, patience: timedelta = timedelta(0), shard: str | None = None
    ) -> Summary:
        """Verify these addresses."""
        targets = [Candidate(a, a.partition("@")[2]) for a in addresses]
        return run_verification(
            self.database, self.clock, self.estate, self.resolver, self.smtpd.port, targets, patience, shard
        )

    def verdicts(self) -> dict[str, str]:
        """Address -> verdict."""
        with self.database.transaction() as connection:
            return dict(connection.execute("select address, verdict from mailbox").fetchall())

    def rules(self) -> dict[str, str]:
        """Address -> rule."""
        with self.database.transaction() as connection:
            return dict(connection.execute("select address, rule from mailbox").fetchall())

    def journal(self, columns: str = "probe_kind, address, stage, reply_code, ruling") -> list[tuple]:
        """The journal, oldest first."""
        with self.database.transaction() as connection:
            return connection.execute(f"select {columns} from probe_journal order by id".encode()).fetchall()


@pytest.fixture
def smtpd() -> Iterator[Smtpd]:
    """A scripted SMTP server."""
    server = Smtpd()
    yield server
    server.stop()


@pytest.fixture
def quick_estate(lab_estate: Estate) -> Estate:
    """The lab estate with short timeouts: a command waits one second."""
    verification = lab_estate.verification.model_copy(update={"timeout_s": 0.5, "catch_all_policy": "hold"})
    return lab_estate.model_copy(update={"verification": verification})


@pytest.fixture
def verifier(database: Database, clock: FixedClock, quick_estate: Estate, smtpd: Smtpd) -> Verifier:
    """One call verifies addresses against the scripted server."""
    return Verifier(database, clock, quick_estate, PretendResolver(), smtpd)
