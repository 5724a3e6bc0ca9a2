"""The room's errands for one workplace: hold the settings, import the people, look and write the evidence.

What rims, commands and tests call; everything below takes a client. Acting is decided here: a listmonk that the estate
does not call managed is shown and read, its settings never written, nobody imported into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from dualstream_assets import keys
from dualstream_assets.audience.tables import packaged_tables
from dualstream_assets.estate import Estate
from dualstream_assets.listmonk import applying, importing
from dualstream_assets.listmonk.client import Client
from dualstream_assets.listmonk.declared import Declared, SettingsPlan, declared_for
from dualstream_assets.listmonk.errors import ListmonkError, Unreachable
from dualstream_assets.listmonk.importing import Checked, Imported, Policy
from dualstream_assets.listmonk.people import listed
from dualstream_assets.listmonk.subscribers import Counts, counts, not_blocklisted
from dualstream_assets.outside.plan import Plan, apply_plan
from dualstream_assets.store.evidence import Evidence, Probe, Subject, probing

if TYPE_CHECKING:
    from collections.abc import Callable

    from dualstream_assets.workplace import Workplace

VALID_FOR = timedelta(hours=26)
ONLY_SHOWN = "only shown: this run may not act"


@dataclass(frozen=True)
class Settings:
    """The settings of one listmonk, as planned and perhaps written.

    Attributes:
        why_not: why nothing was written; None where something was, or nothing differs.
    """

    version: str
    found: SettingsPlan
    written: bool
    why_not: str | None


@dataclass(frozen=True)
class People:
    """The people of one listmonk: an import (None where nobody was imported, with the reason), and counts."""

    imported: Imported | None
    why_not: str | None
    counts: Counts


def client_of(workplace: Workplace, stream: str) -> Client:
    """A client for a stream's listmonk.

    Raises:
        Unreachable: it has no address or no token here.
    """
    at = workplace.endpoints.listmonk.get(stream)
    if at is None:
        variable = workplace.estate.streams[stream].listmonk.token_variable
        raise Unreachable(
            f"the listmonk of {stream} has no address or no token here",
            f"set streams.{stream}.listmonk.url in the estate and {variable} in the environment",
        )
    return Client(at.url, at.user, at.token)


def consumer_domains(estate: Estate) -> frozenset[str]:
    """What may never be imported into an institutional listmonk, in listmonk's own notation."""
    tables = packaged_tables().with_estate(estate.audience)
    below = {f"*.{suffix}" for suffix in tables.consumer_suffixes} | set(tables.consumer_suffixes)
    return frozenset((set(tables.consumer) | below) - tables.not_consumer)


def declared_of(workplace: Workplace, stream: str) -> Declared:
    """The declared settings of a stream's listmonk in this environment."""
    return declared_for(workplace.estate, stream, workplace.environment, consumer_domains(workplace.estate))


def policy_of(estate: Estate, stream: str) -> Policy:
    """Who may be imported into a stream's listmonk."""
    return Policy(estate.streams[stream].segment, estate.verification.catch_all_policy)


def hold_settings(workplace: Workplace, stream: str, *, act: bool) -> Settings:
    """Plan the settings and, if `act` and this listmonk is ours to write, apply the plan (see `outside.plan`).

    Raises:
        ListmonkError, PlanError: it cannot be asked, a campaign runs, or what was written did not take.
    """
    client, declared = client_of(workplace, stream), declared_of(workplace, stream)
    found = applying.read_plan(client, declared)
    version = ".".join(map(str, client.version))
    if not declared.managed:
        return Settings(version, found, False, "not managed by us: shown, never written")
    if not act:
        return Settings(version, found, False, None if found.empty else ONLY_SHOWN)
    if found.empty:
        applying.apply(client, declared, found.hash)  # restarts it if an earlier write still waits for that
        return Settings(version, found, False, None)

    def write(plan: Plan) -> None:
        applying.apply(client, declared, plan.plan_hash)

    apply_plan(
        workplace.database,
        workplace.clock,
        found.plan,
        found.hash,
        write,
        lambda: applying.read_plan(client, declared).plan,
    )
    return Settings(version, found, True, None)


def importable(workplace: Workplace, stream: str) -> Checked:
    """The stream's people as its audience file has them, each looked at again, suppressed ones left out.

    Raises:
        UnsafeRow: the file holds somebody who may not be imported.
        FileNotFoundError: the file was not built yet; names the next command.
    """
    from dualstream_assets.store.files import read_csv
    from dualstream_assets.store.suppression import suppressed

    policy = policy_of(workplace.estate, stream)
    name = keys.VERIFIED_CSV if policy.verdict_required else keys.CONSUMER_CSV
    path = workplace.paths.audience / name
    if not path.exists():
        asset = keys.VERIFIED_INSTITUTIONAL if policy.verdict_required else keys.AUDIENCE_CONSUMER
        raise FileNotFoundError(
            f"{name} is not built yet. Next: dagster asset materialize --select '+key:\"{keys.text(asset)}\"'"
            " -m dualstream_assets.definitions"
        )
    rows = read_csv(path)
    with workplace.database.transaction() as connection:
        out = suppressed(connection, {row["email"].strip().lower() for row in rows})
    return importing.checked(rows, policy, out)


