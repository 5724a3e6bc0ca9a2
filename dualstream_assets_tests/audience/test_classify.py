"""Where a domain or address belongs, rule by rule; names of people and practices are made up, operators' are real."""

import pytest

from dualstream_assets.audience.classify import RULES, Classifier, classify_address, classify_domain
from dualstream_assets.audience.tables import packaged_tables
from dualstream_assets.estate.model import Audience
from dualstream_assets.registry.addresses import Found, Refused, extract

SECTION_4_DIRECT = (
    "direct.edward.org",
    "ewd.direct.hshs.org",
    "16718.direct.athenahealth.com",
    "direct.health.unm.edu",
    "Direct.Parkviewexchange.com",
    "a.medicity.net",
    "a.surescripts.net",
    "a.updox.com",
    "a.maxmd.net",
    "maxmddirect.com",
    "a.allscriptsdirect.net",
    "a.allscriptsdirect.org",
    "a.direct-ci.com",
    "a.direct-ci.net",
    "a.nextgenshare.com",
    "a.eclinicaldirectplus.com",
    "a.ecldirect.com",
    "a.ecldirect.net",
    "a.cernerdirect.com",
    "a.medalliesdirect.net",
    "a.medentdirect.com",
    "a.e-mdsdirect.com",
    "139340.advancedmd-direct.com",
    "a.gwaydirect.com",
    "a.directbygreenway.com",
    "a.compulinkdirect.com",
    "a.eyemdemr.com",
    "directaddress.net",
    "direct-address.net",
    "a.uprisedirect.com",
    "a.kno2fy.com",
    "a.hcadirect.net",
    "a.iqhealth.com",
    "mayoclinicmsg.org",
    "a.myteamcare.com",
    "a.securechart.com",
    "directwellstar.org",
    "a.phimail.com",
    "a.directnppes.com",
    "a.officeally.io",
    "a.secure-health.net",
    "a.medicasoft.us",
)
"""Every label and suffix that the facts name."""

FALSE_FRIENDS = (
    "anewdirectionforcounseling.com",
    "avicennadirectcare.com",
    "cleardirectionnj.com",
    "directcarefh.com",
    "directcarellc.net",
    "directdoserx.com",
    "directionsforliving.org",
    "directmms.com",
    "edirectservices.com",
    "higherdirections.com",
    "medicaldirectcare.com",
    "mobilecaredirect.com",
    "mydirectpt.com",
    "newdirectionsaba.com",
    "phlebotomydirect.com",
    "surgerydirect.net",
    "valleydirectprimarycare.com",
    "hispanicfamilyservicesny.org",
    "mathispt.com",
    "whisperingoakslodge.com",
    "securedds.com",
    "secure.pkdkids.com",
    "secure.dysondds.com",
)
"""Practices that a rule on substrings would take for Direct, hisp or secure mail."""


