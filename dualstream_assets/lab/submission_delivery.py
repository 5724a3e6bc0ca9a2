"""The queue manager of the lab's submission host: what is due is tried, put off, expired, deleted, released.

Due is decided in lab time and looked at often in real time, because the lab's clock jumps. Before anything is tried
again the sweeper runs: queued mail to people who are suppressed meanwhile is deleted, not sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

from dualstream_assets.estate import Egress
from dualstream_assets.lab import submission_relay as relay
from dualstream_assets.lab.submission_queue import Queued
from dualstream_assets.store.suppression import suppressed

if TYPE_CHECKING:
    from dualstream_assets.lab.submission import SubmissionHost
    from dualstream_assets.lab.submission_session import Port
    from dualstream_assets.store.database import Database

LOOK_EVERY_S = 0.1
SWEEP_EVERY_S = 60.0
"""Lab seconds between two sweeps."""
QUEUE_LIFETIME_S = 5 * 86400.0
MAXIMAL_BACKOFF_S = 4000.0
CONCURRENCY = 4
"""Deliveries at a time per transport."""


class Deliverer:
    """Runs in the host's event loop."""

    def __init__(self, host: SubmissionHost, smtp_port: int, retry_s: float, database: Database) -> None:
        self._host, self._smtp_port, self._retry_s, self._database = host, smtp_port, retry_s, database
        self._ports: dict[int, Port] = {port.number: port for port in host.ports}
        self._lanes = {e.transport: asyncio.Semaphore(CONCURRENCY) for p in host.ports for e in p.egresses}
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._awake = asyncio.Event()
        self._swept_at = float("-inf")
        self._choice = random.Random(host.estate.lab.seed if host.estate.lab else 0)
        self._runner: asyncio.Task[None] | None = None
        self.looks = 0
        """How often the queue was looked through."""

    def start(self) -> None:
        """Begin; what the folder still holds is tried again."""
        self._runner = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End; deliveries under way are waited for, so that their outcome is logged."""
        if self._runner:
            self._runner.cancel()
        if self._busy:
            await asyncio.wait(self._busy.values(), timeout=10)

    def wake(self) -> None:
        """There is new mail."""
        self._awake.set()

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), LOOK_EVERY_S)
            self._awake.clear()
            await self._wishes()
            due = [e for e in self._host.queue_store.due(self._now()) if e.queue_id not in self._busy]
            again = [e for e in due if e.attempts or e.reason]
            if again and not await self._sweep():
                due = [e for e in due if e not in again]  # opt-outs unknown: nothing old is sent
            for entry in due:
                if entry.queue_id in self._host.queue_store.entries:
                    task = asyncio.get_running_loop().create_task(self._deliver(entry))
                    self._busy[entry.queue_id] = task
                    task.add_done_callback(lambda _, done=entry.queue_id: self._busy.pop(done, None))
            self.looks += 1

    def _now(self) -> float:
        return self._host.clock.now().timestamp()

    async def _wishes(self) -> None:
        for queue_id, wish in list(self._host.queue_store.wishes()):
            if wish == "delete":
                await self._delete(queue_id)
            else:
                await self.release(queue_id)

    async def _sweep(self) -> bool:
        """Delete what is queued for suppressed people; False where the list could not be read."""
        if self._now() - self._swept_at < SWEEP_EVERY_S:
            return True
        addresses = {r for entry in self._host.queue_store.entries.values() for r in entry.recipients}
        loop = asyncio.get_running_loop()
        try:
            gone = await loop.run_in_executor(None, self._suppressed, addresses)
        except Exception:  # noqa: BLE001  # whatever it is: unknown, so nothing is sent again
            return False
        self._swept_at = self._now()
        await self.delete_to(gone)
        return True

    def _suppressed(self, addresses: set[str]) -> set[str]:
        with self._database.transaction() as connection:
            return suppressed(connection, addresses)

    async def delete_to(self, recipients: set[str]) -> int:
        """Delete what is queued for any of these addresses; returns how many messages."""
        hit = [
            e.queue_id
            for e in self._host.queue_store.entries.values()
            if recipients.intersection(e.recipients)
        ]
        for queue_id in hit:
            await self._delete(queue_id)
        return len(hit)

    async def _delete(self, queue_id: str) -> None:
        """postsuper -d; a delivery under way ends first, and may have been the last."""
        busy = self._busy.get(queue_id)
        if busy:
            await asyncio.wait([busy])
        if queue_id in self._host.queue_store.entries:
            self._host.queue_store.drop(queue_id)
            self._host.log.removed(queue_id, "postfix/postsuper")

    async def release(self, queue_id: str) -> bool:
        """postsuper -H: a held message goes to the deferred queue and is tried at once."""
        entry = self._host.queue_store.entries.get(queue_id)
        if entry is None or entry.state != "hold":
            return False
        self._host.queue_store.change(queue_id, state="deferred", next_at=0.0, reason="released from hold")
        self._swept_at = float("-inf")
        self._host.log.line("postfix/postsuper", f"{queue_id}: released from hold")
        self.wake()
        return True

    async def _deliver(self, entry: Queued) -> None:
        """One attempt for each recipient that is not final."""
        port = self._ports[entry.port]
        self._host.log.active(entry.queue_id, entry.sender, entry.size)
        message = self._host.queue_store.message(entry.queue_id)
        left = []
        for recipient in entry.recipients:
            # Every attempt draws anew, as randmap does; an hc port has one egress only.
            egress = self._choice.choice(port.egresses)
            async with self._lanes[egress.transport]:
                outcome = await self._safely(port, egress, entry.sender, recipient, message)
            self._tell(entry, egress, recipient, outcome)
            if outcome.status == "deferred":
                left.append(recipient)
        self._conclude(entry, tuple(left))

    async def _safely(
        self, port: Port, egress: Egress, sender: str, recipient: str, message: bytes
    ) -> relay.Outcome:
        """An attempt; a fault of our own puts the message off, as Postfix does when a client process dies."""
        try:
            return await self._attempt(port, egress, sender, recipient, message)
        except Exception as error:  # noqa: BLE001  # a message is never lost to a fault of the lab's
            return relay.Outcome(
                "deferred", "4.3.0", f"unknown mail transport error ({type(error).__name__})"
            )

    async def _attempt(
        self, port: Port, egress: Egress, sender: str, recipient: str, message: bytes
    ) -> relay.Outcome:
        domain = recipient.rpartition("@")[2]
        answer = await self._host.mx(domain)
        decided = relay.undeliverable(domain, answer)
        if decided:
            return decided
        if port.guarded and relay.is_yahoo([host.host for host in answer.hosts]):
            # smtp_dns_reply_filter: the MX became Yahoo's after RCPT, or could not be asked then.
            return relay.Outcome(
                "deferred", "4.7.0", f"MX of {domain} filtered: Yahoo family on {egress.transport}"
            )
        as_sender = relay.verp(sender, recipient) if port.guarded else sender
        return await relay.deliver(egress, answer, self._smtp_port, as_sender, recipient, message)

    def _tell(self, entry: Queued, egress: Egress, recipient: str, outcome: relay.Outcome) -> None:
        log = self._host.log
        if outcome.alarm:
            log.line(f"postfix/{egress.transport}/smtp", f"{entry.queue_id}: {outcome.reply}")
        log.attempt(
            egress.transport,
            entry.queue_id,
            recipient,
            relay=outcome.relay,
            delay_s=max(0.0, self._now() - entry.arrived),
            dsn=outcome.dsn,
            status=outcome.status,
            reply=outcome.reply,
        )

    def _conclude(self, entry: Queued, left: tuple[str, ...]) -> None:
        now = self._now()
        age = now - entry.arrived
        if left and age < QUEUE_LIFETIME_S:
            wait = min(max(self._retry_s, age), MAXIMAL_BACKOFF_S)
            self._host.queue_store.change(
                entry.queue_id,
                state="deferred",
                recipients=left,
                attempts=entry.attempts + 1,
                next_at=now + wait,
            )
            return
        if left:
            self._host.log.line(
                "postfix/qmgr", f"{entry.queue_id}: from=<{entry.sender}>, status=expired, returned to sender"
            )
        self._host.queue_store.drop(entry.queue_id)
        self._host.log.removed(entry.queue_id)
