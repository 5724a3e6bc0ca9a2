"""The door every process comes in by: which world, which estate, and whether it may be entered at all.

Refuses where a guess would be dangerous: an unset environment on a host that carries the production marker, and
`production` with questions still open.
"""

from __future__ import annotations

from pathlib import Path

from dualstream_assets.estate import Estate, EstateError, find_estate, load_estate
from dualstream_assets.estate.findings import Finding
from dualstream_assets.estate.questions import unanswered
from dualstream_assets.settings import Settings, SettingsError
from dualstream_assets.workplace import Workplace


def open_estate(settings: Settings) -> Estate:
    """The estate of this process.

    Raises:
        SettingsError: the environment is unset on a host with a production marker.
        EstateError: the estate is missing or wrong, or production lacks answers.
    """
    found = find_estate(settings.environment, settings.estate_path)
    estate = load_estate(found.path)
    marker = Path(estate.organisation.production_marker)
    if not settings.environment_was_set and marker.exists():
        raise SettingsError(
            f"{marker} marks this host as production, and DUALSTREAM_ENV is unset: set it to production, dev or lab"
        )
    if settings.environment == "lab" and estate.lab is None:
        raise EstateError(found.path, [Finding("lab", "missing: this is no lab estate; set DUALSTREAM_ENV")])
    if settings.environment == "production":
        if estate.lab is not None:
            raise EstateError(found.path, [Finding("lab", "a lab estate cannot run in production")])
        open_questions = unanswered(estate)
        if open_questions:
            raise EstateError(
                found.path,
                [Finding(q.key, f"required in production: {q.question}") for q in open_questions],
            )
    return estate


def open_workplace(settings: Settings | None = None) -> Workplace:
    """The workplace of this process; see `open_estate` for what it raises."""
    settings = settings or Settings.read()
    return Workplace(settings, open_estate(settings))
