"""Log lines in Postfix's own words, for one message at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dualstream_assets_tests.maillog.waves import CAMPAIGN_UUID

SENDER = "bounces@bounce-hc.performancewest.test"
SUBSCRIBER_UUID = "0a0a0a0a-1111-4222-8333-444444444444"


def line(at: datetime, tag: str, text: str) -> str:
    """One RFC 3339 line with its newline."""
    return f"{at.isoformat(timespec='microseconds')} app {tag}: {text}\n"


def accepted(
    at: datetime,
    queue_id: str,
    recipient: str,
    *,
    port: str = "postfix/hcsubmit107",
    sender: str = SENDER,
    campaign: str | None = CAMPAIGN_UUID,
    client: str = "localhost[127.0.0.1]",
    active: bool = True,
) -> str:
    """Taken by a port, its headers logged, signed and made active."""
    envelope = f"from {client}; from=<{sender}> to=<{recipient}> proto=ESMTP helo=<localhost>"
    cleanup = "postfix/hccleanup/cleanup[31]"
    found = [
        line(at, f"{port}/smtpd[30]", f"connect from {client}"),
        line(at, f"{port}/smtpd[30]", f"{queue_id}: client={client}"),
    ]
    if campaign:
        found += [
            line(at, cleanup, f"{queue_id}: info: header X-Listmonk-Campaign: {campaign} {envelope}"),
            line(
                at, cleanup, f"{queue_id}: info: header X-Listmonk-Subscriber: {SUBSCRIBER_UUID} {envelope}"
            ),
        ]
    found += [
        line(at, cleanup, f"{queue_id}: message-id=<{queue_id}@performancewest.test>"),
        line(at, "opendkim[40]", f"{queue_id}: DKIM-Signature field added (s=mail, d=performancewest.test)"),
    ]
    if active:
        found.append(
            line(at, "postfix/qmgr[12]", f"{queue_id}: from=<{sender}>, size=4000, nrcpt=1 (queue active)")
        )
    return "".join(found)


def attempt(
    at: datetime,
    queue_id: str,
    recipient: str,
    status: str = "sent",
    *,
    transport: str = "hcout1",
    reply: str = "250 2.0.0 Ok: queued as 4LAB",
    dsn: str = "2.0.0",
    relay: str = "mx1.practice.test[127.20.0.1]:25",
) -> str:
    """One delivery attempt."""
    text = f"{queue_id}: to=<{recipient}>, relay={relay}, delay=0.4, delays=0.1/0/0.1/0.2, dsn={dsn}"
    return line(at, f"postfix/{transport}/smtp[50]", f"{text}, status={status} ({reply})")


def refused(at: datetime, recipient: str, what: str, queue_id: str = "NOQUEUE") -> str:
    """smtpd said no, or put a message on hold; `what` begins with the action and the stage."""
    action, _, text = what.partition(" from: ")
    envelope = f"from=<{SENDER}> to=<{recipient}> proto=ESMTP helo=<localhost>"
    said = f"{queue_id}: {action} from localhost[127.0.0.1]: {text}; {envelope}"
    return line(at, "postfix/hcsubmit107/smtpd[30]", said)


def removed(at: datetime, queue_id: str) -> str:
    """The queue file is gone."""
    return line(at, "postfix/qmgr[12]", f"{queue_id}: removed")


def delivered(at: datetime, queue_ids: Sequence[str], recipients: Sequence[str]) -> str:
    """Several messages, each taken, delivered and removed at once."""
    return "".join(
        accepted(at, queue_id, recipient) + attempt(at, queue_id, recipient) + removed(at, queue_id)
        for queue_id, recipient in zip(queue_ids, recipients, strict=True)
    )