@pytest.mark.parametrize(
    ("domain", "segment", "rule"),
    [
        ("direct.clinic.example", "direct", "direct-label"),
        ("ewd.direct.hospital.example", "direct", "direct-label"),
        ("16718.direct.athenahealth.com", "direct", "direct-label"),
        ("Direct.Exchange.Example", "direct", "direct-label"),
        ("ehrdirect.clinic.example", "direct", "direct-label"),
        ("hisp.clinic.example", "direct", "direct-label"),
        ("clinic.medicity.net", "direct", "direct-suffix"),
        ("clinic.updox.com", "direct", "direct-suffix"),
        ("CLINIC.ALLSCRIPTSDIRECT.NET", "direct", "direct-suffix"),
        ("clinic.eclinicaldirectplus.com", "direct", "direct-suffix"),
        ("directaddress.net", "direct", "direct-suffix"),
        ("clinic.compulinkdirect.com", "direct", "direct-suffix"),
        ("eyemdemr.com", "review", "review-vendor"),
        ("updox.com", "review", "review-vendor"),
        ("athenahealth.com", "review", "review-vendor"),
        ("clinic.compulink.com", "review", "review-domain"),
        ("therapysecure.com", "review", "review-domain"),
        ("direct.com", "review", "review-direct-shape"),
        ("notmedicity.net", "institutional", "institutional"),
        ("clinic.direct", "institutional", "institutional"),
        ("va.gov", "dropped", "giant"),
        ("med.va.gov", "dropped", "giant"),
        ("mail.mil", "dropped", "giant"),
        ("store.walgreens.com", "dropped", "giant"),
        ("nova.gov", "institutional", "institutional"),
        ("gmail.com", "consumer", "consumer-domain"),
        ("GMAIL.COM.", "consumer", "consumer-domain"),
        ("currently.com", "consumer", "consumer-domain"),
        ("coqui.net", "consumer", "consumer-domain"),
        ("prtc.net", "consumer", "consumer-domain"),
        ("doctor.com", "consumer", "consumer-domain"),
        ("registerednurses.com", "consumer", "consumer-domain"),
        ("directbox.com", "consumer", "consumer-domain"),
        ("chartermi.net", "consumer", "consumer-domain"),
        ("bex.net", "consumer", "consumer-domain"),
        ("isla.net", "consumer", "consumer-domain"),
        ("islands.vi", "consumer", "consumer-domain"),
        ("vzpacifica.net", "consumer", "consumer-domain"),
        ("samoatelco.com", "consumer", "consumer-domain"),
        ("kpunet.net", "consumer", "consumer-domain"),
        ("alumni.com", "consumer", "consumer-domain"),
        ("phoenix.cox.net", "consumer", "consumer-suffix"),
        ("physicist.net", "consumer", "consumer-domain"),
        ("general-hospital.com", "consumer", "consumer-domain"),
        ("frontier.com", "consumer", "consumer-domain"),
        ("cfl.rr.com", "consumer", "consumer-suffix"),
        ("anything.new.rr.com", "consumer", "consumer-suffix"),
        ("notrr.com", "institutional", "institutional"),
        ("yahoo.ca", "consumer", "consumer-family"),
        ("yahoo.co.uk", "consumer", "consumer-family"),
        ("hotmail.com.mx", "consumer", "consumer-family"),
        ("live.fr", "consumer", "consumer-family"),
        ("yahoo.clinic.example", "institutional", "institutional"),
        ("live.nih.gov", "institutional", "institutional"),
        ("outlook.health", "institutional", "institutional"),
        ("gmail.clinic.example", "institutional", "institutional"),
        ("mailinator.com", "dropped", "disposable"),
        ("eu.mailinator.com", "dropped", "disposable"),
        ("gamil.com", "dropped", "misspelt-consumer"),
        ("gmial.com", "dropped", "misspelt-consumer"),
        ("gmai.com", "dropped", "misspelt-consumer"),
        ("sbcglobal.com", "dropped", "misspelt-consumer"),
        ("yaho.com", "dropped", "misspelt-consumer"),
        ("clinic.con", "dropped", "misspelt-tld"),
        ("clinic.local", "dropped", "reserved-tld"),
        ("Mail.Clinic.LOCAL.", "dropped", "reserved-tld"),
        ("clinic.invalid", "dropped", "reserved-tld"),
        ("mail.localhost", "dropped", "reserved-tld"),
        ("clinic.internal", "dropped", "reserved-tld"),
        ("clinic.onion", "dropped", "reserved-tld"),
        ("clinic.home.arpa", "dropped", "reserved-tld"),
        ("local.clinic.example", "institutional", "institutional"),
        ("local.com", "institutional", "institutional"),
        ("clinic.local.example", "institutional", "institutional"),
        ("home.arpa.example", "institutional", "institutional"),
        ("clinic.test", "institutional", "institutional"),
        ("praxis.de", "dropped", "foreign-tld"),
        ("clinic.co.uk", "dropped", "foreign-tld"),
        ("clinic.pr", "institutional", "institutional"),
        ("wc.k12.ia.us", "institutional", "institutional"),
        ("clinic.md", "institutional", "institutional"),
        ("imail.org", "institutional", "institutional"),
        ("clinic.hush.com", "institutional", "institutional"),
        ("mediacomcc.com", "institutional", "institutional"),
        ("clinic.onmicrosoft.com", "institutional", "institutional"),
        ("hospital.edu", "institutional", "institutional"),
    ],
)
def test_a_domain_is_ruled(domain: str, segment: str, rule: str) -> None:
    ruling = classify_domain(domain)
    assert (ruling.segment, ruling.rule) == (segment, rule)
    assert ruling.evidence


@pytest.mark.parametrize("domain", SECTION_4_DIRECT)
def test_every_direct_name_of_the_facts_is_direct_whatever_its_case_and_type(domain: str) -> None:
    for text in (domain, domain.upper(), f"{domain}."):
        assert classify_address(f"jdoe@{text}", endpoint_type="OTHERS").segment == "direct"


@pytest.mark.parametrize("domain", FALSE_FRIENDS)
def test_a_practice_whose_name_contains_direct_stays_a_practice(domain: str) -> None:
    assert classify_address(f"office@{domain}", endpoint_type="DIRECT").segment == "institutional"


