"""The message: subject, HTML and text for listmonk, and whether it is lawful to send it.

Rendered with listmonk's template tags (facts/listmonk section 6): one unsubscribe link in each part, the view pixel,
one tracked literal link to the free tool, and an untracked link to the product that carries the person's `product_key`
(a tracked per-person address would make one row of `links` per person). The one-click headers of RFC 8058 are
listmonk's own (`privacy.unsubscribe_header`); that they are signed is measured on a real message, not here.
"""

from __future__ import annotations

import html as html_escape
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from dualstream_assets.estate import Estate

UNSUBSCRIBE = "{{ UnsubscribeURL }}"
VIEW = "{{ TrackView }}"
PRODUCT_KEY = "{{ .Subscriber.Attribs.product_key }}"
AD_STATEMENT = "This is an advertisement"
KNOWN_TAGS = re.compile(
    r"^(UnsubscribeURL|TrackView|TrackLink \"https://[^\"{}]+\"|\.Subscriber\.Attribs\.product_key)$"
)
SHORTENERS = frozenset(
    (
        "bit.ly",
        "t.co",
        "goo.gl",
        "tinyurl.com",
        "ow.ly",
        "is.gd",
        "buff.ly",
        "rebrand.ly",
        "cutt.ly",
        "t.ly",
        "lnkd.in",
    )
)
MISLEADING_SUBJECT = re.compile(r"^\s*(re|fwd?|aw|wg)\s*:", re.IGNORECASE)
MISSING = "MISSING"


@dataclass(frozen=True)
class Content:
    """One message for one stream, ready for a campaign.

    Attributes:
        from_email: `Name <address>`.
        headers: extra headers in listmonk's form, one mapping per header.
        html, text: bodies with listmonk's template tags.
        root_url: the public address that unsubscribe links are built from.
    """

    subject: str
    from_email: str
    reply_to: str
    headers: tuple[dict[str, str], ...]
    html: str
    text: str
    root_url: str


@dataclass(frozen=True)
class ContentFinding:
    """One reason not to send this content, and the rule behind it."""

    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.message} ({self.rule})"


def render(estate: Estate, stream: str) -> Content:
    """The message of the estate's campaign as this stream sends it. Unanswered facts render as `MISSING`."""
    campaign = estate.campaign
    facts = {
        "org": campaign.from_name or estate.organisation.name,
        "product": campaign.product,
        "price": f"${campaign.price_usd}",
        "postal": campaign.postal_address or MISSING,
        "tool": campaign.tool_url or MISSING,
        "buy": f"{campaign.product_url or MISSING}?k={PRODUCT_KEY}",
    }
    reply_to = campaign.reply_to or MISSING
    return Content(
        subject=campaign.subject,
        from_email=f"{campaign.from_name or MISSING} <{campaign.from_address or MISSING}>",
        reply_to=reply_to,
        headers=({"Reply-To": reply_to},),
        html=_html(facts),
        text=_text(facts),
        root_url=estate.streams[stream].listmonk.root_url or "",
    )


def _paragraphs(facts: dict[str, str]) -> list[str]:
    return [
        "CMS publishes a Medicare revalidation date for every enrolled provider. A missed date can put payments"
        " on hold.",
        "You can look up your NPI, your date and what is due, free and without an account:",
        f"If you would rather have it done: {facts['product']}, {facts['price']}, filed for you in PECOS.",
    ]


def _html(facts: dict[str, str]) -> str:
    safe = {name: html_escape.escape(value, quote=False) for name, value in facts.items()}
    first, second, third = _paragraphs(safe)
    tool = f'{{{{ TrackLink "{facts["tool"]}" }}}}'
    return (
        '<!doctype html><html><body style="font-family:sans-serif;font-size:15px;line-height:1.5">\n'
        f'<p>Hello,</p>\n<p>{first}</p>\n<p>{second} <a href="{tool}">NPI look-up</a></p>\n'
        f'<p>{third} <a href="{facts["buy"]}">{safe["product"]}</a></p>\n<p>{safe["org"]}</p>\n<hr>\n'
        f'<p style="font-size:12px;color:#555">{AD_STATEMENT} by {safe["org"]}, sent to the address you published in'
        f" the NPPES registry.<br>{safe['postal']}<br>"
        f'<a href="{UNSUBSCRIBE}">Unsubscribe</a> or reply with the word stop.</p>\n{VIEW}\n</body></html>\n'
    )


def _text(facts: dict[str, str]) -> str:
    first, second, third = _paragraphs(facts)
    return (
        f"Hello,\n\n{first}\n\n{second}\n{facts['tool']}\n\n{third}\n{facts['buy']}\n\n{facts['org']}\n\n-- \n"
        f"{AD_STATEMENT} by {facts['org']}, sent to the address you published in the NPPES registry.\n"
        f"{facts['postal']}\nUnsubscribe: {UNSUBSCRIBE}\nor reply with the word stop.\n"
    )


