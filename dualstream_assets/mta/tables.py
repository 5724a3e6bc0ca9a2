"""The lookup tables of a ported stream, as pcre maps, and the guards outside Postfix (nftables, sysctl)."""

from __future__ import annotations

import re

from dualstream_assets.estate import Estate
from dualstream_assets.mta.names import ported_pool, ported_streams, senders_of

CONSUMER_MX_SUFFIXES = (
    "yahoodns.net",  # Yahoo, AOL, AT&T, Verizon, and domains that they host
    "prodigy.net",  # AT&T
    "comcast.net",
    "olc.protection.outlook.com",  # Outlook.com, Hotmail; not Microsoft 365 (mail.protection.outlook.com)
    "mail.icloud.com",
)
"""Mail hosts of consumer mailboxes that must never be reached from a hot pool (facts: operations section 4).

Gmail is not here: its consumer and Workspace mail share hosts, and selection tells them apart by domain.
"""

CONSUMER_DOMAINS = (
    "yahoo.com", "ymail.com", "rocketmail.com", "myyahoo.com", "yahoo.co.uk", "yahoo.ca", "aol.com", "aim.com",
    "netscape.net", "verizon.net", "frontier.com", "frontiernet.net", "att.net", "sbcglobal.net", "bellsouth.net",
    "pacbell.net", "ameritech.net", "swbell.net", "snet.net", "flash.net", "prodigy.net", "comcast.net",
    "outlook.com", "hotmail.com", "live.com", "msn.com", "icloud.com", "me.com", "mac.com",
)  # fmt: skip
REFUSAL = "550 5.7.1 consumer mailbox: not on this stream"


def recipient_access() -> str:
    """Consumer domains, refused at RCPT."""
    domains = "|".join(re.escape(d) for d in CONSUMER_DOMAINS)
    return (
        "# Consumer mailboxes by domain. Selection has moved them to the other stream already; this is the backstop.\n"
        f"/@(?:[a-z0-9-]+\\.)*(?:{domains})$/  {REFUSAL}\n"
    )


def recipient_mx_access() -> str:
    """Consumer MX hosts, refused at RCPT."""
    return (
        "# Practice domains whose mail is run by a consumer operator: they share its filters.\n"
        "# check_recipient_mx_access fails open on SERVFAIL; dns_reply_filter is the net behind it.\n"
        + "".join(f"/(?:^|\\.){re.escape(suffix)}$/  {REFUSAL}\n" for suffix in CONSUMER_MX_SUFFIXES)
    )


def dns_reply_filter() -> str:
    """The same hosts, taken out of DNS answers at delivery."""
    return (
        "# smtp(8) sees an MX answer as `name ttl IN MX preference host.`; an ignored one is not there.\n"
        + "".join(
            f"/ IN MX [0-9]+ (?:.*\\.)?{re.escape(suffix)}\\.?$/  IGNORE\n" for suffix in CONSUMER_MX_SUFFIXES
        )
    )


def sender_access(estate: Estate, stream: str) -> str:
    """Who may submit at a stream's ports."""
    domain = senders_of(estate, stream)
    return (
        f"# Only the stream's own envelope; the null sender is looked up as <> and refused.\n"
        f"/^[^@]+@{re.escape(domain)}$/  DUNNO\n"
        f"/./  554 5.7.1 this port takes mail from @{domain} alone\n"
    )


def port25_sender_access(estate: Estate) -> str:
    """Envelope domains of ported streams, refused at :25."""
    rules = (
        f"/@{re.escape(domain)}$/  554 5.7.1 submit @{domain} at its own ports\n"
        for domain in (estate.streams[s].return_path_domain for s in ported_streams(estate))
        if domain
    )
    return (
        "# Mail of a ported stream that arrives at :25 would leave by trucking's IPs (leak 10).\n"
        + "".join(rules)
    )


def command_filter() -> str:
    """What smtpd hears instead of what the client said."""
    return (
        "# Bounces come to bounces+user=domain@: the address survives a requeue and any listmonk version.\n"
        "/^(MAIL\\s+FROM:\\s*<[^<>]+>(?!.*\\sXVERP).*)$/  ${1} XVERP=+=\n"
        "# The sender is never told: a notice would be born in Postfix and leave by trucking's IPs.\n"
        "/^(RCPT\\s+TO:\\s*<[^<>]+>).*$/  ${1} NOTIFY=NEVER\n"
    )


def header_checks() -> str:
    """What a port's cleanup logs."""
    return (
        "# Queue id, campaign and subscriber in one log line each: the join key on every listmonk version.\n"
        "/^X-Listmonk-(?:Campaign|Subscriber):/  INFO\n"
    )


def requeue_header_checks(estate: Estate) -> str:
    """Received lines of ported streams -> their transport."""
    text = "# Requeued mail finds its pool again by the name that its port put into Received.\n"
    for stream in ported_streams(estate):
        for egress, _ in ported_pool(estate, stream):
            name = re.escape(egress.helo)
            text += f"/^Received: .*\\sby {name} \\([^)]*\\)\\s+with E?SMTPS?A? id /  FILTER {egress.transport}:\n"
    return text


def nftables(estate: Estate, environment: str) -> str:
    """The guard outside Postfix: who may open a connection to port 25, and who may reach the submission ports."""
    declared = estate.environments[environment]  # type: ignore[index]
    sources = sorted({e.ip for e in estate.egress if e.state != "retired"})
    sources += [estate.probe.ip] if estate.probe.ip else []
    ports = ", ".join(str(p) for s in ported_streams(estate) for _, p in ported_pool(estate, s))
    strangers = f"ip saddr != {{ {', '.join(declared.clients)} }}"
    return f"""#!/usr/sbin/nft -f
# Isolation in the kernel: holds for whatever opens a connection, Postfix or not (leaks 13, 14, 18).
table inet dualstream
delete table inet dualstream
table inet dualstream {{
    # The declared egresses, and the address that verifies mailboxes.
    set egress {{
        type ipv4_addr
        elements = {{ {", ".join(str(ip) for ip in sources)} }}
    }}
    # Connections per source address: a second proof that does not trust the mail log.
    set seen {{
        type ipv4_addr
        size 65535
        flags dynamic
    }}
    chain output {{
        type filter hook output priority filter; policy accept;
        oifname "lo" accept
        tcp dport 25 meta nfproto ipv6 counter reject with tcp reset
        tcp dport 25 ct state new update @seen {{ ip saddr counter }}
        tcp dport 25 ip saddr != @egress counter reject with tcp reset
    }}
    # A masqueraded container leaves from the host's own address, unseen by the output chain.
    chain forward {{
        type filter hook forward priority filter; policy accept;
        tcp dport {{ 25, 465, 587 }} counter reject with tcp reset
    }}
    # The submission ports are for the stream's own listmonk alone.
    chain input {{
        type filter hook input priority filter; policy accept;
        tcp dport {{ {ports} }} {strangers} counter reject with tcp reset
        tcp dport {{ {ports} }} meta nfproto ipv6 counter reject with tcp reset
    }}
}}
"""


def sysctl() -> str:
    """A listener whose bridge is gone must not keep the whole mail system from starting."""
    return (
        "# Without this, a stop and start while the docker bridge is down ends in `fatal: bind` and :25 is refused.\n"
        "# A missing egress address still defers (smtp_bind_address_enforce), so nothing leaks.\n"
        "net.ipv4.ip_nonlocal_bind = 1\n"
    )
