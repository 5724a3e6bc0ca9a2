"""What a permit needs: which facts, per stream and kind, and for each the command that looks again.

To make a new fact a condition: let its check write evidence (`store.evidence.probing`) and add it here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from dualstream_assets import keys
from dualstream_assets.estate import Estate
from dualstream_assets.store.evidence import Subject

PermitKind = Literal["wave", "probe"]

_ASSET_OF_FACT = {
    "fcrdns": "{stream}/identity",
    "helo": "{stream}/identity",
    "spf": "{stream}/identity",
    "dkim": "{stream}/identity",
    "dmarc": "{stream}/identity",
    "message_score": "{stream}/message_score",
    "content_lawful": "{stream}/campaign",
    "pools_disjoint": "mta/config",
    "live_is_reviewed": "mta/deployed",
    "backstop": "mta/deployed",
    "source_addresses": "mta/deployed",
    "settings": "{stream}/listmonk",
    "counts": "{stream}/subscribers",
    "no_optout_revived": "{stream}/subscribers",
    "suppression_synced": "sending/suppression",
    "cap_is_ramp": "{stream}/rampcap",
    "other_cap_untouched": "{stream}/rampcap",
    "audience_fit": "audience/institutional",
    "verified_fresh": "verification/verified_institutional",
    "probe_ip_apart": "verification/verified_institutional",
    "log_complete": "maillog/log",
    "lists_known": "{subject}",
    "release_fresh": "{subject}",
}


def required(estate: Estate, stream: str, kind: PermitKind, environment: str) -> tuple[Subject, ...]:  # noqa: ARG001
    """The facts that must be green and fresh before a permit of this kind is minted.

    A probe (seed mailboxes only) needs DNS and Postfix; it is itself the source of the message evidence.
    `environment` is taken so that one may ask more of production later; today all ask the same.
    """
    facts = [*_identity(estate, stream), *_postfix(stream)]
    if kind == "wave":
        facts += _wave_only(estate, stream)
    return tuple(facts)


def _identity(estate: Estate, stream: str) -> Iterator[Subject]:
    for egress in estate.pool(stream):
        yield Subject(stream, str(egress.ip), "fcrdns")
        yield Subject(stream, str(egress.ip), "helo")
    for fact in ("spf", "dkim", "dmarc"):
        yield Subject(stream, estate.organisation.domain, fact)
    return_path = estate.streams[stream].return_path_domain
    if return_path:
        yield Subject(stream, return_path, "spf")


def _postfix(stream: str) -> Iterator[Subject]:
    for fact in ("pools_disjoint", "live_is_reviewed", "backstop", "source_addresses"):
        yield Subject(stream, "postfix", fact)


def _wave_only(estate: Estate, stream: str) -> Iterator[Subject]:
    yield Subject(stream, "message", "message_score")
    yield Subject(stream, "content", "content_lawful")
    for fact in ("settings", "counts", "no_optout_revived"):
        yield Subject(stream, "listmonk", fact)
    yield Subject(stream, "suppression", "suppression_synced")
    yield Subject(stream, "rampcap", "cap_is_ramp")
    yield Subject(stream, "rampcap", "other_cap_untouched")
    if estate.streams[stream].segment == "institutional":
        yield Subject(stream, "verification", "verified_fresh")
        yield Subject(stream, "verification", "probe_ip_apart")
    yield Subject(stream, "audience", "audience_fit")
    yield Subject(stream, "maillog", "log_complete")
    yield Subject(stream, keys.text(keys.NPPES_RELEASE), "release_fresh")
    for lists in (keys.CMS_REVALIDATION, keys.CMS_EXCLUSIONS):
        yield Subject(stream, keys.text(lists), "lists_known")


def cure(subject: Subject) -> str:
    """The command that looks at a fact again."""
    asset = _ASSET_OF_FACT.get(subject.fact, "{stream}/gate").format(
        stream=subject.stream, subject=subject.subject
    )
    return f"dagster asset materialize --select '{asset}' -m dualstream_assets.definitions"