def lawful(content: Content, estate: Estate) -> tuple[ContentFinding, ...]:
    """Every reason not to send this content; empty when there is none.

    Sources: 15 U.S.C. 7704 (CAN-SPAM), RFC 8058, RFC 5322, the bulk-sender rules of Google and Yahoo.
    """
    return (
        *_headers(content, estate),
        *_bodies(content, estate),
        *_links(content),
        *_tags(content),
        *_root(content),
    )


def _headers(content: Content, estate: Estate) -> Iterator[ContentFinding]:
    address = re.search(r"<([^<>@\s]+@([^<>@\s]+))>$", content.from_email)
    if address is None or MISSING in content.from_email:
        yield ContentFinding(
            "CAN-SPAM (a)(1)", "From is missing: set campaign.from_name and campaign.from_address"
        )
    elif address.group(2).lower() != estate.organisation.domain:
        yield ContentFinding("DMARC alignment", f"From is not at {estate.organisation.domain}")
    if MISSING in content.reply_to or "@" not in content.reply_to:
        yield ContentFinding("CAN-SPAM (a)(3)", "Reply-To is missing: set campaign.reply_to")
    if not any(header.get("Reply-To") == content.reply_to for header in content.headers):
        yield ContentFinding("CAN-SPAM (a)(3)", "the Reply-To header is not sent")
    if not content.subject.strip():
        yield ContentFinding("CAN-SPAM (a)(2)", "the subject is empty")
    if MISLEADING_SUBJECT.match(content.subject):
        yield ContentFinding("CAN-SPAM (a)(2)", "the subject pretends to be a reply or a forward")
    if "\n" in content.subject + content.from_email + content.reply_to:
        yield ContentFinding("RFC 5322", "a header has a line break")


def _bodies(content: Content, estate: Estate) -> Iterator[ContentFinding]:
    postal = estate.campaign.postal_address
    for name, body in (("HTML", html_escape.unescape(content.html)), ("text", content.text)):
        if not body.strip():
            yield ContentFinding("RFC 2046", f"the {name} part is empty")
            continue
        if not postal or postal not in body:
            yield ContentFinding("CAN-SPAM (a)(5)", f"the {name} part has no postal address")
        if AD_STATEMENT not in body:
            yield ContentFinding(
                "CAN-SPAM (a)(5)", f"the {name} part does not say that it is an advertisement"
            )
        if UNSUBSCRIBE not in body:
            yield ContentFinding("CAN-SPAM (a)(3)", f"the {name} part has no opt-out link")
        if MISSING in body:
            yield ContentFinding(
                "content", f"the {name} part has an unanswered fact (dualstream doctor --questions)"
            )
    if VIEW not in content.html:
        yield ContentFinding("tracking", "the HTML part has no view pixel: views would stay at zero")


def links_of(content: Content) -> list[str]:
    """Every literal link of both parts, with the tracked ones, without template tags."""
    plain = re.sub(r"\{\{ TrackLink \"([^\"]*)\" \}\}", r"\1", content.html + "\n" + content.text)
    plain = re.sub(r"\{\{.*?\}\}", "", plain)
    return re.findall(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s\"'<>]+", plain)


def _links(content: Content) -> Iterator[ContentFinding]:
    for link in dict.fromkeys(links_of(content)):
        parts = urlsplit(link)
        host = (parts.hostname or "").removeprefix("www.")
        if _is_local(host):
            yield ContentFinding("tracking", f"a link leads to {host}, which no recipient can reach")
        elif parts.scheme != "https":
            yield ContentFinding("bulk senders", f"a link to {host} is not https")
        if host in SHORTENERS:
            yield ContentFinding("bulk senders", f"{host} is a link shortener")


def _tags(content: Content) -> Iterator[ContentFinding]:
    tags = re.findall(r"\{\{(.*?)\}\}", content.subject + content.html + content.text)
    unknown = sorted({tag.strip() for tag in tags if not KNOWN_TAGS.match(tag.strip())})
    if unknown:
        yield ContentFinding("listmonk templates", f"unknown template tags: {', '.join(unknown)}")


def _root(content: Content) -> Iterator[ContentFinding]:
    parts = urlsplit(content.root_url)
    if parts.scheme != "https" or not parts.hostname:
        yield ContentFinding("RFC 8058", "root_url is not an https address: one-click opt-out cannot work")
    elif _is_local(parts.hostname):
        yield ContentFinding("RFC 8058", "root_url leads to this machine: no recipient could opt out")


def _is_local(host: str) -> bool:
    return host in ("localhost", "::1", "0.0.0.0") or host.startswith("127.") or host.endswith(".localhost")  # noqa: S104
