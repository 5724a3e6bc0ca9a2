"""The one resolver: five kinds of answer, so that "we could not ask" never looks like "there is none".

`nxdomain` and `nodata` are answers. `servfail` (also REFUSED, FORMERR and every other reply that answers nothing) and
`timeout` are not, and whoever decides by DNS must treat them as unknown (DESIGN D8).
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from dns.resolver import Resolver as DnspythonResolver

Status = Literal["ok", "nxdomain", "nodata", "servfail", "timeout"]
MxStatus = Literal["ok", "null_mx", "nxdomain", "nodata", "unknown", "misconfigured"]

MAXIMUM_CACHED_S = 24 * 3600
"""However long a record's TTL, an answer is not reused after a day (facts: verification section 5)."""


class ResolverError(RuntimeError):
    """No name server can be asked at all; the message says what to set."""


@dataclass(frozen=True)
class Answer:
    """What the name servers said.

    Attributes:
        status: `ok` with at least one record; `nxdomain`: the name does not exist; `nodata`: it exists without a
            record of this type; `servfail` and `timeout`: unknown.
        records: as text. Names are lower case without the final dot; a TXT record is its strings joined, unquoted;
            an MX record is `"10 mx.example"`; an SOA record is its seven fields.
        ttl: seconds; 0 where there is no record.
    """

    status: Status
    records: tuple[str, ...] = ()
    ttl: int = 0

    @property
    def known(self) -> bool:
        """Whether this is an answer at all."""
        return self.status in ("ok", "nxdomain", "nodata")


@dataclass(frozen=True)
class MxHost:
    """One usable mail host: preference, lower-case name without final dot, IPv4 addresses (may be empty)."""

    preference: int
    host: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class MxAnswer:
    """Where a domain's mail goes (RFC 5321 section 5.1, RFC 7505).

    Attributes:
        status: `ok`: at least one host has an address. `null_mx`: takes no mail. `nxdomain`, `nodata`: no such domain,
            or neither MX nor A. `misconfigured`: MX records of which none can be used; no fallback to A then.
            `unknown`: a lookup that decides did not complete.
        hosts: best preference first; empty unless `ok`.
        implicit: no MX record, the domain's own address takes mail.
    """

    status: MxStatus
    hosts: tuple[MxHost, ...] = ()
    implicit: bool = False


