"""The only reader of the environment: which world we are in, and where state lives.

Nothing else in the package looks at `os.environ`, except to hand it on to a child process.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

EnvironmentName = Literal["lab", "dev", "production"]


class SettingsError(ValueError):
    """The environment of this process cannot be used; the message names the variable and the cure."""


@dataclass(frozen=True)
class Settings:
    """What the process environment says.

    Attributes:
        environment: `lab`, `dev` or `production`; None where `DUALSTREAM_ENV` is unset (then it is the lab,
            unless the host carries the production marker).
        state: folder of everything we keep on disk.
        estate_path: an estate file named by `DUALSTREAM_ESTATE`, else None.
        pg_url: a PostgreSQL server to use instead of the embedded one.
        pg_bin: folder with `postgres` and `initdb` to use instead of the wheel's.
    """

    environment: EnvironmentName
    environment_was_set: bool
    state: Path
    estate_path: Path | None
    pg_url: str | None
    pg_bin: Path | None
    variables: Mapping[str, str]

    @property
    def run_dir(self) -> Path:
        """Folder for sockets: short, because a socket path may have at most 107 bytes.

        `$XDG_RUNTIME_DIR` or `/tmp`, then `ds-` and ten hex digits of the state path.
        """
        base = Path(self.variables.get("XDG_RUNTIME_DIR") or "/tmp")  # noqa: S108
        if not base.is_dir() or len(str(base)) > 60:  # noqa: PLR2004
            base = Path("/tmp")  # noqa: S108
        digest = hashlib.sha256(str(self.state.resolve()).encode()).hexdigest()[:10]
        return base / f"ds-{digest}"

    def for_child(self) -> dict[str, str]:
        """The environment for a detached child process, which runs in another folder: paths made absolute."""
        paths = {"DUALSTREAM_STATE": str(self.state)}
        if self.estate_path is not None:
            paths["DUALSTREAM_ESTATE"] = str(self.estate_path)
        return {**self.variables, **paths}

    def secret(self, variable: str) -> str | None:
        """The value of a variable that the estate names (an API token, a password); None if unset or empty."""
        return self.variables.get(variable) or None

    @classmethod
    def read(cls, variables: Mapping[str, str] | None = None) -> Settings:
        """Read the environment.

        Raises:
            SettingsError: a variable has a value that cannot be used.
        """
        env = dict(os.environ if variables is None else variables)
        name = env.get("DUALSTREAM_ENV", "")
        if name and name not in get_args(EnvironmentName):
            raise SettingsError(
                f"DUALSTREAM_ENV is {name!r}; it must be one of {', '.join(get_args(EnvironmentName))}"
            )
        return cls(
            environment=cast("EnvironmentName", name or "lab"),
            environment_was_set=bool(name),
            state=_state_folder(env),
            estate_path=Path(env["DUALSTREAM_ESTATE"]).absolute() if env.get("DUALSTREAM_ESTATE") else None,
            pg_url=_pg_url(env.get("DUALSTREAM_PG_URL", "")),
            pg_bin=Path(env["DUALSTREAM_PG_BIN"]) if env.get("DUALSTREAM_PG_BIN") else None,
            variables=env,
        )


def _state_folder(env: Mapping[str, str]) -> Path:
    if env.get("DUALSTREAM_STATE"):
        return Path(env["DUALSTREAM_STATE"]).absolute()
    if env.get("XDG_STATE_HOME"):
        return Path(env["XDG_STATE_HOME"]).absolute() / "dualstream"
    if env.get("HOME"):
        return Path(env["HOME"]).absolute() / ".local" / "state" / "dualstream"
    raise SettingsError("no place for state: set DUALSTREAM_STATE to a folder this user may write")


def _pg_url(url: str) -> str | None:
    """Accept the schemes people write; keep libpq's own (`postgresql://`)."""
    if not url:
        return None
    plain = re.sub(r"^postgres(ql)?(\+psycopg2?)?://", "postgresql://", url)
    if not plain.startswith("postgresql://"):
        raise SettingsError("DUALSTREAM_PG_URL must look like postgresql://user@host:5432/")
    return plain
