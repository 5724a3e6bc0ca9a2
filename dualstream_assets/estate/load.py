"""Find and read the estate file; every finding names its key, and the nearest right key where one was misspelt."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from dualstream_assets.estate.findings import Finding, rule_findings
from dualstream_assets.estate.model import Declared, Estate


class EstateError(ValueError):
    """The estate cannot be used; `findings` has one entry per fault."""

    def __init__(self, path: Path, findings: list[Finding]) -> None:
        self.path = path
        self.findings = findings
        super().__init__("\n".join(f"{path.name}: {finding}" for finding in findings))


@dataclass(frozen=True)
class FoundEstate:
    """Which file was taken, and why."""

    path: Path
    why: str


def packaged_lab_estate() -> Path:
    """The lab estate that travels with the wheel."""
    return Path(str(resources.files("dualstream_assets.estate") / "lab.toml"))


def find_estate(environment: str, named: Path | None, folder: Path | None = None) -> FoundEstate:
    """Which estate file this process uses.

    `DUALSTREAM_ESTATE` wins; the lab takes the packaged one; dev and production take `infra/estate.toml` below
    `folder` (default: the working directory, then the checkout this package lies in).
    """
    if named is not None:
        return FoundEstate(named, "named by DUALSTREAM_ESTATE")
    if environment == "lab":
        return FoundEstate(packaged_lab_estate(), "the lab estate packaged with dualstream")
    checkout = Path(__file__).resolve().parents[2]
    for base in (folder or Path.cwd(), checkout):
        candidate = base / "infra" / "estate.toml"
        if candidate.exists():
            return FoundEstate(candidate, f"infra/estate.toml of {base.name or 'the root'}")
    missing = (folder or Path.cwd()) / "infra" / "estate.toml"
    raise EstateError(
        missing, [Finding("estate", f"no estate file for {environment}: set DUALSTREAM_ESTATE to one")]
    )


def load_estate(path: Path) -> Estate:
    """Read and check an estate file.

    Raises:
        EstateError: the file is missing, is not TOML, or breaks a rule; all findings at once.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise EstateError(path, [Finding("estate", f"{path} does not exist")]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise EstateError(path, [Finding("estate", f"not readable as TOML: {error}")]) from error
    try:
        estate = Estate.model_validate(raw)
    except ValidationError as error:
        raise EstateError(path, [_finding(raw, e) for e in error.errors()]) from None
    findings = rule_findings(estate)
    if findings:
        raise EstateError(path, findings)
    return estate


def _finding(raw: dict[str, Any], error: Any) -> Finding:
    key = _dotted(error["loc"])
    if error["type"] == "extra_forbidden":
        return Finding(key, f"unknown key{_nearest(error['loc'])}")
    if error["type"] == "missing":
        return Finding(key, f"missing{_misspelt(raw, error['loc'])}")
    return Finding(key, str(error["msg"]).removeprefix("Value error, "))


def _dotted(location: tuple[Any, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _model_at(location: tuple[Any, ...]) -> type[BaseModel] | None:
    """The table that the last element of `location` is a key of."""
    found: Any = Estate
    for part in location[:-1]:
        if isinstance(found, type) and issubclass(found, Declared) and part in found.model_fields:
            found = found.model_fields[part].annotation
        arguments = [a for a in getattr(found, "__args__", ()) if isinstance(a, type)]
        nested = [a for a in arguments if issubclass(a, Declared)]
        if nested:
            found = nested[0]
    return found if isinstance(found, type) and issubclass(found, Declared) else None


def _nearest(location: tuple[Any, ...]) -> str:
    model = _model_at(location)
    close = difflib.get_close_matches(str(location[-1]), list(model.model_fields) if model else [], n=1)
    return f"; did you mean {_dotted((*location[:-1], close[0]))}?" if close else ""


def _misspelt(raw: dict[str, Any], location: tuple[Any, ...]) -> str:
    here: Any = raw
    for part in location[:-1]:
        try:
            here = here[part]
        except (KeyError, IndexError, TypeError):
            return ""
    close = difflib.get_close_matches(str(location[-1]), list(here) if isinstance(here, dict) else [], n=1)
    return f"; is {close[0]!r} meant to be {location[-1]!r}?" if close else ""
