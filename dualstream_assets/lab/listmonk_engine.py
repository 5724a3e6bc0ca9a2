"""The sending engine of the listmonk stand-in, shaped like listmonk's manager and pipes (facts: listmonk section 3).

One loop takes the campaigns in turn, a batch each, and moves its pointer when a batch is FETCHED; workers send.
One sliding window per process, on the lab's clock; reaching it blocks the loop. Opt-outs are seen when a batch is
fetched. `die` stops everything where it is: what was fetched and not sent is lost, as when listmonk is killed.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dualstream_assets.lab.listmonk_batches import fetch_batch, next_campaigns
from dualstream_assets.lab.listmonk_mail import Rendering, SendError, Server, choose, message_for

if TYPE_CHECKING:
    from dualstream_assets.clock import Clock
    from dualstream_assets.lab.listmonk_store import Store

SCAN_S = 0.1
TICK_S = 0.02


class Dead(Exception):
    """This process was stopped: nothing may be written any more."""


@dataclass
class Pipe:
    """One campaign being processed. `open` counts the batch loop itself and every message not yet dealt with."""

    campaign: Mapping[str, Any]
    open: int = 1
    sent: int = 0
    last_id: int = 0
    errors: int = 0
    stopped: bool = False
    with_errors: bool = False
    guard: threading.Lock = field(default_factory=threading.Lock)

    @property
    def id(self) -> int:
        """The campaign's id."""
        return int(self.campaign["id"])


