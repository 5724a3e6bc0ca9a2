"""The master.cf services of a ported stream, one comment per decision with the leak it closes.

Leak numbers are those of facts/mail.md table 1.3; Postfix 3.7 or newer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dualstream_assets.estate import Egress, Estate
from dualstream_assets.mta.names import (
    POLICY_SERVICE,
    SHARED,
    folder_of,
    ported_pool,
    prefix_of,
    senders_of,
)

Option = tuple[str, str, str]
"""(parameter, value, why)."""

PROCESSES = 20
CLIENTS_PER_TRANSPORT = 2
"""master.cf's process limit is the total concurrency of a transport (facts: mail section 2)."""


def service(line: str, why: str, options: Sequence[Option], *, explained: bool = True) -> str:
    """One master.cf entry: prose, the service line, and each option below the reason for it.

    Args:
        explained: False leaves the reasons out, where the same service was explained just above.
    """
    text = "".join(f"# {part}\n" for part in why.splitlines()) + f"{line}\n"
    for name, value, reason in options:
        text += "".join(f"    # {part}\n" for part in reason.splitlines() if explained)
        setting = f"{{ {name} = {value} }}" if " " in value else f"{name}={value}"
        text += f"    -o {setting}\n"
    return text


def master_block(estate: Estate, environment: str, stream: str) -> str:
    """Everything a ported stream adds to master.cf."""
    parts: list[str] = []
    for egress, port in ported_pool(estate, stream):
        for address in estate.environments[environment].listen:  # type: ignore[index]
            parts.append(
                _submission(estate, environment, stream, egress, f"{address}:{port}", explained=not parts)
            )
    parts.append(_cleanup(estate, stream))
    for number, (egress, _) in enumerate(ported_pool(estate, stream)):
        parts.append(_delivery(estate, stream, egress, explained=number == 0))
    return "\n".join(parts)


def _submission(
    estate: Estate, environment: str, stream: str, egress: Egress, listener: str, *, explained: bool
) -> str:
    folder, prefix = folder_of(estate, stream), prefix_of(estate, stream)
    clients = ",".join(estate.environments[environment].clients)  # type: ignore[index]
    policy = f"check_policy_service {{ {POLICY_SERVICE}, timeout=10s, default_action=HOLD }}"
    recipients = (
        f"check_recipient_access pcre:{folder}/recipient_access,"
        f" check_recipient_mx_access pcre:{folder}/recipient_mx_access, {policy}, permit_mynetworks, reject"
    )
    senders = f"check_sender_access pcre:{folder}/sender_access, permit_mynetworks, reject"
    options: Iterable[Option] = (
        (
            "syslog_name",
            egress.submit_name or f"postfix/{prefix}submit",
            "The port's name in the log: half of the proof of isolation.",
        ),
        (
            "myhostname",
            egress.helo,
            "Received says this name: the requeue rule below finds the pool by it (leak 7), and the host's own\n"
            "name stays out of the message (leak 19).",
        ),
        (
            "content_filter",
            f"{egress.transport}:",
            "Port -> IP. Empty next hop: the recipient's own MX. A record of the queue file, not a routing rule:\n"
            "everything below keeps it from being lost.",
        ),
        (
            "cleanup_service_name",
            f"{prefix}cleanup",
            "A cleanup of our own, so that trucking's header checks and ours never meet.",
        ),
        ("mynetworks", clients, "Only the stream's own listmonk."),
        (
            "smtpd_client_restrictions",
            "permit_mynetworks,reject",
            "Any other client, a dev container too, gets 554.",
        ),
        ("smtpd_helo_restrictions", "", "Trucking's rules do not apply here."),
        (
            "smtpd_sender_restrictions",
            senders,
            f"Only @{senders_of(estate, stream)}: a trucking or null sender would leave from {egress.ip} (leak 11).",
        ),
        ("smtpd_relay_restrictions", "permit_mynetworks,reject", "Never an open relay."),
        (
            "smtpd_recipient_restrictions",
            recipients,
            "Consumer mailboxes are refused by domain and by MX before anything else: `hold:` in transport_maps is\n"
            "ignored for filtered mail (leak 1). Then the wave policy: a recipient of no released wave is refused.\n"
            "No policy daemon: 250 and held, never sent.",
        ),
        ("smtpd_data_restrictions", "", "Trucking's rules do not apply here."),
        (
            "smtpd_end_of_data_restrictions",
            policy,
            "The wave policy marks the person as used, once, and holds above 1.25 x the cap.",
        ),
        (
            "smtpd_recipient_limit",
            "1",
            "FILTER and HOLD are per message: one recipient a message keeps one person's fate his own.",
        ),
        (
            "smtpd_command_filter",
            f"pcre:{folder}/command_filter",
            "NOTIFY=NEVER and XVERP: no bounce or delay notice is born here, to leave by trucking's IPs (leaks 4, 5).",
        ),
        ("smtpd_authorized_verp_clients", clients, "Or XVERP is refused."),
        (
            "milter_default_action",
            "tempfail",
            "OpenDKIM down: 451, nothing unsigned leaves.",
        ),
    )
    return service(
        f"{listener} inet n - n - {PROCESSES} smtpd",
        f"{stream}: what is submitted on {listener} leaves from {egress.ip} as {egress.helo}.",
        tuple(options),
        explained=explained,
    )


