"""What is deployed: read from the Postfix host in production, from a folder in the lab and in dev.

The lab's submission host has no Postfix files; its "live" configuration is the rendered set deployed into its folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dualstream_assets.estate import Estate
from dualstream_assets.mta.files import desired, entries
from dualstream_assets.mta.names import POSTFIX, Rendered
from dualstream_assets.mta.render import render
from dualstream_assets.outside.plan import Plan, difference
from dualstream_assets.outside.ssh import Runner, read_file, runner_for, write_file
from dualstream_assets.store.files import write_text_atomic

if TYPE_CHECKING:
    from dualstream_assets.workplace import Workplace

MASTER, MAIN = f"{POSTFIX}/master.cf", f"{POSTFIX}/main.cf"
OLDEST = (3, 7)
"""`smtp_bind_address_enforce` came with Postfix 3.7; older ones only warn about it and leak."""


class MtaError(RuntimeError):
    """Postfix cannot be read, or must not be changed; the message says why and what to do."""


class Target(Protocol):
    """Where a configuration lives."""

    name: str

    def read(self, path: str) -> str | None:
        """The text of a file; None if there is none."""
        ...

    def write(self, path: str, text: str | None) -> None:
        """Replace a file at once; None removes it."""
        ...

    def activate(self) -> None:
        """Make it the running configuration; raises MtaError if it is refused."""
        ...

    def main(self) -> dict[str, str]:
        """main.cf as it counts: parameter -> value, only what is set."""
        ...


class FolderTarget:
    """A folder that stands for the root of the Postfix host."""

    name = "the deployed folder"

    def __init__(self, root: Path) -> None:
        self._root = root

    def _at(self, path: str) -> Path:
        return self._root / path.lstrip("/")

    def read(self, path: str) -> str | None:
        """See `Target`."""
        at = self._at(path)
        return at.read_text(encoding="utf-8") if at.exists() else None

    def write(self, path: str, text: str | None) -> None:
        """See `Target`."""
        if text is None:
            self._at(path).unlink(missing_ok=True)
        else:
            write_text_atomic(self._at(path), text)

    def activate(self) -> None:
        """Nothing runs from a folder."""

    def main(self) -> dict[str, str]:
        """See `Target`."""
        return settings(self.read(MAIN) or "")


class HostTarget:
    """The Postfix host itself."""

    def __init__(self, runner: Runner, name: str) -> None:
        self._runner = runner
        self.name = name

    def read(self, path: str) -> str | None:
        """See `Target`."""
        return read_file(self._runner, path)

    def write(self, path: str, text: str | None) -> None:
        """See `Target`."""
        if text is None:
            self._runner.run(["rm", "-f", "--", path]).require()
        else:
            write_file(self._runner, path, text)

    def activate(self) -> None:
        """Check, then reload; a changed listener needs a restart, which a person does.

        Raises:
            MtaError: `postfix check` complains; nothing was reloaded.
        """
        checked = self._runner.run(["postfix", "check"])
        if not checked.ok or checked.stderr.strip():
            raise MtaError(f"postfix check: {checked.stderr.strip() or checked.exit_code}; not reloaded")
        self._runner.run(["postfix", "reload"]).require()

    def main(self) -> dict[str, str]:
        """See `Target`."""
        return settings(self._runner.run(["postconf", "-n"]).require().stdout)

    def version(self) -> tuple[int, ...]:
        """Postfix's version, and whether it knows what we rely on.

        Raises:
            MtaError: it is older than 3.7.
        """
        told = self._runner.run(["postconf", "-h", "mail_version"]).require().stdout.strip()
        version = tuple(int(part) for part in re.findall(r"\d+", told))
        known = self._runner.run(["postconf", "-h", "smtp_bind_address_enforce"])
        if version < OLDEST or not known.ok or known.stderr.strip():
            raise MtaError(
                f"{self.name}: Postfix {told} does not enforce a source address (3.7 or newer does): a missing IP would"
                " leave from the host's own. Upgrade Postfix first"
            )
        return version


def settings(text: str) -> dict[str, str]:
    """`name = value` lines of main.cf or `postconf -n`, continuation lines joined."""
    joined = re.sub(
        r"\n[ \t]+(?=\S)", " ", "\n".join(n for n in text.splitlines() if not n.lstrip().startswith("#"))
    )
    pairs = (line.partition("=") for line in joined.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


@dataclass(frozen=True)
class Live:
    """The live state as it was read.

    Attributes:
        files: path -> text, of every path that we render or change; None where there is none.
        main: main.cf as it counts.
        bound: transport -> source address, of every service that binds one.
    """

    files: dict[str, str | None]
    main: dict[str, str]
    bound: dict[str, str]


def read_live(target: Target, rendered: Rendered) -> Live:
    """Read every path that rendering writes, and main.cf."""
    paths = dict.fromkeys(place.partition("#")[0].partition("!")[0] for place in rendered)
    files = {path: target.read(path) for path in paths}
    services = entries(files.get(MASTER) or "")
    bound = {e.name: e.options["smtp_bind_address"] for e in services if "smtp_bind_address" in e.options}
    return Live(files, target.main(), bound)


def target_for(workplace: Workplace) -> Target:
    """Production: the host `app` of the estate. Lab and dev: a folder below the state folder.

    Raises:
        MtaError: production, and the estate does not say how to reach the host.
    """
    if workplace.environment != "production":
        return FolderTarget(workplace.paths.mta / "deployed")
    host = workplace.estate.hosts.get("app")
    if host is None or host.address is None:
        raise MtaError(
            "the Postfix host is not declared: answer hosts.app.address (dualstream doctor --questions)"
        )
    return HostTarget(runner_for(host, workplace.environment), f"the Postfix host ({host.address})")


def plan_mta(estate: Estate, environment: str, target: Target) -> Plan:
    """The difference between the render and what is deployed.

    Raises:
        MtaError: a service of others that we must set an option on is not there, or Postfix is too old.
    """
    if isinstance(target, HostTarget):
        target.version()
    try:
        wanted = desired(render(estate, environment), target.read)
    except LookupError as error:
        raise MtaError(f"{target.name}: {error}: this is no Postfix configuration that we know") from error
    found = (difference(path, before, after, "") for path, (before, after) in wanted.items())
    return Plan("postfix", tuple(change for change in found if change))


def assumptions(main: dict[str, str]) -> Iterator[str]:
    """What main.cf says against what Stage A relies on; shown to a person, never changed (operations section 4)."""
    wanted = {
        "default_filter_nexthop": ("", "a next hop for filtered mail would send it to that host"),
        "delay_warning_time": ("0h", "delay notices leave by trucking's IPs"),
        "enable_long_queue_ids": ("yes", "short queue ids are used again: the log cannot be joined"),
        "smtp_fallback_relay": ("", "a relay would be the egress"),
        "notify_classes": ("resource, software", "notices leave by trucking's IPs"),
    }
    defaults = {"enable_long_queue_ids": "no"}
    for name, (value, why) in wanted.items():
        found = main.get(name, defaults.get(name, value))
        if found.replace(" ", "") != value.replace(" ", ""):
            yield f"{name} = {found or '(empty)'}, expected {value or '(empty)'}: {why}"
    if not main.get("smtpd_milters"):
        yield "smtpd_milters is empty: nothing signs"
