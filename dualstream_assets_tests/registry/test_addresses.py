"""Every pathology of the endpoint field: normalised where it is certain, refused with a reason where it is not."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualstream_assets.registry.addresses import SIMPLE, Found, Refused, extract


@pytest.mark.parametrize(
    ("text", "addresses", "repair"),
    [
        ("office@clinic.example", ["office@clinic.example"], None),
        ("Beth@Clinic.Example", ["beth@clinic.example"], "case"),
        ("OFFICE@GEORGIA.ALLSCRIPTSDIRECT.EXAMPLE", ["office@georgia.allscriptsdirect.example"], "case"),
        ("  office@clinic.example ", ["office@clinic.example"], "space"),
        ("mailto:office@clinic.example", ["office@clinic.example"], "mailto"),
        ("MAILTO://office@clinic.example", ["office@clinic.example"], "mailto"),
        ("office@clinic.example.", ["office@clinic.example"], "trailing_dot"),
        ("office @ clinic.example", ["office@clinic.example"], "inner_space"),
        ("<office@clinic.example>", ["office@clinic.example"], None),
        ("Front desk <office@clinic.example>", ["office@clinic.example"], None),
        ("Email: office@clinic.example", ["office@clinic.example"], None),
        ("email office@clinic.example", ["office@clinic.example"], None),
        ("office@clinic.example (main office)", ["office@clinic.example"], None),
        ("'office@clinic.example'", ["office@clinic.example"], "punctuation"),
        ("a@clinic.example; b@clinic.example", ["a@clinic.example", "b@clinic.example"], "several"),
        ("a@clinic.example, b@clinic.example", ["a@clinic.example", "b@clinic.example"], "several"),
        ("a@clinic.example/b@clinic.example", ["a@clinic.example", "b@clinic.example"], "several"),
        ("a@clinic.example or b@clinic.example", ["a@clinic.example", "b@clinic.example"], "several"),
        ("a@clinic.example A@CLINIC.EXAMPLE", ["a@clinic.example"], None),
        ("o'brien@clinic.example", ["o'brien@clinic.example"], None),
        ("jane.doe+npi@mail.clinic.example", ["jane.doe+npi@mail.clinic.example"], None),
        ("office@praxis-m\u00fcller.example", ["office@xn--praxis-mller-klb.example"], "idn"),
        ("office\u200b@clinic.example", ["office@clinic.example"], "invisible"),
        ("jane@clinic.example\u2019", ["jane@clinic.example"], "punctuation"),
        ("\u2018jane@clinic.example\u2019", ["jane@clinic.example"], "punctuation"),
        ("jane@clinic.example\u2013", ["jane@clinic.example"], "punctuation"),
        ("jane@clinic.example\u2014", ["jane@clinic.example"], "punctuation"),
        ("jane@clinic.example\u2026", ["jane@clinic.example"], "punctuation"),
        ("Email=jane@clinic.example", ["jane@clinic.example"], "label"),
        ("e-mail=jane@clinic.example", ["jane@clinic.example"], "label"),
        ("jane\uff20clinic.example", ["jane@clinic.example"], "full_width"),
        ("a@clinic.example;c@clinic.example", ["a@clinic.example", "c@clinic.example"], "several"),
        ("a@clinic.example,c@clinic.example", ["a@clinic.example", "c@clinic.example"], "several"),
        ("Jane Doe, jane@clinic.example", ["jane@clinic.example"], None),
        ("Jane Doe; jane@clinic.example", ["jane@clinic.example"], None),
        ("email,jane@clinic.example", ["jane@clinic.example"], None),
    ],
)
def test_an_address_is_normalised_where_that_is_certain(
    text: str, addresses: list[str], repair: str | None
) -> None:
    found = extract(text)
    assert [one.address for one in found if isinstance(one, Found)] == addresses
    assert not [one for one in found if isinstance(one, Refused)]
    if repair:
        assert all(repair in one.repairs for one in found if isinstance(one, Found))


@pytest.mark.parametrize(
    ("text", "reason", "suggestion"),
    [
        ("john smith@clinic.example", "words_before", "smith@clinic.example"),
        ("Smith,John@clinic.example", "words_before", "john@clinic.example"),
        ("smith;john@clinic.example", "words_before", "john@clinic.example"),
        ("Dr. Smith,John@clinic.example", "words_before", "john@clinic.example"),
        ("n/a@clinic.example", "bad_local_part", ""),
        ("/jane@clinic.example", "bad_local_part", ""),
        ("jane@clinic\u2019s.example", "bad_domain", ""),
        ("jane@clinic.example\u2019.", "bad_domain", ""),
        ("jane@clinic\u2013main.example", "bad_domain", ""),
        ("jane@clinic\u3002example", "bad_domain", ""),
        ("jdoe@hospitals.example o", "inner_space", "jdoe@hospitals.example"),
        ("office@clinic .example", "no_domain", ""),
        ("office@clinic.example .org", "inner_space", "office@clinic.example"),
        ("office@@clinic.example", "double_at", "office@clinic.example"),
        ("front..desk@clinic.example", "double_dot", "front.desk@clinic.example"),
        ("office@clinic..example", "double_dot", "office@clinic.example"),
        (".office@clinic.example", "dot_at_edge", "office@clinic.example"),
        ("office.@clinic.example", "dot_at_edge", "office@clinic.example"),
        ("@clinic.example", "no_local_part", ""),
        ("office@", "no_domain", ""),
        ("office@clinic", "no_domain", ""),
        ("office@192.168.1.1", "bad_domain", ""),
        ("office@-clinic.example", "bad_domain", ""),
        ("office@clinic_main.example", "bad_domain", ""),
        ("https://user@clinic.example/portal", "url", ""),
        ("www.clinic.example/@office", "url", ""),
        ("b\u00fcro@clinic.example", "non_ascii_local_part", ""),
        ("a" * 65 + "@clinic.example", "too_long", ""),
        ("'kmorgan'@clinic.example", "quoted_local_part", "kmorgan@clinic.example"),
        ("mailto:'kmorgan'@clinic.example", "quoted_local_part", "kmorgan@clinic.example"),
        ("kmorgan'@clinic.example", "quoted_local_part", "kmorgan@clinic.example"),
        ("`kmorgan`@clinic.example", "quoted_local_part", "kmorgan@clinic.example"),
        ("*kmorgan*@clinic.example", "quoted_local_part", "kmorgan@clinic.example"),
        ("'o'brien'@clinic.example", "quoted_local_part", "o'brien@clinic.example"),
    ],
)
def test_a_doubtful_text_is_refused_and_a_correction_only_suggested(
    text: str, reason: str, suggestion: str
) -> None:
    (one,) = extract(text)
    assert isinstance(one, Refused)
    assert (one.reason, one.suggestion) == (reason, suggestion)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Salisbury",
        "COMPULINK",
        "N/A",
        "n/a",
        "?",
        "email",
        "6145550142",
        "192.168.1,104",
        "www.clinic.example",
    ],
)
def test_what_has_no_at_sign_is_no_candidate(text: str) -> None:
    assert extract(text) == ()


_part = st.text("abcxyz019_+-.'", min_size=1, max_size=12)


@given(
    _part, st.text("abcxyz019-.", min_size=1, max_size=20), st.sampled_from(["test", "example", "c0m", "x"])
)
def test_the_fast_path_takes_only_what_the_careful_one_would_leave_as_it_is(
    local: str, domain: str, tld: str
) -> None:
    text = f"{local}@{domain}.{tld}"
    if re.fullmatch(SIMPLE.strip("^$"), text):
        assert extract(text) == (Found(text),)


@given(st.text("ab.@ ,;/<>:'\u00fc-_1", max_size=30))
def test_whatever_is_filed_every_address_found_has_one_at_and_a_dotted_domain(text: str) -> None:
    for one in extract(text):
        if isinstance(one, Found):
            local, domain = one.address.split("@")
            assert local
            assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", domain)