def import_people(workplace: Workplace, stream: str, *, act: bool) -> People:
    """Import the stream's people who are not in its listmonk yet, verified by count.

    Raises:
        ListmonkError: see `importing.import_people`.
    """
    client = client_of(workplace, stream)
    why_not: str | None = None
    if not workplace.estate.streams[stream].listmonk.managed:
        why_not = "not managed by us: nobody is imported"
    elif not act:
        why_not = ONLY_SHOWN
    imported = None
    if why_not is None:
        imported = importing.import_people(client, stream, importable(workplace, stream))
    return People(imported, why_not, counts(client))


def look_at_settings(workplace: Workplace, stream: str, source: str) -> Evidence:
    """Write the evidence `settings`: everything declared holds, and is in force."""

    def look(client: Client) -> tuple[bool, str]:
        found = applying.read_plan(client, declared_of(workplace, stream))
        if not found.empty:
            more = f" and {len(found.changed) - 3} more" if len(found.changed) > 3 else ""  # noqa: PLR2004
            return False, f"not as declared: {', '.join(found.changed[:3])}{more}"
        if client.config().get("needs_restart"):
            return False, "as declared, but not in force until it restarts"
        return True, f"as declared (v{'.'.join(map(str, client.version))})"

    return _look(workplace, stream, "settings", source, look)


def look_at_counts(workplace: Workplace, stream: str, source: str) -> Evidence:
    """Write the evidence `counts`: everybody who may be imported is there, on the stream's one list."""

    def look(client: Client) -> tuple[bool | None, str]:
        if not workplace.estate.streams[stream].listmonk.managed:
            return None, "not managed by us: nobody is imported"
        wanted = {row.address for row in importable(workplace, stream).rows}
        there = {person.address for person in listed(client, importing.people_list(client, stream))}
        missing = len(wanted - there)
        if missing:
            return False, f"{missing} of {len(wanted)} people of the audience file are not in listmonk"
        return True, f"{len(wanted)} people of the audience file are there, {len(there)} listed"

    return _look(workplace, stream, "counts", source, look)


def look_at_optouts(workplace: Workplace, stream: str, source: str) -> Evidence:
    """Write the evidence `no_optout_revived`: whoever is suppressed is blocklisted, or not known there."""
    from dualstream_assets.store.suppression import all_suppressed

    def look(client: Client) -> tuple[bool, str]:
        with workplace.database.transaction() as connection:
            every = [_as_pushed(one.kind, one.value) for one in all_suppressed(connection)]
        # Asked even where nobody is suppressed: silence is no evidence.
        blocklisted = counts(client).blocklisted
        open_there = not_blocklisted(client, every)
        if open_there:
            return False, f"{open_there} suppressed people could be mailed: they are not blocklisted"
        return True, f"none of {len(every)} suppressed can be mailed, {blocklisted} blocklisted"

    return _look(workplace, stream, "no_optout_revived", source, look)


def _as_pushed(kind: str, value: str) -> str:
    return f"@{value}" if kind == "domain" else value


def _look(
    workplace: Workplace,
    stream: str,
    fact: str,
    source: str,
    look: Callable[[Client], tuple[bool | None, str]],
) -> Evidence:
    """Two-row evidence; a listmonk that cannot be asked leaves `unknown`, with the reason."""
    subject = Subject(stream, "listmonk", fact)
    with probing(workplace.database, workplace.clock, [subject], source=source, valid_for=VALID_FOR) as probe:
        return _judge(probe, subject, lambda: look(client_of(workplace, stream)))


def _judge(probe: Probe, subject: Subject, look: Callable[[], tuple[bool | None, str]]) -> Evidence:
    try:
        holds, said = look()
    except (ListmonkError, FileNotFoundError) as error:
        return probe.found_unknown(subject, str(error))
    return probe.found_that(subject, holds, said)


def shown_counts(counts: Counts) -> Mapping[str, int]:
    """Counts for an asset's metadata."""
    return {
        "subscribers": counts.subscribers,
        "blocklisted": counts.blocklisted,
        "unsubscribed": counts.unsubscribed,
    }


def shown_left_out(left_out: Mapping[str, int]) -> str:
    """Who was left out of an import and why, in one line."""
    return ", ".join(f"{count} {why}" for why, count in sorted(left_out.items())) or "nobody"
