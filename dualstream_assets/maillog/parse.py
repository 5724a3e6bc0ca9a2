"""Postfix and OpenDKIM log lines (bytes) to typed events, for both syslog time formats.

Needle first: the program's name picks a reader, and only a line that can matter is decoded and dated. A line of
another program gives None, a known form without news gives None, an unknown form gives `Unparsed` and shuts the gate.
The forms themselves are in `forms.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal

from dualstream_assets.maillog.events import (
    Accepted,
    Alarm,
    Attempt,
    CampaignHeader,
    Event,
    Expired,
    Hold,
    MessageId,
    Notice,
    PickedUp,
    Queued,
    Refused,
    Removed,
    Requeued,
    Signed,
    Unparsed,
)
from dualstream_assets.maillog.forms import (
    HEADER,
    MONTHS,
    OPENDKIM_QUIET,
    PICKUP,
    QUEUE_ID,
    QUEUED,
    QUIET_DAEMONS,
    QUIET_WITH_ID,
    QUIET_WITHOUT_ID,
    REFUSED,
    STAMP_WIDTH,
    TLS,
    TLS_LEVELS,
    TO,
)

Found = Event | Literal[False] | None
"""What a reader finds: an event, nothing new (None), or False: not a form that it knows."""


class Stamps:
    """Turns a line's time stamp into aware UTC.

    Args:
        now: the reader's present; tells the year of the old format, which has none.
        zone: zone of the old format (postlogd writes the host's local time).
    """

    def __init__(self, now: datetime, zone: tzinfo = UTC) -> None:
        self._now = now
        self._zone = zone

    def __call__(self, raw: bytes) -> datetime:
        """RFC 3339 or `Nov 24 03:26:03`. Raises ValueError for anything else."""
        if raw[4:5] == b"-":
            at = datetime.fromisoformat(raw.decode("ascii"))
            return at if at.tzinfo is UTC else at.astimezone(UTC)
        try:
            at = datetime(
                self._now.year, MONTHS[raw[:3]], int(raw[4:6]), int(raw[7:9]), int(raw[10:12]), int(raw[13:15]),
                tzinfo=self._zone,
            ).astimezone(UTC)  # fmt: skip
        except KeyError as error:
            raise ValueError("no time stamp") from error
        return at if at <= self._now + timedelta(days=1) else at.replace(year=at.year - 1)


def _text(raw: bytes | None) -> str:
    return raw.decode("utf-8", "replace") if raw else ""


def _address(raw: bytes | None) -> str:
    return raw.decode("utf-8", "replace").lower() if raw else ""


class Parser:
    """Reads lines one after the other; remembers only the TLS level each client process announced."""

    def __init__(self, stamps: Stamps) -> None:
        self._stamps = stamps
        self._tls: dict[tuple[bytes, bytes], str] = {}
        self._readers: dict[bytes, Callable[[bytes, bytes, bytes, bytes], Found]] = {
            b"smtp": self._delivery, b"lmtp": self._delivery, b"error": self._delivery, b"retry": self._delivery,
            b"local": self._delivery, b"virtual": self._delivery, b"pipe": self._delivery,
            b"discard": self._delivery, b"relay": self._delivery, b"qmgr": self._qmgr, b"cleanup": self._cleanup,
            b"smtpd": self._smtpd, b"submission": self._smtpd, b"bounce": self._bounce, b"pickup": self._pickup,
            b"postsuper": self._postsuper, b"postscreen": self._quiet,
        }  # fmt: skip

    def line(self, line: bytes) -> Event | None:
        """The event of one line (without its newline); None for other programs and for known forms without news."""
        stamp_end = line.find(b" ") if line[4:5] == b"-" else STAMP_WIDTH
        program_at = line.find(b" ", stamp_end + 1) + 1
        message_at = line.find(b": ", program_at)
        if stamp_end < 0 or not program_at or message_at < 0:
            return Unparsed(None, _text(line)) if b"postfix/" in line or b"opendkim" in line else None
        program, _, pid = line[program_at:message_at].partition(b"[")
        message = line[message_at + 2 :]
        stamp = line[:stamp_end]
        try:
            if program.startswith(b"postfix"):
                daemon = program[program.rfind(b"/") + 1 :]
                if daemon in QUIET_DAEMONS:
                    found = self._troubled(stamp, line) if message.startswith((b"fatal", b"panic")) else None
                else:
                    reader = self._readers.get(daemon)
                    found = reader(stamp, program, pid, message) if reader else False
            elif program == b"opendkim":
                found = self._opendkim(stamp, message)
            else:
                return None
            return self._no_form(stamp, message, line) if found is False else found
        except ValueError:
            return Unparsed(None, _text(line))

    def _no_form(self, stamp: bytes, message: bytes, line: bytes) -> Event | None:
        """No reader knew the form: an alarm, a quiet line, or unparsed."""
        if b"message may be sent more than once" in message:
            return Alarm(self._stamps(stamp), "twice", _text(line))
        head, found, rest = message.partition(b": ")
        if found and QUEUE_ID.fullmatch(head):
            if rest.startswith(QUIET_WITH_ID):
                return None
        elif message.startswith((b"fatal: ", b"panic: ", b"error: ")):
            return self._troubled(stamp, line)
        elif message.startswith((b"warning: ", b"connect to transport ")):
            kind = _warning_kind(message)
            return Alarm(self._stamps(stamp), kind, _text(line)) if kind else None
        elif message.startswith(QUIET_WITHOUT_ID):
            return None
        return Unparsed(self._stamps(stamp), _text(line))

    def _troubled(self, stamp: bytes, line: bytes) -> Alarm:
        return Alarm(self._stamps(stamp), "fatal", _text(line))

    def _quiet(self, _stamp: bytes, _program: bytes, _pid: bytes, _message: bytes) -> None:
        return None

    def _delivery(self, stamp: bytes, program: bytes, pid: bytes, message: bytes) -> Found:
        colon = message.find(b": to=<")
        if colon < 0:
            tls = TLS.match(message)
            if tls is None:
                return False
            level = TLS_LEVELS.get(_text(tls[1]))
            if level:
                self._tls[program + pid, tls[2]] = level
            return None
        found = TO.match(message, colon + 2)
        if found is None:
            return False
        to, host, address, port, delay, dsn, status, reply = found.groups()
        if status in (b"deliverable", b"undeliverable"):
            return Alarm(self._stamps(stamp), "probe", _text(message))
        tls_level = "none"
        if address is None:
            host = b""
        elif self._tls:
            tls_level = self._tls.get((program + pid, address), "none")
        parts = program.split(b"/")
        transport = parts[1] if len(parts) > 2 else parts[-1]  # noqa: PLR2004
        return Attempt(
            self._stamps(stamp), message[:colon].decode("ascii"), _address(to), _text(transport), _address(host),
            _text(address), int(port or 0), float(delay), _text(dsn), _text(status).lower(), _text(reply), tls_level,
        )  # fmt: skip

    def _qmgr(self, stamp: bytes, _program: bytes, _pid: bytes, message: bytes) -> Found:
        if message.endswith(b": removed"):
            return Removed(self._stamps(stamp), message[:-9].decode("ascii"), "qmgr")
        queue_id, _, rest = message.partition(b": ")
        found = QUEUED.match(rest)
        if found:
            return Queued(self._stamps(stamp), queue_id.decode("ascii"), _address(found[1]), int(found[2]))
        if rest.startswith(b"from=<") and (b"status=expired" in rest or b"status=force-expired" in rest):
            return Expired(self._stamps(stamp), queue_id.decode("ascii"))
        return False

    def _cleanup(self, stamp: bytes, program: bytes, _pid: bytes, message: bytes) -> Found:
        queue_id, _, rest = message.partition(b": ")
        if rest.startswith(b"message-id="):
            value = rest[11:].strip(b"<>")
            return MessageId(self._stamps(stamp), queue_id.decode("ascii"), _text(value))
        found = HEADER.match(rest)
        if found:
            name, value, client, sender, recipient = found.groups()
            return CampaignHeader(
                self._stamps(stamp), queue_id.decode("ascii"), _text(name), _text(value).lower(), _text(client),
                _address(sender), _address(recipient),
            )  # fmt: skip
        return self._refused(stamp, program, queue_id, rest)

    def _smtpd(self, stamp: bytes, program: bytes, _pid: bytes, message: bytes) -> Found:
        if message.startswith((b"connect from ", b"disconnect from ")):
            return None
        queue_id, found, rest = message.partition(b": ")
        if not found:
            return False
        if rest.startswith(b"client=") and queue_id != b"NOQUEUE":
            client = rest[7:].partition(b", ")[0]
            return Accepted(self._stamps(stamp), queue_id.decode("ascii"), _service(program), _text(client))
        return self._refused(stamp, program, queue_id, rest)

    def _refused(self, stamp: bytes, program: bytes, queue_id: bytes, rest: bytes) -> Found:
        found = REFUSED.match(rest)
        if found is None:
            return False
        action, stage, _client, code, text, sender, recipient = found.groups()
        if action in (b"info", b"warn", b"prepend", b"bcc", b"filter"):
            return None
        return Refused(
            self._stamps(stamp), None if queue_id == b"NOQUEUE" else queue_id.decode("ascii"), _service(program),
            _text(action), _text(stage), int(code) if code else None, _text(text), _address(sender),
            _address(recipient),
        )  # fmt: skip

    def _bounce(self, stamp: bytes, _program: bytes, _pid: bytes, message: bytes) -> Found:
        queue_id, _, rest = message.partition(b": ")
        what, found, notice_id = rest.partition(b" notification: ")
        if not found or not what.startswith((b"sender ", b"postmaster ")):
            return False
        return Notice(self._stamps(stamp), queue_id.decode("ascii"), notice_id.decode("ascii"))

    def _pickup(self, stamp: bytes, _program: bytes, _pid: bytes, message: bytes) -> Found:
        queue_id, _, rest = message.partition(b": ")
        found = PICKUP.match(rest)
        if found is None:
            return False
        original = found[2].decode("ascii") if found[2] else None
        return PickedUp(self._stamps(stamp), queue_id.decode("ascii"), _address(found[1]), original)

    def _postsuper(self, stamp: bytes, _program: bytes, _pid: bytes, message: bytes) -> Found:
        queue_id, _, rest = message.partition(b": ")
        if not QUEUE_ID.fullmatch(queue_id):
            return False
        at, name = self._stamps(stamp), queue_id.decode("ascii")
        if rest == b"requeued":
            return Requeued(at, name)
        if rest == b"removed":
            return Removed(at, name, "postsuper")
        if rest in (b"placed on hold", b"released from hold"):
            return Hold(at, name, rest == b"placed on hold")
        return None if rest == b"expired" else False

    def _opendkim(self, stamp: bytes, message: bytes) -> Event | None:
        queue_id, found, rest = message.partition(b": ")
        if found and rest.startswith(b"DKIM-Signature field added"):
            return Signed(self._stamps(stamp), queue_id.decode("ascii"))
        if rest.startswith(OPENDKIM_QUIET) or message.startswith(OPENDKIM_QUIET):
            return None
        return Unparsed(self._stamps(stamp), _text(message))


def _service(program: bytes) -> str:
    """`postfix/hcsubmit107/smtpd` -> `postfix/hcsubmit107`."""
    return program[: program.rfind(b"/")].decode("ascii", "replace")


def _warning_kind(message: bytes) -> str:
    if b": bind " in message or b"Cannot assign requested address" in message:
        return "bind"
    if b"connect to transport private/" in message:
        return "transport"
    if b"problem talking to server" in message:
        return "policy"
    return ""


def parse_lines(lines: Iterable[bytes], stamps: Stamps) -> Iterator[Event]:
    """The events of many lines, in order."""
    read = Parser(stamps).line
    for line in lines:
        event = read(line)
        if event is not None:
            yield event
