"""Sending's parts put together from the other rooms, for one workplace: what the rims, the commands and the demo call.

The only place of this room that knows how a listmonk, the mail log and the resolver are reached.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dualstream_assets.listmonk import applying, campaigns, subscribers
from dualstream_assets.listmonk.applying import Window
from dualstream_assets.listmonk.campaigns import Prepared, Status
from dualstream_assets.listmonk.client import Client
from dualstream_assets.listmonk.errors import Invalid
from dualstream_assets.sending.engagement import Counted
from dualstream_assets.sending.rampcap import CapSet, lower_on_drift, set_rampcap
from dualstream_assets.sending.rampcap_entry import KnownCap, cap_file, remember
from dualstream_assets.sending.tick import LOCK, TickResult, run_tick
from dualstream_assets.sending.waves import Sender

if TYPE_CHECKING:
    from dualstream_assets.clock import Clock
    from dualstream_assets.maillog.outcomes import ReadSummary
    from dualstream_assets.outside.dns import Resolver
    from dualstream_assets.sending.content import Content
    from dualstream_assets.sending.ledger import Wave
    from dualstream_assets.sending.optouts import Synced
    from dualstream_assets.store.database import Database
    from dualstream_assets.workplace import Workplace

LOOKUPS_AT_ONCE = 16


class NotReachableError(RuntimeError):
    """A stream's listmonk has no address or no token; names both."""


@dataclass(frozen=True)
class ListmonkWindow:
    """One listmonk's sliding window, and nothing else of it: needs no database."""

    client: Client

    def read(self) -> Window | None:
        """See `CapPort`."""
        return applying.read_window(self.client)

    def write(self, belt: Window) -> None:
        """See `CapPort`."""
        applying.set_window(self.client, belt.rate, belt.minutes)


@dataclass(frozen=True)
class Instance(ListmonkWindow):
    """One stream's listmonk, as sending uses it: campaigns, opt-outs, window, counters."""

    database: Database
    clock: Clock

    def prepare(self, wave: Wave, addresses: Sequence[str], content: Content) -> Prepared:
        """See `Campaigner`."""
        return campaigns.prepare(self.client, wave, addresses, content)

    def start(self, wave: Wave, permit_id: int, prepared: Prepared) -> None:
        """See `Campaigner`."""
        campaigns.start(self.database, self.client, permit_id, wave.id, prepared, self.clock.now())

    def resume(self, campaign_id: int) -> None:
        """See `Campaigner`."""
        campaigns.resume(self.client, campaign_id)

    def state(self, campaign_id: int) -> Status | None:
        """See `Campaigner`."""
        try:
            return campaigns.state(self.client, campaign_id).status
        except Invalid:  # an unknown id is a 400 there
            return None

    def cancel(self, campaign_id: int) -> None:
        """See `Campaigner`."""
        self.client.put(f"/campaigns/{campaign_id}/status", {"status": Status.CANCELLED})

    def archive(self, list_id: int) -> None:
        """See `Campaigner`."""
        campaigns.archive_list(self.client, list_id)

    def pull(self) -> Sequence[subscribers.OptOut]:
        """See `OptOutPort`."""
        return subscribers.pull_optouts(self.client)

    def push(self, addresses: Sequence[str]) -> int:
        """See `OptOutPort`."""
        if not addresses:
            return 0
        done = subscribers.push_suppression(self.client, addresses)
        return done.blocklisted + done.inserted

    def not_blocklisted(self, addresses: Sequence[str]) -> int:
        """See `OptOutPort`."""
        return subscribers.not_blocklisted(self.client, addresses)

    def counts(self, campaign_ids: Sequence[int]) -> Sequence[Counted]:
        """See `EngagementPort`."""
        wanted = set(campaign_ids)
        states = campaigns.wave_states(self.client)
        return [Counted(s.id, s.sent, s.views, s.clicks) for s in states if s.id in wanted]


def instances(workplace: Workplace) -> dict[str, Instance]:
    """Stream -> its listmonk, for every stream whose listmonk has an address and a token here."""
    return {
        stream: Instance(Client(at.url, at.user, at.token), workplace.database, workplace.clock)
        for stream, at in workplace.endpoints.listmonk.items()
        if stream in workplace.estate.streams
    }


