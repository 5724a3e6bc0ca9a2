"""What may be sent: each rule red on its own, green on the estate's own message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dualstream_assets.estate import Estate
from dualstream_assets.sending.content import UNSUBSCRIBE, VIEW, Content, lawful, links_of, render


@pytest.fixture
def content(lab_estate: Estate) -> Content:
    return render(lab_estate, "healthcare")


def said(content: Content, estate: Estate) -> str:
    return "; ".join(map(str, lawful(content, estate)))


@pytest.mark.parametrize("stream", ["healthcare", "trucking"])
def test_the_labs_message_is_lawful(lab_estate: Estate, stream: str) -> None:
    assert lawful(render(lab_estate, stream), lab_estate) == ()


def test_the_message_leads_to_the_tool_and_to_the_product_of_this_person(content: Content) -> None:
    assert '{{ TrackLink "https://performancewest.test/npi" }}' in content.html
    assert (
        "https://performancewest.test/pecos-revalidation?k={{ .Subscriber.Attribs.product_key }}"
        in content.html
    )
    assert "$399" in content.text
    assert all(link.startswith("https://performancewest.test/") for link in links_of(content))


def _without(content: Content, text: str, by: str = "") -> Content:
    return replace(content, html=content.html.replace(text, by), text=content.text.replace(text, by))


@pytest.mark.parametrize(
    ("gone", "finding"),
    [
        ("100 Example Street", "no postal address"),
        ("This is an advertisement", "advertisement"),
        (UNSUBSCRIBE, "no opt-out link"),
        (VIEW, "no view pixel"),
    ],
)
def test_what_the_law_asks_for_is_missed(
    lab_estate: Estate, content: Content, gone: str, finding: str
) -> None:
    assert finding in said(_without(content, gone), lab_estate)


@pytest.mark.parametrize(
    ("link", "finding"),
    [
        ("http://localhost:9000/x", "no recipient can reach"),
        ("https://127.0.0.1/x", "no recipient can reach"),
        ("http://performancewest.test/x", "not https"),
        ("https://bit.ly/x", "link shortener"),
    ],
)
def test_a_bad_link_is_found(lab_estate: Estate, content: Content, link: str, finding: str) -> None:
    bad = _without(content, "https://performancewest.test/npi", link)
    assert finding in said(bad, lab_estate)


@pytest.mark.parametrize(
    "root", ["", "http://localhost:9000", "https://localhost", "http://lists.example.test"]
)
def test_a_root_url_that_no_recipient_can_use_is_found(
    lab_estate: Estate, content: Content, root: str
) -> None:
    assert "root_url" in said(replace(content, root_url=root), lab_estate)


@pytest.mark.parametrize("subject", ["Re: your date", "FWD: your date", "", "a\nBcc: b"])
def test_a_misleading_or_broken_subject_is_found(lab_estate: Estate, content: Content, subject: str) -> None:
    assert said(replace(content, subject=subject), lab_estate)


def test_a_from_of_another_domain_is_found(lab_estate: Estate, content: Content) -> None:
    assert "From is not at" in said(replace(content, from_email="X <x@other.test>"), lab_estate)


def test_a_reply_to_that_is_not_sent_is_found(lab_estate: Estate, content: Content) -> None:
    assert "Reply-To header is not sent" in said(replace(content, headers=()), lab_estate)


def test_an_unknown_template_tag_is_found(lab_estate: Estate, content: Content) -> None:
    bad = replace(content, html=content.html + "{{ .Subscriber.Secret }}")
    assert "unknown template tags: .Subscriber.Secret" in said(bad, lab_estate)


def test_unanswered_facts_are_findings_and_not_text(lab_estate: Estate) -> None:
    campaign = lab_estate.campaign.model_copy(
        update={"from_address": None, "reply_to": None, "postal_address": None, "tool_url": None}
    )
    estate = lab_estate.model_copy(update={"campaign": campaign})
    found = said(render(estate, "healthcare"), estate)
    for finding in ("From is missing", "Reply-To is missing", "no postal address", "unanswered fact"):
        assert finding in found


def test_a_name_with_markup_is_escaped(lab_estate: Estate) -> None:
    campaign = lab_estate.campaign.model_copy(update={"from_name": "A <b>& Co"})
    estate = lab_estate.model_copy(update={"campaign": campaign})
    assert "A &lt;b&gt;&amp; Co" in render(estate, "healthcare").html
