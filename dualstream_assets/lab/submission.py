"""The lab's mail server: what Postfix is to production, small. Ports, policy, queue, signature, source address, log.

It keeps port -> transport -> source address: mail of an hc port leaves from that port's egress only, trucking's from
any egress of its active pool. No mail of its own making: an expiry is logged and ends there (NOTIFY=NEVER).
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from dualstream_assets.clock import Clock
from dualstream_assets.estate import Estate
from dualstream_assets.lab.postfix_log import PostfixLog, queue_id
from dualstream_assets.lab.signer import Signer
from dualstream_assets.lab.submission_delivery import Deliverer
from dualstream_assets.lab.submission_policy import PolicyClient
from dualstream_assets.lab.submission_queue import Queue, Queued
from dualstream_assets.lab.submission_session import Port, Session
from dualstream_assets.sending.policy_server import PolicyServer
from dualstream_assets.store.database import Database

if TYPE_CHECKING:
    from dualstream_assets.outside.dns import MxAnswer

MX_KEPT_S = 60.0
"""Lab seconds for which one domain's MX answer is used again: from RCPT to the first attempt, not to a retry."""
_T = TypeVar("_T")


class MxLookup(Protocol):
    """What the host needs of a resolver."""

    def mx(self, domain: str) -> MxAnswer:
        """Where a domain's mail goes."""
        ...