def _cleanup(estate: Estate, stream: str) -> str:
    folder, prefix = folder_of(estate, stream), prefix_of(estate, stream)
    return service(
        f"{prefix}cleanup unix n - n - 0 cleanup",
        f"{stream}: cleanup of its ports. Logs queue id with both listmonk UUIDs, the join of every proof.",
        (
            ("syslog_name", f"postfix/{prefix}cleanup", "Found in the log by name."),
            ("header_checks", f"pcre:{folder}/header_checks", "INFO lines only; no rule changes a message."),
            (
                "nested_header_checks",
                "",
                "Empty: else an inbound DSN logs its embedded headers and is counted as a send.",
            ),
            ("mime_header_checks", "", "Likewise."),
            ("body_checks", "", "Trucking's rules do not apply here."),
        ),
    )


def _delivery(estate: Estate, stream: str, egress: Egress, *, explained: bool) -> str:
    folder = folder_of(estate, stream)
    return service(
        f"{egress.transport} unix - - n - {CLIENTS_PER_TRANSPORT} smtp",
        f"{stream}: delivery from {egress.ip}.",
        (
            (
                "syslog_name",
                f"postfix/{egress.transport}",
                "The transport's name in the log: the other half of the proof.",
            ),
            ("smtp_bind_address", str(egress.ip), "The source address."),
            (
                "smtp_bind_address_enforce",
                "yes",
                "An address that is missing defers; without this the host's primary address is used (leak 12).",
            ),
            (
                "inet_protocols",
                "ipv4",
                "Else IPv6 destinations are reached from the host's own address (leak 13).",
            ),
            ("smtp_helo_name", egress.helo, "HELO = PTR."),
            (
                "smtp_discard_ehlo_keywords",
                "dsn",
                "Not asked for onward: no notice is promised by anybody behind us.",
            ),
            (
                "smtp_dns_reply_filter",
                f"pcre:{folder}/dns_reply_filter",
                "The last net for consumer mailboxes: the check at RCPT fails open on SERVFAIL; here such an MX does\n"
                "not exist, so the message is deferred without a connection.",
            ),
            ("smtp_tls_security_level", "may", "Postfix's own default is plain text; Google throttles that."),
            ("smtp_tls_loglevel", "1", "TLS is told in the log."),
            ("smtp_fallback_relay", "", "A relay would be the egress (leak 15)."),
        ),
        explained=explained,
    )


def requeue_block() -> str:
    """The cleanup of requeued mail, shared by all ported streams."""
    return service(
        "pkcleanup unix n - n - 0 cleanup",
        "postsuper -r drops the content filter (leak 7). pickup uses this cleanup, which puts it back by the Received\n"
        "line that the stream's port wrote. A local user could forge that line: no local user may submit here.",
        (
            ("syslog_name", "postfix/pkcleanup", "Found in the log by name."),
            ("header_checks", f"pcre:{SHARED}/requeue_header_checks", "FILTER on our Received lines."),
            ("nested_header_checks", "", "An attached message's Received lines are not this message's."),
            ("mime_header_checks", "", "Likewise."),
        ),
    )
