"""The old way beside us: a campaign on trucking's listmonk that this project did not start.

What others send on a stream counts against its caps; this is how the lab makes that true.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dualstream_assets.workplace import ListmonkAt


def start_batch(at: ListmonkAt, name: str, from_address: str, people: Sequence[str]) -> int:
    """Put `people` (addresses known to that listmonk) on a new list and start a campaign; returns its id."""
    import requests

    session = requests.Session()
    session.headers["Authorization"] = f"token {at.user}:{at.token}"

    def call(method: str, path: str, body: dict[str, Any]) -> Any:
        answer = session.request(method, f"{at.url}/api{path}", json=body, timeout=10)
        answer.raise_for_status()
        return answer.json()["data"]

    quoted = ", ".join("'" + person.replace("'", "''") + "'" for person in people)
    made = call("POST", "/lists", {"name": name, "type": "private", "optin": "single", "tags": ["foreign"]})
    call(
        "PUT",
        "/subscribers/query/lists",
        {"query": f"subscribers.email IN ({quoted})", "action": "add", "target_list_ids": [made["id"]]},
    )
    campaign = call(
        "POST",
        "/campaigns",
        {
            "name": name,
            "subject": "Your MCS-150 update",
            "lists": [made["id"]],
            "from_email": from_address,
            "content_type": "html",
            "body": "<p>Your biennial update is due.</p><p><a href='{{ UnsubscribeURL }}'>unsubscribe</a></p>",
            "messenger": "email",
        },
    )
    call("PUT", f"/campaigns/{campaign['id']}/status", {"status": "running"})
    return int(campaign["id"])
