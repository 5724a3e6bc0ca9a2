"""The door: where a guess would be dangerous, it stays shut."""

from __future__ import annotations

import pytest

from dualstream_assets.entry import open_estate
from dualstream_assets.estate import EstateError
from dualstream_assets.estate.load import packaged_lab_estate
from dualstream_assets.settings import Settings, SettingsError


def settings(tmp_path, **variables: str) -> Settings:
    return Settings.read({"HOME": str(tmp_path), **variables})


def marked(tmp_path):
    """A lab estate whose production marker exists."""
    marker = tmp_path / "marker"
    marker.touch()
    path = tmp_path / "estate.toml"
    path.write_text(packaged_lab_estate().read_text().replace("/etc/postfix/hc-warmup-start", str(marker), 1))
    return str(path)


def test_an_unset_environment_is_the_lab(tmp_path):
    assert open_estate(settings(tmp_path)).lab is not None


def test_an_unset_environment_on_a_production_host_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="marks this host as production, and DUALSTREAM_ENV is unset"):
        open_estate(settings(tmp_path, DUALSTREAM_ESTATE=marked(tmp_path)))


def test_a_named_environment_on_a_production_host_is_taken(tmp_path):
    estate = marked(tmp_path)
    assert open_estate(settings(tmp_path, DUALSTREAM_ESTATE=estate, DUALSTREAM_ENV="lab")).lab is not None


def test_production_without_answers_names_every_key(tmp_path):
    with pytest.raises(EstateError) as caught:
        open_estate(settings(tmp_path, DUALSTREAM_ENV="production"))
    text = str(caught.value)
    assert "campaign.postal_address: required in production" in text
    assert "probe.ip: required in production" in text


def test_production_refuses_a_lab_estate(tmp_path):
    with pytest.raises(EstateError, match="a lab estate cannot run in production"):
        open_estate(
            settings(tmp_path, DUALSTREAM_ENV="production", DUALSTREAM_ESTATE=str(packaged_lab_estate()))
        )


def test_an_unknown_environment_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="must be one of lab, dev, production"):
        settings(tmp_path, DUALSTREAM_ENV="prod")


def test_a_database_url_of_another_kind_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="DUALSTREAM_PG_URL must look like"):
        settings(tmp_path, DUALSTREAM_PG_URL="mysql://x/")


def test_sqlalchemys_spelling_of_the_url_is_accepted(tmp_path):
    assert settings(tmp_path, DUALSTREAM_PG_URL="postgresql+psycopg2://u@h/").pg_url == "postgresql://u@h/"


def test_no_home_and_no_state_is_an_error_with_the_cure():
    with pytest.raises(SettingsError, match="set DUALSTREAM_STATE"):
        Settings.read({})


def test_socket_folders_stay_short_for_long_state_paths(tmp_path):
    found = settings(tmp_path, DUALSTREAM_STATE="/" + "x" * 150).run_dir
    assert len(str(found)) < 40


def test_no_page_has_a_placeholder_left():
    root = packaged_lab_estate().parents[2]
    pages = [root / "README.md", root / "CHANGELOG.md", *(root / "docs").glob("*.md")]
    assert len(pages) > 5
    assert not [page.name for page in pages if "@@" in page.read_text()]
