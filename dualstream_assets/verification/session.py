"""One SMTP session that asks and never sends: EHLO, MAIL FROM, RCPT TO, RSET, QUIT, and no other command.

The message commands of SMTP do not occur in this room; a test greps for them. Replies before RCPT, lost connections
and 421 say nothing about a mailbox (facts: verification section 2.1).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime

from dualstream_assets.receivers.replies import Reply, Ruling, RulingKind, is_block, rule_reply
from dualstream_assets.verification.candidates import on_the_wire
from dualstream_assets.verification.dialogue import (
    Answer,
    DomainTask,
    Ending,
    Host,
    Identity,
    ProbeKind,
    SessionOutcome,
    SessionPlan,
    Stage,
    Timeouts,
)
from dualstream_assets.verification.targets import Reach
from dualstream_assets.verification.wire import ClosedByServer, SmtpWire, WireError, WireReply

CLOSING = 421
ACCEPTED = (250, 251)
NO_EHLO = (500, 501, 502, 503, 504)
BLOCKS_IN_A_ROW = 2
QUIT_S = 5.0

Commit = Callable[[SessionOutcome], Awaitable[None]]


class _EndedError(Exception):
    """The session is over before its end."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.ruling.rule)
        self.ending = ending


def _no_reply(stage: Stage, rule: str, text: str = "") -> _EndedError:
    return _EndedError(Ending(stage, None, text, Ruling(RulingKind.RETRY, rule)))


