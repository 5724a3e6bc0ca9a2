"""The lab submission host's SMTP client: one message to one recipient from one egress, told as Postfix tells it."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dualstream_assets.estate import Egress

if TYPE_CHECKING:
    from dualstream_assets.outside.dns import MxAnswer

Status = Literal["sent", "deferred", "bounced"]
TIMEOUT_S = 20.0
HOSTS_TRIED = 2
"""Postfix: smtp_mx_session_limit."""
YAHOO_MX = re.compile(r"(^|\.)yahoodns\.net$", re.IGNORECASE)
"""Yahoo's own and its hosted domains, AOL and AT&T's old ones among them (facts: operations section 4)."""
_ENHANCED = re.compile(r"^\d{3}[ -]([245]\.\d{1,3}\.\d{1,3})\b")


@dataclass(frozen=True)
class Outcome:
    """How one attempt ended, in the words of a `to=` line."""

    status: Status
    dsn: str
    reply: str
    relay: str = "none"
    alarm: str = ""


class _Stopped(Exception):
    """The session ended early; carries the outcome. `try_next`: another host may do better."""

    def __init__(self, outcome: Outcome, *, try_next: bool = False) -> None:
        self.outcome = outcome
        self.try_next = try_next


def undeliverable(domain: str, answer: MxAnswer) -> Outcome | None:
    """The outcome that DNS alone decides; None where there is a host to try."""
    named = f"Host or domain name not found. Name service error for name={domain} type=MX"
    match answer.status:
        case "ok":
            return None
        case "null_mx":
            return Outcome("bounced", "5.1.0", f"Domain {domain} does not accept mail (nullMX)")
        case "nxdomain" | "nodata":
            return Outcome("bounced", "5.4.4", f"{named}: Host not found")
        case "misconfigured":
            return Outcome("bounced", "5.4.4", f"{named}: Malformed or unexpected name server reply")
        case _:
            return Outcome("deferred", "4.4.3", f"{named}: Host not found, try again")


async def deliver(
    egress: Egress, answer: MxAnswer, port: int, sender: str, recipient: str, message: bytes
) -> Outcome:
    """Try the hosts in order from the egress' own address and with its HELO."""
    hosts = [(host.host, address) for host in answer.hosts for address in host.addresses]
    outcome = Outcome("deferred", "4.4.4", "unable to look up a usable host")
    for host, address in hosts[:HOSTS_TRIED]:
        try:
            return await _session(egress, (host, address, port), sender, recipient, message)
        except _Stopped as stopped:
            outcome = stopped.outcome
            if not stopped.try_next:
                break
    return outcome


async def _session(
    egress: Egress, peer: tuple[str, str, int], sender: str, recipient: str, message: bytes
) -> Outcome:
    host, address, port = peer
    try:
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(address, port, local_addr=(str(egress.ip), 0)), TIMEOUT_S
        )
    except (OSError, TimeoutError) as error:
        reason = "Connection timed out" if isinstance(error, TimeoutError) else "Connection refused"
        text = f"connect to {host}[{address}]:{port}: {reason}"
        raise _Stopped(Outcome("deferred", "4.4.1", text), try_next=True) from error
    talk = _Talk(reader, writer, f"{host}[{address}]", f"{host}[{address}]:{port}")
    try:
        return await talk.mail(egress.helo, sender, recipient, message)
    finally:
        writer.close()


class _Talk:
    """One SMTP dialogue (RFC 5321), one transaction."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str, relay: str
    ) -> None:
        self._reader, self._writer = reader, writer
        self._name, self._relay = name, relay

    async def mail(self, helo: str, sender: str, recipient: str, message: bytes) -> Outcome:
        greeting = await self._reply("receiving the initial server greeting")
        if not greeting.startswith("2"):
            text = f"host {self._name} refused to talk to me: {greeting}"
            raise _Stopped(Outcome("deferred", "4.0.0", text, self._relay), try_next=True)
        await self._command(f"EHLO {helo}", "EHLO")
        await self._command(f"MAIL FROM:<{sender}>", "MAIL FROM")
        await self._command(f"RCPT TO:<{recipient}>", "RCPT TO")
        await self._command("DATA", "DATA", wanted="3")
        self._writer.write(dot_stuffed(message) + b".\r\n")
        final = await self._reply("sending end of data -- message may be sent more than once", alarm="twice")
        self._writer.write(b"QUIT\r\n")
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(self._reader.readline(), 1.0)
        if final.startswith("2"):
            return Outcome("sent", enhanced(final), final, self._relay)
        raise _Stopped(self._said(final, "end of DATA"))

    async def _command(self, line: str, name: str, wanted: str = "2") -> None:
        self._writer.write(f"{line}\r\n".encode())
        reply = await self._reply(f"sending {name}")
        if not reply.startswith(wanted):
            raise _Stopped(self._said(reply, name))

    async def _reply(self, doing: str, alarm: str = "") -> str:
        """A whole reply, its lines joined by blanks as Postfix logs them."""
        lines: list[str] = []
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while True:
                    line = (await self._reader.readline()).decode("utf-8", "replace").rstrip()
                    if not line:
                        raise ConnectionError
                    lines.append(line)
                    if line[3:4] != "-":
                        return " ".join(lines)
        except (OSError, TimeoutError) as error:
            what = "conversation" if isinstance(error, TimeoutError) else "lost connection"
            text = f"{what} with {self._name} while {doing}"
            raise _Stopped(
                Outcome("deferred", "4.4.2", text, self._relay, alarm), try_next=not alarm
            ) from error

    def _said(self, reply: str, command: str) -> Outcome:
        text = f"host {self._name} said: {reply} (in reply to {command} command)"
        return Outcome("bounced" if reply.startswith("5") else "deferred", enhanced(reply), text, self._relay)


def enhanced(reply: str) -> str:
    """The enhanced code of a reply (RFC 3463), `2.0.0`-like where it has none."""
    found = _ENHANCED.match(reply)
    return found[1] if found else f"{reply[:1] if reply[:1] in '245' else '4'}.0.0"


def dot_stuffed(message: bytes) -> bytes:
    """RFC 5321 section 4.5.2; ends with CRLF."""
    whole = message if message.endswith(b"\r\n") else message + b"\r\n"
    stuffed = whole.replace(b"\r\n.", b"\r\n..")
    return b"." + stuffed if stuffed.startswith(b".") else stuffed


def verp(sender: str, recipient: str) -> str:
    """`XVERP=+=`: bounces@d to user@domain becomes bounces+user=domain@d (Postfix VERP_README)."""
    local, _, domain = sender.rpartition("@")
    user, _, at = recipient.rpartition("@")
    return f"{local}+{user}={at}@{domain}"


def is_yahoo(hosts: Sequence[str]) -> bool:
    """Whether any of these MX hosts is of the Yahoo family."""
    return any(YAHOO_MX.search(host) for host in hosts)
