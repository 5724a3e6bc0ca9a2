"""How the listmonk stand-in renders a message and hands it to an SMTP server.

Templates: the handful of tags our content uses; an unknown one is a compile error, as in listmonk. SMTP: network errors
are retried on a new connection, any reply of the server is final, and so is an error after the final dot.
"""

from __future__ import annotations

import html
import random
import re
import secrets
import smtplib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from dualstream_assets.lab.listmonk_http import HttpError

if TYPE_CHECKING:
    from datetime import datetime

TAG = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
TRACK_LINK = re.compile(r'TrackLink\s+"([^"]+)"\s*\.?$')
FUNCTIONS = re.compile(r"(TrackView|UnsubscribeURL|ManageURL|MessageURL|RootURL)\s*\.?$")
FIELDS = re.compile(r"\.(Subscriber|Campaign)\.([A-Za-z]+)(?:\.(\w+))?$")
CONTENT = re.compile(r'template\s+"content"\s+\.$')
SHORT_LINK = re.compile(r"(https?://[\w\-.~!#$&'()*+,/:;=?@\[\]%]*)@TrackLink")
NOBODY = "00000000-0000-0000-0000-000000000000"
TRANSIENT_CLOSE = 421
UNFOLDED = SMTP.clone(max_line_length=900)
"""Like listmonk, no header is folded: a folded List-Unsubscribe would be encoded as words."""


class SendError(Exception):
    """A message was not sent, and listmonk will not try again."""


@dataclass(frozen=True)
class Rendering:
    """What templates may use beside the message itself."""

    root_url: str
    individual_tracking: bool
    disable_tracking: bool
    unsubscribe_header: bool
    link_uuid: Callable[[str], str]
    """URL -> UUID of its row in `links`."""


def check(body: str) -> None:
    """Refuse a body with a tag that does not compile.

    Raises:
        HttpError: 400.
    """
    for tag in TAG.findall(SHORT_LINK.sub("", body)):
        if not any(form.match(tag) for form in (TRACK_LINK, FUNCTIONS, FIELDS, CONTENT)):
            raise HttpError(
                400, f"Error compiling campaign body: error compiling message: {tag.split(' ')[0]}"
            )


def render(body: str, campaign: Mapping[str, Any], person: Mapping[str, Any], rendering: Rendering) -> str:
    """`body` for one person. Values of people are escaped, links are not."""
    tracked = str(person["uuid"]) if rendering.individual_tracking else NOBODY
    unsubscribe = unsubscribe_url(campaign, person, rendering)
    root = rendering.root_url

    def link(url: str) -> str:
        if rendering.disable_tracking:
            return url
        return f"{root}/link/{rendering.link_uuid(url.replace('&amp;', '&'))}/{campaign['uuid']}/{tracked}"

    def value(match: re.Match[str]) -> str:
        tag = match[1]
        if found := TRACK_LINK.match(tag):
            return link(found[1])
        if found := FUNCTIONS.match(tag):
            pixel = f'<img src="{root}/campaign/{campaign["uuid"]}/{tracked}/px.png" alt="" />'
            return {
                "TrackView": "" if rendering.disable_tracking else pixel,
                "UnsubscribeURL": unsubscribe,
                "ManageURL": f"{unsubscribe}?manage=true",
                "MessageURL": f"{root}/campaign/{campaign['uuid']}/{person['uuid']}",
                "RootURL": root,
            }[found[1]]
        if found := FIELDS.match(tag):
            return html.escape(_field(found[1], found[2], found[3], campaign, person), quote=True)
        return match[0]

    return TAG.sub(value, SHORT_LINK.sub(r'{{ TrackLink "\1" }}', body))


def _field(
    owner: str, name: str, key: str | None, campaign: Mapping[str, Any], person: Mapping[str, Any]
) -> str:
    of = person if owner == "Subscriber" else campaign
    if name == "Attribs":
        return str((of.get("attribs") or {}).get(key, ""))
    if name == "FirstName":
        return str(of["name"]).split(" ")[0]
    column = {"FromEmail": "from_email"}.get(name, name.lower())
    return str(of.get(column, ""))


def unsubscribe_url(campaign: Mapping[str, Any], person: Mapping[str, Any], rendering: Rendering) -> str:
    """The person's opt-out link for this campaign."""
    return f"{rendering.root_url}/subscription/{campaign['uuid']}/{person['uuid']}"


def message_for(
    campaign: Mapping[str, Any], person: Mapping[str, Any], rendering: Rendering, now: datetime
) -> EmailMessage:
    """The message as listmonk builds it; a `Return-Path` among the headers is for the envelope (see `Server.send`)."""

    def rendered(body: str) -> str:
        return render(body, campaign, person, rendering)

    message = EmailMessage(policy=UNFOLDED)
    message["From"], message["To"] = campaign["from_email"], person["email"]
    message["Subject"] = rendered(campaign["subject"])
    message["Date"] = format_datetime(now)
    headers = {"X-Listmonk-Campaign": str(campaign["uuid"]), "X-Listmonk-Subscriber": str(person["uuid"])}
    if rendering.unsubscribe_header:
        headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        headers["List-Unsubscribe"] = f"<{unsubscribe_url(campaign, person, rendering)}>"
    for one in campaign["headers"]:
        for name, value in one.items():
            headers.setdefault(name, rendered(value))  # only the first value of a header survives
    domain = parseaddr(campaign["from_email"])[1].rpartition("@")[2] or "localhost"
    headers.setdefault("Message-Id", f"<{secrets.token_hex(12)}@{domain}>")
    for name, value in headers.items():
        message[name] = value
    body = rendered(CONTENT_TAG.sub(lambda _: campaign["body"], campaign["template_body"]))
    if campaign["content_type"] == "plain":
        message.set_content(body)
    elif campaign["altbody"]:
        message.set_content(rendered(campaign["altbody"]))
        message.add_alternative(body, subtype="html")
    else:
        message.set_content(body, subtype="html")
    return message


