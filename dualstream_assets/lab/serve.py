"""One running lab: everything of the pretend internet, started in order, told to others by `lab.json`.

Run as `python -m dualstream_assets.lab.serve FOLDER` by the lease that shares it (store/lease.py): it lives as long as
somebody holds the lease. Several labs on one machine do not meet: each finds ports of its own.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from dualstream_assets.clock import LabClock
from dualstream_assets.entry import open_estate, open_workplace
from dualstream_assets.estate import Estate
from dualstream_assets.lab.dns import LabDns
from dualstream_assets.lab.founding import dkim_key, dkim_record, keep_release, write_stamps
from dualstream_assets.lab.mx import MxHosts
from dualstream_assets.lab.world import World
from dualstream_assets.lab.zone import whole_zone
from dualstream_assets.settings import Settings
from dualstream_assets.workplace import Endpoints, ListmonkAt

READY_FILE = "lab.json"
OPS_DATABASE = "dualstream"
TRUCKERS_LIST = "Truckers"
LISTMONK_SPEED = 50.0
"""How much faster than real a listmonk worker's pause between two messages passes."""
HOST = "127.0.0.1"


class Submission(Protocol):
    """The submission host as the lab needs it."""

    def start(self) -> Mapping[int, int]:
        """Listen; returns estate port -> real port."""
        ...

    def stop(self) -> None:
        """Stop."""
        ...


class Listmonk(Protocol):
    """A listmonk stand-in as the lab needs it."""

    def start(self) -> str:
        """Serve; returns the base URL."""
        ...

    def stop(self) -> None:
        """Stop."""
        ...

    def seed_subscribers(self, rows: Iterable[tuple[str, str, dict[str, Any]]], list_name: str) -> object:
        """Have these (email, name, attribs) on a list of that name."""
        ...


@dataclass(frozen=True)
class Services:
    """What a lab starts beside its DNS and mail hosts; tests put their own here."""

    database_url: Callable[[Settings, str], str]
    """(settings, database name) -> URL of that database, which exists."""
    submission: Callable[..., Submission]
    listmonk: Callable[..., Listmonk]


def real_services() -> Services:
    """The services of a real lab."""
    from dualstream_assets.lab.listmonk_standin import StandIn
    from dualstream_assets.lab.submission import SubmissionHost
    from dualstream_assets.store.database import open_database
    from dualstream_assets.store.postgres import server_url

    def database_url(settings: Settings, name: str) -> str:
        return open_database(settings).url if name == OPS_DATABASE else server_url(settings, name)

    return Services(database_url, SubmissionHost, StandIn)


