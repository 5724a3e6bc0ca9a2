"""The tables: what ships in them, what the estate adds and takes out, and the rules that hold for any name."""

import csv
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualstream_assets.audience.classify import Classifier, classify_address, classify_domain
from dualstream_assets.audience.tables import packaged_tables
from dualstream_assets.estate import Estate
from dualstream_assets.estate.findings import domain_name, rule_findings
from dualstream_assets.estate.model import Audience

WORDS_OF_PRACTICES = (
    "clinic",
    "health",
    "dental",
    "hospital",
    "care",
    "psych",
    "chiro",
    "therap",
    "rehab",
    "univ",
)
MAY_SOUND_SO = {"care2.com", "caress.com", "general-hospital.com", "therapist.net"}
"""Webmail brands with such letters in their name (mail.com, Care2)."""


FACTS_3_2 = """
gmail.com googlemail.com outlook.com hotmail.com live.com msn.com windowslive.com passport.com yahoo.com
ymail.com rocketmail.com myyahoo.com aol.com aim.com netscape.net compuserve.com cs.com love.com games.com
wow.com verizon.net att.net currently.com sbcglobal.net bellsouth.net pacbell.net swbell.net ameritech.net
flash.net nvbell.net prodigy.net snet.net wans.net cox.net comcast.net frontier.com frontiernet.net
citlink.net epix.net icloud.com me.com mac.com charter.net spectrum.net twc.com roadrunner.com
brighthouse.com adelphia.net centurylink.net centurytel.net embarqmail.com q.com qwest.net optonline.net
optimum.net suddenlink.net earthlink.net mindspring.com peoplepc.com netzero.net netzero.com juno.com
windstream.net mchsi.com mediacombb.net wowway.com knology.net rcn.com cableone.net tds.net ptd.net
zoominternet.net bresnan.net midco.net gci.net hawaiiantel.net fuse.net consolidated.net comporium.net
hughes.net coqui.net prtc.net choicecable.net libertypr.net caribe.net proton.me protonmail.com pm.me
hushmail.com hush.com tutanota.com fastmail.com zoho.com
"""


def with_estate(**keys: tuple[str, ...]) -> Classifier:
    return Classifier(packaged_tables().with_estate(Audience.model_validate(keys)))


def segment(classifier: Classifier, address_or_domain: str) -> str:
    rule = classifier.classify_address if "@" in address_or_domain else classifier.classify_domain
    return rule(address_or_domain).segment


@pytest.mark.parametrize(
    ("key", "entry", "about", "before", "after"),
    [
        ("consumer_domains", "cable.example", "cable.example", "institutional", "consumer"),
        ("consumer_domains", "*.cable.example", "west.cable.example", "institutional", "consumer"),
        ("consumer_domains", "gmail.co", "gmail.co", "dropped", "consumer"),
        ("not_consumer_domains", "doctor.com", "doctor.com", "consumer", "institutional"),
        ("not_consumer_domains", "rr.com", "cfl.rr.com", "consumer", "institutional"),
        ("not_consumer_domains", "clinic.rr.com", "clinic.rr.com", "consumer", "institutional"),
        ("not_consumer_domains", "yahoo.com.pr", "yahoo.com.pr", "consumer", "institutional"),
        ("not_consumer_domains", "gmail.org", "gmail.org", "dropped", "institutional"),
        ("dropped_domains", "chain.example", "shop.chain.example", "institutional", "dropped"),
        ("not_dropped_domains", "va.gov", "med.va.gov", "dropped", "institutional"),
        ("not_dropped_domains", "med.va.gov", "med.va.gov", "dropped", "institutional"),
        ("not_dropped_domains", "mailinator.com", "mailinator.com", "dropped", "institutional"),
        ("not_dropped_domains", "gmail.net", "gmail.net", "dropped", "institutional"),
        ("not_dropped_domains", "clinic.ca", "clinic.ca", "dropped", "institutional"),
        ("not_dropped_domains", "clinic.internal", "mail.clinic.internal", "dropped", "institutional"),
        ("direct_suffixes", "network.example", "clinic.network.example", "institutional", "direct"),
        ("not_direct_suffixes", "kno2fy.com", "clinic.kno2fy.com", "direct", "institutional"),
        ("not_direct_suffixes", "updox.com", "clinic.updox.com", "direct", "institutional"),
        ("not_direct_suffixes", "clinic.example", "direct.clinic.example", "direct", "institutional"),
        ("review_domains", "portal.example", "clinic.portal.example", "institutional", "review"),
        ("not_review_domains", "therapysecure.com", "therapysecure.com", "review", "institutional"),
        ("not_review_domains", "athenahealth.com", "athenahealth.com", "review", "institutional"),
        ("not_review_domains", "updox.com", "updox.com", "review", "institutional"),
        ("not_review_domains", "hisp.com", "hisp.com", "review", "institutional"),
        ("not_review_domains", "clinic.example", "direct@clinic.example", "review", "institutional"),
    ],
)
def test_the_estate_adds_and_takes_out(key: str, entry: str, about: str, before: str, after: str) -> None:
    assert segment(Classifier(packaged_tables()), about) == before
    for written in (entry, entry.upper(), f"@{entry}.", f"  {entry} ", f"*.{entry}".replace("*.*", "*")):
        changed = with_estate(**{key: (written,)})
        assert segment(changed, about) == after, written