CONTENT_TAG = re.compile(r'\{\{-?\s*template\s+"content"\s+\.\s*-?\}\}')


@dataclass
class Server:
    """One SMTP server with its pool of connections."""

    settings: Mapping[str, Any]
    port: int
    """The real port that the estate's port stands for."""
    _slots: threading.BoundedSemaphore = field(init=False, repr=False)
    _idle: list[tuple[float, smtplib.SMTP]] = field(default_factory=list, init=False, repr=False)
    _open: set[smtplib.SMTP] = field(default_factory=set, init=False, repr=False)
    _guard: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        self._slots = threading.BoundedSemaphore(max(1, self.settings["max_conns"]))

    def send(self, message: EmailMessage) -> None:
        """Hand the message over.

        Raises:
            SendError: it was refused, or the network failed as often as it may.
        """
        headers = [h for one in self.settings["email_headers"] for h in one.items()]
        for name, value in headers:
            if name not in message:
                message[name] = value
        sender = message["Return-Path"] or message["From"]
        del message["Return-Path"]
        payload = message.as_bytes()
        if not self._slots.acquire(timeout=_seconds(self.settings["wait_timeout"], 2.0)):
            raise SendError("timed out waiting for free conn in pool")
        try:
            self._retry(parseaddr(str(sender))[1], parseaddr(str(message["To"]))[1], payload)
        finally:
            self._slots.release()

    def close(self) -> None:
        """Cut every connection, also one in the middle of a message."""
        with self._guard:
            for connection in self._open:
                connection.close()

    def _retry(self, sender: str, recipient: str, payload: bytes) -> None:
        last: Exception = SendError("never tried")
        for _ in range(max(1, self.settings["max_msg_retries"])):
            try:
                connection = self._borrow()
                try:
                    _hand_over(connection, sender, recipient, payload)
                except (OSError, smtplib.SMTPServerDisconnected):
                    self._drop(connection)
                    raise
                except (SendError, smtplib.SMTPResponseException) as error:
                    self._give_back(connection, closing=getattr(error, "smtp_code", 0) == TRANSIENT_CLOSE)
                    raise
            except (SendError, smtplib.SMTPResponseException) as error:
                raise SendError(str(error)) from None
            except (OSError, smtplib.SMTPException) as error:
                last = error
            else:
                self._give_back(connection, closing=False)
                return
        raise SendError(f"{type(last).__name__}: {last}")

    def _borrow(self) -> smtplib.SMTP:
        idle_s = _seconds(self.settings["idle_timeout"], 15.0)
        with self._guard:
            while self._idle:
                since, connection = self._idle.pop()
                if time.monotonic() - since < idle_s:
                    return connection
                self._open.discard(connection)
                connection.close()
        if not _is_loopback(self.settings["host"]):
            raise OSError("the stand-in sends to this machine only")
        connection = smtplib.SMTP(
            self.settings["host"],
            self.port,
            local_hostname=self.settings["hello_hostname"] or "localhost",
            timeout=30,
        )
        with self._guard:
            self._open.add(connection)
        connection.ehlo_or_helo_if_needed()
        return connection

    def _give_back(self, connection: smtplib.SMTP, *, closing: bool) -> None:
        try:
            if closing or connection.rset()[0] != 250:  # noqa: PLR2004
                raise smtplib.SMTPServerDisconnected("closing")
        except (OSError, smtplib.SMTPException):
            self._drop(connection)
            return
        with self._guard:
            self._idle.append((time.monotonic(), connection))

    def _drop(self, connection: smtplib.SMTP) -> None:
        with self._guard:
            self._open.discard(connection)
        connection.close()


def _hand_over(connection: smtplib.SMTP, sender: str, recipient: str, payload: bytes) -> None:
    for reply in (connection.mail(sender), connection.rcpt(recipient)):
        if reply[0] not in (250, 251):
            raise smtplib.SMTPResponseException(*reply)
    code, text = connection.docmd("DATA")
    if code != 354:  # noqa: PLR2004
        raise smtplib.SMTPResponseException(code, text)
    connection.send(re.sub(rb"(?m)^\.", b"..", payload).rstrip(b"\r\n") + b"\r\n.\r\n")
    try:
        code, text = connection.getreply()
    except (OSError, smtplib.SMTPServerDisconnected) as error:
        raise SendError(f"no reply to the final dot: {error}") from None
    if code != 250:  # noqa: PLR2004
        raise smtplib.SMTPResponseException(code, text)


def choose(servers: Sequence[Server]) -> Server:
    """listmonk picks one of the enabled servers at random for each message."""
    return random.choice(servers)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _seconds(duration: str, fallback: float) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m)", duration)
    return float(found[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0}[found[2]] if found else fallback
