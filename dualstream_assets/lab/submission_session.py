"""One SMTP client at one submission port, answered as the declared Postfix configuration answers.

Order of restrictions at an hc port: sender, Yahoo family (by domain and by MX), wave policy; one recipient a message.
The backstop comes before the policy: a probe of the backstop must not stop the stream as a foreign recipient does.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dualstream_assets.estate import Egress
from dualstream_assets.lab.submission_relay import is_yahoo

if TYPE_CHECKING:
    from dualstream_assets.lab.submission import SubmissionHost

MAX_MESSAGE = 10_240_000
IDLE_S = 300.0
YAHOO_DOMAIN = re.compile(
    r"(^|\.)((yahoo|ymail|rocketmail|aol|aim)\.(com|net|[a-z]{2}|com?\.[a-z]{2})|myyahoo\.com|verizon\.net|netscape\.net)$"
)
_PATH = re.compile(r"^(?:FROM|TO):\s*<([^>]*)>", re.IGNORECASE)
_PLAIN = {"RSET": "250 2.0.0 Ok", "NOOP": "250 2.0.0 Ok", "QUIT": "221 2.0.0 Bye"}
_LISTMONK = re.compile(rb"^X-Listmonk-(Campaign|Subscriber):[ \t]*([^\r\n]+)", re.IGNORECASE | re.MULTILINE)
_MESSAGE_ID = re.compile(rb"^Message-ID:\s*(\S+)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Port:
    """One submission port.

    Attributes:
        number: the estate's port.
        service: syslog name of its smtpd; `cleanup` that of its cleanup.
        egresses: where its mail may leave from (one at an hc port).
        sender_domain: the only envelope domain it takes; None at the port of a stream without one.
        guarded: policy, backstop and recipient limit apply.
    """

    number: int
    service: str
    cleanup: str
    stream: str
    egresses: tuple[Egress, ...]
    sender_domain: str | None
    guarded: bool
    logs_campaign: bool


@dataclass
class _Envelope:
    """The transaction under way."""

    sender: str
    recipients: list[str] = field(default_factory=list)
    queue_id: str = ""
    held: str = ""


class Session:
    """One connection."""

    def __init__(
        self, host: SubmissionHost, port: Port, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._host, self._port = host, port
        self._reader, self._writer = reader, writer
        self._smtpd = f"{port.service}/smtpd"
        self._helo = ""
        self._envelope: _Envelope | None = None

    async def run(self) -> None:
        """Converse until the client leaves."""
        log = self._host.log
        log.line(self._smtpd, "connect from localhost[127.0.0.1]")
        try:
            reply = f"220 {self._host.name} ESMTP Postfix"
            while True:
                self._writer.write(f"{reply}\r\n".encode())
                await self._writer.drain()
                if reply.startswith("221"):
                    break
                line = await asyncio.wait_for(self._reader.readline(), IDLE_S)
                if not line:
                    break
                reply = await self._answer(line.decode("utf-8", "replace").strip())
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            log.line(self._smtpd, "lost connection after DATA from localhost[127.0.0.1]")
        finally:
            log.line(self._smtpd, "disconnect from localhost[127.0.0.1] commands=0")
            self._writer.close()

    async def _answer(self, line: str) -> str:
        verb, _, rest = line.partition(" ")
        match verb.upper():
            case "EHLO" | "HELO":
                return self._hello(verb.upper(), rest.strip())
            case "MAIL":
                return self._mail(rest)
            case "RCPT":
                return await self._rcpt(rest)
            case "DATA":
                return await self._data()
            case "RSET":
                self._envelope = None
        return _PLAIN.get(verb.upper(), "502 5.5.2 Error: command not recognized")

    def _hello(self, verb: str, name: str) -> str:
        """No DSN among the extensions: nobody may ask for a notice at these ports."""
        self._helo, self._envelope = name, None
        offered = ("PIPELINING", f"SIZE {MAX_MESSAGE}", "ENHANCEDSTATUSCODES", "8BITMIME")
        lines = [self._host.name, *(offered if verb == "EHLO" else ())]
        return "\r\n".join(f"250{' ' if x is lines[-1] else '-'}{x}" for x in lines)

    def _mail(self, rest: str) -> str:
        path = _PATH.match(rest)
        if not self._helo:
            return "503 5.5.1 Error: send HELO/EHLO first"
        if self._envelope is not None:
            return "503 5.5.1 Error: nested MAIL command"
        if path is None:
            return "501 5.5.4 Syntax: MAIL FROM:<address>"
        self._envelope = _Envelope(path[1].lower())
        return "250 2.1.0 Ok"

    async def _rcpt(self, rest: str) -> str:
        path, envelope = _PATH.match(rest), self._envelope
        if envelope is None:
            return "503 5.5.1 Error: need MAIL command"
        if path is None or "@" not in path[1]:
            return "501 5.1.3 Bad recipient address syntax"
        recipient = path[1].lower()
        if self._port.guarded and envelope.recipients:
            return "452 4.5.3 Error: too many recipients"
        refusal = self._sender_refused(envelope.sender) or await self._recipient_refused(envelope, recipient)
        if refusal:
            self._host.log.refused(
                self._smtpd, "reject", "RCPT", refusal, (envelope.sender, recipient, self._helo)
            )
            return refusal
        if not envelope.queue_id:
            envelope.queue_id = self._host.new_queue_id()
            self._host.log.line(self._smtpd, f"{envelope.queue_id}: client=localhost[127.0.0.1]")
        envelope.recipients.append(recipient)
        return "250 2.1.5 Ok"

    def _sender_refused(self, sender: str) -> str:
        domain = sender.rpartition("@")[2]
        foreign = self._port.sender_domain is not None and domain != self._port.sender_domain
        if foreign or (not self._port.guarded and domain in self._host.guarded_domains):
            return f"554 5.7.1 <{sender}>: Sender address rejected: Access denied"
        return ""

    async def _recipient_refused(self, envelope: _Envelope, recipient: str) -> str:
        if not self._port.guarded:
            return ""
        domain = recipient.rpartition("@")[2]
        rejected = f"<{recipient}>: Recipient address rejected:"
        if YAHOO_DOMAIN.search(domain):
            return f"550 5.7.1 {rejected} Yahoo family does not ride this stream"
        answer = await self._host.mx(domain)
        if is_yahoo([host.host for host in answer.hosts]):
            return f"550 5.7.1 {rejected} mail of this domain is run by Yahoo"
        return await self._policy("RCPT", envelope, recipient)

    async def _policy(self, state: str, envelope: _Envelope, recipient: str, size: int = 0) -> str:
        """Ask; returns a refusal, or nothing. HOLD is kept for the end of the message."""
        action, fault = await self._host.policy_client.ask(
            {
                "request": "smtpd_access_policy",
                "protocol_state": state,
                "protocol_name": "ESMTP",
                "helo_name": self._helo,
                "queue_id": envelope.queue_id,
                "sender": envelope.sender,
                "recipient": recipient,
                "recipient_count": "0" if state == "RCPT" else str(len(envelope.recipients)),
                "client_address": "127.0.0.1",
                "client_name": "localhost",
                "server_address": "127.0.0.1",
                "server_port": str(self._port.number),
                "size": str(size),
            }
        )
        if fault:
            host, port = self._host.policy_client.address
            text = f"warning: problem talking to server {host}:{port}: {fault}"
            self._host.log.line(self._smtpd, text)
        verb, _, text = action.partition(" ")
        what = f"<{recipient}>: Recipient address" if state == "RCPT" else "<END-OF-MESSAGE>: End-of-data"
        if verb.upper() == "HOLD":
            said = f"{what} {text or 'triggers HOLD action'}"
            envelope.held = envelope.held or text or "policy service unreachable"
            self._host.log.refused(
                self._smtpd,
                "hold",
                state,
                said,
                (envelope.sender, recipient, self._helo),
                envelope.queue_id or None,
            )
            return ""
        if verb[:1] in ("4", "5") and verb.isdigit():
            enhanced, _, reason = text.partition(" ")
            return f"{verb} {enhanced} {what} rejected: {reason}"
        return ""

    async def _data(self) -> str:
        envelope = self._envelope
        if envelope is None or not envelope.recipients:
            return "554 5.5.1 Error: no valid recipients"
        self._writer.write(b"354 End data with <CR><LF>.<CR><LF>\r\n")
        message = await self._message()
        self._envelope = None
        if message is None:
            return "552 5.3.4 Error: message file too big"
        return await self._end_of_message(envelope, message)

    async def _message(self) -> bytes | None:
        lines: list[bytes] = []
        size = 0
        while (line := await asyncio.wait_for(self._reader.readline(), IDLE_S)) != b".\r\n":
            if not line:
                raise ConnectionError
            size += len(line)
            if size <= MAX_MESSAGE:
                lines.append(line.removeprefix(b"."))
        return b"".join(lines) if size <= MAX_MESSAGE else None

    async def _end_of_message(self, envelope: _Envelope, message: bytes) -> str:
        recipient = envelope.recipients[0]
        who = (envelope.sender, recipient, self._helo)
        self._cleanup_lines(envelope.queue_id, message, who)
        if self._port.guarded:
            refusal = await self._policy("END-OF-MESSAGE", envelope, recipient, len(message))
            if refusal:
                self._host.log.refused(
                    self._smtpd, "reject", "END-OF-MESSAGE", refusal, who, envelope.queue_id
                )
                return refusal
        signed = self._host.signed(envelope.queue_id, message)
        if signed is None:
            self._host.log.refused(
                f"{self._port.cleanup}/cleanup",
                "milter-reject",
                "END-OF-MESSAGE",
                "4.7.1 Service unavailable - try again later",
                who,
                envelope.queue_id,
            )
            return "451 4.7.1 Service unavailable - try again later"
        self._host.take(self._port, envelope.queue_id, who, tuple(envelope.recipients), signed, envelope.held)
        return f"250 2.0.0 Ok: queued as {envelope.queue_id}"

    def _cleanup_lines(self, queue_id: str, message: bytes, who: tuple[str, str, str]) -> None:
        head = message.partition(b"\r\n\r\n")[0]
        log, cleanup = self._host.log, self._port.cleanup
        if self._port.logs_campaign:
            for name, value in _LISTMONK.findall(head):
                header = f"X-Listmonk-{name.decode().title()}: {value.decode('utf-8', 'replace').strip()}"
                log.header(cleanup, queue_id, header, who)
        found = _MESSAGE_ID.search(head)
        value = found[1].decode("utf-8", "replace") if found else ""
        log.line(f"{cleanup}/cleanup", f"{queue_id}: message-id={value}")
