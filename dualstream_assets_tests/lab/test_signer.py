"""The lab's signatures, verified by dkimpy."""

from __future__ import annotations

import base64

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from dualstream_assets.lab.signer import Signer

KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
RECORD = b"v=DKIM1; k=rsa; p=" + base64.b64encode(
    KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
)
HEAD = b"From: a@performancewest.test\r\nSubject: two\r\n  lines \t here\r\nList-Unsubscribe: <https://x.test>\r\n"


def verifies(message: bytes) -> bool:
    return bool(dkim.verify(message, dnsfunc=lambda name, timeout=5: RECORD))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet=" \tab.é", max_size=8), max_size=6))
def test_any_body_that_smtp_can_carry_verifies(lines: list[str]) -> None:
    body = "".join(f"{line}\r\n" for line in lines).encode()
    assert verifies(Signer(PEM, "performancewest.test", "mail").signed(HEAD + b"\r\n" + body))


def test_a_changed_body_or_a_second_from_does_not_verify() -> None:
    signed = Signer(PEM, "performancewest.test", "mail").signed(HEAD + b"\r\nhello\r\n")
    assert verifies(signed)
    assert not verifies(signed.replace(b"hello", b"jello"))
    assert not verifies(b"From: b@evil.test\r\n" + signed)


def test_a_key_of_another_kind_is_refused() -> None:
    other = ed25519.Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    with pytest.raises(ValueError, match="RSA"):
        Signer(other, "performancewest.test", "mail")
