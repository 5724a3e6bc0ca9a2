"""What people in the pretend world do with the mail they get: some click the one-click unsubscribe of RFC 8058."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


class Recipients:
    """Reads the sinks as they grow and acts for the people who opt out when mailed.

    Args:
        sinks: the receivers' records (JSON lines).
        listmonk_urls: base URLs by which to try; the instance that knows the campaign takes the opt-out.
        opts_out: addresses of the world that opt out when they are mailed.
    """

    def __init__(self, sinks: Path, listmonk_urls: Mapping[str, str], opts_out: frozenset[str]) -> None:
        self._sinks = sinks
        self._urls = listmonk_urls
        self._opts_out = opts_out
        self._offset = 0
        self.opted_out: set[str] = set()

    def act(self) -> int:
        """Read what arrived since the last call; returns how many people opted out now."""
        if not self._sinks.exists():
            return 0
        acted = 0
        with self._sinks.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                record = json.loads(line)
                if record.get("campaign_uuid") and record["rcpt"].lower() in self._opts_out - self.opted_out:
                    acted += self._one_click(record)
        return acted

    def _one_click(self, record: Mapping[str, str]) -> int:
        import requests

        for url in self._urls.values():
            answer = requests.post(
                f"{url}/subscription/{record['campaign_uuid']}/{record['subscriber_uuid']}",
                data={"List-Unsubscribe": "One-Click"},
                timeout=10,
            )
            if answer.ok:
                self.opted_out.add(record["rcpt"].lower())
                return 1
        return 0
