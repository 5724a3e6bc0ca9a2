"""What anybody may ask of the listmonk stand-in: opt out, fetch the pixel, follow a link."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from dualstream_assets.lab.listmonk_http import Call, HttpError
from dualstream_assets.lab.listmonk_process import is_uuid

if TYPE_CHECKING:
    from starlette.responses import Response

    from dualstream_assets.lab.listmonk_process import Process

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)


def opt_out(process: Process, call: Call) -> Response:
    """One click (RFC 8058): unsubscribes from that campaign's lists only; `blocklist=true` blocklists instead.

    After a list was deleted, or its row removed, it answers the same and changes nothing.
    """
    person = _person(process, call)
    everything = process.settings["privacy.allow_blocklist"] and call.form.get("blocklist") in (
        "true",
        "1",
        "on",
    )
    now = process.clock.now()
    if everything:
        process.store.run("update subscribers set status = 'blocklisted' where id = %s", (person["id"],))
    process.store.run(
        "update subscriber_lists set status = 'unsubscribed', updated_at = %(now)s where subscriber_id = %(person)s"
        " and status <> 'unsubscribed' and (%(all)s or list_id in (select cl.list_id from campaign_lists cl"
        " join campaigns c on c.id = cl.campaign_id where c.uuid = %(campaign)s))",
        {"now": now, "person": person["id"], "all": everything, "campaign": call.path["campaign"]},
    )
    return _html("<h2>Unsubscribed</h2><p>You have unsubscribed from the list.</p>")


def opt_out_page(process: Process, call: Call) -> Response:
    """The page with the button; changes nothing."""
    _person(process, call)
    return _html("<h2>Unsubscribe</h2><form method='post'><button>Unsubscribe</button></form>")


def pixel(process: Process, call: Call) -> Response:
    """The pixel; a view is recorded unless tracking is off."""
    from starlette.responses import Response

    if not process.settings["privacy.disable_tracking"] and _uuids(call):
        process.store.run(
            "insert into campaign_views (campaign_id, subscriber_id, created_at)"
            " select c.id, (select id from subscribers where uuid = %(person)s and %(single)s), %(now)s"
            " from campaigns c where c.uuid = %(campaign)s",
            {
                "campaign": call.path["campaign"],
                "person": call.path["person"],
                "single": process.settings["privacy.individual_tracking"],
                "now": process.clock.now(),
            },
        )
    return Response(PIXEL, media_type="image/png", headers={"Cache-Control": "no-cache"})


def link(process: Process, call: Call) -> Response:
    """The redirect of a tracked link; a click is recorded unless tracking is off."""
    from starlette.responses import RedirectResponse

    found = process.store.row("select id, url from links where uuid::text = %s", (call.path["link"],))
    if found is None or not _uuids(call):
        raise HttpError(400, "Link not found")
    if not process.settings["privacy.disable_tracking"]:
        process.store.run(
            "insert into link_clicks (campaign_id, link_id, subscriber_id, created_at) values"
            " ((select id from campaigns where uuid = %(campaign)s), %(link)s,"
            " (select id from subscribers where uuid = %(person)s and %(single)s), %(now)s)",
            {
                "campaign": call.path["campaign"],
                "link": found["id"],
                "person": call.path["person"],
                "single": process.settings["privacy.individual_tracking"],
                "now": process.clock.now(),
            },
        )
    return RedirectResponse(found["url"], status_code=307)


def _person(process: Process, call: Call) -> dict[str, Any]:
    if not _uuids(call):
        raise HttpError(400, "Invalid UUID")
    person = process.store.row("select id, status from subscribers where uuid = %s", (call.path["person"],))
    if person is None:
        raise HttpError(404, "Subscriber not found")
    return person


def _uuids(call: Call) -> bool:
    return is_uuid(call.path["campaign"]) and is_uuid(call.path["person"])


def _html(body: str) -> Response:
    from starlette.responses import HTMLResponse

    return HTMLResponse(f"<!doctype html><html><body>{body}</body></html>")
