"""What the gate and the UI are told of a published audience, and for how long that holds."""

import dagster as dg
import pytest
from click.testing import CliRunner

from dualstream_assets import keys
from dualstream_assets.audience import fit as fit_module
from dualstream_assets.audience.assets import KEYS
from dualstream_assets.audience.classify import Classifier
from dualstream_assets.audience.decisions import decide
from dualstream_assets.audience.drift import accept
from dualstream_assets.audience.fit import subjects
from dualstream_assets.cli import cli
from dualstream_assets.store.evidence import Evidence, newest
from dualstream_assets.workplace import Workplace
from dualstream_assets_tests.audience.rim import checks_of, run
from dualstream_assets_tests.registry.making import filed, person, release_zip

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
    release_zip(workplace.endpoints.inbox, [person(A)], [filed(A, box) for box in boxes])


def many(count: int) -> list[str]:
    return [f"box{i}@clinic{i}.example" for i in range(count)]


def test_green_checks_tell_the_gate_of_every_stream_for_as_long_as_a_release_may_be_old(
    workplace: Workplace,
) -> None:
    put(workplace, "office@clinic.example")
    assert run(workplace).success
    found = fit(workplace)
    assert set(found) == {"healthcare", "trucking"}
    assert verdicts(workplace) == {"pass"}
    assert (found["healthcare"].expires_at - found["healthcare"].observed_at).days == 62
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
    zip_path = next(workplace.endpoints.inbox.glob("*.zip"))
    for out, verdict in (
        (workplace.endpoints.inbox / "elsewhere", "pass"),
        (workplace.paths.audience, "unknown"),
    ):
        result = CliRunner().invoke(
            cli, ["audience", "build", "--release", str(zip_path), "--out", str(out)], catch_exceptions=False
        )
        assert result.exit_code == 0, result.output
        assert verdicts(workplace) == {verdict}
