"""What Postfix shall be, as text: rendered from the estate alone, the same on every machine.

`infra/postfix/` holds the render of the production estate, so that a change is reviewed as a diff; a test keeps both
equal.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from dualstream_assets.estate import Estate
from dualstream_assets.mta import services, tables
from dualstream_assets.mta.names import (
    POSTFIX,
    SHARED,
    Rendered,
    copy_name,
    folder_of,
    ported_pool,
    ported_streams,
    prefix_of,
)

HEAD = "# Rendered by dualstream from infra/estate.toml. Do not edit: change the estate, then `dualstream mta plan`.\n"
CONCURRENCY_PER_DOMAIN = 2
RATE_DELAY = "1s"
"""Per-domain politeness of the plan: no clinic's host is hammered."""


def render(estate: Estate, environment: str) -> Rendered:
    """Every place and its text (see `names`), in the order in which they are applied: tables first, services last.

    Args:
        environment: `lab`, `dev` or `production`: which addresses listen and which clients may connect.
    """
    files: dict[str, str] = {}
    for stream in ported_streams(estate):
        folder = folder_of(estate, stream)
        for name, text in {
            "command_filter": tables.command_filter(),
            "dns_reply_filter": tables.dns_reply_filter(),
            "header_checks": tables.header_checks(),
            "recipient_access": tables.recipient_access(),
            "recipient_mx_access": tables.recipient_mx_access(),
            "sender_access": tables.sender_access(estate, stream),
        }.items():
            files[f"{folder}/{name}"] = HEAD + text
    if not files:
        return files
    files[f"{SHARED}/port25_sender_access"] = HEAD + tables.port25_sender_access(estate)
    files[f"{SHARED}/requeue_header_checks"] = HEAD + tables.requeue_header_checks(estate)
    nft = tables.nftables(estate, environment).split("\n", 1)
    files["/etc/nftables.d/dualstream.nft"] = f"{nft[0]}\n{HEAD}{nft[1]}"
    files["/etc/sysctl.d/60-dualstream.conf"] = HEAD + tables.sysctl()
    for stream in ported_streams(estate):
        prefix = prefix_of(estate, stream)
        files[f"{POSTFIX}/main.cf#{prefix}"] = _main_block(estate, stream)
        files[f"{POSTFIX}/master.cf#{prefix}"] = services.master_block(estate, environment, stream)
    files[f"{POSTFIX}/master.cf#requeue"] = services.requeue_block()
    files[f"{POSTFIX}/master.cf!pickup/unix/cleanup_service_name"] = "pkcleanup\n"
    files[f"{POSTFIX}/master.cf!smtp/inet/smtpd_sender_restrictions"] = (
        f"check_sender_access pcre:{SHARED}/port25_sender_access\n"
    )
    return files


def _main_block(estate: Estate, stream: str) -> str:
    """Parameters named after our transports: the queue manager reads them from main.cf alone. No other is touched."""
    text = f"# {stream}: per-domain politeness, so that no clinic's host is hammered.\n"
    for egress, _ in ported_pool(estate, stream):
        text += f"{egress.transport}_destination_concurrency_limit = {CONCURRENCY_PER_DOMAIN}\n"
        text += f"{egress.transport}_destination_rate_delay = {RATE_DELAY}\n"
    return text


def config_hash(files: Rendered) -> str:
    """Hex digest over places and texts."""
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()


def write_copies(estate: Estate, folder: Path) -> list[Path]:
    """Write the production render below `folder` (`infra/postfix`) for review; returns the files, sorted.

    Files there that are no longer rendered are removed.
    """
    from dualstream_assets.store.files import write_text_atomic

    wanted = {folder / copy_name(place): text for place, text in render(estate, "production").items()}
    for stale in set((folder / "etc").rglob("*")) - wanted.keys():
        if stale.is_file():
            stale.unlink()
    for path, text in wanted.items():
        write_text_atomic(path, text)
    return sorted(wanted)
