"""The settings that a stream's listmonk must have, derived from the estate, and the plan that leads there. Pure.

Only declared keys are compared and changed; the rest of the object goes back as it came. Values and reasons: facts on
listmonk sections 2 and 3, on operations section 3. The width of the sliding window (the cap) belongs to the rampcap
asset: here it is corrected only where it is absurd, so that the two writers never fight.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dualstream_assets.estate import Estate
from dualstream_assets.outside.plan import Change, Plan, difference

WINDOW_ON = "app.message_sliding_window"
WINDOW_LENGTH = "app.message_sliding_window_duration"
WINDOW_RATE = "app.message_sliding_window_rate"
WINDOW_MINUTES = 6
BULLET = "\N{BULLET}"

SERVER_BASE: Mapping[str, Any] = {
    "name": "", "uuid": "", "enabled": True, "host": "", "hello_hostname": "", "port": 25, "auth_protocol": "none",
    "username": "", "password": "", "email_headers": [], "max_conns": 2, "max_msg_retries": 4,
    "msg_retry_delay": "10ms", "idle_timeout": "15s", "wait_timeout": "5s", "tls_type": "none",
    "tls_skip_verify": False, "from_addresses": [],
}  # fmt: skip
"""Every field of an SMTP server in v6.2.0: an omitted one would be stored as its zero value."""


@dataclass(frozen=True)
class Declared:
    """What one listmonk must be set to.

    Attributes:
        managed: whether we may write it at all.
        values: top-level keys.
        servers: its SMTP servers, exactly these, as fields that must hold.
        lowest_rate, highest_rate: messages per six minutes that the estate's stages allow.
    """

    stream: str
    managed: bool
    values: Mapping[str, Any]
    servers: tuple[Mapping[str, Any], ...]
    lowest_rate: int
    highest_rate: int


@dataclass(frozen=True)
class SettingsPlan:
    """What would be written.

    Attributes:
        plan: the readable changes, without secrets; empty means nothing to write.
        absent: declared keys that this version of listmonk does not have.
        whole: the object to PUT: what GET returned, secrets blanked so that listmonk keeps them, changes made.
    """

    plan: Plan
    absent: tuple[str, ...]
    whole: Mapping[str, Any] = field(repr=False)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return self.plan.empty

    @property
    def hash(self) -> str:
        """What a person approves: an apply of another plan is refused."""
        return self.plan.plan_hash

    @property
    def changed(self) -> tuple[str, ...]:
        """What differs, by key."""
        return tuple(change.target for change in self.plan.changes)


def declared_for(
    estate: Estate, stream: str, environment: str, consumer_domains: Iterable[str] = ()
) -> Declared:
    """The declared settings of a stream's listmonk.

    Args:
        environment: where the submission ports listen depends on it.
        consumer_domains: never importable on a stream whose segment is institutional.
    """
    this = estate.streams[stream]
    values: dict[str, Any] = {
        "app.notify_emails": [],  # system mail would leave by any of the servers
        "app.check_updates": False,
        "app.enable_public_subscription_page": False,  # a public form could revive an opt-out
        "app.enable_public_archive": False,
        "app.enable_public_archive_rss_content": False,
        "app.send_optin_confirmation": False,
        "app.concurrency": 2,
        "app.message_rate": 1,
        "app.batch_size": 10,  # what a crash can lose, and how late an opt-out can come
        "app.max_send_errors": 10,
        "privacy.individual_tracking": True,
        "privacy.disable_tracking": False,
        "privacy.unsubscribe_header": True,
        "privacy.allow_wipe": False,  # a wiped person would come back as new with the next import
    }
    if this.listmonk.root_url:
        values["app.root_url"] = this.listmonk.root_url.rstrip("/")
    if this.segment == "institutional":
        values["privacy.domain_allowlist"] = []  # one entry there would switch the blocklist off
        values["privacy.domain_blocklist"] = sorted(set(consumer_domains))
    rates = [belt_rate(stage.cap_per_hour) for stage in this.ramp.stages]
    return Declared(
        stream,
        this.listmonk.managed,
        values,
        tuple(_servers(estate, stream, environment)),
        min(rates),
        max(rates),
    )


def belt_rate(cap_per_hour: int, minutes: int = WINDOW_MINUTES) -> int:
    """Messages per `minutes` for an hourly cap: N + 1, because exactly N would sleep out the window at each wave."""
    return max(1, cap_per_hour * minutes // 60) + 1


def _servers(estate: Estate, stream: str, environment: str) -> Iterable[dict[str, Any]]:
    """One SMTP server per submission port of the stream, and no other."""
    this = estate.streams[stream]
    host = _submission_host(estate, stream, environment)
    headers: list[dict[str, str]] = []
    if this.return_path_domain:
        headers = [{"Return-Path": this.return_path.address or f"bounces@{this.return_path_domain}"}]
    conns = this.listmonk.max_conns
    common = {
        "enabled": True,
        "host": host,
        "auth_protocol": "none",
        "tls_type": "none",
        "email_headers": headers,
        "max_conns": conns,
        "max_msg_retries": conns + 2,  # each stale connection of the pool costs one attempt
        "idle_timeout": "15s",
        "from_addresses": [],
    }
    if this.submit_port:
        name = normalised_name(stream)
        yield {"name": name, "port": this.submit_port, "hello_hostname": estate.organisation.domain, **common}
        return
    for egress in estate.pool(stream):
        if egress.port:
            name = normalised_name(egress.transport)
            yield {"name": name, "port": egress.port, "hello_hostname": egress.helo, **common}


def _submission_host(estate: Estate, stream: str, environment: str) -> str:
    """Where this listmonk reaches Postfix: from inside a container only over the bridge."""
    listen = [
        str(ip) for ip in next((e.listen for n, e in estate.environments.items() if n == environment), ())
    ]
    bridge = [ip for ip in listen if not ip.startswith("127.")]
    if estate.streams[stream].listmonk.container and bridge:
        return bridge[0]
    return listen[0] if listen else "127.0.0.1"


def normalised_name(name: str) -> str:
    """The name as listmonk stores it (cmd/settings.go): lower case, only a-z 0-9 -, prefixed `email-`."""
    plain = re.sub(r"[^a-z0-9-]", "-", name.strip().lower())
    return plain if not plain or plain.startswith("email-") else f"email-{plain}"


def without_secrets(value: Any) -> Any:
    """The same object with every masked secret blank, which makes listmonk keep the stored one.

    An echoed mask would be stored literally and become the password.
    """
    if isinstance(value, str):
        return "" if value and set(value) == {BULLET} else value
    if isinstance(value, Mapping):
        return {key: without_secrets(inner) for key, inner in value.items()}
    return [without_secrets(inner) for inner in value] if isinstance(value, list) else value


def plan(current: Mapping[str, Any], declared: Declared) -> SettingsPlan:
    """The changes that lead from `current` (as GET returned it) to `declared`."""
    whole = without_secrets(current)
    changes: list[Change] = []
    for key, desired in declared.values.items():
        if key in current and _comparable(current[key]) != _comparable(desired):
            changes += _change(key, current[key], desired)
            whole[key] = desired
    changes += _plan_window(current, whole, declared)
    changes += _plan_servers(whole, declared.servers)
    absent = tuple(key for key in declared.values if key not in current)
    return SettingsPlan(Plan(f"listmonk of {declared.stream}", tuple(changes)), absent, whole)


def plan_window(current: Mapping[str, Any], rate: int, minutes: int) -> SettingsPlan:
    """The changes that set the sliding window, and nothing else."""
    whole = without_secrets(current)
    wanted = {WINDOW_ON: True, WINDOW_LENGTH: f"{minutes}m", WINDOW_RATE: rate}
    changes: list[Change] = []
    for key, desired in wanted.items():
        same = (
            minutes_of(current.get(key)) == minutes if key == WINDOW_LENGTH else current.get(key) == desired
        )
        if not same:
            changes += _change(key, current.get(key), desired)
            whole[key] = desired
    return SettingsPlan(Plan("sliding window", tuple(changes)), (), whole)


def _plan_window(current: Mapping[str, Any], whole: dict[str, Any], declared: Declared) -> Iterable[Change]:
    rate = current.get(WINDOW_RATE, 0)
    on = current.get(WINDOW_ON) is True
    known_length = minutes_of(current.get(WINDOW_LENGTH)) == WINDOW_MINUTES
    if on and known_length and 1 < rate <= declared.highest_rate:
        return ()
    absurd = plan_window(current, declared.lowest_rate, WINDOW_MINUTES)
    for key in absurd.changed:
        whole[key] = absurd.whole[key]
    return absurd.plan.changes


def minutes_of(duration: object) -> float | None:
    """Minutes of a Go duration (`1h`, `6m`, `360s`, `6m0s`); None where it is none."""
    text = str(duration)
    if not re.fullmatch(r"(\d+(\.\d+)?(h|m|s))+", text):
        return None
    per = {"h": 60.0, "m": 1.0, "s": 1 / 60}
    return sum(float(number) * per[unit] for number, _, unit in re.findall(r"(\d+(\.\d+)?)(h|m|s)", text))


def _plan_servers(whole: dict[str, Any], servers: Sequence[Mapping[str, Any]]) -> Iterable[Change]:
    left = [dict(server) for server in whole.get("smtp", [])]
    changes: list[Change] = []
    wanted: list[dict[str, Any]] = []
    for desired in servers:
        label = f"smtp[{desired['name']}]"
        match = _match(left, desired)
        if match is None:
            changes.append(Change("add", label, None, f"{desired['host']}:{desired['port']}"))
            wanted.append({**SERVER_BASE, **desired})
            continue
        left.remove(match)
        differing = {
            k: v for k, v in desired.items() if k in match and _comparable(match[k]) != _comparable(v)
        }
        for key, value in differing.items():
            changes += _change(f"{label}.{key}", match[key], value)
        wanted.append({**match, **differing})
    changes += [
        Change(
            "delete",
            f"smtp[{server.get('name') or server.get('host')}:{server.get('port')}]",
            "enabled" if server.get("enabled") else "not enabled",
            None,
            "not a port of this stream",
        )
        for server in left
    ]
    if changes:
        whole["smtp"] = wanted
    return changes


def _match(left: list[dict[str, Any]], desired: Mapping[str, Any]) -> dict[str, Any] | None:
    by_name = [s for s in left if normalised_name(str(s.get("name", ""))) == desired["name"]]
    same_port = [s for s in left if (s.get("host"), s.get("port")) == (desired["host"], desired["port"])]
    return next(iter(by_name or same_port), None)


def _comparable(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else value


def _change(target: str, before: Any, after: Any) -> list[Change]:
    found = difference(target, _shown(before), _shown(after))
    return [found] if found else []


def _shown(value: Any) -> str:
    """A value for the diff; long lists one entry a line."""
    few = 4
    if isinstance(value, list) and len(value) > few:
        return "\n".join(sorted(map(str, value)))
    return json.dumps(value)