def sender_of(workplace: Workplace, stream: str, instance: Instance | None = None) -> Sender:
    """Everything a stream's waves are made with.

    Raises:
        NotReachableError: its listmonk has no address or token here.
    """
    instance = instance or instances(workplace).get(stream)
    if instance is None:
        listmonk = workplace.estate.streams[stream].listmonk
        raise NotReachableError(
            f"{stream}: its listmonk cannot be reached: set streams.{stream}.listmonk.url in the estate and"
            f" {listmonk.token_variable} in the environment"
        )
    resolver = _resolver(workplace)
    return Sender(
        stream=stream,
        database=workplace.database,
        clock=workplace.clock,
        estate=workplace.estate,
        environment=workplace.environment,
        campaigner=instance,
        audience=workplace.paths.audience,
        stamps=workplace.endpoints.stamps,
        relook=lambda of: _fcrdns_faults(workplace, resolver, of),
        resolve=lambda domains: _operators(resolver, domains),
    )


def _resolver(workplace: Workplace) -> Resolver:
    from dualstream_assets.outside.dns import Resolver

    return Resolver(workplace.endpoints.nameservers, 3.0)


def _fcrdns_faults(workplace: Workplace, resolver: Resolver, stream: str) -> list[tuple[str, str]]:
    """Forward-confirmed DNS of every active egress, looked at now; unknown is a fault."""
    from dualstream_assets.identity.rdns import check_fcrdns
    from dualstream_assets.store.evidence import Verdict

    pool = workplace.estate.pool(stream)
    with ThreadPoolExecutor(max(1, len(pool))) as looking:
        found = list(looking.map(lambda e: check_fcrdns(resolver, str(e.ip), e.helo), pool))
    return [(f.subject, f.evidence) for f in found if f.verdict is not Verdict.PASS]


def _operators(resolver: Resolver, domains: tuple[str, ...]) -> Mapping[str, str | None]:
    """Who runs each domain's MX now; None where it takes no mail, or the look did not complete."""
    from dualstream_assets.receivers.operators import operator_of

    def look(domain: str) -> str | None:
        answer = resolver.mx(domain)
        return operator_of([host.host for host in answer.hosts]) if answer.status == "ok" else None

    with ThreadPoolExecutor(LOOKUPS_AT_ONCE) as looking:
        return dict(zip(domains, looking.map(look, domains), strict=True))


def tick(workplace: Workplace, stream: str, *, act: bool = True) -> TickResult:
    """One tick of a stream (see `tick.run_tick`). Read the mail log first: `read_mail_log`.

    Raises:
        NotReachableError: the stream's listmonk has no address or token here.
    """
    every = instances(workplace)
    return run_tick(sender_of(workplace, stream, every.get(stream)), every, act=act)


def read_mail_log(workplace: Workplace) -> ReadSummary | None:
    """Read what is new in the mail log and write the evidence `log_complete`; None where there is no log here."""
    from dualstream_assets.maillog.complete import look_at_log
    from dualstream_assets.maillog.outcomes import read_log

    path = workplace.endpoints.maillog
    if path is None:
        return None
    read = read_log(workplace.database, workplace.estate, path, workplace.clock)
    look_at_log(workplace.database, workplace.clock, workplace.estate, "sending: before a wave")
    return read


def set_cap(workplace: Workplace, stream: str, *, act: bool = True) -> CapSet:
    """Decide the stream's cap for this local date and write it to its listmonk (see `rampcap.set_rampcap`).

    Reads the mail log first: what is not read holds the ramp (its row 6).
    """
    with suppress(OSError, RuntimeError):  # no log, no credit: the ramp itself says so
        read_mail_log(workplace)
    done = set_rampcap(
        workplace.database,
        workplace.clock,
        workplace.estate,
        stream,
        instances(workplace),
        stamps=workplace.endpoints.stamps,
        environment=workplace.environment,
        act=act,
    )
    known = KnownCap(done.caps.cap_per_hour, workplace.clock.now())
    remember(cap_file(workplace.settings.state, stream), known)
    return done


def lower_cap(workplace: Workplace, stream: str, *, act: bool = True) -> CapSet:
    """Lower the stream's belt if it is wider than allowed (see `rampcap.lower_on_drift`)."""
    return lower_on_drift(
        workplace.database,
        workplace.clock,
        workplace.estate,
        stream,
        instances(workplace),
        stamps=workplace.endpoints.stamps,
        act=act,
    )


def sync_optouts(workplace: Workplace, *, act: bool) -> Synced:
    """Synchronise opt-outs with every listmonk; without `act` only take in what they know."""
    from dualstream_assets.sending.optouts import pull_only, sync

    with only_one(workplace):
        if not act:
            return pull_only(workplace.database, workplace.clock, workplace.estate, instances(workplace))
        return sync(
            workplace.database, workplace.clock, workplace.estate, instances(workplace), everything=True
        )


@contextmanager
def only_one(workplace: Workplace) -> Iterator[None]:
    """Hold the lock that ticks hold: evidence written by one must not shut the gate of another."""
    with workplace.database.advisory_lock(LOCK):
        yield