class Session:
    """One session. `run` does it all; the outcome is committed before QUIT is sent.

    Args:
        now: the clock for journal rows.
        reach: what may be connected to.
        commit: makes the outcome durable.
    """

    def __init__(
        self,
        plan: SessionPlan,
        identity: Identity,
        port: int,
        timeouts: Timeouts,
        *,
        now: Callable[[], datetime],
        reach: Reach,
        commit: Commit,
    ) -> None:
        self._plan, self._identity, self._port, self._timeouts = plan, identity, port, timeouts
        self._now, self._reach, self._commit = now, reach, commit
        self._outcome = SessionOutcome(plan)
        self._wire: SmtpWire | None = None
        self._host: Host | None = None
        self._asking: str | None = None
        self._stage: Stage = "connect"
        self._kept_waiting = False
        self._unknown = 0
        self._blocks_in_a_row = 0

    async def run(self) -> SessionOutcome:
        """Ask everything that the plan and its limits allow."""
        ending: Ending | None = None
        try:
            async with asyncio.timeout(self._timeouts.session_s):
                await self._greet()
                await self._ask_all()
        except _EndedError as ended:
            ending = ended.ending
        except TimeoutError:
            self._kept_waiting = True
            ending = _no_reply(self._stage_without_reply, "session_timeout").ending
        if ending is not None and is_block(ending.ruling) and ending.stage != "rcpt":
            self._outcome.blocks += 1
        self._outcome.settle(ending, self._asking, self._host, self._now)
        try:
            await self._commit(self._outcome)
        finally:
            await self._quit()
        return self._outcome

    async def _greet(self) -> None:
        """Connect, wait for the whole banner, say who we are; the next host only where this one is out of order."""
        ending: Ending | None = None
        for host in self._plan.hosts:
            refusal = self._reach.refusal(host.address)
            if refusal:
                ending = ending or Ending(
                    "connect", None, refusal, Ruling(RulingKind.RISKY, "target_refused")
                )
                continue
            self._host = host
            try:
                await self._connect(host)
                await self._hello()
            except _EndedError as ended:
                ending = ended.ending
                if is_block(ending.ruling):
                    break  # never routed around
                self._hang_up()
            else:
                return
        raise _EndedError(ending or _no_reply("connect", "no_usable_host").ending)

    async def _connect(self, host: Host) -> None:
        self._stage = "connect"
        self._outcome.connections += 1
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeouts.connect_s):
                _, self._wire = await loop.create_connection(
                    SmtpWire, host.address, self._port, local_addr=(self._identity.source, 0)
                )
        except TimeoutError:
            raise _no_reply("connect", "connect_timeout") from None
        except ConnectionError:
            raise _no_reply("connect", "connect_refused") from None
        except OSError as error:
            raise _no_reply("connect", "connect_failed", error.strerror or "") from None
        self._stage = "banner"
        banner = await self._reply(self._timeouts.banner_s)
        if banner.code // 100 != 2:  # noqa: PLR2004
            raise self._over(banner)

    async def _hello(self) -> None:
        self._stage = "ehlo"
        reply = await self._command(f"EHLO {self._identity.helo}")
        if reply.code in NO_EHLO:
            reply = await self._command(f"HELO {self._identity.helo}")
        if reply.code // 100 != 2:  # noqa: PLR2004
            raise self._over(reply)

    async def _ask_all(self) -> None:
        for i, task in enumerate(self._plan.tasks):
            if self._enough(task):
                return
            self._asking = task.domain
            self._stage = "mail"
            if i:
                await self._expect("RSET")
            await self._expect(f"MAIL FROM:<{self._identity.mail_from}>")
            self._stage = "rcpt"
            await self._ask(task)

    async def _ask(self, task: DomainTask) -> None:
        accepted = False
        for address in task.addresses:
            if self._enough(task):
                break
            code = await self._rcpt("real", task.domain, address)
            accepted = accepted or code in ACCEPTED
        if accepted and task.random:
            self._outcome.random_asked.add(task.domain)
            await self._rcpt("random", task.domain, task.random)

    def _enough(self, task: DomainTask) -> bool:
        """Whether the limits are reached; one recipient is kept back for the random one."""
        stop = self._plan.stop_at_unknown
        kept_back = 1 if task.random else 0
        full = self._outcome.rcpts > 0 and self._outcome.rcpts + kept_back >= self._plan.rcpt_limit
        return full or (stop is not None and self._unknown >= stop)

    async def _rcpt(self, kind: ProbeKind, domain: str, address: str) -> int:
        self._outcome.rcpts += 1
        reply = await self._command(f"RCPT TO:<{on_the_wire(address)}>")
        ruling = rule_reply(Reply("rcpt", reply.code, reply.text, self._plan.operator))
        self._outcome.answers.append(
            Answer(kind, domain, address, "rcpt", reply.code, reply.text, ruling, self._host, self._now())
        )
        blocked = is_block(ruling)
        self._outcome.blocks += blocked
        self._blocks_in_a_row = self._blocks_in_a_row + 1 if blocked else 0
        self._unknown += ruling.ruling is RulingKind.UNDELIVERABLE
        if reply.code == CLOSING or self._blocks_in_a_row >= BLOCKS_IN_A_ROW:
            raise _EndedError(Ending("rcpt", reply.code, reply.text, ruling))
        return reply.code

    async def _expect(self, line: str) -> None:
        reply = await self._command(line)
        if reply.code // 100 != 2:  # noqa: PLR2004
            raise self._over(reply)

    async def _command(self, line: str) -> WireReply:
        assert self._wire is not None  # noqa: S101
        try:
            self._wire.send(line)
        except WireError as error:
            raise _no_reply(self._stage_without_reply, "void_session", str(error)) from None
        except ClosedByServer:
            raise _no_reply(self._stage_without_reply, "closed_without_reply") from None
        return await self._reply(self._timeouts.command_s)

    async def _reply(self, timeout_s: float) -> WireReply:
        """One reply, behind which nothing may lie but a farewell.

        Ends the session where that is not so: which of the replies belongs to the question cannot be told then.
        """
        assert self._wire is not None  # noqa: S101
        stage = self._stage_without_reply
        try:
            reply = await self._wire.reply(timeout_s)
        except TimeoutError:
            self._kept_waiting = True
            raise _no_reply(stage, f"{self._stage}_timeout") from None
        except WireError as error:
            raise _no_reply(stage, "void_session", str(error)) from None
        except ClosedByServer:
            raise _no_reply(stage, "closed_without_reply") from None
        if not (self._wire.reader.empty or self._wire.reader.only_a_farewell):
            raise _no_reply(stage, "void_session", "an unasked reply")
        if reply.code == CLOSING and self._stage != "rcpt":
            raise self._over(reply)
        return reply

    @property
    def _stage_without_reply(self) -> Stage:
        return "closed" if self._stage == "rcpt" else self._stage

    def _over(self, reply: WireReply) -> _EndedError:
        ruling = rule_reply(Reply(self._stage, reply.code, reply.text, self._plan.operator))
        return _EndedError(Ending(self._stage, reply.code, reply.text, ruling))

    async def _quit(self) -> None:
        """Say goodbye; whatever the answer, nothing changes any more. Who kept us waiting is not waited for again."""
        if self._wire is None:
            return
        with contextlib.suppress(WireError, ClosedByServer, TimeoutError):
            self._wire.send("QUIT")
            await self._wire.reply(0.0 if self._kept_waiting else QUIT_S)
        self._hang_up()

    def _hang_up(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None
