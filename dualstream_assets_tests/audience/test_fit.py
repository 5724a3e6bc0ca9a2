"""What the gate and the UI are told of a published audience, and for how long that holds."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from click.testing import CliRunner

from dualstream_assets import keys
from dualstream_assets.audience import fit as fit_module
from dualstream_assets.audience.assets import KEYS
from dualstream_assets.audience.classify import Classifier
from dualstream_assets.audience.decisions import decide
from dualstream_assets.audience.drift import accept
from dualstream_assets.audience.fit import SOURCE, look_again, rebuilding, subjects
from dualstream_assets.cli import cli
from dualstream_assets.store.evidence import Evidence, Subject, Verdict, newest, record
from dualstream_assets.workplace import Workplace
from dualstream_assets_tests.audience.rim import checks_of, lists, run
from dualstream_assets_tests.registry.making import blank, filed, person, release_zip

A = "1003000126"


def fit(workplace: Workplace) -> dict[str, Evidence]:
    """Stream -> its evidence `audience_fit`."""
    found = {}
    with workplace.database.transaction() as connection:
        for subject in subjects(workplace.estate):
            found[subject.stream] = newest(connection, subject.stream)[subject]
    return found


def verdicts(workplace: Workplace) -> set[str]:
    return {evidence.verdict for evidence in fit(workplace).values()}


AUDIENCE = [dg.AssetKey(list(key)) for key in KEYS.values()]


def put(workplace: Workplace, *boxes: str) -> None:
    """The next release, beside every list."""
    if not list(workplace.endpoints.inbox.glob("UPDATED*")):
        lists(workplace.endpoints.inbox)
    release_zip(workplace.endpoints.inbox, [person(A)], [filed(A, box) for box in boxes])


def many(count: int) -> list[str]:
    return [f"box{i}@clinic{i}.example" for i in range(count)]


def test_green_checks_tell_the_gate_of_every_stream(workplace: Workplace) -> None:
    put(workplace, "office@clinic.example")
    assert run(workplace).success
    found = fit(workplace)
    assert set(found) == {"healthcare", "trucking"}
    assert verdicts(workplace) == {"pass"}
    assert "NPPES_Data_Dissemination_November_2026_V2.zip, manifest" in found["healthcare"].evidence


def test_a_rebuilt_audience_is_unknown_until_it_is_looked_at(workplace: Workplace) -> None:
    put(workplace, "office@clinic.example", "x@gmail.com")
    assert run(workplace).success
    assert run(workplace, selection=[dg.AssetKey(list(keys.AUDIENCE_REVIEW))]).success
    assert verdicts(workplace) == {"unknown"}
    consumer = dg.AssetSelection.checks_for_assets(list(keys.AUDIENCE_CONSUMER))
    assert run(workplace, selection=consumer).success  # one file's checks look at all
    assert verdicts(workplace) == {"pass"}


def test_a_build_that_failed_leaves_what_is_known_of_the_old_files(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(workplace, "office@clinic.example")
    assert run(workplace).success
    before = fit(workplace)
    monkeypatch.setattr("dualstream_assets.audience.split.decide", lambda *_: 1 / 0)
    assert not run(workplace, selection=AUDIENCE).success
    after = fit(workplace)
    assert verdicts(workplace) == {"pass"}
    assert after["healthcare"].id > before["healthcare"].id
    assert after["healthcare"].expires_at == before["healthcare"].expires_at


def test_a_red_check_shuts_the_gate_and_says_which(workplace: Workplace) -> None:
    put(workplace, "office@clinic.example")
    assert run(workplace).success
    with (workplace.paths.audience / keys.CONSUMER_CSV).open("a") as file:
        file.write("x\n")
    run(workplace, selection=dg.AssetSelection.checks_for_assets(list(keys.AUDIENCE_CONSUMER)))
    assert verdicts(workplace) == {"fail"}
    assert "disjoint_and_conserving" in fit(workplace)["trucking"].evidence


def test_a_jump_blocks_until_it_is_accepted(workplace: Workplace) -> None:
    put(workplace, *many(10))
    assert run(workplace).success
    folder, limits = workplace.paths.audience, workplace.estate.audience.drift
    put(workplace, *many(80))
    result = run(workplace)
    assert not result.success
    assert {
        name for name, passed in checks_of(result).items() if name.startswith("audience") and not passed
    } == {"audience/institutional drift"}
    assert verdicts(workplace) == {"fail"}
    accept(folder, "looked at it", "pat", workplace.clock.now(), limits)
    result = run(workplace, selection=dg.AssetSelection.checks_for_assets(list(keys.AUDIENCE_INSTITUTIONAL)))
    assert result.success
    assert verdicts(workplace) == {"pass"}
    (drift,) = [e for e in result.get_asset_check_evaluations() if e.check_name == "drift"]
    assert "accepted by pat" in str(drift.description)
    assert str(drift.metadata["picture"].value).startswith("![drift](data:image/svg+xml;base64,")
    assert "| institutional | 10 |" in str(drift.metadata["files"].value)


def metadata_of(result: dg.ExecuteInProcessResult, key: keys.Key) -> dict[str, str]:
    (event,) = [e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey(list(key))]
    return {name: str(value.value) for name, value in event.materialization.metadata.items()}


def test_the_ui_shows_the_funnel_what_waits_and_the_command(workplace: Workplace) -> None:
    put(workplace, "office@clinic.example", "direct@clinic.example", "a@direct.example", "b@direct.example")
    result = run(workplace)
    shown = metadata_of(result, keys.AUDIENCE_INSTITUTIONAL)
    assert shown["funnel"].startswith("![funnel](data:image/svg+xml;base64,")
    assert "first release" in shown["since the previous release"]
    review = metadata_of(result, keys.AUDIENCE_REVIEW)
    assert "| direct.example | 2 | review-direct-shape |  |" in review["waiting"]
    assert "dualstream audience decide DOMAIN" in review["decide"]


def test_no_picture_no_harm(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dualstream_assets.pictures._render", lambda *_, **__: 1 / 0)
    put(workplace, "office@clinic.example")
    result = run(workplace)
    assert result.success
    assert "no picture: ZeroDivisionError" in metadata_of(result, keys.AUDIENCE_INSTITUTIONAL)["funnel"]


def test_decided_rows_are_honoured_until_the_decision_or_the_tables_change(workplace: Workplace) -> None:
    boxes = ("office@clinic.example", "a@direct.example")
    put(workplace, *boxes)
    assert run(workplace).success
    classifier = Classifier.of(workplace.estate)
    words = (workplace.paths.audience, "direct.example", "institutional", "their site", "pat")
    decide(*words, workplace.clock.now(), classifier)
    result = run(workplace, selection=AUDIENCE)
    assert metadata_of(result, keys.AUDIENCE_REVIEW)["rows by a decision"] == "1"
    checks = dg.AssetSelection.checks_for_assets(list(keys.AUDIENCE_INSTITUTIONAL))
    assert run(workplace, selection=checks).success
    audience = workplace.estate.audience.model_copy(update={"direct_suffixes": ("direct.example",)})
    workplace.estate = workplace.estate.model_copy(update={"audience": audience})
    assert checks_of(run(workplace, selection=checks))["audience/institutional segment_again"] is False
    workplace.estate = workplace.estate.model_copy(
        update={"audience": audience.model_copy(update={"direct_suffixes": ()})}
    )
    assert run(workplace, selection=checks).success
    decide(
        workplace.paths.audience,
        "direct.example",
        "review",
        "wrong",
        "pat",
        workplace.clock.now(),
        classifier,
    )
    assert checks_of(run(workplace, selection=checks))["audience/institutional segment_again"] is False


def test_files_that_change_while_they_are_looked_at_are_unknown(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(workplace, "office@clinic.example")
    assert run(workplace).success
    real = fit_module.looks

    def meanwhile(*args: object) -> object:
        found = real(*args)  # pyright: ignore[reportArgumentType]
        manifest = workplace.paths.audience / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"today": "2026-', '"today": "2027-'))
        return found

    monkeypatch.setattr(fit_module, "looks", meanwhile)
    assert fit_module.look_again(workplace)
    assert verdicts(workplace) == {"unknown"}


def test_a_build_on_the_command_line_into_our_own_folder_is_told_to_the_gate(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(workplace, "office@clinic.example")
    assert run(workplace).success
    monkeypatch.setattr("dualstream_assets.entry.open_workplace", lambda: workplace)
    monkeypatch.setattr("dualstream_assets.commands.audience.declared_estate", lambda: workplace.estate)
    monkeypatch.setenv("DUALSTREAM_STATE", str(workplace.settings.state))
    zip_path = next(workplace.endpoints.inbox.glob("*Dissemination*.zip"))
    for out, verdict in (
        (workplace.endpoints.inbox / "elsewhere", "pass"),
        (workplace.paths.audience, "unknown"),
    ):
        result = CliRunner().invoke(
            cli, ["audience", "build", "--release", str(zip_path), "--out", str(out)], catch_exceptions=False
        )
        assert result.exit_code == 0, result.output
        assert verdicts(workplace) == {verdict}


CHECKS = dg.AssetSelection.checks_for_assets(list(keys.AUDIENCE_INSTITUTIONAL))
LISTS = [dg.AssetKey(list(key)) for key in (keys.CMS_EXCLUSIONS, keys.CMS_REVALIDATION)]


def test_an_audience_built_without_lists_is_not_fit_also_when_they_come_later(workplace: Workplace) -> None:
    inbox = workplace.endpoints.inbox
    release_zip(inbox, [person(A)], [filed(A, "excluded@clinic.example")])
    assert run(workplace).success
    assert verdicts(workplace) == {"fail"}
    assert "leie is missing: unknown" in fit(workplace)["healthcare"].evidence
    lists(inbox, [A])
    assert run(workplace, selection=LISTS).success
    result = run(workplace, selection=CHECKS)
    assert checks_of(result)["audience/institutional inputs_of_today"] is False
    assert verdicts(workplace) == {"fail"}
    assert (
        "leie: built with none, the registry has UPDATED_2026.11.08.csv"
        in fit(workplace)["healthcare"].evidence
    )
    put(workplace, "excluded@clinic.example", "other@clinic.example")
    assert run(workplace).success
    assert verdicts(workplace) == {"pass"}


def test_an_audience_with_older_lists_than_the_registrys_is_not_fit(workplace: Workplace) -> None:
    put(workplace, "office@clinic.example")
    assert run(workplace).success
    lists(workplace.endpoints.inbox, [A, "1003000118"])
    assert run(workplace, selection=LISTS).success
    assert run(workplace, selection=CHECKS).success  # a warning
    assert verdicts(workplace) == {"fail"}
    assert (
        "leie: built with UPDATED_2026.11.08.csv of 2026-11-08 (1 rows" in fit(workplace)["trucking"].evidence
    )


def test_a_newer_release_that_was_only_looked_for_does_not_make_an_older_audience_fresh(
    workplace: Workplace,
) -> None:
    put(workplace, "office@clinic.example")
    assert run(workplace).success
    release_zip(
        workplace.endpoints.inbox,
        [blank(A, "11/20/2026")],
        [filed(A, "office@clinic.example")],
        name="NPPES_Data_Dissemination_December_2026_V2.zip",
        days="20050523-20261129",
    )
    assert run(workplace, selection=[dg.AssetKey(list(keys.NPPES_RELEASE))]).success
    run(workplace, selection=CHECKS)
    assert verdicts(workplace) == {"fail"}
    assert "the registry has NPPES_Data_Dissemination_December" in fit(workplace)["healthcare"].evidence


def test_the_evidence_ends_with_the_first_of_what_the_audience_was_built_from(workplace: Workplace) -> None:
    limits = workplace.estate.limits
    put(workplace, "office@clinic.example")
    for release_age, list_age, end in (
        (62, 90, "2027-01-10"),
        (62, 45, "2026-12-24"),
        (30, 90, "2026-12-09"),
    ):
        changed = limits.model_copy(update={"release_age_days": release_age, "list_age_days": list_age})
        workplace.estate = workplace.estate.model_copy(update={"limits": changed})
        assert run(workplace).success
        midnight = datetime.fromisoformat(f"{end}T05:00:00+00:00")  # in New York
        assert {e.expires_at.astimezone(UTC) for e in fit(workplace).values()} == {midnight}


def verified_fresh(workplace: Workplace) -> Evidence:
    subject = Subject("healthcare", "verification", "verified_fresh")
    with workplace.database.transaction() as connection:
        return newest(connection, "healthcare")[subject]


def test_other_institutional_bytes_make_the_verified_copy_unknown_and_the_same_do_not(
    workplace: Workplace,
) -> None:
    put(workplace, "office@clinic.example")
    assert run(workplace).success
    subject, now = Subject("healthcare", "verification", "verified_fresh"), workplace.clock.now()
    with workplace.database.transaction() as connection:
        record(connection, subject, Verdict.PASS, "1 person", "check", now, timedelta(days=3))
    assert run(workplace, selection=AUDIENCE).success
    same = verified_fresh(workplace)
    assert (same.verdict, same.evidence, same.expires_at) == ("pass", "1 person", now + timedelta(days=3))
    put(workplace, "office@clinic.example", "x@gmail.com", "other@clinic.example")
    assert run(workplace).success
    assert verified_fresh(workplace).verdict == "unknown"
    assert "materialize verification/verified_institutional" in verified_fresh(workplace).evidence
    with workplace.database.transaction() as connection:
        assert Subject("trucking", "verification", "verified_fresh") not in newest(connection, "trucking")


def test_a_build_that_failed_gives_back_nothing_that_was_looked_at_since(workplace: Workplace) -> None:
    put(workplace, "office@clinic.example", "x@gmail.com")
    assert run(workplace).success
    consumer = workplace.paths.audience / keys.CONSUMER_CSV
    whole = consumer.read_text()

    def failing(meanwhile: bool) -> None:
        with rebuilding(workplace):
            consumer.write_text(whole + "x\n")
            if meanwhile:
                look_again(workplace)
                consumer.write_text(whole)
            raise RuntimeError("the build failed")

    with pytest.raises(RuntimeError):
        failing(meanwhile=True)
    assert verdicts(workplace) == {"fail"}  # what was found meanwhile stays
    look_again(workplace)
    assert verdicts(workplace) == {"pass"}
    with pytest.raises(RuntimeError):
        failing(meanwhile=False)
    assert verdicts(workplace) == {"unknown"}  # the files are not whole
    assert fit(workplace)["healthcare"].source == SOURCE


def test_a_drop_that_was_decided_and_not_built_is_red(workplace: Workplace) -> None:
    put(workplace, "office@clinic.example", "x@gmail.com", "left@other.example")
    assert run(workplace).success
    folder, classifier = workplace.paths.audience, Classifier.of(workplace.estate)
    decide(folder, "clinic.example", "dropped", "they asked", "pat", workplace.clock.now(), classifier)
    found = checks_of(run(workplace, selection=CHECKS))
    assert found["audience/institutional segment_again"] is False
    assert "decided to be dropped, not built since 1" in fit(workplace)["healthcare"].evidence
    assert run(workplace, selection=AUDIENCE).success
    assert run(workplace, selection=CHECKS).success
    assert verdicts(workplace) == {"pass"}


def test_a_list_that_is_read_after_the_build_voids_what_was_known_of_the_files(workplace: Workplace) -> None:
    put(workplace, "office@clinic.example")
    assert run(workplace).success
    only = [dg.AssetKey(list(keys.CMS_EXCLUSIONS))]
    assert run(workplace, selection=only).success
    assert verdicts(workplace) == {"pass"}, "the same lists read again change nothing"
    lists(workplace.endpoints.inbox, excluded=[A])
    assert run(workplace, selection=only).success
    assert verdicts(workplace) == {"unknown"}
    assert "cms/exclusions has changed since" in fit(workplace)["healthcare"].evidence


def test_a_release_that_is_found_after_the_build_voids_it_too(workplace: Workplace) -> None:
    put(workplace, "office@clinic.example")
    assert run(workplace).success
    put(workplace, "other@clinic.example")
    assert run(workplace, selection=[dg.AssetKey(list(keys.NPPES_RELEASE))]).success
    assert verdicts(workplace) == {"unknown"}
