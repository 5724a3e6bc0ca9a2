"""Names on the Postfix host: streams that own ports, their prefix, and the places that rendering writes.

A place is a path, a path with a block of ours (`/etc/postfix/master.cf#hc`), or one option of a service that is not
ours (`/etc/postfix/master.cf!pickup/unix/cleanup_service_name`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from dualstream_assets.estate import Egress, Estate

POSTFIX = "/etc/postfix"
SHARED = f"{POSTFIX}/dualstream"
POLICY_SERVICE = "inet:127.0.0.1:2599"
"""Where the wave policy listens (facts: operations section 3). No daemon there means every message is held."""

Rendered = Mapping[str, str]
"""Place -> text."""


def ported_streams(estate: Estate) -> tuple[str, ...]:
    """Streams whose egress is chosen by submission port: only for these is Postfix rendered."""
    return tuple(name for name, stream in estate.streams.items() if stream.submit_port is None)


def ported_pool(estate: Estate, stream: str) -> tuple[tuple[Egress, int], ...]:
    """(egress, port) of a ported stream's active egresses."""
    return tuple((e, e.port) for e in estate.pool(stream) if e.port is not None)


def prefix_of(estate: Estate, stream: str) -> str:
    """The stream's short name in Postfix: what its transports begin with (`hcout1` -> `hc`)."""
    found = re.fullmatch(r"([a-z]+?)(?:out)?\d*", estate.pool(stream)[0].transport)
    return found[1] if found else stream


def folder_of(estate: Estate, stream: str) -> str:
    """Folder of a stream's tables."""
    return f"{POSTFIX}/{prefix_of(estate, stream)}"


def senders_of(estate: Estate, stream: str) -> str:
    """The envelope domain that a stream's ports take mail from."""
    return estate.streams[stream].return_path_domain or estate.organisation.domain


def copy_name(place: str) -> str:
    """Where the committed copy of a place lies, below `infra/postfix`."""
    path, mark, rest = place.partition("#") if "#" in place else place.partition("!")
    name = f"{path}.{rest.replace('/', '.')}" if mark else path
    return str(PurePosixPath(name).relative_to("/"))
