"""Asset keys, group names and file names: decided once, used by every room.

Keys are tuples of two parts: the stream for what exists per stream, else the room or the public source.
"""

from __future__ import annotations

Key = tuple[str, str]

BOARD: Key = ("operations", "board")

NPPES_RELEASE: Key = ("nppes", "release")
NPPES_ENDPOINTS: Key = ("nppes", "endpoints")
NPPES_PROVIDERS: Key = ("nppes", "providers")
CMS_REVALIDATION: Key = ("cms", "revalidation")
CMS_EXCLUSIONS: Key = ("cms", "exclusions")

AUDIENCE_INSTITUTIONAL: Key = ("audience", "institutional")
AUDIENCE_CONSUMER: Key = ("audience", "consumer")
AUDIENCE_DIRECT: Key = ("audience", "direct")
AUDIENCE_REVIEW: Key = ("audience", "review")
AUDIENCE_REJECTS: Key = ("audience", "rejects")

VERIFICATION_MX: Key = ("verification", "mx")
VERIFICATION_VERDICTS: Key = ("verification", "verdicts")
VERIFIED_INSTITUTIONAL: Key = ("verification", "verified_institutional")

DNS_PLAN: Key = ("identity", "dns_plan")
MTA_CONFIG: Key = ("mta", "config")
MTA_DEPLOYED: Key = ("mta", "deployed")
MTA_DRIFT: Key = ("mta", "drift")

MAILLOG_LOG: Key = ("maillog", "log")
MAILLOG_OUTCOMES: Key = ("maillog", "outcomes")

SUPPRESSION: Key = ("sending", "suppression")
FORECAST: Key = ("sending", "forecast")

PROOF_ISOLATION: Key = ("proofs", "isolation")
PROOF_IDENTITY: Key = ("proofs", "identity")
PROOF_DELIVERABILITY: Key = ("proofs", "deliverability")
PROOF_CAP: Key = ("proofs", "cap")
PROOF_NO_REGRESSION: Key = ("proofs", "no_regression")
PROOF_REPORT: Key = ("proofs", "report")
PROOFS: tuple[Key, ...] = (
    PROOF_ISOLATION,
    PROOF_IDENTITY,
    PROOF_DELIVERABILITY,
    PROOF_CAP,
    PROOF_NO_REGRESSION,
)

# Per stream: identity, message_score, listmonk, subscribers, delivery, rampcap, campaign, gate, waves, engagement.
STREAM_ASSETS: tuple[tuple[str, str], ...] = (
    ("identity", "identity"),
    ("message_score", "identity"),
    ("listmonk", "listmonk"),
    ("subscribers", "listmonk"),
    ("delivery", "maillog"),
    ("rampcap", "sending"),
    ("campaign", "sending"),
    ("gate", "sending"),
    ("waves", "sending"),
    ("engagement", "sending"),
)
"""(name, room) of the assets that exist once per stream."""

INSTITUTIONAL_CSV = "npi_healthcare_institutional.csv"
CONSUMER_CSV = "npi_healthcare_consumer.csv"
DIRECT_CSV = "npi_direct_secure.csv"
REVIEW_CSV = "npi_review.csv"
REJECTS_CSV = "npi_rejects.csv"
VERIFIED_CSV = "npi_healthcare_institutional_verified.csv"


def of_stream(stream: str, name: str) -> Key:
    """The key of a per-stream asset: `of_stream("healthcare", "waves")`."""
    return (stream, name)


def text(key: Key) -> str:
    """The key as the command line writes it: `healthcare/waves`."""
    return "/".join(key)