class Resolver:
    """Asks name servers over UDP, then TCP where the reply was cut. Safe to share between threads.

    Args:
        nameservers: (address, port); empty takes the system's.
        timeout_s: the longest one question may take; it is repeated once within that time.
        cache_size: how many positive answers to keep for their TTL (at most a day). 0, the default, keeps none:
            identity checks must see the present.
        monotonic: the clock of the cache, seconds.
    """

    def __init__(
        self,
        nameservers: tuple[tuple[str, int], ...],
        timeout_s: float = 3.0,
        *,
        cache_size: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.nameservers = tuple(nameservers)
        self.timeout_s = timeout_s
        self._cache_size = cache_size
        self._monotonic = monotonic
        self._cache: OrderedDict[tuple[str, str], tuple[float, Answer]] = OrderedDict()
        self._lock = threading.Lock()
        self._asker: DnspythonResolver | None = None

    def answers(self, name: str, rdtype: str) -> Answer:
        """Ask for the records of one type at `name`; CNAMEs are followed.

        A text that cannot be a domain name (an empty or 64-byte label) is `nxdomain`.

        Raises:
            ResolverError: no name server is configured.
        """
        key = (name.lower().rstrip("."), rdtype.upper())
        cached = self._cached(key)
        if cached is None:
            cached = self._ask(*key)
            self._keep(key, cached)
        return cached

    def mx(self, domain: str) -> MxAnswer:
        """Where mail for `domain` goes, with the IPv4 addresses of every host (our egresses speak IPv4 only)."""
        found = self.answers(domain, "MX")
        if found.status == "nxdomain":
            return MxAnswer("nxdomain")
        if found.status == "nodata":
            return self._implicit_mx(domain)
        if found.status != "ok":
            return MxAnswer("unknown")
        records = [_mx_fields(record) for record in found.records]
        if records == [(0, "")]:
            return MxAnswer("null_mx")
        return self._explicit_mx(sorted(r for r in records if _can_be_host(r[1])))

    def _explicit_mx(self, records: list[tuple[int, str]]) -> MxAnswer:
        hosts, all_known = [], True
        for preference, host in records:
            found = self.answers(host, "A")
            all_known = all_known and found.known
            hosts.append(MxHost(preference, host, found.records))
        if any(host.addresses for host in hosts):
            return MxAnswer("ok", tuple(hosts))
        return MxAnswer("misconfigured" if all_known else "unknown")

    def _implicit_mx(self, domain: str) -> MxAnswer:
        found = self.answers(domain, "A")
        if found.status == "ok":
            own = MxHost(0, domain.lower().rstrip("."), found.records)
            return MxAnswer("ok", (own,), implicit=True)
        return MxAnswer("nodata" if found.known else "unknown", implicit=True)

    def _cached(self, key: tuple[str, str]) -> Answer | None:
        if not self._cache_size:
            return None
        with self._lock:
            until, answer = self._cache.get(key, (0.0, None))
            if answer is None or until <= self._monotonic():
                return None
            self._cache.move_to_end(key)
            return answer

    def _keep(self, key: tuple[str, str], answer: Answer) -> None:
        if not self._cache_size or answer.status != "ok":
            return
        with self._lock:
            self._cache[key] = (self._monotonic() + min(answer.ttl, MAXIMUM_CACHED_S), answer)
            self._cache.move_to_end(key)
            while len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)

    def _ask(self, name: str, rdtype: str) -> Answer:
        import dns.exception

        try:
            found = self._dnspython().resolve(f"{name}.", rdtype, search=False)
        except dns.exception.DNSException as error:
            return Answer(_status_of(error))
        records = tuple(dict.fromkeys(_text(rdata) for rdata in found))
        return Answer("ok", records, found.rrset.ttl if found.rrset is not None else 0)

    def _dnspython(self) -> DnspythonResolver:
        import dns.nameserver
        import dns.resolver

        with self._lock:
            if self._asker is None:
                try:
                    asker = dns.resolver.Resolver(configure=not self.nameservers)
                except dns.resolver.NoResolverConfiguration as error:
                    raise ResolverError(
                        "no name server: /etc/resolv.conf is missing or names none"
                    ) from error
                if self.nameservers:
                    asker.nameservers = [dns.nameserver.Do53Nameserver(h, p) for h, p in self.nameservers]
                asker.timeout, asker.lifetime = self.timeout_s / 2, self.timeout_s
                asker.use_edns(0, 0, 1232)
                self._asker = asker
            return self._asker


def reverse_name(ip: str) -> str:
    """The name that holds the PTR record of an address, without the final dot."""
    return ip_address(ip).reverse_pointer


def _status_of(error: Exception) -> Status:
    """What a lookup that brought no record means."""
    import dns.exception
    import dns.name
    import dns.resolver

    cannot_exist = (
        dns.name.LabelTooLong,
        dns.name.EmptyLabel,
        dns.name.NameTooLong,
        dns.name.BadEscape,
        dns.name.IDNAException,
    )
    if isinstance(error, (dns.resolver.NXDOMAIN, *cannot_exist)):
        return "nxdomain"
    if isinstance(error, dns.resolver.NoAnswer):
        return "nodata"
    if isinstance(error, dns.exception.Timeout):
        return "timeout"
    return "servfail"  # no name server gave a usable reply, or the reply did not parse


def _text(rdata: Any) -> str:
    """One record as `Answer.records` promises it."""
    import dns.rdatatype

    kind = dns.rdatatype.to_text(rdata.rdtype)
    if kind == "TXT":
        return b"".join(rdata.strings).decode("utf-8", "backslashreplace")
    if kind in ("PTR", "NS", "CNAME"):
        return _plain(rdata.target)
    if kind == "MX":
        return f"{rdata.preference} {_plain(rdata.exchange) or '.'}"
    return str(rdata.to_text())


def _plain(name: Any) -> str:
    """A name in lower case without the final dot; the root is the empty text."""
    return "" if len(name.labels) <= 1 else str(name.to_text(omit_final_dot=True)).lower()


def _mx_fields(record: str) -> tuple[int, str]:
    preference, _, host = record.partition(" ")
    return int(preference), "" if host == "." else host


def _can_be_host(host: str) -> bool:
    """Whether an MX target can be connected to: not the root, not `localhost`, not an address written as a name."""
    if not host or host == "localhost":
        return False
    try:
        ip_address(host)
    except ValueError:
        return True
    return False
