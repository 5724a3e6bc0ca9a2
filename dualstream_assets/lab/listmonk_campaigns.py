"""Campaigns and templates of the listmonk stand-in's API: creation, reading, the table of status moves."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dualstream_assets.lab import listmonk_mail
from dualstream_assets.lab.listmonk_http import Call, HttpError, results
from dualstream_assets.lab.listmonk_people import tags_of

if TYPE_CHECKING:
    from dualstream_assets.lab.listmonk_process import Process

CONTENT_TYPES = ("richtext", "html", "plain", "visual", "markdown")
PLACEHOLDER = '{{ template "content" . }}'
LONGEST_SUBJECT = 5000
COLUMNS = (
    "c.id, c.created_at, c.updated_at, c.started_at, c.to_send, c.sent, c.uuid, c.type, c.name, c.subject,"
    " c.from_email, c.body, c.altbody, c.send_at, c.status, c.content_type, c.tags, c.headers,"
    " c.attribs, c.template_id, c.messenger,"
    " (select count(*) from campaign_views v where v.campaign_id = c.id) as views,"
    " (select count(*) from link_clicks k where k.campaign_id = c.id) as clicks,"
    " (select count(*) from bounces b where b.campaign_id = c.id) as bounces,"
    " (select coalesce(jsonb_agg(jsonb_build_object('id', coalesce(cl.list_id, 0), 'name', cl.list_name)"
    " order by cl.id), '[]') from campaign_lists cl where cl.campaign_id = c.id) as lists"
)
MOVES = {
    "draft": ({"scheduled"}, "Only scheduled campaigns can be saved as drafts"),
    "scheduled": ({"draft", "paused"}, "Only draft campaigns can be scheduled"),
    "running": ({"paused", "draft"}, "Only paused campaigns and drafts can be started"),
    "paused": ({"running"}, "Only active campaigns can be paused"),
    "cancelled": ({"running", "paused"}, "Only active campaigns can be cancelled"),
}
"""New status -> states from which it may be reached, and what is said otherwise. `finished` is not checked."""


def get_campaigns(process: Process, call: Call) -> dict[str, Any]:
    """Campaigns, newest first."""
    page = call.page()
    order = "asc" if call.one("order") == "asc" else "desc"
    rows = process.store.rows(
        f"select {COLUMNS}, count(*) over () as all_of_them from campaigns c"  # noqa: S608
        " where (cardinality(%(tags)s::text[]) = 0 or %(tags)s <@ c.tags::text[])"
        " and (cardinality(%(states)s::text[]) = 0 or c.status::text = any(%(states)s))"
        f" order by c.created_at {order}, c.id {order} offset %(offset)s limit %(limit)s",
        {
            "tags": call.many("tag"),
            "states": call.many("status"),
            "offset": page.offset,
            "limit": page.limit,
        },
    )
    if not rows:
        return {"results": [], "search": "", "query": "", "total": 0, "per_page": 0, "page": 0}
    total = rows[0]["all_of_them"]
    found = [{k: v for k, v in row.items() if k != "all_of_them"} for row in rows]
    if call.one("no_body") == "true":
        found = [{**row, "body": ""} for row in found]
    return results(found, total, page)


def get_campaign(process: Process, call: Call) -> dict[str, Any]:
    """One campaign."""
    found = _campaign(process, call.id())
    return {**found, "body": ""} if call.one("no_body") == "true" else found


def running_stats(process: Process, call: Call) -> list[dict[str, Any]]:  # noqa: ARG001
    """What is running, by the table."""
    return process.store.rows(
        "select id, status, to_send, sent, started_at, updated_at, 0 as rate, 0 as net_rate from campaigns"
        " where status = 'running'"
    )


def create_campaign(process: Process, call: Call) -> dict[str, Any]:
    """Make a campaign; always a draft. An unavailable `email-…` messenger silently becomes `email`."""
    sent = call.json()
    if not 1 <= len(sent.get("name") or "") <= 2000:  # noqa: PLR2004
        raise HttpError(400, "Invalid length for `name`.")
    if not 1 <= len(sent.get("subject") or "") <= LONGEST_SUBJECT:
        raise HttpError(400, "Invalid length for `subject`.")
    if sent.get("send_at") and datetime.fromisoformat(sent["send_at"]) < process.clock.now():
        raise HttpError(400, "Scheduled date should be in the future.")
    lists = process.store.rows("select id, name from lists where id = any(%s)", (sent.get("lists") or [],))
    if not lists:
        raise HttpError(400, "Invalid list IDs.")
    messenger = sent.get("messenger") or "email"
    if messenger not in process.engine.servers:
        if not messenger.startswith("email-"):
            raise HttpError(400, f"Unknown messenger {messenger}.")
        messenger = "email"
    listmonk_mail.check(sent.get("body") or "")
    template = process.store.row(
        "select id from templates where case when %(id)s::int is null then is_default else id = %(id)s end",
        {"id": sent.get("template_id")},
    )
    now = process.clock.now()
    with process.store.connection() as connection, connection.transaction():
        row = connection.execute(
            "insert into campaigns (uuid, name, subject, from_email, body, altbody, content_type, send_at, headers,"
            " attribs, tags, type, messenger, template_id, created_at, updated_at)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) returning id",
            (
                uuid.uuid4(),
                sent["name"],
                sent["subject"],
                sent.get("from_email") or process.settings["app.from_email"],
                sent.get("body") or "",
                sent.get("altbody"),
                sent.get("content_type") if sent.get("content_type") in CONTENT_TYPES else "richtext",
                sent.get("send_at"),
                json.dumps(sent.get("headers") or []),
                json.dumps(sent.get("attribs") or {}),
                tags_of(sent.get("tags")),
                sent.get("type") or "regular",
                messenger,
                template["id"] if template else None,
                now,
                now,
            ),
        ).fetchone()
        assert row is not None  # noqa: S101
        for one in lists:
            connection.execute(
                "insert into campaign_lists (campaign_id, list_id, list_name) values (%s, %s, %s)",
                (row["id"], one["id"], one["name"]),
            )
    return _campaign(process, row["id"])


def set_status(process: Process, call: Call) -> dict[str, Any]:
    """Move a campaign. With `send_at`, `running` is stored as `scheduled` while the answer says running."""
    import psycopg

    wanted = call.json().get("status", "")
    found = _campaign(process, call.id())
    allowed, otherwise = MOVES.get(wanted, (None, ""))
    if allowed is not None and found["status"] not in allowed:
        raise HttpError(400, otherwise)
    if wanted == "scheduled" and not found["send_at"]:
        raise HttpError(400, "Campaign needs a `send_at` date to be scheduled")
    stored = "scheduled" if wanted == "running" and found["send_at"] else wanted
    try:
        process.store.run(
            "update campaigns set status = %s::campaign_status, updated_at = %s where id = %s",
            (stored, process.clock.now(), found["id"]),
        )
    except psycopg.Error as error:
        raise HttpError(500, f"Error updating campaign: {str(error).splitlines()[0]}") from None
    if wanted in ("paused", "cancelled"):
        process.engine.stop_campaign(found["id"])
    return {**found, "status": wanted}


def get_templates(process: Process, call: Call) -> list[dict[str, Any]]:
    """Every template, as a plain array."""
    rows = process.store.rows("select * from templates order by created_at, id")
    return [{**row, "body": ""} for row in rows] if call.one("no_body") == "true" else rows


def create_template(process: Process, call: Call) -> dict[str, Any]:
    """Make a template; a campaign's must hold the placeholder of the content."""
    sent = call.json()
    if PLACEHOLDER not in (sent.get("body") or ""):
        raise HttpError(400, f"The placeholder {PLACEHOLDER} should appear exactly once in the template.")
    now = process.clock.now()
    row = process.store.row(
        "insert into templates (name, type, subject, body, created_at, updated_at) values (%s, %s, %s, %s, %s, %s)"
        " returning *",
        (
            sent.get("name") or "",
            sent.get("type") or "campaign",
            sent.get("subject") or "",
            sent["body"],
            now,
            now,
        ),
    )
    assert row is not None  # noqa: S101
    return row


def _campaign(process: Process, campaign_id: int) -> dict[str, Any]:
    row = process.store.row(f"select {COLUMNS} from campaigns c where c.id = %s", (campaign_id,))  # noqa: S608
    if row is None:
        raise HttpError(400, "Campaign not found")
    return row
