"""Who may start when: bounds per operator, per MX address and for the whole host, on a clock of numbers."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from dualstream_assets.receivers.operators import lane_of
from dualstream_assets.verification.dialogue import DomainTask, Host
from dualstream_assets.verification.lanes import Lanes, Work

NOW = datetime(2026, 11, 30, 14, tzinfo=UTC)


def work(operator: str, address: str = "127.0.0.1", name: str = "x") -> Work:
    return Work(operator, (Host("mx", address),), (DomainTask(f"{name}.test", ("a@x.test",), None),))


def played(works: list[Work], connections: int, takes_s: float) -> list[tuple[float, Work]]:
    """Play a run in which each session takes so long; returns (start, work), and checks nothing starves."""
    lanes, now, started, running = Lanes(connections), NOW, [], []
    for one in works:
        lanes.add(one)
    while True:
        while (one := lanes.take(now)) is not None:
            started.append(((now - NOW).total_seconds(), one))
            running.append((now + timedelta(seconds=takes_s), one))
        ends = min((end for end, _ in running), default=None)
        moments = [m for m in (ends, lanes.next_start()) if m is not None]
        if not moments:
            return started
        now = max(now, min(moments))
        for pair in [p for p in running if p[0] <= now]:
            running.remove(pair)
            lanes.done(pair[1])


def most_at_once(started: list[tuple[float, Work]], takes_s: float) -> int:
    return max(sum(1 for at, _ in started if at <= t < at + takes_s) for t, _ in started)


def test_an_operator_never_has_more_sessions_than_its_lane() -> None:
    started = played([work("google") for _ in range(10)], 50, takes_s=7.0)
    assert len(started) == 10
    assert most_at_once(started, 7.0) == lane_of("google").connections


def test_sessions_of_an_operator_start_no_faster_than_its_lane() -> None:
    starts = [at for at, _ in played([work("godaddy") for _ in range(4)], 50, takes_s=0.1)]
    assert starts == [0, 5, 10, 15]


def test_an_unnamed_host_is_asked_one_session_per_address() -> None:
    works = [work("a.test", "127.0.0.1"), work("b.test", "127.0.0.1"), work("c.test", "127.0.0.2")]
    started = played(works, 50, takes_s=9.0)
    assert [(at, w.operator) for at, w in started] == [(0.0, "a.test"), (0.05, "c.test"), (9.0, "b.test")]


def test_a_slow_operator_does_not_hold_up_another() -> None:
    works = [work("godaddy") for _ in range(20)] + [work("google")]
    assert next(at for at, w in played(works, 50, 0.1) if w.operator == "google") < 1


def test_a_stopped_operator_is_not_asked_again() -> None:
    lanes = Lanes(50)
    for operator in ("google", "google", "microsoft"):
        lanes.add(work(operator))
    assert lanes.take(NOW) is not None
    lanes.stop("google")
    later = NOW + timedelta(seconds=10)
    left = []
    while (one := lanes.take(later)) is not None:
        left.append(one.operator)
    assert left == ["microsoft"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["google", "mimecast", "a.test", "b.test"]), st.integers(1, 3)), max_size=25
    ),
    st.integers(1, 6),
    st.sampled_from([0.01, 1.0, 8.0]),
)
def test_every_session_starts_once_and_no_bound_is_ever_passed(
    wanted: list[tuple[str, int]], connections: int, takes_s: float
) -> None:
    works = [work(op, f"127.0.0.{n}", f"{i}") for i, (op, n) in enumerate(wanted)]
    started = played(works, connections, takes_s)
    assert Counter(w for _, w in started) == Counter(works)
    if started:
        assert most_at_once(started, takes_s) <= connections
    for operator in ("google", "mimecast"):
        mine = [s for s in started if s[1].operator == operator]
        assert not mine or most_at_once(mine, takes_s) <= 2
    for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
        mine = [s for s in started if s[1].lane.per_address and s[1].hosts[0].address == address]
        assert not mine or most_at_once(mine, takes_s) == 1
