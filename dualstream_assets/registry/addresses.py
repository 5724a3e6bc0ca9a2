"""E-mail addresses out of a free text field: normalised where that is certain, else refused with a reason.

Pathologies: facts, nppes section 1.4. Syntax: RFC 5321 section 4.1.2, without quoted and internationalised local parts
(no mailbox of the registry needs them; SMTPUTF8 is not spoken by our senders).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

SIMPLE = r"^[a-z0-9_][a-z0-9_+-]*(?:[.'][a-z0-9_+-]+)*@(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,24}$"
SIMPLE_OCTETS = 64
"""Lower-case addresses of at most so many octets that need no second look: about 95 % of real ones. `extract` agrees
with both (a test); so short an address cannot break a length limit of RFC 5321."""

_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TOKEN = re.compile(r"[^\s;,|<>()\[\]\"\u201c\u201d]*@[^\s;,|<>()\[\]\"\u201c\u201d]*")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_SPACED_AT = re.compile(r"^\s*\S+\s*@\s*\S+\s*$")
_WORD = re.compile(r"[^\W_]+", re.ASCII)
_TOUCHING = re.compile(r"\w[,;]$")
_SCHEME = re.compile(r"^(?:[a-z][a-z -]*:/{0,2}|(?:e-?mails?|mail|address|contact)=)+", re.IGNORECASE)
_FORMULA = "=+-"
"""A spreadsheet takes a value that begins so for a formula, and no mailbox of a practice does."""
_EDGE = "'`*:!?>\u2018\u2019\u201a\u201b\u2010\u2011\u2012\u2013\u2014\u2015\u2026"
_FULL_WIDTH_AT = "\uff20"
_BORDER = tuple(':=-\u2013\u2014(<[/|,;>"\u201c')
_KNOWN_WORDS = frozenset(
    {
        "address",
        "addresses",
        "admin",
        "and",
        "at",
        "billing",
        "business",
        "clinic",
        "contact",
        "direct",
        "email",
    }
    | {"emails", "fax", "for", "is", "mail", "mailbox", "main", "me", "message", "messaging", "my", "office"}
    | {
        "online",
        "or",
        "our",
        "personal",
        "phone",
        "practice",
        "primary",
        "secondary",
        "secure",
        "send",
        "the",
    }
    | {"to", "us", "use", "via", "work"}
)
"""Words that may stand right before an address without being half of it."""
_ORDINARY_WORD_LETTERS = 3
_LOCAL_OCTETS, _ADDRESS_OCTETS = 64, 254


@dataclass(frozen=True)
class Found:
    """An address, lower case, with what was done to normalise it."""

    address: str
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """A text with an `@` that is no usable address. `suggestion` is only reported, never used."""

    text: str
    reason: str
    suggestion: str = ""


def extract(text: str) -> tuple[Found | Refused, ...]:
    """The addresses of one field in their order, each once; a text without `@` gives nothing."""
    if "@" not in text and _FULL_WIDTH_AT not in text:
        return ()
    found: dict[str, Found | Refused] = {}
    for one in _each(text):
        key = one.address if isinstance(one, Found) else f"{one.reason} {one.text}"
        found.setdefault(key, one)
    return tuple(found.values())


def _each(text: str) -> Iterator[Found | Refused]:
    repairs: list[str] = []
    clean = _INVISIBLE.sub("", text).replace("\u00a0", " ")
    if clean != text:
        repairs.append("invisible")
    if _FULL_WIDTH_AT in clean:
        repairs.append("full_width")
        clean = clean.replace(_FULL_WIDTH_AT, "@")
    if clean != clean.strip():
        repairs.append("space")
        clean = clean.strip()
    if _SPACED_AT.match(clean) and re.search(r"\s@|@\s", clean):
        repairs.append("inner_space")
        clean = re.sub(r"\s*@\s*", "@", clean)
    tokens = list(_TOKEN.finditer(clean))
    addresses = sum(part.count("@") for part in (t.group() for t in tokens))
    if addresses > 1 and "@@" not in clean:
        repairs.append("several")
    end = 0
    for token in tokens:
        before, after = clean[end : token.start()], clean[token.end() :]
        end = token.end()
        for part in _parts(token.group()):
            one = _address(part, tuple(repairs))
            if isinstance(one, Found) and (why := _torn(before, after)):
                one = Refused(clean, why, one.address)
            yield one


def _parts(token: str) -> list[str]:
    """`a@b.test/c@d.test` is two; anything else is one."""
    parts = token.split("/")
    return parts if len(parts) > 1 and all(part.count("@") == 1 for part in parts) else [token]


def _torn(before: str, after: str) -> str:
    """Why the text around an address may be a part of it: `john smith@x.test`, `smith,j@x.test`, `j@x.test .org`."""
    words = _WORD.findall(before)
    apart = before.rstrip().endswith(_BORDER) and not _TOUCHING.search(before)
    if words and not apart and words[-1].lower() not in _KNOWN_WORDS:
        return "words_before"
    rest = after.strip()
    if rest and rest[0] in ".":
        return "inner_space"
    word = re.match(r"[^\s;,|<>()\[\]\"/:-]+", rest)
    if word and "@" not in word.group():
        plain = word.group().rstrip(".").lower()
        if not plain.isalpha() or (len(plain) < _ORDINARY_WORD_LETTERS and plain not in _KNOWN_WORDS):
            return "inner_space"
    return ""


def _address(token: str, repairs: tuple[str, ...]) -> Found | Refused:
    made = list(repairs)
    text = token
    if text.strip(_EDGE) != text:
        made.append("punctuation")
        text = text.strip(_EDGE)
    if scheme := _SCHEME.match(text):
        if "://" in scheme.group() and not scheme.group().lower().startswith("mailto:"):
            return Refused(token, "url")
        made.append("mailto" if scheme.group().lower().startswith("mailto:") else "label")
        text = text[scheme.end() :]
    if "://" in text or text.lower().startswith("www."):
        return Refused(token, "url")
    if text.endswith("."):
        made.append("trailing_dot")
        text = text.rstrip(".")
    if text != text.lower():
        made.append("case")
        text = text.lower()
    if text.count("@") != 1:
        return Refused(token, "double_at", re.sub("@+", "@", text) if "@@" in text else "")
    local, domain = text.split("@")
    return _checked(token, local, domain, made)


def _checked(token: str, local: str, domain: str, made: list[str]) -> Found | Refused:  # noqa: PLR0911, PLR0912
    if not local:
        return Refused(token, "no_local_part")
    if not domain:
        return Refused(token, "no_domain")
    if ".." in local or ".." in domain:
        return Refused(token, "double_dot", re.sub(r"\.{2,}", ".", f"{local}@{domain}"))
    if not all(sign.isalnum() for sign in domain if not sign.isascii()):
        return Refused(token, "bad_domain")
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode()
        except UnicodeError:
            return Refused(token, "bad_domain")
        made.append("idn")
    labels = domain.split(".")
    if len(labels) < 2:  # noqa: PLR2004
        return Refused(token, "no_domain")
    last = labels[-1]
    if not all(_LABEL.fullmatch(label) for label in labels) or len(last) < 2:  # noqa: PLR2004
        return Refused(token, "bad_domain")
    if not last.isalpha() and not last.startswith("xn--"):
        return Refused(token, "bad_domain")
    if not local.isascii():
        return Refused(token, "non_ascii_local_part")
    if local.startswith(".") or local.endswith("."):
        return Refused(token, "dot_at_edge", f"{local.strip('.')}@{domain}")
    if "/" in local or not _LOCAL.fullmatch(local):  # `n/a@x.test`: a note, or half of one
        return Refused(token, "bad_local_part")
    # `"x"@`, of which a mended line makes `'x'@`: what is inside is not guessed.
    if local[0] in _EDGE or local[-1] in _EDGE:
        return Refused(token, "quoted_local_part", f"{local.strip(_EDGE)}@{domain}")
    if local[0] in _FORMULA:
        return Refused(token, "symbol_at_start", f"{local.lstrip(_FORMULA)}@{domain}")
    address = f"{local}@{domain}"
    if len(local) > _LOCAL_OCTETS or len(address) > _ADDRESS_OCTETS:
        return Refused(token, "too_long")
    return Found(address, tuple(dict.fromkeys(made)))
