"""A small sending desk: two fake listmonks, a fake MTA, green evidence, a stock of people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate
from dualstream_assets.listmonk.campaigns import Prepared
from dualstream_assets.sending import ledger
from dualstream_assets.sending.content import render
from dualstream_assets.sending.tick import TickResult, run_tick
from dualstream_assets.sending.waves import Sender, plan_next
from dualstream_assets.store.database import Database
from dualstream_assets_tests.sending import fakes


@dataclass
class Desk:
    """Everything a test of waves touches."""

    database: Database
    clock: FixedClock
    estate: Estate
    folder: Path
    listmonk: fakes.FileListmonk
    other: fakes.FileListmonk
    mta: fakes.FakeMta
    sender: Sender
    people: list[str]

    def tick(self) -> TickResult:
        """One tick, the log read just before."""
        self.mta.read_log()
        return run_tick(self.sender, fakes.ports(self.listmonk, self.other))

    def deliver(self) -> int:
        """listmonk dispatches, the MTA delivers; how many messages."""
        sent = self.listmonk.dispatch()
        self.mta.take(sent)
        return len(sent)

    def minute(self, count: float = 1) -> None:
        """Time passes."""
        self.clock.sleep(60 * count)

    def states(self) -> dict[str, int]:
        """Member state -> people."""
        with self.database.transaction() as connection:
            rows = connection.execute("select state, count(*) from wave_member group by state").fetchall()
        return {state: int(count) for state, count in rows}


@pytest.fixture
def desk(database: Database, clock: FixedClock, lab_estate: Estate, tmp_path: Path) -> Desk:
    """Monday 09:00, everything green, 200 people."""
    listmonk = fakes.FileListmonk(tmp_path / "hc.json", database, clock)
    other = fakes.FileListmonk(tmp_path / "trucking.json", database, clock)
    people = fakes.write_stock(tmp_path / "audience", 200)
    fakes.write_stamp(tmp_path, clock.now())
    fakes.make_green(database, clock, lab_estate, "healthcare")
    sender = fakes.sender_for(database, clock, lab_estate, tmp_path, listmonk)
    mta = fakes.FakeMta(database, clock)
    return Desk(database, clock, lab_estate, tmp_path, listmonk, other, mta, sender, people)


def reserved(desk: Desk) -> tuple[ledger.Wave, Prepared]:
    """A wave that was reserved and prepared, and no more."""
    with desk.database.transaction() as connection:
        wave = ledger.reserve(connection, plan_next(desk.sender))
    with desk.database.transaction() as connection:
        people = ledger.addresses_of(connection, wave.id)
    prepared = desk.listmonk.prepare(wave, people, render(desk.estate, "healthcare"))
    with desk.database.transaction() as connection:
        ledger.note_prepared(connection, wave.id, prepared)
        return ledger.wave_of(connection, wave.id), prepared