class SubmissionHost:
    """The submission host of one lab.

    Args:
        nameserver: (address, port) of the lab's DNS.
        smtp_port: port of every MX host.
        ops_database_url: where the wave policy and the sweeper look.
        log_path: the mail log, appended to.
        dkim_pem: RSA private key; None is a signer that is down: every message is put off, unsigned none leaves.
        queue_folder: survives restarts, with the real ports that were used.
        resolver: in place of the lab's DNS (tests).
        retry_s: lab seconds before the first retry (Postfix: minimal_backoff_time).
        policy_timeout_s: real seconds to wait for the policy.
        campaign_lines_everywhere: trucking's port logs the X-Listmonk headers too (the live one does not).
    """

    def __init__(
        self,
        estate: Estate,
        clock: Clock,
        nameserver: tuple[str, int],
        smtp_port: int,
        ops_database_url: str,
        log_path: Path,
        dkim_pem: bytes | None,
        queue_folder: Path,
        *,
        resolver: MxLookup | None = None,
        retry_s: float = 300.0,
        policy_timeout_s: float = 5.0,
        campaign_lines_everywhere: bool = True,
    ) -> None:
        self.estate, self.clock = estate, clock
        self.name = f"app.{estate.organisation.domain}"
        self.log = PostfixLog(log_path, clock)
        self.queue_store = Queue(queue_folder)
        self.signer = (
            Signer(dkim_pem, estate.organisation.domain, estate.dns.dkim_selector) if dkim_pem else None
        )
        self._database = Database(ops_database_url)
        self.policy = PolicyServer(self._database, estate, clock)
        self.policy_client = PolicyClient(self.policy.address, policy_timeout_s)
        self.guarded_domains = {s.return_path_domain for s in estate.streams.values() if s.return_path_domain}
        self.ports = _ports(estate, campaign_lines_everywhere=campaign_lines_everywhere)
        self._nameserver, self._given_resolver = nameserver, resolver
        self._resolver: MxLookup | None = None
        self._mx_kept: dict[str, tuple[float, MxAnswer]] = {}
        self._inode = random.Random(0)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="submission", daemon=True)
        self._lookups = ThreadPoolExecutor(8, thread_name_prefix="submission-dns")
        self._stopped = False
        self._servers: list[asyncio.Server] = []
        self.deliverer = Deliverer(self, smtp_port, retry_s, self._database)

    def start(self) -> dict[int, int]:
        """Start the policy and listen; returns estate port -> real port (the same as before, where still free)."""
        self.policy_client.address = self.policy.start()
        self._resolver = self._given_resolver or _lab_resolver(self._nameserver)
        self._thread.start()
        return self._do(self._listen())

    def stop(self) -> None:
        """Stop; what is queued stays in the folder. Stopping twice is no fault."""
        if self._stopped:
            return
        self._stopped = True
        if self._thread.is_alive():
            self._do(self._close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=10)
        self._lookups.shutdown(wait=True)
        self.policy.stop()
        self._database.close()
        self.log.close()

    def queue(self) -> list[Queued]:
        """What is queued, oldest first."""
        return self._do(self._listing())

    def delete_queued(self, recipient: str) -> int:
        """Delete queued, deferred and held mail to one address, as `postsuper -d` does; returns how many."""
        return self._do(self.deliverer.delete_to({recipient.lower()}))

    def release(self, queue_id: str) -> bool:
        """Release a held message, as `postsuper -H`; the caller has checked suppression and cap again."""
        return self._do(self.deliverer.release(queue_id))

    def _do(self, work: Awaitable[_T]) -> _T:
        async def run() -> _T:
            return await work

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(timeout=60)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _listen(self) -> dict[int, int]:
        kept = self.queue_store.folder / "ports"
        before: dict[str, int] = json.loads(kept.read_text()) if kept.exists() else {}
        real = {}
        for port in self.ports:
            server = await self._listen_at(port, before.get(str(port.number), 0))
            self._servers.append(server)
            real[port.number] = int(server.sockets[0].getsockname()[1])
        kept.write_text(json.dumps(real))
        self.deliverer.start()
        return real

    async def _listen_at(self, port: Port, wanted: int) -> asyncio.Server:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await Session(self, port, reader, writer).run()

        try:
            return await asyncio.start_server(connected, "127.0.0.1", wanted, limit=2**20)
        except OSError:
            return await asyncio.start_server(connected, "127.0.0.1", 0, limit=2**20)

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        await self.deliverer.stop()
        self.policy_client.close()

    async def _listing(self) -> list[Queued]:
        return sorted(self.queue_store.entries.values(), key=lambda entry: entry.arrived)

    # What a session needs of its host.

    def new_queue_id(self) -> str:
        """A long queue id of this lab moment."""
        return queue_id(self.clock.now(), self._inode.randrange(51**3, 51**4))

    async def mx(self, domain: str) -> MxAnswer:
        """Where a domain's mail goes, by the lab's DNS."""
        assert self._resolver is not None  # noqa: S101  # start() set it
        now = self.clock.now().timestamp()
        kept = self._mx_kept.get(domain)
        if kept and now - kept[0] < MX_KEPT_S:
            return kept[1]
        answer = await self._loop.run_in_executor(self._lookups, self._resolver.mx, domain)
        self._mx_kept[domain] = (now, answer)
        return answer

    def signed(self, queue_id: str, message: bytes) -> bytes | None:
        """The message with its DKIM signature; None while the signer is down."""
        if self.signer is None:
            return None
        signed = self.signer.signed(message)
        said = f"DKIM-Signature field added (s={self.signer.selector}, d={self.signer.domain})"
        self.log.line("opendkim", f"{queue_id}: {said}")
        return signed

    def take(
        self,
        port: Port,
        queue_id: str,
        who: tuple[str, str, str],
        recipients: tuple[str, ...],
        message: bytes,
        held: str,
    ) -> None:
        """Queue a message; `who` is (sender, first recipient, helo). After this returns it may not be lost."""
        now = self.clock.now()
        received = (
            f"Received: from {who[2] or 'localhost'} (localhost [127.0.0.1])\r\n"
            f"\tby {self.name} (Postfix) with ESMTP id {queue_id}\r\n\tfor <{who[1]}>;"
            f" {now:%a, %d %b %Y %H:%M:%S} +0000 (UTC)\r\n"
        )
        entry = Queued(
            queue_id, port.number, who[0], recipients, len(message), now.timestamp(),
            "hold" if held else "active", reason=held,
        )  # fmt: skip
        self.queue_store.add(entry, received.encode() + message)
        if not held:
            self.deliverer.wake()


def _lab_resolver(nameserver: tuple[str, int]) -> MxLookup:
    from dualstream_assets.outside.dns import Resolver

    return Resolver((nameserver,), 3.0)


def _ports(estate: Estate, *, campaign_lines_everywhere: bool) -> tuple[Port, ...]:
    """Every submission port of the estate: one per egress where the egress has one, else one per stream."""
    guarded = [
        Port(
            e.port, e.submit_name, "postfix/hccleanup", e.stream, (e,),
            estate.streams[e.stream].return_path_domain, guarded=True, logs_campaign=True,
        )
        for e in estate.egress
        if e.port and e.submit_name and e.state == "active"
    ]  # fmt: skip
    plain = [
        Port(
            s.submit_port, s.submit_name or "postfix", "postfix", name, estate.pool(name), None,
            guarded=False, logs_campaign=campaign_lines_everywhere,
        )
        for name, s in estate.streams.items()
        if s.submit_port
    ]  # fmt: skip
    return (*guarded, *plain)
