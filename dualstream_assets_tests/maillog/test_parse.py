"""Lines of a real Postfix 3.7 and OpenDKIM, shortened, and what they say."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

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
from dualstream_assets.maillog.parse import Parser, Stamps, parse_lines

NOW = datetime(2026, 11, 30, 14, 0, tzinfo=UTC)
AT = datetime(2026, 11, 24, 3, 26, 3, 129833, tzinfo=UTC)
STAMP = "2026-11-24T03:26:03.129833+00:00 app "
UUID = "5f0c1d1e-5b1c-4f0f-9d43-6f4c2f7a0001"


def read(text: str, zone: ZoneInfo | None = None) -> Event | None:
    return Parser(Stamps(NOW, zone or UTC)).line(text.encode())


TABLE = [
    (
        "postfix/hcsubmit107/smtpd[31]: 4hKz1c2Q9Rz1Zb: client=localhost[127.0.0.1]",
        Accepted(AT, "4hKz1c2Q9Rz1Zb", "postfix/hcsubmit107", "localhost[127.0.0.1]"),
    ),
    (
        "postfix/smtpd[31]: 4hKz1c2Q9Rz1Zb: client=localhost[127.0.0.1], sasl_method=PLAIN",
        Accepted(AT, "4hKz1c2Q9Rz1Zb", "postfix", "localhost[127.0.0.1]"),
    ),
    ("postfix/cleanup[7]: 8A1B2C3D4E: message-id=<a.b@c.test>", MessageId(AT, "8A1B2C3D4E", "a.b@c.test")),
    (
        f"postfix/hccleanup/cleanup[7]: 4hKz1c2Q9Rz1Zb: info: header X-Listmonk-Campaign: {UUID} from"
        " localhost[127.0.0.1]; from=<B@b.test> to=<P@practice.test> proto=ESMTP helo=<localhost>",
        CampaignHeader(
            AT, "4hKz1c2Q9Rz1Zb", "Campaign", UUID, "localhost[127.0.0.1]", "b@b.test", "p@practice.test"
        ),
    ),
    (
        "opendkim[512]: 4hKz1c2Q9Rz1Zb: DKIM-Signature field added (s=mail, d=performancewest.test)",
        Signed(AT, "4hKz1c2Q9Rz1Zb"),
    ),
    (
        "postfix/qmgr[3]: 4hKz1c2Q9Rz1Zb: from=<b@b.test>, size=4120, nrcpt=1 (queue active)",
        Queued(AT, "4hKz1c2Q9Rz1Zb", "b@b.test", 4120),
    ),
    (
        "postfix/qmgr[3]: 4hKz1c2Q9Rz1Zb: from=<>, size=4120, nrcpt=1 (queue active)",
        Queued(AT, "4hKz1c2Q9Rz1Zb", "", 4120),
    ),
    (
        "postfix/qmgr[3]: 4hKz1c2Q9Rz1Zb: from=<b@b.test>, status=expired, returned to sender",
        Expired(AT, "4hKz1c2Q9Rz1Zb"),
    ),
    ("postfix/qmgr[3]: 4hKz1c2Q9Rz1Zb: removed", Removed(AT, "4hKz1c2Q9Rz1Zb", "qmgr")),
    (
        "postfix/hcout1/smtp[50]: 4hKz1c2Q9Rz1Zb: to=<p@practice.test>, orig_to=<q@practice.test>,"
        " relay=mx1.practice.test[127.20.0.1]:25, conn_use=2, delay=0.03, delays=0/0.02/0/0, dsn=2.0.0,"
        " status=sent (250 2.0.0 Ok: queued as 4h)",
        Attempt(
            AT, "4hKz1c2Q9Rz1Zb", "p@practice.test", "hcout1", "mx1.practice.test", "127.20.0.1", 25, 0.03, "2.0.0",
            "sent", "250 2.0.0 Ok: queued as 4h", "none",
        ),
    ),
    (
        "postfix/hcout1/smtp[50]: 4hKz1c2Q9Rz1Zb: to=<p@practice.test>, relay=mx.practice.test[127.20.0.1]:25,"
        " delay=301, delays=300/0/0.1/0.2, dsn=4.2.0, status=deferred (host mx.practice.test[127.20.0.1] said: 450"
        " 4.2.0 <p@practice.test>: Greylisted, see (our) page (in reply to RCPT TO command))",
        Attempt(
            AT, "4hKz1c2Q9Rz1Zb", "p@practice.test", "hcout1", "mx.practice.test", "127.20.0.1", 25, 301.0, "4.2.0",
            "deferred",
            "host mx.practice.test[127.20.0.1] said: 450 4.2.0 <p@practice.test>: Greylisted, see (our) page (in reply"
            " to RCPT TO command)", "none",
        ),
    ),
    (
        "postfix/error[50]: 4hKz1c2Q9Rz1Zb: to=<p@practice.test>, relay=none, delay=1, delays=1/0/0/0, dsn=4.4.3,"
        " status=deferred (delivery temporarily suspended: Host or domain name not found)",
        Attempt(
            AT, "4hKz1c2Q9Rz1Zb", "p@practice.test", "error", "", "", 0, 1.0, "4.4.3", "deferred",
            "delivery temporarily suspended: Host or domain name not found", "none",
        ),
    ),
    (
        "postfix/hcsubmit107/smtpd[31]: NOQUEUE: reject: RCPT from localhost[127.0.0.1]: 550 5.7.1 <x@y.test>:"
        " Recipient address rejected: not in a released wave; from=<b@b.test> to=<x@y.test> proto=ESMTP helo=<h>",
        Refused(
            AT, None, "postfix/hcsubmit107", "reject", "RCPT", 550,
            "5.7.1 <x@y.test>: Recipient address rejected: not in a released wave", "b@b.test", "x@y.test",
        ),
    ),
    (
        "postfix/hcsubmit107/smtpd[31]: NOQUEUE: hold: RCPT from localhost[127.0.0.1]: <x@y.test>: Recipient address"
        " triggers HOLD action; from=<b@b.test> to=<x@y.test> proto=ESMTP helo=<h>",
        Refused(
            AT, None, "postfix/hcsubmit107", "hold", "RCPT", None,
            "<x@y.test>: Recipient address triggers HOLD action", "b@b.test", "x@y.test",
        ),
    ),
    (
        "postfix/hccleanup/cleanup[7]: 4hKz1c2Q9Rz1Zb: milter-reject: END-OF-MESSAGE from localhost[127.0.0.1]: 4.7.1"
        " Service unavailable - try again later; from=<b@b.test> to=<x@y.test> proto=ESMTP helo=<h>",
        Refused(
            AT, "4hKz1c2Q9Rz1Zb", "postfix/hccleanup", "milter-reject", "END-OF-MESSAGE", None,
            "4.7.1 Service unavailable - try again later", "b@b.test", "x@y.test",
        ),
    ),
    (
        "postfix/bounce[9]: 4hKz1c2Q9Rz1Zb: sender non-delivery notification: 4hKz1c2Q9Sz1Zc",
        Notice(AT, "4hKz1c2Q9Rz1Zb", "4hKz1c2Q9Sz1Zc"),
    ),
    ("postfix/postsuper[9]: 4hKz1c2Q9Rz1Zb: requeued", Requeued(AT, "4hKz1c2Q9Rz1Zb")),
    ("postfix/postsuper[9]: 4hKz1c2Q9Rz1Zb: removed", Removed(AT, "4hKz1c2Q9Rz1Zb", "postsuper")),
    ("postfix/postsuper[9]: 4hKz1c2Q9Rz1Zb: released from hold", Hold(AT, "4hKz1c2Q9Rz1Zb", held=False)),
    (
        "postfix/pickup[9]: 4hKz1c2Q9Sz1Zc: uid=0 from=<b@b.test> orig_id=4hKz1c2Q9Rz1Zb",
        PickedUp(AT, "4hKz1c2Q9Sz1Zc", "b@b.test", "4hKz1c2Q9Rz1Zb"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "event"), TABLE, ids=[text.split(":")[0] for text, _ in TABLE])
def test_a_line_says_what_happened(text: str, event: object) -> None:
    assert read(STAMP + text) == event


QUIET = [
    "postfix/hcsubmit107/smtpd[31]: connect from localhost[127.0.0.1]",
    "postfix/smtpd[31]: disconnect from localhost[127.0.0.1] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5",
    "postfix/smtpd[31]: lost connection after RCPT from localhost[127.0.0.1]",
    "postfix/anvil[5]: statistics: max connection rate 1/60s for (smtp:127.0.0.1) at Nov 24 03:26:03",
    "postfix/scache[5]: statistics: start interval Nov 24 03:26:03",
    "postfix/hcout1/smtp[5]: connect to mx.practice.test[127.20.0.1]:25: Connection refused",
    "postfix/hcout1/smtp[5]: 4hKz1c2Q9Rz1Zb: host mx.practice.test[127.20.0.1] said: 450 4.2.0 later",
    "postfix/hcout1/smtp[5]: 4hKz1c2Q9Rz1Zb: lost connection with mx.practice.test[127.20.0.1] while sending RCPT TO",
    "postfix/master[1]: daemon started -- version 3.7.11, configuration /etc/postfix",
    "postfix/postfix-script[1]: starting the Postfix mail system",
    "postfix/postsuper[9]: Requeued: 1 message",
    "postfix/smtpd[31]: warning: hostname x.test does not resolve to address 127.0.0.9",
    "postfix/cleanup[7]: 4hKz1c2Q9Rz1Zb: info: nested header X-Listmonk-Campaign: abc from a[127.0.0.1]; from=<>",
    "opendkim[512]: OpenDKIM Filter v2.11.0 starting",
    "sshd[4]: Accepted publickey for root",
    "dovecot: imap-login: to=<x>, status=sent",
]


@pytest.mark.parametrize("text", QUIET, ids=[text.split("]")[0] for text in QUIET])
def test_a_line_without_news_is_passed_over(text: str) -> None:
    assert read(STAMP + text) is None


UNKNOWN = [
    "postfix/hcout1/smtp[50]: 4hKz1c2Q9Rz1Zb: to=<p@practice.test>, relay=none, status=sent",
    "postfix/qmgr[3]: 4hKz1c2Q9Rz1Zb: something new in Postfix 4",
    "postfix/brandnew[3]: hello",
    "postfix/hcsubmit107/smtpd[3]: a sentence nobody knows",
    "opendkim[3]: a sentence nobody knows",
]


@pytest.mark.parametrize("text", UNKNOWN)
def test_an_unknown_form_of_postfix_or_opendkim_is_unparsed(text: str) -> None:
    assert isinstance(read(STAMP + text), Unparsed)


def test_a_postfix_line_whose_time_cannot_be_read_is_unparsed() -> None:
    assert read("2026-99-24T03:26:03+00:00 app postfix/qmgr[3]: 4hKz1c2Q9Rz1Zb: removed") == Unparsed(
        None, "2026-99-24T03:26:03+00:00 app postfix/qmgr[3]: 4hKz1c2Q9Rz1Zb: removed"
    )


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("postfix/hcout1/smtp[5]: warning: smtp_connect_addr: bind 127.124.0.107: Cannot assign requested", "bind"),
        ("postfix/qmgr[5]: warning: connect to transport private/hcoutX: No such file or directory", "transport"),
        ("postfix/hcsubmit107/smtpd[5]: warning: problem talking to server 127.0.0.1:10040: Broken pipe", "policy"),
        ("postfix/master[5]: fatal: bind 172.18.0.1 port 2526: Cannot assign requested address", "fatal"),
        (
            "postfix/hcout1/smtp[5]: 4hKz1c2Q9Rz1Zb: conversation with mx.practice.test[127.20.0.1] timed out while"
            " sending end of data -- message may be sent more than once", "twice",
        ),
        (
            "postfix/out07/smtp[5]: 4hKz1c2Q9Rz1Zb: to=<x@y.test>, relay=mx.y.test[127.20.0.1]:25, delay=1,"
            " delays=1/0/0/0, dsn=2.1.5, status=deliverable (250 2.1.5 Ok)", "probe",
        ),
    ],
)  # fmt: skip
def test_a_line_that_must_be_looked_at_is_an_alarm(text: str, kind: str) -> None:
    event = read(STAMP + text)
    assert isinstance(event, Alarm)
    assert event.kind == kind


def test_the_old_time_format_takes_the_year_from_the_reader_and_the_zone_from_the_host() -> None:
    event = read("Nov 24 03:26:03 app postfix/qmgr[3]: 4hKz1c2Q9Rz1Zb: removed", ZoneInfo("America/New_York"))
    assert event == Removed(datetime(2026, 11, 24, 8, 26, 3, tzinfo=UTC), "4hKz1c2Q9Rz1Zb", "qmgr")


def test_an_old_format_line_of_the_future_is_of_last_year() -> None:
    event = read("Dec  9 03:26:03 app postfix/qmgr[3]: 4hKz1c2Q9Rz1Zb: removed")
    assert event == Removed(datetime(2025, 12, 9, 3, 26, 3, tzinfo=UTC), "4hKz1c2Q9Rz1Zb", "qmgr")


def test_an_rfc_3339_offset_becomes_utc() -> None:
    event = read("2026-11-23T22:26:03.129833-05:00 app postfix/qmgr[3]: 4hKz1c2Q9Rz1Zb: removed")
    assert event == Removed(AT, "4hKz1c2Q9Rz1Zb", "qmgr")


def test_the_tls_level_comes_from_the_line_of_the_same_process() -> None:
    to = (
        "4hKz1c2Q9Rz1Zb: to=<p@q.test>, relay=mx.q.test[127.20.0.1]:25, delay=1, delays=0/0/0/1, dsn=2.0.0,"
        " status=sent (250)"
    )
    lines = [
        STAMP
        + "postfix/hcout1/smtp[50]: Untrusted TLS connection established to mx.q.test[127.20.0.1]:25: TLSv1.3",
        STAMP + f"postfix/hcout1/smtp[50]: {to}",
        STAMP + f"postfix/hcout1/smtp[51]: {to}",
    ]
    found = [e.tls for e in parse_lines([x.encode() for x in lines], Stamps(NOW)) if isinstance(e, Attempt)]
    assert found == ["untrusted", "none"]


def test_odd_addresses_are_read_whole() -> None:
    event = read(
        STAMP
        + 'postfix/hcout1/smtp[5]: 4hKz1c2Q9Rz1Zb: to=<"a>, b"@q.test>, relay=mx.q.test[2001:db8::1]:25, delay=1,'
        " delays=0/0/0/1, dsn=2.0.0, status=sent (250 ok)"
    )
    assert isinstance(event, Attempt)
    assert (event.recipient, event.relay_address) == ('"a>, b"@q.test', "2001:db8::1")