@dataclass
class Lab:
    """A lab in one folder.

    Attributes:
        folder: `state/lab`: clock, inbox, sinks, mail log, keys, stamps, `lab.json`.
        services: None takes the real ones.
    """

    folder: Path
    settings: Settings
    estate: Estate
    services: Services | None = None
    _endpoints: Endpoints | None = field(default=None, init=False)
    _running: ExitStack = field(default_factory=ExitStack, init=False)

    @property
    def endpoints(self) -> Endpoints:
        """Where everything is reached.

        Raises:
            RuntimeError: the lab is not started.
        """
        if self._endpoints is None:
            raise RuntimeError("this lab is not started")
        return self._endpoints

    def start(self) -> None:
        """Start DNS, mail hosts, submission host, listmonks, in this order; on failure nothing is left running."""
        with ExitStack() as starting:
            self._endpoints = self._start(starting)
            self._running = starting.pop_all()

    def stop(self) -> None:
        """Stop everything, last started first."""
        self._running.close()
        self._endpoints = None

    def _start(self, running: ExitStack) -> Endpoints:
        lab = self.estate.lab
        assert lab is not None  # noqa: S101  # open_estate refuses a lab without it
        services = self.services or real_services()
        self.folder.mkdir(parents=True, exist_ok=True)
        clock = LabClock(self.folder / "clock")
        clock.start(lab.epoch)
        with ThreadPoolExecutor(1) as aside:  # the database server takes longest: start it beside the rest
            urls = aside.submit(self._database_urls, services)
            world = World.build(lab.seed, lab.domains, self.estate)
            keep_release(world, self.folder / "inbox")
            write_stamps(self.estate, self.folder)
            key = dkim_key(self.folder / "dkim.pem")
            domain = self.estate.organisation.domain
            name_server = LabDns(whole_zone(world, self.estate, dkim_record(key)), self.folder)
            nameserver = name_server.start()
            running.callback(name_server.stop)
            hosts = MxHosts(world, clock, domain, self.folder)
            smtp_port = hosts.start()
            running.callback(hosts.stop)
            databases = urls.result()
        maillog = self.folder / "mail.log"
        maillog.touch()
        submission = services.submission(
            estate=self.estate,
            clock=clock,
            nameserver=nameserver,
            smtp_port=smtp_port,
            ops_database_url=databases[OPS_DATABASE],
            log_path=maillog,
            dkim_pem=key,
            queue_folder=self.folder / "queue",
        )
        ports = submission.start()
        running.callback(submission.stop)
        listmonk = {
            stream: self._listmonk(services, running, stream, databases[stream], clock, ports, world)
            for stream in self.estate.streams
        }
        return Endpoints(
            nameservers=(nameserver,),
            smtp_port=smtp_port,
            submission_host=HOST,
            submission=dict(ports),
            listmonk=listmonk,
            maillog=maillog,
            sinks=hosts.sinks,
            inbox=self.folder / "inbox",
            stamps=self.folder,
        )

    def _database_urls(self, services: Services) -> dict[str, str]:
        urls = {s: services.database_url(self.settings, f"lab_listmonk_{s}") for s in self.estate.streams}
        return urls | {OPS_DATABASE: services.database_url(self.settings, OPS_DATABASE)}

    def _listmonk(
        self,
        services: Services,
        running: ExitStack,
        stream: str,
        database_url: str,
        clock: LabClock,
        ports: Mapping[int, int],
        world: World,
    ) -> ListmonkAt:
        """One stand-in; the stream that others use too already has its SMTP server and its people."""
        declared = self.estate.streams[stream]
        token = self.settings.secret(declared.listmonk.token_variable) or secrets.token_hex(16)
        port = declared.submit_port
        stand_in = services.listmonk(
            name=stream,
            database_url=database_url,
            clock=clock,
            token=token,
            root_url=declared.listmonk.root_url or "",
            smtp_default=(HOST, ports[port]) if port else None,
            speed=LISTMONK_SPEED,
            port_map=ports,
        )
        url = stand_in.start()
        running.callback(stand_in.stop)
        if declared.segment == "consumer":
            stand_in.seed_subscribers(
                [(t.email, t.name, {"audience": "truckers"}) for t in world.truckers], TRUCKERS_LIST
            )
        return ListmonkAt(url, declared.listmonk.api_user, token)


def ensure(settings: Settings) -> Endpoints:
    """The endpoints of this state folder's lab, started if it is not running. It lives as long as this process."""
    return open_workplace(settings).endpoints


def run_foreground(settings: Settings) -> None:
    """Keep the lab up until Ctrl-C, and say where everything is."""
    import threading

    import click

    workplace = open_workplace(settings)
    at = workplace.endpoints
    click.echo(f"The lab is up in {workplace.paths.lab}")
    for host, port in at.nameservers:
        click.echo(f"  DNS         {host}:{port}")
    click.echo(f"  mail hosts  127.30.0.0/16 port {at.smtp_port}")
    for port, real in sorted(at.submission.items()):
        click.echo(f"  submission  {at.submission_host}:{real} (estate port {port})")
    for stream, listmonk in at.listmonk.items():
        click.echo(f"  listmonk    {listmonk.url} ({stream})")
    click.echo(
        f"  release     {at.inbox}\n  mail log    {at.maillog}\n  sinks       {at.sinks}\nCtrl-C stops it."
    )
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo("The lab stops, unless another command still uses it.")


def main() -> None:
    """Serve the lab of the folder named last on the command line, while it is leased."""
    from dualstream_assets.store.lease import serve_while_leased

    folder = Path(sys.argv[-1])
    settings = replace(Settings.read(), state=folder.parent)  # a relative path would mean another folder here
    lab = Lab(folder, settings, open_estate(settings))

    def ready_text() -> str:  # asked after the start: before it there are no endpoints
        return lab.endpoints.to_json()

    serve_while_leased(folder, lab.start, lab.stop, READY_FILE, ready_text)


if __name__ == "__main__":
    main()