@pytest.mark.parametrize(
    ("address", "description", "segment", "rule"),
    [
        ("kmorgan28953@mobilecaredirect.example", "", "review", "review-direct-shape"),
        ("office@mobilecaredirect.example", "Direct Address", "review", "review-direct-shape"),
        ("office@mobilecaredirect.example", "redirected mail", "institutional", "institutional"),
        ("office@mobilecaredirect.example", "", "institutional", "institutional"),
        ("kmorgan28953@clinic.example", "Direct Address", "institutional", "institutional"),
        ("direct@clinic.example", "", "review", "review-direct-local-part"),
        ("HD30DirectMessaging@health.example", "", "review", "review-direct-local-part"),
        ("director@clinic.example", "", "institutional", "institutional"),
        ("office@direct.clinic.example", "", "direct", "direct-label"),
        ("direct@gmail.com", "", "consumer", "consumer-domain"),
    ],
)
def test_the_shape_of_an_address_goes_to_review_and_is_never_guessed(
    address: str, description: str, segment: str, rule: str
) -> None:
    ruling = classify_address(address, description=description)
    assert (ruling.segment, ruling.rule) == (segment, rule)


@pytest.mark.parametrize(
    ("filed", "outcome"),
    [
        ("Salisbury", None),
        ("COMPULINK", None),
        ("N/A", None),
        ("email", None),
        ("192.168.1,104", None),
        ("www.riverclinic.example", None),
        ("HTTPS://urldefense.proofpoint.com/v2/url?u=http-3A__riverclinic.example", None),
        ("KMORGAN@GEORGIAKID.ALLSCRIPTSDIRECT.NET", "direct direct-suffix"),
        ("Beth@riverclinic.example", "institutional institutional"),
        ("beth@riverclinic.example", "institutional institutional"),
        ("kmorgan@comcast.net", "consumer consumer-domain"),
        ("kmorgan@gamil.com", "dropped misspelt-consumer"),
        ("kmorgan@yahoo.con", "dropped misspelt-tld"),
        ("kmorgan@riverclinic.con", "dropped misspelt-tld"),
        ("kmorgan@riverhospital.edu o", "refused inner_space"),
        ("mailto:kmorgan@gmail.com", "consumer consumer-domain"),
        ("kmorgan@riverclinic.example.", "institutional institutional"),
        ("kmorgan@gmail.com; kmorgan@direct.riverclinic.example", "consumer consumer-domain"),
        ("HD30DirectMessaging@flhealth.gov", "review review-direct-local-part"),
        ("Direct@riverclinic.compulink.com", "review review-domain"),
    ],
)
def test_every_form_of_the_real_file_has_its_outcome(filed: str, outcome: str | None) -> None:
    first = next(iter(extract(filed)), None)
    if isinstance(first, Found):
        ruling = classify_address(first.address)
        assert f"{ruling.segment} {ruling.rule}" == outcome
    else:
        assert (f"refused {first.reason}" if isinstance(first, Refused) else None) == outcome


@pytest.mark.parametrize("kind", [None, "DIRECT", "CONNECT", "FHIR"])
def test_the_endpoint_type_changes_no_ruling(kind: str | None) -> None:
    assert classify_address("office@clinic.example", endpoint_type=kind).segment == "institutional"
    assert classify_address("office@direct.clinic.example", endpoint_type=kind).segment == "direct"


def test_role_accounts_are_flagged_and_keep_their_segment() -> None:
    assert classify_address("Info@clinic.example").role_account
    assert classify_address("info@clinic.example").segment == "institutional"
    assert not classify_address("jane.doe@clinic.example").role_account


@pytest.mark.parametrize("text", ["", "clinic.example", "@clinic.example", "office@"])
def test_what_is_no_address_is_an_error_of_the_caller(text: str) -> None:
    with pytest.raises(ValueError, match="left side"):
        classify_address(text)


def test_even_an_estates_entry_never_makes_a_school_or_the_military_consumer() -> None:
    added = Audience(consumer_domains=("hospital.edu", "wc.k12.ia.us", "army.mil"))
    classifier = Classifier(packaged_tables().with_estate(added))
    for domain in added.consumer_domains:
        assert classifier.classify_domain(domain).segment == "institutional"


def test_every_rule_that_fires_is_explained() -> None:
    fired = {
        classify_domain(d).rule
        for d in (
            "direct.a.example",
            "a.updox.com",
            "updox.com",
            "therapysecure.com",
            "va.gov",
            "a.con",
            "a.local",
            "mailinator.com",
            "yaho.com",
        )
    } | {
        classify_domain(d).rule
        for d in ("gmail.com", "a.rr.com", "yahoo.ca", "a.de", "a.example", "direct.com")
    }
    fired.add(classify_address("direct@a.example").rule)
    assert fired == set(RULES) - {"decided"}  # no table decides that