def test_the_neighbours_of_an_entry_keep_their_ruling() -> None:
    changed = with_estate(
        not_consumer_domains=("clinic.rr.com",),
        not_dropped_domains=("med.va.gov",),
        not_direct_suffixes=("clinic.updox.com",),
        not_review_domains=("clinic.compulink.com",),
        dropped_domains=("chain.example",),
    )
    kept = {
        "cfl.rr.com": "consumer",
        "va.gov": "dropped",
        "other.va.gov": "dropped",
        "other.updox.com": "direct",
        "clinic.updox.com": "institutional",
        "updox.com": "review",
        "other.compulink.com": "review",
        "notchain.example": "institutional",
        "clinic.compulink.com": "institutional",
    }
    assert {name: segment(changed, name) for name in kept} == kept


def test_of_two_entries_the_longer_name_wins() -> None:
    changed = with_estate(
        direct_suffixes=("hisp.clinic.example",),
        not_direct_suffixes=("clinic.example",),
        dropped_domains=("chain.example",),
        not_dropped_domains=("good.chain.example",),
    )
    assert segment(changed, "a.hisp.clinic.example") == "direct"
    assert segment(changed, "direct.clinic.example") == "institutional"
    assert segment(changed, "good.chain.example") == "institutional"
    assert segment(changed, "bad.chain.example") == "dropped"


def test_a_foreign_ending_that_is_let_in_is_not_foreign_to_the_build_either() -> None:
    changed = with_estate(not_dropped_domains=("clinic.ca",))
    assert not changed.is_foreign("mail.clinic.ca")
    assert changed.is_foreign("other.ca")


def test_each_key_changes_the_version_and_the_way_of_writing_does_not() -> None:
    keys = [name for name in Audience.model_fields if name.endswith(("_domains", "_suffixes"))]
    assert len(keys) == 8
    versions = {with_estate(**{key: ("clinic.example",)}).tables.version for key in keys}
    assert len(versions | {packaged_tables().version, with_estate().tables.version}) == 10
    same = {
        with_estate(review_domains=names).tables.version
        for names in (("a.example", "b.example"), ("@B.Example.", "*.a.example", "a.example"))
    }
    assert len(same) == 1


@pytest.mark.parametrize(
    ("keys", "key", "said"),
    [
        (
            {"consumer_domains": ("a.example",), "not_consumer_domains": ("@A.Example.",)},
            "audience.not_consumer_domains",
            "a.example is also under consumer_domains",
        ),
        (
            {"direct_suffixes": ("a.example",), "not_direct_suffixes": ("*.a.example",)},
            "audience.not_direct_suffixes",
            "also under direct_suffixes",
        ),
        (
            {"consumer_domains": ("a.example",), "dropped_domains": ("a.example",)},
            "audience.dropped_domains",
            "also under consumer_domains",
        ),
        ({"review_domains": ("info@a.example",)}, "audience.review_domains", "'info@a.example' is no domain"),
        ({"not_review_domains": (" ",)}, "audience.not_review_domains", "' ' is no domain"),
    ],
)
def test_an_estate_that_says_two_things_about_a_name_is_refused(
    lab_estate: Estate, keys: dict[str, tuple[str, ...]], key: str, said: str
) -> None:
    estate = lab_estate.model_copy(update={"audience": Audience.model_validate(keys)})
    (finding,) = [f for f in rule_findings(estate) if f.key.startswith("audience")]
    assert finding.key == key
    assert said in finding.message