class Engine:
    """The part of one stand-in process that sends.

    Args:
        settings: as loaded when the process started.
        servers: messenger -> its SMTP servers.
        speed: how much faster than real the pause of a worker after `message_rate` messages passes.
        log: takes a line for the process's log.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settings: Mapping[str, Any],
        servers: Mapping[str, Sequence[Server]],
        rendering: Rendering,
        speed: float,
        log: Callable[[str], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._rendering = rendering
        self._log = log
        self.servers = servers
        self._batch = max(1, settings["app.batch_size"])
        self._workers = max(1, settings["app.concurrency"])
        self._rate = max(1, settings["app.message_rate"])
        self._max_errors = settings["app.max_send_errors"]
        self._window_on = settings["app.message_sliding_window"]
        self._window_rate = settings["app.message_sliding_window_rate"]
        self._window = duration(settings["app.message_sliding_window_duration"])
        self._pause_s = 1.0 / speed
        self._count = 0
        self._since = clock.now()
        self._pipes: dict[int, Pipe] = {}
        self._pipes_guard = threading.Lock()
        self._next: queue.Queue[Pipe] = queue.Queue()
        self._messages: queue.Queue[tuple[Pipe, Mapping[str, Any]]] = queue.Queue(
            self._workers * self._rate * 2
        )
        self._died = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the scan, the loop and the workers."""
        for target in (self._scan, self._loop, *[self._work] * self._workers):
            thread = threading.Thread(target=self._until_dead, args=(target,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def die(self) -> None:
        """Stop at once; connections are cut, nothing is drained or written."""
        self._died.set()
        for servers in self.servers.values():
            for server in servers:
                server.close()
        for thread in self._threads:
            thread.join(timeout=5)

    @property
    def busy(self) -> bool:
        """Whether a campaign is being processed (which is not the same as `running` in the table)."""
        with self._pipes_guard:
            return bool(self._pipes)

    def stop_campaign(self, campaign_id: int) -> None:
        """Mark a campaign as stopped: its queued messages are dropped one by one."""
        with self._pipes_guard:
            pipe = self._pipes.get(campaign_id)
        if pipe:
            pipe.stopped = True

    def _until_dead(self, step: Callable[[], None]) -> None:
        try:
            while not self._died.is_set():
                step()
        except Dead:
            return

    def _alive(self) -> None:
        if self._died.is_set():
            raise Dead

    # --- scan: find campaigns to process, flush counters

    def _scan(self) -> None:
        self._died.wait(SCAN_S)
        self._alive()
        with self._pipes_guard:
            pipes = list(self._pipes.values())
        for pipe in pipes:
            with pipe.guard:
                sent, pipe.sent = pipe.sent, 0
            if sent:
                self._run("update campaigns set sent = sent + %s where id = %s", (sent, pipe.id))
        for campaign in next_campaigns(self._store, [pipe.id for pipe in pipes], self._clock.now()):
            self._take_up(campaign)

    def _take_up(self, campaign: Mapping[str, Any]) -> None:
        if campaign["messenger"] not in self.servers:
            self._log(
                f"error processing campaign ({campaign['name']}): unknown messenger {campaign['messenger']}"
            )
            self._run("update campaigns set status = 'cancelled' where id = %s", (campaign["id"],))
            return
        pipe = Pipe(campaign)
        with self._pipes_guard:
            self._pipes[pipe.id] = pipe
        self._log(f"start processing campaign ({campaign['name']})")
        self._next.put(pipe)

    # --- loop: one batch of one campaign after another, and the window

    def _loop(self) -> None:
        try:
            pipe = self._next.get(timeout=TICK_S)
        except queue.Empty:
            return
        self._alive()
        people = fetch_batch(self._store, pipe.id, self._batch, self._clock.now())
        if not people:
            self._done(pipe)
            return
        for person in people:
            with pipe.guard:
                pipe.open += 1
            self._enqueue(pipe, person)
            self._mind_window()
        self._next.put(pipe)

    def _enqueue(self, pipe: Pipe, person: Mapping[str, Any]) -> None:
        while True:
            self._alive()
            try:
                self._messages.put((pipe, person), timeout=TICK_S)
            except queue.Full:
                continue
            return

    def _mind_window(self) -> None:
        if not (self._window_on and self._window_rate > 0 and self._window > timedelta(seconds=1)):
            return
        now = self._clock.now()
        elapsed = now - self._since
        if elapsed >= self._window:
            self._since, self._count = now, 0
        self._count += 1
        if self._count < self._window_rate:
            return
        self._count = 0
        until = now + (self._window - elapsed)  # nothing to wait for where the window had just begun anew
        self._log(f"messages exceeded ({self._window_rate}) for the window. Sleeping until {until:%H:%M:%S}.")
        while self._clock.now() < until:
            self._alive()
            time.sleep(TICK_S)

    # --- workers: send

    def _work(self) -> None:
        sent_in_a_row = 0
        while True:
            self._alive()
            try:
                pipe, person = self._messages.get(timeout=TICK_S)
            except queue.Empty:
                continue
            if pipe.stopped:
                self._done(pipe)
                continue
            if sent_in_a_row >= self._rate:
                self._died.wait(self._pause_s)
                self._alive()
                sent_in_a_row = 0
            sent_in_a_row += 1
            self._send(pipe, person)
            self._done(pipe)

    def _send(self, pipe: Pipe, person: Mapping[str, Any]) -> None:
        message = message_for(pipe.campaign, person, self._rendering, self._clock.now())
        try:
            choose(self.servers[pipe.campaign["messenger"]]).send(message)
        except SendError as error:
            self._alive()
            name = pipe.campaign["name"]
            self._log(f"error sending message in campaign {name}: subscriber {person['id']}: {error}")
            with pipe.guard:
                pipe.errors += 1
                too_many = 0 < self._max_errors <= pipe.errors
                if too_many and not pipe.stopped:
                    pipe.stopped = pipe.with_errors = True
            return
        with pipe.guard:
            pipe.sent += 1
            pipe.last_id = max(pipe.last_id, person["id"])

    def _done(self, pipe: Pipe) -> None:
        with pipe.guard:
            pipe.open -= 1
            ended = pipe.open == 0
        if ended:
            self._clean_up(pipe)

    def _clean_up(self, pipe: Pipe) -> None:
        """The campaign's last act: counters, the pointer back to the highest id really sent, its status."""
        with pipe.guard:
            sent, pipe.sent = pipe.sent, 0
        self._run(
            "update campaigns set sent = sent + %s, last_subscriber_id ="
            " case when %s > 0 then %s else last_subscriber_id end, updated_at = %s where id = %s",
            (sent, pipe.last_id, pipe.last_id, self._clock.now(), pipe.id),
        )
        name = pipe.campaign["name"]
        if pipe.with_errors:
            self._run("update campaigns set status = 'paused' where id = %s", (pipe.id,))
            self._log(f"set campaign ({name}) to paused")
        elif pipe.stopped:
            self._log(f"stop processing campaign ({name})")
        else:
            self._run(
                "update campaigns set status = 'finished', updated_at = %s"
                " where id = %s and status in ('running', 'scheduled')",
                (self._clock.now(), pipe.id),
            )
            self._log(f"campaign ({name}) finished")
        with self._pipes_guard:
            self._pipes.pop(pipe.id, None)

    def _run(self, sql: str, parameters: Sequence[Any]) -> None:
        self._alive()
        self._store.run(sql, parameters)


def duration(text: str) -> timedelta:
    """A Go duration; zero where it is none."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|m(?!s)|s|ms)", str(text))
    unit = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    return timedelta(seconds=sum(float(number) * unit[name] for number, name in parts))


def servers_of(settings: Mapping[str, Any], port_map: Mapping[int, int]) -> dict[str, list[Server]]:
    """Messengers: `email` is all enabled servers; a named one is a messenger of its own where there are two or more."""
    enabled = [Server(s, port_map.get(s["port"], s["port"])) for s in settings["smtp"] if s["enabled"]]
    messengers: dict[str, list[Server]] = {"email": enabled}
    if len(enabled) > 1:
        messengers |= {str(s.settings["name"]): [s] for s in enabled if s.settings["name"]}
    return messengers
