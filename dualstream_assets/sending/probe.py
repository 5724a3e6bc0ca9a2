"""Probe messages: the campaign's own message to our own seed mailboxes, one through each submission port.

They are the source of the message evidence. A probe needs a permit of its own kind (DNS and Postfix evidence, at most
20 a day per stream) and reaches only the estate's seeds: the wave policy refuses anybody else.
"""

from __future__ import annotations

import hashlib
import re
import smtplib
import uuid
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import TYPE_CHECKING

from dualstream_assets.estate import Estate
from dualstream_assets.sending import content as contents
from dualstream_assets.sending.gate import mint
from dualstream_assets.store.permit import consume

if TYPE_CHECKING:
    from dualstream_assets.workplace import Workplace

NOBODY = str(uuid.UUID(int=0))
"""The campaign and subscriber UUID of a probe: no campaign, no subscriber."""


class ProbeError(RuntimeError):
    """A probe could not be handed to the submission host."""


def seeds_hash(seeds: tuple[str, ...]) -> str:
    """What a probe permit is bound to."""
    return hashlib.sha256("\n".join(sorted(seeds)).encode()).hexdigest()


def probe_message(estate: Estate, stream: str, seed: str, now: datetime) -> EmailMessage:
    """The campaign's message as listmonk would render it for this seed, with the headers of RFC 8058."""
    content = contents.render(estate, stream)
    unsubscribe = f"{content.root_url}/subscription/{NOBODY}/{NOBODY}"
    pixel = f'<img src="{content.root_url}/campaign/{NOBODY}/{NOBODY}/px.png" alt="">'

    def rendered(body: str) -> str:
        body = body.replace(contents.UNSUBSCRIBE, unsubscribe).replace(contents.VIEW, pixel)
        body = body.replace(contents.PRODUCT_KEY, "probe")
        return re.sub(r'\{\{ TrackLink "([^"]*)" \}\}', r"\1", body)

    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = content.from_email, seed, content.subject
    message["Reply-To"] = content.reply_to
    message["Date"] = format_datetime(now)
    message["Message-ID"] = make_msgid(domain=estate.organisation.domain)
    message["List-Unsubscribe"] = f"<{unsubscribe}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(rendered(content.text))
    message.add_alternative(rendered(content.html), subtype="html")
    return message


def envelope_sender(estate: Estate, stream: str) -> str:
    """The Return-Path of a stream's mail."""
    declared = estate.streams[stream]
    return f"bounces@{declared.return_path_domain or estate.organisation.domain}"


def send_probe(workplace: Workplace, stream: str) -> int:
    """Send one probe to each seed, through every port of the stream in turn; returns how many were accepted.

    Raises:
        GateShut: DNS or Postfix evidence is not green, or today's probes are used up.
        ProbeError: the submission host did not accept one.
    """
    estate, now, endpoints = workplace.estate, workplace.clock.now(), workplace.endpoints
    with workplace.database.transaction() as connection:
        permit_id = mint(
            connection,
            estate,
            stream,
            now,
            kind="probe",
            wave_id=None,
            members_hash=seeds_hash(estate.seeds),
            environment=workplace.environment,
        )
        consume(connection, permit_id, stream, None, seeds_hash(estate.seeds), now)
    declared = estate.streams[stream].submit_port
    ports = [declared] if declared else [e.port for e in estate.pool(stream) if e.port]
    sent = 0
    for number, seed in enumerate(estate.seeds):
        port = ports[
            (permit_id + number) % len(ports)
        ]  # seeds may be fewer than ports: begin at another each time
        message = probe_message(estate, stream, seed, now)
        try:
            with smtplib.SMTP(endpoints.submission_host, endpoints.submission[port], timeout=20) as smtp:
                smtp.send_message(message, envelope_sender(estate, stream), [seed])
        except (OSError, smtplib.SMTPException) as error:
            reply = getattr(error, "smtp_error", None) or getattr(error, "recipients", None) or error
            raise ProbeError(f"{stream}: port {port} did not take the probe: {reply!r}") from error
        sent += 1
    return sent