def test_names_below_each_other_are_no_contradiction(lab_estate: Estate) -> None:
    audience = Audience(dropped_domains=("a.example",), not_dropped_domains=("b.a.example",))
    assert not rule_findings(lab_estate.model_copy(update={"audience": audience}))


def test_the_shipped_tables_hold_lower_case_domain_names_with_a_source_and_no_person() -> None:
    folder = resources.files("dualstream_assets.audience") / "data"
    for file in folder.iterdir():
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        rows = list(csv.DictReader(lines))
        first = next(iter(rows[0]))
        keys = [row["pattern" if "pattern" in row else first] for row in rows]
        assert len(keys) == len(set(keys)), file.name
        assert all(key == key.lower().strip() and "@" not in key for key in keys), file.name
        assert all(all(value for value in row.values()) and None not in row for row in rows), file.name


def test_no_shipped_consumer_domain_is_a_school_the_government_direct_foreign_or_a_practice_by_its_name() -> (
    None
):
    classifier = Classifier(packaged_tables())
    consumer = classifier.tables.consumer
    assert [d for d in consumer if classifier.classify_domain(d).segment != "consumer"] == []
    assert not {d for d in consumer if d.endswith((".edu", ".gov", ".mil")) or "k12" in d}
    named = {d for d in consumer if any(word in d for word in WORDS_OF_PRACTICES) and "mail2" not in d}
    assert named == MAY_SOUND_SO


def test_the_operators_of_the_facts_are_all_there() -> None:
    assert [name for name in FACTS_3_2.split() if classify_domain(name).segment != "consumer"] == []


LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,12}[a-z0-9])?", fullmatch=True)
KNOWN = st.sampled_from(sorted(packaged_tables().names()))
NAME = st.builds(
    lambda labels, end: ".".join([*labels, end]),
    st.lists(LABEL | st.sampled_from(["direct", "k12", "yahoo"]), max_size=3),
    KNOWN | LABEL,
)


@given(NAME)
def test_case_and_a_last_dot_do_not_matter(name: str) -> None:
    ruling = classify_domain(name)
    assert classify_domain(name.upper()) == classify_domain(f" {name}.") == ruling


@given(NAME)
def test_the_sieve_before_the_rules_changes_no_ruling(name: str) -> None:
    classifier = Classifier(packaged_tables())
    assert classifier.classify_domain(name) == classifier._by_rules(name)  # pyright: ignore[reportPrivateUsage]


@given(NAME, st.sampled_from(["edu", "mil", "gov", "k12.ia.us", "district.k12.ca.us"]))
def test_schools_the_military_and_the_government_are_never_consumer(name: str, end: str) -> None:
    added = with_estate(consumer_domains=(f"{name}.{end}", end))
    for classifier in (Classifier(packaged_tables()), added):
        assert classifier.classify_domain(f"{name}.{end}").segment != "consumer"


@given(LABEL, LABEL)
def test_direct_inside_a_label_alone_is_never_direct(before: str, after: str) -> None:
    name = f"{before}direct{after}.example"
    assert classify_domain(name).segment != "direct"
    assert classify_domain(f"mail.{name}").segment != "direct"
    assert classify_address(f"office@{name}", endpoint_type="DIRECT").segment != "direct"


@pytest.mark.parametrize(
    ("written", "name"),
    [("@Clinic.Example.", "clinic.example"), ("*.clinic.example", "clinic.example"), (" ", "")],
)
def test_a_name_is_looked_up_as_it_is_meant(written: str, name: str) -> None:
    assert domain_name(written) == name
