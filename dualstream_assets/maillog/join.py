"""Who sent what from where: events joined by port, queue id, campaign UUID and recipient, over requeues.

The stream a message belongs to follows from the port that took it; where it left follows from the transport. A
requeued message gets a new queue id: `orig_id=` leads back to the port. Pure: events in, rows out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from dualstream_assets.estate import Estate
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
from dualstream_assets.maillog.routes import Routes, queue_id_time

NOT_SEEN = "unknown"
"""Submit service of a message whose beginning is not in the log."""
NOTICE_SERVICE = "postfix/bounce"


@dataclass
class Message:
    """What is known of one queue id (a row of `log_message`), plus its one recipient where the port logged it."""

    queue_id: str
    service: str
    received_at: datetime
    stream: str | None = None
    original_id: str | None = None
    message_id: str | None = None
    campaign_uuid: str | None = None
    subscriber_uuid: str | None = None
    sender: str | None = None
    recipient: str | None = None
    signed: bool = False
    expired_at: datetime | None = None
    removed_at: datetime | None = None


@dataclass(frozen=True)
class Delivery:
    """One attempt with the message it belongs to. `stream` is the pool it left from (or would have)."""

    attempt: Attempt
    message: Message
    stream: str | None
    leaked: bool


@dataclass(frozen=True)
class Change:
    """A new state of the person behind a queue id or, before there is one, behind a recipient at a port."""

    state: str
    at: datetime
    message: Message | None
    stream: str | None
    recipient: str | None


@dataclass(frozen=True)
class Anomaly:
    """A row of `log_anomaly`."""

    kind: str
    line: str
    at: datetime | None


@dataclass
class Joined:
    """The outcome of one batch of events."""

    messages: dict[str, Message] = field(default_factory=dict)
    deliveries: list[Delivery] = field(default_factory=list)
    refusals: list[tuple[Refused, str, str | None]] = field(default_factory=list)
    """(refusal, submit service, stream)"""
    changes: list[Change] = field(default_factory=list)
    never_queued: set[str] = field(default_factory=set)
    """Queue ids refused at the end of the message: no such message exists."""
    anomalies: list[Anomaly] = field(default_factory=list)


def queue_ids(events: Iterable[Event]) -> set[str]:
    """Every queue id that the events name, former ones included: what to look up before joining."""
    found: set[str] = set()
    for event in events:
        if isinstance(event, Alarm | Unparsed):
            continue
        if event.queue_id:
            found.add(event.queue_id)
        if isinstance(event, PickedUp) and event.original_id:
            found.add(event.original_id)
    return found


def join(
    events: Iterable[Event],
    estate: Estate,
    known: Mapping[str, Message] | None = None,
    since: datetime | None = None,
) -> Joined:
    """Join a batch of events, oldest first.

    Args:
        known: messages of earlier batches by queue id.
        since: the log is complete from here on: a message younger than this without a beginning is a gap.
    """
    joiner = _Joiner(Routes.of(estate), dict(known or {}), since)
    for event in events:
        joiner.take(event)
    return joiner.joined


class _Joiner:
    def __init__(self, routes: Routes, known: dict[str, Message], since: datetime | None) -> None:
        self._routes = routes
        self._known = known
        self._since = since
        self.joined = Joined()

    def take(self, event: Event) -> None:
        match event:
            case Attempt():
                self._attempt(event)
            case Accepted():
                self._begin(event.queue_id, event.service, event.at)
            case CampaignHeader():
                self._header(event)
            case Queued():
                message = self._message(event.queue_id, event.at)
                message.sender = event.sender
                self._change("queued", event.at, message)
            case Removed():
                message = self._message(event.queue_id, event.at)
                message.removed_at = event.at
                if event.by == "postsuper":
                    self._change("deleted", event.at, message)
            case Expired():
                message = self._message(event.queue_id, event.at)
                message.expired_at = event.at
                self._change("expired", event.at, message)
            case MessageId():
                self._message(event.queue_id, event.at, internal=True).message_id = event.message_id
            case Signed():
                self._message(event.queue_id, event.at, internal=True).signed = True
            case Refused():
                self._refused(event)
            case PickedUp():
                self._picked_up(event)
            case _:
                self._aside(event)

    def _aside(self, event: Event) -> None:
        """What happens beside the usual way of a message."""
        match event:
            case Notice():
                parent = self._message(event.queue_id, event.at)
                notice = self._message(event.notice_id, event.at, internal=True)
                notice.service, notice.stream, notice.sender = NOTICE_SERVICE, parent.stream, ""
            case Hold():
                message = self._message(event.queue_id, event.at)
                self._change("held" if event.held else "queued", event.at, message)
            case Requeued():
                self._message(event.queue_id, event.at)
                self.joined.anomalies.append(Anomaly("requeued", event.queue_id, event.at))
            case Alarm():
                self.joined.anomalies.append(Anomaly(event.kind, event.line, event.at))
            case Unparsed():
                self.joined.anomalies.append(Anomaly("unparsed", event.line, event.at))

    def _begin(self, queue_id: str, service: str, at: datetime) -> Message:
        message = self._known.get(queue_id)
        if message is None:
            message = self._known[queue_id] = Message(queue_id, service, at)
        message.service, message.stream = service, self._routes.by_service.get(service)
        message.received_at = at
        self.joined.messages[queue_id] = message
        return message

    def _message(self, queue_id: str, at: datetime, *, internal: bool = False) -> Message:
        """The message behind a queue id; one without a beginning is a gap unless Postfix itself may have made it."""
        message = self._known.get(queue_id)
        if message is None:
            message = self._known[queue_id] = Message(queue_id, NOT_SEEN, at)
            born = queue_id_time(queue_id)
            if not internal and self._since and born and born > self._since:
                self.joined.anomalies.append(
                    Anomaly("gap", f"{queue_id}: no line tells who submitted it", at)
                )
        self.joined.messages[queue_id] = message
        return message

    def _header(self, event: CampaignHeader) -> None:
        """A campaign's UUID counts only on a message that one of our own listmonks submitted.

        An inbound bounce carries the same headers: it comes from elsewhere, from the null sender, to ourselves.
        """
        message = self._message(event.queue_id, event.at)
        wanted = self._routes.sender_domain.get(message.stream or "")
        sender_domain = event.sender.rpartition("@")[2]
        if (
            message.stream is None
            or not sender_domain
            or (wanted and sender_domain != wanted)
            or event.recipient.rpartition("@")[2] in self._routes.own_domains
            or not self._routes.is_client(event.client)
        ):
            self.joined.anomalies.append(Anomaly("forged_header", event.queue_id, event.at))
            return
        try:
            value = str(UUID(event.value))
        except ValueError:
            return
        message.recipient = event.recipient
        if event.name == "Campaign":
            message.campaign_uuid = value
        else:
            message.subscriber_uuid = value

    def _picked_up(self, event: PickedUp) -> None:
        former = self._message(event.original_id, event.at) if event.original_id else None
        message = self._begin(event.queue_id, former.service if former else "postfix/pickup", event.at)
        message.sender = event.sender
        if former:
            message.stream = former.stream
            message.original_id = former.original_id or former.queue_id
            message.campaign_uuid, message.subscriber_uuid = former.campaign_uuid, former.subscriber_uuid
            message.recipient, message.signed = former.recipient, former.signed
            former.removed_at = former.removed_at or event.at

    def _attempt(self, event: Attempt) -> None:
        message = self._message(event.queue_id, event.at)
        pool = self._routes.by_transport.get(event.transport)
        connected = bool(event.relay_address) and not event.relay_address.startswith("private/")
        leaked = connected and message.stream is not None and pool != message.stream
        stream = pool if connected else pool or message.stream
        self.joined.deliveries.append(Delivery(event, message, stream, leaked))
        if leaked:
            where = f"{message.queue_id}: {message.stream} mail left by {event.transport}"
            self.joined.anomalies.append(Anomaly("leak", where, event.at))
        state = {"sent": "delivered", "deferred": "deferred", "bounced": "bounced"}.get(event.status)
        if state:
            self._change(state, event.at, message, event.recipient)

    def _refused(self, event: Refused) -> None:
        message = self._message(event.queue_id, event.at) if event.queue_id else None
        service = message.service if message and message.service != NOT_SEEN else event.service
        stream = self._routes.by_service.get(service)
        self.joined.refusals.append((event, service, stream))
        held = event.action in ("hold", "milter-hold")
        if message is not None and not held and event.action != "delay":
            self.joined.never_queued.add(message.queue_id)
            self.joined.messages.pop(message.queue_id, None)
        recipient = event.recipient or (message.recipient if message else None)
        self.joined.changes.append(
            Change("held" if held else "refused", event.at, message, stream, recipient)
        )

    def _change(self, state: str, at: datetime, message: Message, recipient: str | None = None) -> None:
        self.joined.changes.append(Change(state, at, message, message.stream, recipient or message.recipient))
