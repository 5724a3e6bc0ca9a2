"""What a line of the mail log can say, as typed values. `parse` makes them, `join` and `outcomes` read them.

Text is decoded; addresses are lower case and without brackets; times are aware UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple


class Accepted(NamedTuple):
    """smtpd took a message: `QID: client=NAME[IP]`. `service` is the port's syslog name (`postfix/hcsubmit107`)."""

    at: datetime
    queue_id: str
    service: str
    client: str


class PickedUp(NamedTuple):
    """pickup took a message: sendmail(1), or a requeue, which names the former queue id in `orig_id=`."""

    at: datetime
    queue_id: str
    sender: str
    original_id: str | None


class MessageId(NamedTuple):
    """cleanup saw the Message-ID."""

    at: datetime
    queue_id: str
    message_id: str


class CampaignHeader(NamedTuple):
    """cleanup's INFO action on `X-Listmonk-Campaign` or `-Subscriber` of a message's own (not nested) headers."""

    at: datetime
    queue_id: str
    name: str
    value: str
    client: str
    sender: str
    recipient: str


class Queued(NamedTuple):
    """qmgr: `from=<…>, size=N, nrcpt=N (queue active)`; written again at every retry."""

    at: datetime
    queue_id: str
    sender: str
    size: int


class Expired(NamedTuple):
    """qmgr gave up at the end of the queue lifetime."""

    at: datetime
    queue_id: str


class Removed(NamedTuple):
    """A queue file is gone: `by` is `qmgr` (all recipients final) or `postsuper` (deleted by a person or sweeper)."""

    at: datetime
    queue_id: str
    by: str


class Attempt(NamedTuple):
    """One delivery attempt: a `to=` line.

    Attributes:
        transport: service name (`hcout1`); the daemon's own name (`smtp`, `error`) where it has none.
        relay_host, relay_address: empty where no connection was made (`relay=none`).
        status: `sent`, `deferred`, `bounced` (or `deliverable`, `undeliverable` for verify probes).
        tls: level of the connection as the same process logged it, `none` without such a line.
    """

    at: datetime
    queue_id: str
    recipient: str
    transport: str
    relay_host: str
    relay_address: str
    relay_port: int
    delay_s: float
    dsn: str
    status: str
    reply: str
    tls: str


class Refused(NamedTuple):
    """`NOQUEUE: reject:` and its kin: the only trace of caps and backstops.

    Attributes:
        action: `reject`, `hold`, `milter-reject`, `discard`, …
        queue_id: None before the first accepted recipient.
        stage: `RCPT`, `END-OF-MESSAGE`, …
        reply_code: None where the action has none (hold).
    """

    at: datetime
    queue_id: str | None
    service: str
    action: str
    stage: str
    reply_code: int | None
    text: str
    sender: str
    recipient: str


class Notice(NamedTuple):
    """bounce wrote a notice (`sender non-delivery notification`, `sender delay notification`) as a new message."""

    at: datetime
    queue_id: str
    notice_id: str


class Requeued(NamedTuple):
    """postsuper -r: the message gets a new queue id and loses its content_filter record."""

    at: datetime
    queue_id: str


class Hold(NamedTuple):
    """postsuper put a message on hold, or released it."""

    at: datetime
    queue_id: str
    held: bool


class Signed(NamedTuple):
    """OpenDKIM added a signature."""

    at: datetime
    queue_id: str


class Alarm(NamedTuple):
    """A line that must be looked at.

    `kind`: `bind` (source address missing), `transport` (unknown transport), `twice` (peer closed after the final
    dot), `probe` (a verify probe left), `policy` (policy service unreachable), `fatal`.
    """

    at: datetime
    kind: str
    line: str


class Unparsed(NamedTuple):
    """A line of a Postfix or OpenDKIM program in no form that we know. `at` is None where even the time is not."""

    at: datetime | None
    line: str


Event = (
    Accepted
    | PickedUp
    | MessageId
    | CampaignHeader
    | Queued
    | Expired
    | Removed
    | Attempt
    | Refused
    | Notice
    | Requeued
    | Hold
    | Signed
    | Alarm
    | Unparsed
)
