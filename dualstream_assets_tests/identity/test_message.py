"""The score of a delivered message: green for a right one, and each rule seen red."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import dkim
import pytest

from dualstream_assets.clock import FixedClock
from dualstream_assets.estate import Estate
from dualstream_assets.identity.message import Score, newest_seed_message, score_message
from dualstream_assets.identity.probes import newest_score, probe_message_score
from dualstream_assets.store.evidence import Subject, Verdict, newest
from dualstream_assets.workplace import Workplace
from dualstream_assets_tests.identity.conftest import Key
from dualstream_assets_tests.outside.nameserver import TinyDns

PEER, HELO = "127.124.0.107", "hcmta01.performancewest.test"
DOMAIN = "performancewest.test"
SENDER = f"bounces@bounce-hc.{DOMAIN}"
SIGNED = ["From", "To", "Subject", "Date", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post"]


def letter(estate: Estate) -> EmailMessage:
    message = EmailMessage()
    message["From"] = f"Performance West <help@{DOMAIN}>"
    message["To"] = "seed@google-seed.test"
    message["Subject"] = "Your Medicare revalidation date"
    message["Date"] = "Mon, 30 Nov 2026 09:00:00 -0500"
    message["Message-ID"] = f"<1@{DOMAIN}>"
    message["List-Unsubscribe"] = f"<https://lists-hc.{DOMAIN}/subscription/1/2>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(f"Hello.\n\n{estate.campaign.postal_address}\n")
    lines = (estate.campaign.postal_address or "").replace(", ", ",<br>")
    message.add_alternative(f"<p>Hello.</p><p>{lines}</p>", subtype="html")
    return message


def signed(message: EmailMessage, key: Key, headers: list[str] | None = None, domain: str = DOMAIN) -> bytes:
    raw = message.as_bytes()
    names = [h.encode().lower() for h in (SIGNED if headers is None else headers)]
    return (
        dkim.sign(
            raw,
            b"mail",
            domain.encode(),
            key.pem,
            canonicalize=(b"relaxed", b"simple"),
            include_headers=names,
        )
        + raw
    )


@pytest.fixture
def score(zone: TinyDns, lab_estate: Estate) -> Callable[..., Score]:
    def of(raw: bytes, peer: str = PEER, helo: str = HELO, mail_from: str = SENDER) -> Score:
        return score_message(
            raw, peer, helo, zone.resolver(0.3), lab_estate, "healthcare", mail_from=mail_from
        )

    return of


def red(score: Score) -> set[str]:
    return {f.fact for f in score.findings if f.verdict is not Verdict.PASS}


def test_a_right_message_passes_every_criterion(score, lab_estate: Estate, signing_key: Key):
    found = score(signed(letter(lab_estate), signing_key))
    assert red(found) == set(), found.table
    assert found.verdict is Verdict.PASS
    assert found.said == "12 of 12 criteria pass"


def test_the_return_path_header_serves_where_no_envelope_is_known(
    score, lab_estate: Estate, signing_key: Key
):
    raw = f"Return-Path: <{SENDER}>\r\n".encode() + signed(letter(lab_estate), signing_key)
    found = score(raw, mail_from="")
    assert "bounce-hc" in next(f.evidence for f in found.findings if f.fact == "spf")


def test_an_unsigned_message_fails_dkim_but_aligns_by_spf(score, lab_estate: Estate):
    assert red(score(letter(lab_estate).as_bytes())) == {"dkim"}


def test_a_signature_that_leaves_out_one_click_fails(score, lab_estate: Estate, signing_key: Key):
    found = score(signed(letter(lab_estate), signing_key, SIGNED[:-1]))
    assert red(found) == {"dkim"}
    assert "list-unsubscribe-post" in found.said


def test_a_changed_body_fails(score, lab_estate: Estate, signing_key: Key):
    raw = signed(letter(lab_estate), signing_key).replace(b"Hello.", b"Hallo.")
    assert red(score(raw)) == {"dkim"}


def test_a_signature_of_another_domain_does_not_count(
    score, zone: TinyDns, lab_estate: Estate, signing_key: Key
):
    zone.put("TXT", "mail._domainkey.elsewhere.test", signing_key.record)
    assert red(score(signed(letter(lab_estate), signing_key, domain="elsewhere.test"))) == {"dkim"}


def test_a_key_that_cannot_be_asked_is_unknown(score, zone: TinyDns, lab_estate: Estate, signing_key: Key):
    zone.failing.add(f"mail._domainkey.{DOMAIN}")
    found = score(signed(letter(lab_estate), signing_key))
    assert found.verdict is Verdict.UNKNOWN
    assert red(found) == {"dkim"}


def test_a_message_from_the_other_stream_fails_pool_and_spf(score, lab_estate: Estate, signing_key: Key):
    found = score(signed(letter(lab_estate), signing_key), peer="127.124.0.94", helo=f"mta05.{DOMAIN}")
    assert red(found) == {"pool", "spf"}


def test_neither_spf_nor_dkim_means_no_dmarc(score, lab_estate: Estate):
    found = score(letter(lab_estate).as_bytes(), mail_from="bounces@elsewhere.test")
    assert {"spf", "dkim", "dmarc"} <= red(found)


@pytest.mark.parametrize(
    ("header", "value", "fact"),
    [
        ("List-Unsubscribe", None, "one_click"),
        ("List-Unsubscribe", "<http://lists-hc.performancewest.test/x>", "one_click"),
        ("List-Unsubscribe", "<https://localhost:9000/x>", "one_click"),
        ("List-Unsubscribe-Post", None, "one_click"),
        ("Message-ID", None, "message_id"),
        ("Date", None, "date"),
        ("Date", "yesterday", "date"),
    ],
)
def test_a_missing_or_wrong_header_fails(
    score, lab_estate: Estate, signing_key: Key, header: str, value: str | None, fact: str
):
    message = letter(lab_estate)
    del message[header]
    text = message.as_string()
    raw = (f"{header}: {value}\n{text}" if value else text).encode()
    assert fact in red(score(raw))


def test_a_message_of_one_part_fails(score, lab_estate: Estate, signing_key: Key):
    message = letter(lab_estate)
    message.clear_content()
    message.set_content(f"Hello. {lab_estate.campaign.postal_address}")
    assert red(score(signed(message, signing_key))) == {"parts"}


def test_a_part_without_the_postal_address_fails(score, lab_estate: Estate, signing_key: Key):
    message = letter(lab_estate)
    message.clear_content()
    message.set_content("Hello.")
    message.add_alternative(f"<p>{lab_estate.campaign.postal_address}</p>", subtype="html")
    found = score(signed(message, signing_key))
    assert red(found) == {"postal_address"}
    assert "text/plain" in found.said


def test_a_link_to_this_machine_fails(score, lab_estate: Estate, signing_key: Key):
    message = letter(lab_estate)
    message.clear_content()
    message.set_content(f"Hello. {lab_estate.campaign.postal_address}")
    link = f'<a href="http://localhost:9000/x">x</a> {lab_estate.campaign.postal_address}'
    message.add_alternative(link, subtype="html")
    assert red(score(signed(message, signing_key))) == {"links"}


def sink_line(at, message_file: str | None, peer: str = PEER, rcpt: str = "seed@google-seed.test") -> str:
    record = {"at": at.isoformat(), "peer": peer, "helo": HELO, "mail_from": SENDER, "rcpt": rcpt}
    return json.dumps({**record, "campaign_uuid": None, "message_file": message_file}) + "\n"


def deliver(workplace: Workplace, *lines: str) -> None:
    assert workplace.endpoints.sinks is not None
    with workplace.endpoints.sinks.open("a") as file:
        file.writelines(lines)


def test_the_newest_message_of_the_streams_pool_at_a_seed_is_taken(
    workplace: Workplace, clock: FixedClock, tmp_path: Path
):
    for name in ("old", "new", "other stream", "patient"):
        (tmp_path / name).write_bytes(name.encode())
    at = clock.now()
    deliver(
        workplace,
        sink_line(at, str(tmp_path / "old")),
        sink_line(at, str(tmp_path / "new")),
        sink_line(at, str(tmp_path / "other stream"), peer="127.124.0.94"),
        sink_line(at, str(tmp_path / "patient"), rcpt="someone@clinic.test"),
        sink_line(at, None),
        '{"half a li',
    )
    found = newest_seed_message(workplace.endpoints, workplace.estate, "healthcare")
    assert found is not None
    assert found.raw == b"new"


def test_without_a_message_the_score_is_unknown_with_the_cure(workplace: Workplace):
    verdict, said, score = probe_message_score(workplace, "healthcare", "test")
    assert (verdict, score) == (Verdict.UNKNOWN, None)
    assert "dualstream probe message healthcare" in said
    with workplace.database.transaction() as connection:
        row = newest(connection, "healthcare")[Subject("healthcare", "message", "message_score")]
    assert row.verdict is Verdict.UNKNOWN


def test_a_scored_message_is_evidence_for_a_day(
    workplace: Workplace, clock: FixedClock, tmp_path: Path, signing_key: Key
):
    (tmp_path / "m").write_bytes(signed(letter(workplace.estate), signing_key))
    deliver(workplace, sink_line(clock.now(), str(tmp_path / "m")))
    verdict, _, _ = probe_message_score(workplace, "healthcare", "test")
    assert verdict is Verdict.PASS
    with workplace.database.transaction() as connection:
        row = newest(connection, "healthcare")[Subject("healthcare", "message", "message_score")]
    assert (row.verdict, row.expires_at - row.observed_at) == (Verdict.PASS, timedelta(hours=26))


def test_a_message_older_than_a_week_is_not_scored(
    workplace: Workplace, clock: FixedClock, tmp_path: Path, signing_key: Key
):
    (tmp_path / "m").write_bytes(signed(letter(workplace.estate), signing_key))
    deliver(workplace, sink_line(clock.now() - timedelta(days=8), str(tmp_path / "m")))
    _, score, why = newest_score(workplace, "healthcare")
    assert score is None
    assert "8 days old" in why
