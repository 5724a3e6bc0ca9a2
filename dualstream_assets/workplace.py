"""What every room is handed: the estate, the clock, the database, the folders, and where the outside is reached.

Plain Python, lazy: building a workplace touches neither network nor database. Rims take it as a Dagster resource,
the command line builds it itself. In the lab the first use of `endpoints` starts the lab, shared by lease.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dualstream_assets.clock import Clock, LabClock, SystemClock
from dualstream_assets.estate import Estate
from dualstream_assets.settings import Settings
from dualstream_assets.store.lease import usable

if TYPE_CHECKING:
    from dualstream_assets.store.database import Database


@dataclass(frozen=True)
class ListmonkAt:
    """One listmonk as this process reaches it."""

    url: str
    user: str
    token: str


@dataclass(frozen=True)
class Endpoints:
    """Where the outside is reached from this process.

    Attributes:
        nameservers: (address, port) of the resolver; empty means the system's.
        smtp_port: port of MX hosts (25; a high port in the lab).
        submission: estate port -> real port of the submission host (25 -> 40125 in the lab).
        listmonk: stream -> instance.
        maillog: the mail log file, None where there is none to read.
        sinks: lab only: JSON lines of what the MX hosts really received.
        inbox: folder in which releases and lists are found.
        stamps: folder that a relative warmup stamp is resolved against.
    """

    nameservers: tuple[tuple[str, int], ...]
    smtp_port: int
    submission_host: str
    submission: Mapping[int, int]
    listmonk: Mapping[str, ListmonkAt]
    maillog: Path | None
    sinks: Path | None
    inbox: Path
    stamps: Path

    @classmethod
    def from_json(cls, text: str) -> Endpoints:
        """Read what a running lab wrote (`lab.json`)."""
        raw = json.loads(text)
        return cls(
            nameservers=tuple((host, port) for host, port in raw["nameservers"]),
            smtp_port=raw["smtp_port"],
            submission_host=raw["submission_host"],
            submission={int(port): real for port, real in raw["submission"].items()},
            listmonk={stream: ListmonkAt(**at) for stream, at in raw["listmonk"].items()},
            maillog=Path(raw["maillog"]),
            sinks=Path(raw["sinks"]),
            inbox=Path(raw["inbox"]),
            stamps=Path(raw["stamps"]),
        )

    def to_json(self) -> str:
        """The text that `from_json` reads."""
        return json.dumps(
            {
                "nameservers": [list(n) for n in self.nameservers],
                "smtp_port": self.smtp_port,
                "submission_host": self.submission_host,
                "submission": dict(self.submission),
                "listmonk": {
                    s: {"url": a.url, "user": a.user, "token": a.token} for s, a in self.listmonk.items()
                },
                "maillog": str(self.maillog),
                "sinks": str(self.sinks),
                "inbox": str(self.inbox),
                "stamps": str(self.stamps),
            },
            indent=2,
        )


@dataclass(frozen=True)
class Paths:
    """Folders below the state folder; each is made when first asked for.

    Raises `store.lease.StateUnusable` where it cannot be, or is another user's.
    """

    state: Path

    def _folder(self, *parts: str) -> Path:
        return usable(self.state.joinpath(*parts))

    @property
    def registry(self) -> Path:
        """Parquet of the releases and lists."""
        return self._folder("registry")

    @property
    def audience(self) -> Path:
        """The CSVs that the plan names, with their manifest."""
        return self._folder("audience")

    @property
    def mta(self) -> Path:
        """Rendered Postfix files and backups."""
        return self._folder("mta")

    @property
    def lab(self) -> Path:
        """The lab's own folder."""
        return self._folder("lab")

    @property
    def reports(self) -> Path:
        """Report pages."""
        return self._folder("reports")

    @property
    def inbox(self) -> Path:
        """Where `dualstream release add` puts files (production)."""
        return self._folder("inbox")


@dataclass
class Workplace:
    """Everything a room needs that is not its own."""

    settings: Settings
    estate: Estate
    given_clock: Clock | None = None
    given_endpoints: Endpoints | None = None
    given_database: Database | None = None
    send_probe: Callable[[Workplace, str], int] | None = None
    """Sends a stream's message to our own seeds under a probe permit; returns how many were accepted.

    Permits are minted two floors above identity, which scores the message, so the act comes in from above.
    """
    held: list[object] = field(default_factory=list, repr=False)

    @property
    def environment(self) -> str:
        """`lab`, `dev` or `production`."""
        return self.settings.environment

    @property
    def acts_by_default(self) -> bool:
        """Whether release, apply, probe and verify act without being asked: only in the lab."""
        return self.environment == "lab"

    @cached_property
    def paths(self) -> Paths:
        """Folders below the state folder."""
        return Paths(self.settings.state)

    @cached_property
    def clock(self) -> Clock:
        """The clock of this world."""
        if self.given_clock is not None:
            return self.given_clock
        return LabClock(self.paths.lab / "clock") if self.environment == "lab" else SystemClock()

    @cached_property
    def database(self) -> Database:
        """The ops database, migrated; starts the embedded server by lease where none is named."""
        from dualstream_assets.store.database import open_database

        return self.given_database or open_database(self.settings)

    @cached_property
    def endpoints(self) -> Endpoints:
        """Where the outside is reached; in the lab this starts the lab, shared by lease."""
        if self.given_endpoints is not None:
            return self.given_endpoints
        return self._lab_endpoints() if self.environment == "lab" else self._declared_endpoints()

    def _lab_endpoints(self) -> Endpoints:
        from dualstream_assets.store.lease import share

        lease = share(
            self.paths.lab,
            [sys.executable, "-m", "dualstream_assets.lab.serve"],
            environment=self.settings.for_child(),
            ready_file="lab.json",
            timeout_s=60.0,
        )
        self.held.append(lease)
        return Endpoints.from_json((self.paths.lab / "lab.json").read_text())

    def _declared_endpoints(self) -> Endpoints:
        if self.environment == "dev":
            # dev runs on the plan's shared host: until the estate names listmonks and a sink of its own, it reaches
            # nothing, so that it cannot touch production's.
            return Endpoints(
                (), 25, "127.0.0.1", {}, {}, None, None, self.paths.inbox, self.paths.state / "stamps"
            )
        listmonk = {}
        for name, stream in self.estate.streams.items():
            token = self.settings.secret(stream.listmonk.token_variable)
            if stream.listmonk.url and token:
                listmonk[name] = ListmonkAt(stream.listmonk.url, stream.listmonk.api_user, token)
        ports = {e.port: e.port for e in self.estate.egress if e.port}
        ports |= {s.submit_port: s.submit_port for s in self.estate.streams.values() if s.submit_port}
        maillog = Path("/var/log/mail.log")
        return Endpoints(
            nameservers=(),
            smtp_port=25,
            submission_host="127.0.0.1",
            submission=ports,
            listmonk=listmonk,
            maillog=maillog if maillog.exists() else None,
            sinks=None,
            inbox=self.paths.inbox,
            stamps=Path("/etc/postfix"),
        )
