"""Rules that hold between keys of the estate: pools disjoint, ramps rising, ports unique."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from dualstream_assets.estate.model import Estate

_DOMAIN = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+")
"""With a dot: `com` would stand for every name below it."""
_ADDED_AND_REMOVED = {
    "consumer_domains": "not_consumer_domains",
    "dropped_domains": "not_dropped_domains",
    "direct_suffixes": "not_direct_suffixes",
    "review_domains": "not_review_domains",
}


@dataclass(frozen=True)
class Finding:
    """One fault of the estate: the key and what is wrong with it."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


def rule_findings(estate: Estate) -> list[Finding]:
    """Every broken rule, in file order."""
    return [*_egress(estate), *_streams(estate), *_hosts(estate), *_audience(estate)]


def domain_name(text: str) -> str:
    """A domain as the classifier looks it up: `@Clinic.Example.`, `*.clinic.example` are `clinic.example`."""
    return text.strip().lower().removeprefix("@").removeprefix("*").strip(".")


def _egress(estate: Estate) -> Iterator[Finding]:
    seen: dict[tuple[str, object], int] = {}
    for i, egress in enumerate(estate.egress):
        key = f"egress[{i}]"
        if egress.stream not in estate.streams:
            yield Finding(f"{key}.stream", f"{egress.stream!r} is not declared under [streams]")
        for name in ("ip", "helo", "transport", "port", "submit_name"):
            value = getattr(egress, name)
            if value is None:
                continue
            first = seen.setdefault((name, value), i)
            if first != i:
                other = estate.egress[first]
                yield Finding(f"{key}.{name}", f"{value} also belongs to {other.stream} (egress[{first}])")
        if estate.probe.ip is not None and egress.ip == estate.probe.ip:
            yield Finding("probe.ip", f"{egress.ip} is a sending IP ({egress.transport}); probe from another")
        if (egress.port is None) != (egress.submit_name is None):
            yield Finding(key, "port and submit_name belong together: give both or neither")


def _streams(estate: Estate) -> Iterator[Finding]:
    segments: dict[str, str] = {}
    for name, stream in estate.streams.items():
        key = f"streams.{name}"
        pool = estate.pool(name)
        if not pool:
            yield Finding(f"{key}", "no active egress: declare one under [[egress]]")
        if stream.submit_port is None and any(e.port is None for e in pool):
            yield Finding(f"{key}.submit_port", "missing, and an active egress of this stream has no port")
        if stream.segment in segments:
            yield Finding(f"{key}.segment", f"{stream.segment!r} already rides {segments[stream.segment]}")
        segments[stream.segment] = name
        if stream.segment in ("direct", "dropped", "review"):
            yield Finding(f"{key}.segment", f"{stream.segment!r} may not be mailed by any stream")
        stages = stream.ramp.stages
        if stages[0].from_day != 0:
            yield Finding(f"{key}.ramp.stages[0].from_day", "the first stage must start at day 0")
        for i, (low, high) in enumerate(pairwise(stages), start=1):
            if high.from_day <= low.from_day:
                yield Finding(f"{key}.ramp.stages[{i}].from_day", f"must be above {low.from_day}")
            if high.cap_per_hour < low.cap_per_hour or high.cap_per_day < low.cap_per_day:
                yield Finding(f"{key}.ramp.stages[{i}]", "a later stage may not have lower caps")
        if stream.ramp.mode != "fixed" and not stream.ramp.stamp:
            yield Finding(f"{key}.ramp.stamp", f"missing: mode {stream.ramp.mode!r} counts from a stamp")
        if stream.window.end <= stream.window.start:
            yield Finding(f"{key}.window.end", "must be later than start")


def _hosts(estate: Estate) -> Iterator[Finding]:
    for i, zone in enumerate(estate.dns.zones):
        if zone.host not in estate.hosts:
            yield Finding(f"dns.zones[{i}].host", f"{zone.host!r} is not declared under [hosts]")
    for name, environment in estate.environments.items():
        if any(address.is_unspecified for address in environment.listen):
            yield Finding(f"environments.{name}.listen", "0.0.0.0 would listen to the world; name addresses")


def _audience(estate: Estate) -> Iterator[Finding]:
    """Names that are no domains, and names that say two things at once: added twice, or added and taken out."""
    added_under: dict[str, str] = {}
    for added, removed in _ADDED_AND_REMOVED.items():
        names, out = (
            {domain_name(text): text for text in getattr(estate.audience, key)} for key in (added, removed)
        )
        for key, texts in ((added, names), (removed, out)):
            for name, text in texts.items():
                if not _DOMAIN.fullmatch(name):
                    yield Finding(f"audience.{key}", f"{text!r} is no domain such as clinic.example")
        for name in sorted(names.keys() & out.keys()):
            yield Finding(f"audience.{removed}", f"{name} is also under {added}: take it out of one")
        for name in names:
            if (first := added_under.setdefault(name, added)) != added:
                yield Finding(f"audience.{added}", f"{name} is also under {first}: take it out of one")
