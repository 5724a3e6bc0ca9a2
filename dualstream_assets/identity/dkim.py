"""DKIM (RFC 6376): the published key, and the signatures of a message.

OpenDKIM's default does not sign `List-Unsubscribe-Post`, which makes one-click invalid (RFC 8058 section 4), so what a
signature covers is part of the answer.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from dualstream_assets.identity.finding import Finding
from dualstream_assets.outside.dns import Resolver
from dualstream_assets.store.evidence import Verdict

ED25519_BITS = 256
RSA_FLOOR = 1024
"""Keys below are refused by every large receiver (RFC 8301); `dns.dkim_minimum_bits` asks for more."""


@dataclass(frozen=True)
class Signature:
    """One DKIM-Signature of a message.

    Attributes:
        domain: `d=`, lower case.
        selector: `s=`.
        verifies: None where the key could not be looked up.
        covers: header names in `h=`, lower case.
        reason: why it does not verify; empty if it does.
    """

    domain: str
    selector: str
    verifies: bool | None
    covers: frozenset[str]
    reason: str = ""


def tags(text: str) -> dict[str, str]:
    """A tag list (RFC 6376 section 3.2): names to values, white space inside values removed."""
    found = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            found[name.strip().lower()] = "".join(value.split())
    return found


def check_key(resolver: Resolver, domain: str, selector: str, minimum_bits: int) -> Finding:
    """Whether the key at `selector._domainkey.domain` is published, strong enough, and not in test mode."""
    name = f"{selector}._domainkey.{domain}"
    publish = f"publish the signer's public key (at least {minimum_bits} bits) as one TXT at {name}"
    found = resolver.answers(name, "TXT")
    if not found.known:
        return Finding(
            domain, "dkim", Verdict.UNKNOWN, f"TXT {name}: {found.status}", "look again; ask the name servers"
        )
    if len(found.records) != 1:
        said = f"{len(found.records)} TXT records" if found.records else f"no key ({found.status})"
        return Finding(domain, "dkim", Verdict.FAIL, f"{name}: {said}", publish)
    wrong, bits = _key_fault(tags(found.records[0]), minimum_bits)
    if wrong:
        return Finding(domain, "dkim", Verdict.FAIL, f"{name}: {wrong}", publish)
    return Finding(domain, "dkim", Verdict.PASS, f"{name}: {bits} bits")


def _key_fault(key: dict[str, str], minimum_bits: int) -> tuple[str, int]:
    """(what is wrong with a key record, its bits); RFC 6376 section 3.6.1."""
    kind = key.get("k", "rsa").lower()
    bits = _bits(key.get("p", ""), kind)
    faults = {
        f"version {key.get('v')}": key.get("v", "DKIM1") != "DKIM1",
        "revoked (p= is empty)": not key.get("p"),
        "test mode (t=y): receivers must treat it as unsigned": "y" in key.get("t", "").lower().split(":"),
        "sha256 is not allowed": "h" in key and "sha256" not in key["h"].lower().split(":"),
        "not for mail": not {"*", "email"} & set(key.get("s", "*").lower().split(":")),
        f"key type {kind} is unknown": kind not in ("rsa", "ed25519"),
        "p= is not a public key": bool(key.get("p")) and bits == 0,
        f"{bits} bits, at least {minimum_bits} wanted": kind == "rsa" and 0 < bits < minimum_bits,
    }
    return next((said for said, is_so in faults.items() if is_so), ""), bits


def _bits(public_key: str, kind: str) -> int:
    """Size of a base64 key; 0 if it cannot be read."""
    try:
        raw = base64.b64decode(public_key, validate=True)
    except (binascii.Error, ValueError):
        return 0
    if kind == "ed25519":
        return ED25519_BITS if len(raw) * 8 == ED25519_BITS else 0
    from dkim.crypto import UnparsableKeyError, parse_public_key

    try:
        return int(parse_public_key(raw)["modulus"]).bit_length()
    except (UnparsableKeyError, KeyError, ValueError, TypeError):
        return 0


class _Unanswered(Exception):
    """A key lookup that did not complete."""


def verify_message(raw: bytes, resolver: Resolver) -> tuple[Signature, ...]:
    """Every signature of a message, verified against the keys published now, in header order."""
    import dkim

    message = dkim.DKIM(raw, minkey=RSA_FLOOR)
    values = [value.decode("latin-1") for name, value in message.headers if name.lower() == b"dkim-signature"]
    return tuple(_verified(raw, index, tags(value), resolver) for index, value in enumerate(values))


def _verified(raw: bytes, index: int, signature: dict[str, str], resolver: Resolver) -> Signature:
    import dkim

    domain, selector = signature.get("d", "").lower(), signature.get("s", "")
    covers = frozenset(signature.get("h", "").lower().split(":")) - {""}

    def look_up(name: bytes, timeout: float = 0) -> bytes | None:  # noqa: ARG001
        found = resolver.answers(name.decode("ascii"), "TXT")
        if not found.known:
            raise _Unanswered(f"TXT {name.decode('ascii').rstrip('.')}: {found.status}")
        return found.records[0].encode() if found.records else None

    def result(verifies: bool | None, reason: str = "") -> Signature:
        return Signature(domain, selector, verifies, covers, reason)

    try:
        checker: Any = dkim.DKIM(raw, minkey=RSA_FLOOR)
        good = checker.verify(idx=index, dnsfunc=look_up)
    except _Unanswered as error:
        return result(None, str(error))
    except (dkim.DKIMException, ValueError, KeyError, TypeError) as error:
        return result(False, f"{type(error).__name__}: {error}")
    return (
        result(True)
        if good
        else result(False, "the body or a signed header was changed, or the key is another")
    )
