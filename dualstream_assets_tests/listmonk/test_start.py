"""Starting a wave: the permit, the one transaction, and what is safe after a crash."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from dualstream_assets.clock import FixedClock
from dualstream_assets.listmonk import campaigns
from dualstream_assets.listmonk.campaigns import Prepared, Status, members_hash
from dualstream_assets.listmonk.errors import CommittedNotStarted, Invalid, MembersNotListed, WaveMismatch
from dualstream_assets.listmonk.subscribers import push_suppression
from dualstream_assets.store.database import Database
from dualstream_assets.store.evidence import Subject, probing
from dualstream_assets.store.permit import PermitRefused
from dualstream_assets.store.suppression import suppress
from dualstream_assets_tests.listmonk.conftest import Bench
from dualstream_assets_tests.listmonk.contract_steps import AContent, AWave, ended, known


class Ledger:
    """A reserved wave in a real ledger, its permit, and its draft in listmonk."""

    def __init__(self, database: Database, bench: Bench, clock: FixedClock, size: int = 3) -> None:
        self.database, self.bench, self.clock = database, bench, clock
        self.people = known(bench, size)
        self.hash = members_hash(self.people)
        self.wave_id = self._reserve()
        self.permit_id = self._mint()
        self.prepared = campaigns.prepare(bench.client, AWave(self.wave_id), self.people, AContent())

    def _reserve(self) -> int:
        now, wave_id = self.clock.now(), self.bench.wave_id()
        with self.database.transaction() as c:
            c.execute(
                "insert into wave (id, stream, campaign, local_date, state, size, cap_per_hour, cap_per_day,"
                " members_hash, planned_at, reserved_at) overriding system value"
                " values (%s, 'healthcare', 'contract', %s, 'reserved', %s, 60, 150, %s, %s, %s)",
                (wave_id, now.date(), len(self.people), self.hash, now, now),
            )
            for rank, address in enumerate(self.people, 1):
                c.execute(
                    "insert into wave_member (wave_id, stream, campaign, address, domain, operator, rank, state,"
                    " changed_at) values (%s, 'healthcare', 'contract', %s, 'practice.example', 'x', %s,"
                    " 'reserved', %s)",
                    (wave_id, address, rank, now),
                )
        return wave_id

    def _mint(self) -> int:
        subject = Subject("healthcare", f"wave {self.wave_id}", "tested")
        hour = timedelta(hours=1)
        with probing(self.database, self.clock, [subject], source="test", valid_for=hour) as probe:
            evidence = probe.found_pass(subject, "yes")
        with self.database.transaction() as c:
            row = c.execute(
                "insert into permit (kind, stream, wave_id, members_hash, evidence_ids, minted_at, valid_until)"
                " values ('wave', 'healthcare', %s, %s, %s, %s, %s) returning id",
                (
                    self.wave_id,
                    self.hash,
                    [evidence.id],
                    self.clock.now(),
                    self.clock.now() + timedelta(minutes=2),
                ),
            ).fetchone()
        assert row is not None
        return int(row[0])

    def start(self, prepared: Prepared | None = None) -> campaigns.CampaignState:
        return campaigns.start(
            self.database,
            self.bench.client,
            self.permit_id,
            self.wave_id,
            prepared or self.prepared,
            self.clock.now(),
        )

    def wave(self) -> tuple[object, ...]:
        with self.database.transaction() as c:
            row = c.execute(
                "select state, permit_id, list_id, campaign_id, campaign_uuid, released_at from wave where id = %s",
                (self.wave_id,),
            ).fetchone()
        assert row is not None
        return row

    def members(self) -> set[tuple[object, ...]]:
        with self.database.transaction() as c:
            return set(
                c.execute(
                    "select address, state, subscriber_id from wave_member where wave_id = %s",
                    (self.wave_id,),
                ).fetchall()
            )

    def used(self) -> bool:
        with self.database.transaction() as c:
            row = c.execute("select used_at from permit where id = %s", (self.permit_id,)).fetchone()
        return bool(row and row[0])


@pytest.fixture
def ledger(database: Database, bench: Bench, clock: FixedClock) -> Ledger:
    return Ledger(database, bench, clock)


def nothing_happened(ledger: Ledger) -> bool:
    state = campaigns.state(ledger.bench.client, ledger.prepared.campaign_id)
    return ledger.wave()[0] == "reserved" and not ledger.used() and state.status is Status.DRAFT


def test_a_start_uses_the_permit_releases_the_wave_and_sends(ledger: Ledger) -> None:
    state = ledger.start()
    assert state.status in (Status.RUNNING, Status.FINISHED)
    made = ledger.prepared
    assert ledger.wave() == (
        "released",
        ledger.permit_id,
        made.list_id,
        made.campaign_id,
        uuid.UUID(made.campaign_uuid),
        ledger.clock.now(),
    )
    assert ledger.members() == {(a, "released", made.subscribers[a][0]) for a in ledger.people}
    assert ledger.used()
    ended(ledger.bench, made.campaign_id)
    assert len(ledger.bench.sink.to(set(ledger.people))) == 3


def test_a_permit_starts_one_wave_once(ledger: Ledger) -> None:
    ledger.start()
    ended(ledger.bench, ledger.prepared.campaign_id)
    with pytest.raises(WaveMismatch, match="not the draft"):
        ledger.start()
    assert len(ledger.bench.sink.to(set(ledger.people))) == 3


def test_an_expired_permit_changes_nothing(ledger: Ledger) -> None:
    ledger.clock.sleep(121)
    with pytest.raises(PermitRefused, match="expired"):
        ledger.start()
    assert nothing_happened(ledger)


def test_evidence_that_turned_after_the_permit_changes_nothing(ledger: Ledger) -> None:
    subject = Subject("healthcare", f"wave {ledger.wave_id}", "tested")
    with probing(ledger.database, ledger.clock, [subject], source="test", valid_for=timedelta(hours=1)):
        pass  # a check that crashed
    with pytest.raises(PermitRefused, match="superseded"):
        ledger.start()
    assert nothing_happened(ledger)


def test_a_forged_permit_changes_nothing(ledger: Ledger) -> None:
    ledger.permit_id += 1_000
    with pytest.raises(PermitRefused, match="no such row"):
        ledger.start()
    assert nothing_happened(ledger)


def test_members_that_changed_after_the_permit_change_nothing(ledger: Ledger) -> None:
    with ledger.database.transaction() as c:
        c.execute(
            "update wave_member set address = 'other@practice.example' where wave_id = %s and address = %s",
            (ledger.wave_id, ledger.people[0]),
        )
    with pytest.raises(Invalid, match="not the ones that were planned"):
        ledger.start()
    assert nothing_happened(ledger)


def test_an_opt_out_between_preparation_and_start_stops_the_wave(ledger: Ledger) -> None:
    push_suppression(ledger.bench.client, ledger.people[:1])
    with pytest.raises(MembersNotListed, match="of 3 members") as stopped:
        ledger.start()
    assert "@" not in str(stopped.value)
    assert nothing_happened(ledger)


def test_a_suppression_of_the_last_moment_stops_the_wave(ledger: Ledger) -> None:
    """It is only in our own table yet: no listmonk has heard of it."""
    address = next(iter(ledger.prepared.subscribers))
    with ledger.database.transaction() as connection:
        suppress(connection, "address", address, "manual", "test", ledger.clock.now())
    with pytest.raises(Invalid, match="opted out since it was planned"):
        ledger.start()
    assert nothing_happened(ledger)


def test_somebody_added_to_the_list_by_hand_stops_the_wave(ledger: Ledger) -> None:
    from dualstream_assets.listmonk.people import find

    stranger = known(ledger.bench, 1)
    ids = [s.id for s in find(ledger.bench.client, stranger)]
    target = [ledger.prepared.list_id]
    ledger.bench.client.put("/subscribers/lists", {"ids": ids, "action": "add", "target_list_ids": target})
    with pytest.raises(MembersNotListed):
        ledger.start()
    assert nothing_happened(ledger)


def test_a_start_that_fails_after_the_commit_says_so_and_can_be_resumed(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, put = ledger.bench.client, ledger.bench.client.put

    def cut(path: str, body: object) -> object:
        if path.endswith("/status"):
            raise Invalid("cut off", "try again")
        return put(path, body)

    monkeypatch.setattr(client, "put", cut)
    with pytest.raises(CommittedNotStarted, match=r"is committed.*only if it is still a draft"):
        ledger.start()
    monkeypatch.undo()
    assert ledger.wave()[0] == "released"
    assert campaigns.resume(client, ledger.prepared.campaign_id).status is not Status.DRAFT
    ended(ledger.bench, ledger.prepared.campaign_id)
    assert campaigns.resume(client, ledger.prepared.campaign_id).status is Status.FINISHED
    assert len(ledger.bench.sink.to(set(ledger.people))) == 3


def test_the_hash_of_members_knows_neither_order_nor_case() -> None:
    assert members_hash(["b@x.test", "A@x.test"]) == members_hash(["a@x.test", "b@x.test"])
    assert members_hash(["a@x.test"]) != members_hash(["a@x.test", "b@x.test"])
