"""Brakes: what receivers must answer for one to come on, and that only a person lets a hard one go."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate
from dualstream_assets.estate.model import Brakes
from dualstream_assets.sending.brake import (
    Brake,
    BrakeRefused,
    Replies,
    brake_on,
    engage,
    judge,
    release_brake,
    suspended_operators,
    watch,
)
from dualstream_assets.store.database import Database

NOW = datetime(2026, 11, 30, 14, tzinfo=UTC)
HC = "healthcare"


@pytest.mark.parametrize(
    ("replies", "kind"),
    [
        (Replies(200, 190, 0, 10), "hard"),
        (Replies(199, 100, 0, 99), None),
        (Replies(200, 191, 0, 9), None),
        (Replies(200, 179, 21, 0), "soft"),
        (Replies(200, 179, 0, 0), "soft"),
        (Replies(5, 0, 5, 0, (("google", 3), ("microsoft", 3))), "block"),
        (Replies(5, 0, 5, 0, (("google", 9), ("microsoft", 2))), None),
        (Replies(), None),
    ],
)
def test_what_brings_a_brake_on(replies: Replies, kind: str | None) -> None:
    found = judge(HC, replies, Brakes(), NOW)
    assert (found.kind if found else None) == kind


def _answers(
    database: Database, at: datetime, count: int, status: str, code: int, text: str, operator: str
) -> None:
    with database.transaction() as connection:
        connection.cursor().executemany(
            "insert into delivery (queue_id, recipient, transport, stream, status, reply_code, enhanced_code,"
            " reply_text, operator, tls, at) values (%s, 'x', 'hcout1', %s, %s, %s, %s, %s, %s, 'trusted', %s)",
            [
                (
                    uuid.uuid4().hex,
                    HC,
                    status,
                    code,
                    text.split(maxsplit=1)[0] if text else None,
                    text,
                    operator,
                    at,
                )
                for _ in range(count)
            ],
        )


def test_dead_mailboxes_stop_the_stream_once(
    database: Database, clock: FixedClock, lab_estate: Estate
) -> None:
    _answers(database, clock.now(), 90, "sent", 250, "2.0.0 ok", "google")
    _answers(database, clock.now(), 10, "bounced", 550, "5.1.1 no such user", "google")
    with database.transaction() as connection:
        came = watch(connection, lab_estate, HC, clock.now())
        assert came is not None
        assert came.kind == "hard"
        assert watch(connection, lab_estate, HC, clock.now()) is None
        assert brake_on(connection, HC) is not None


def test_a_released_brake_counts_anew(database: Database, clock: FixedClock, lab_estate: Estate) -> None:
    _answers(database, clock.now(), 60, "bounced", 550, "5.1.1 no such user", "google")
    with database.transaction() as connection:
        watch(connection, lab_estate, HC, clock.now())
        clock.sleep(60)
        release_brake(connection, HC, "the file was wrong, and is mended", clock.now())
        assert watch(connection, lab_estate, HC, clock.now()) is None


BLOCK = "5.7.1 Service unavailable; client host blocked using a block list"


def test_two_operators_that_block_stop_the_stream(
    database: Database, clock: FixedClock, lab_estate: Estate
) -> None:
    _answers(database, clock.now(), 3, "bounced", 550, BLOCK, "google")
    with database.transaction() as connection:
        assert watch(connection, lab_estate, HC, clock.now()) is None
        limits = lab_estate.streams[HC].brakes
        assert suspended_operators(connection, HC, limits, clock.now()) == {"google"}
    _answers(database, clock.now(), 3, "bounced", 550, BLOCK, "microsoft")
    with database.transaction() as connection:
        came = watch(connection, lab_estate, HC, clock.now())
    assert came is not None
    assert (came.kind, came.reason) == ("block", "blocked by google, microsoft")


def test_a_suspended_operator_comes_back_after_two_hours(
    database: Database, clock: FixedClock, lab_estate: Estate
) -> None:
    _answers(database, clock.now(), 3, "bounced", 550, BLOCK, "google")
    with database.transaction() as connection:
        limits = lab_estate.streams[HC].brakes
        assert not suspended_operators(connection, HC, limits, clock.now() + timedelta(hours=2, seconds=1))


def test_a_soft_brake_goes_when_the_rates_recover(
    database: Database, clock: FixedClock, lab_estate: Estate
) -> None:
    _answers(database, clock.now(), 40, "sent", 250, "2.0.0 ok", "google")
    _answers(database, clock.now(), 20, "deferred", 451, "4.7.0 try later", "google")
    with database.transaction() as connection:
        came = watch(connection, lab_estate, HC, clock.now())
        assert came is not None
        assert came.kind == "soft"
    clock.sleep(25 * 3600)
    with database.transaction() as connection:
        watch(connection, lab_estate, HC, clock.now())
        assert brake_on(connection, HC) is None


def test_a_brake_is_neither_put_on_nor_let_go_without_a_reason(database: Database, clock: FixedClock) -> None:
    with database.transaction() as connection:
        with pytest.raises(BrakeRefused, match="needs a reason"):
            engage(connection, Brake(HC, "manual", " ", "", clock.now()))
        engage(connection, Brake(HC, "manual", "phone call", "", clock.now()))
        with pytest.raises(BrakeRefused, match="needs a reason"):
            release_brake(connection, HC, "", clock.now())


def test_releasing_what_is_not_on_says_so(database: Database, clock: FixedClock) -> None:
    with database.transaction() as connection, pytest.raises(BrakeRefused, match="no brake is on"):
        release_brake(connection, HC, "why not", clock.now())
