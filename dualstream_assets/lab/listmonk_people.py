"""Lists, subscribers and bounces of the listmonk stand-in's API: the SQL expressions of a caller run on real tables."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dualstream_assets.lab.listmonk_http import Call, HttpError, results
from dualstream_assets.lab.listmonk_import import Options

if TYPE_CHECKING:
    from dualstream_assets.lab.listmonk_process import Process

LIST_COLUMNS = (
    "id, created_at, updated_at, uuid, name, type, optin, status, tags, description,"
    " (select count(*) from subscriber_lists sl where sl.list_id = lists.id) as subscriber_count,"
    " (select coalesce(jsonb_object_agg(g.status, g.n), '{}') from (select status, count(*) as n from subscriber_lists"
    " where list_id = lists.id group by status) g) as subscriber_statuses"
)
READABLE = frozenset(
    {"subscribers", "lists", "subscriber_lists", "campaigns", "campaign_lists", "campaign_views", "links"}
    | {"link_clicks", "bounces"}
)
REVERSE = "desc"


def tags_of(value: Any) -> list[str]:
    """Tags as they are stored: trimmed, blanks to dashes, empty ones dropped."""
    return ["-".join(str(tag).split()) for tag in value or () if str(tag).strip()]


def get_lists(process: Process, call: Call) -> dict[str, Any]:
    """Lists, newest first as listmonk orders them."""
    page = call.page()
    filters = (
        "(%(status)s = '' or status::text = %(status)s)"
        " and (cardinality(%(tags)s::text[]) = 0 or %(tags)s <@ tags::text[])"
    )
    asked = {
        "status": call.one("status"),
        "tags": call.many("tag"),
        "offset": page.offset,
        "limit": page.limit,
    }
    rows = process.store.rows(
        f"select {LIST_COLUMNS}, count(*) over () as all_of_them from lists where {filters}"  # noqa: S608
        " order by created_at desc, id desc offset %(offset)s limit %(limit)s",
        asked,
    )
    total = rows[0]["all_of_them"] if rows else 0
    return results([_without(row, "all_of_them") for row in rows], total, page)


def get_list(process: Process, call: Call) -> dict[str, Any]:
    """One list."""
    return _list(process, call.id())


def create_list(process: Process, call: Call) -> dict[str, Any]:
    """Make a list; names need not be unique."""
    sent = call.json()
    if not 1 <= len(sent.get("name") or "") <= 2000:  # noqa: PLR2004
        raise HttpError(400, "Invalid name")
    now = process.clock.now()
    row = process.store.row(
        "insert into lists (uuid, name, type, optin, status, tags, description, created_at, updated_at)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s) returning id",
        (
            uuid.uuid4(),
            sent["name"],
            sent.get("type") or "private",
            sent.get("optin") or "single",
            sent.get("status") or "active",
            tags_of(sent.get("tags")),
            sent.get("description") or "",
            now,
            now,
        ),
    )
    return _list(process, row["id"] if row else 0)


def update_list(process: Process, call: Call) -> dict[str, Any]:
    """Change a list: empty fields keep what is there, tags are always overwritten."""
    sent, list_id = call.json(), call.id()
    if not 1 <= len(sent.get("name") or "") <= 2000:  # noqa: PLR2004
        raise HttpError(400, "Invalid name")
    changed = process.store.run(
        "update lists set name = %s, type = coalesce(nullif(%s, '')::list_type, type),"
        " optin = coalesce(nullif(%s, '')::list_optin, optin), status = coalesce(nullif(%s, '')::list_status, status),"
        " tags = %s, description = coalesce(nullif(%s, ''), description), updated_at = %s where id = %s",
        (
            sent["name"],
            sent.get("type") or "",
            sent.get("optin") or "",
            sent.get("status") or "",
            tags_of(sent.get("tags")),
            sent.get("description") or "",
            process.clock.now(),
            list_id,
        ),
    )
    if not changed:
        raise HttpError(400, "List not found")
    return _list(process, list_id)


def _list(process: Process, list_id: int) -> dict[str, Any]:
    row = process.store.row(f"select {LIST_COLUMNS} from lists where id = %s", (list_id,))  # noqa: S608
    if row is None:
        raise HttpError(400, "List not found")
    return row


def get_subscribers(process: Process, call: Call) -> dict[str, Any]:
    """People for whom an SQL expression holds, newest first unless asked otherwise."""
    import psycopg

    page = call.page()
    list_ids = [int(value) for value in call.many("list_id")]
    order = "asc" if call.one("order") == "asc" else REVERSE
    expression = call.one("query").strip().removesuffix(";") or "TRUE"
    frame = (
        "from subscribers left join subscriber_lists on (cardinality(%(lists)s::int[]) > 0"
        " and subscriber_lists.subscriber_id = subscribers.id and (%(sub)s = ''"
        " or subscriber_lists.status = nullif(%(sub)s, '')::subscription_status))"
        " where (cardinality(%(lists)s::int[]) = 0 or subscriber_lists.list_id = any(%(lists)s::int[]))"
        f" and {_escaped(expression)}"
    )
    asked = {
        "lists": list_ids,
        "sub": call.one("subscription_status"),
        "offset": page.offset,
        "limit": page.limit,
    }
    with process.store.connection() as connection, connection.transaction(force_rollback=True):
        try:
            connection.execute("set transaction read only")
            plan = connection.execute(
                f"explain (format json) select subscribers.* {frame}".encode(), asked
            ).fetchone()
            _only_readable(plan["QUERY PLAN"])  # pyright: ignore[reportOptionalSubscript]
            total = connection.execute(f"select count(*) as n {frame}".encode(), asked).fetchone()
            rows = connection.execute(
                f"select subscribers.* {frame} order by subscribers.id {order}"
                " offset %(offset)s limit %(limit)s".encode(),
                asked,
            ).fetchall()
        except psycopg.Error as error:
            raise HttpError(400, f"Error preparing subscriber query: {str(error).splitlines()[0]}") from None
    _load_lists(process, rows)
    return results(rows, total["n"] if total else 0, page, query=call.one("query"))


def _load_lists(process: Process, rows: list[dict[str, Any]]) -> None:
    found = process.store.rows(
        "select sl.subscriber_id, jsonb_build_object('subscription_status', sl.status, 'subscription_created_at',"
        " sl.created_at, 'subscription_updated_at', sl.updated_at, 'subscription_meta', sl.meta, 'id', l.id,"
        " 'uuid', l.uuid, 'name', l.name, 'type', l.type, 'optin', l.optin, 'status', l.status, 'tags', l.tags) as it"
        " from subscriber_lists sl join lists l on l.id = sl.list_id where sl.subscriber_id = any(%s) order by l.id",
        ([row["id"] for row in rows],),
    )
    for row in rows:
        row["lists"] = [one["it"] for one in found if one["subscriber_id"] == row["id"]]


def _only_readable(plan: list[dict[str, Any]]) -> None:
    def tables(node: Any) -> set[str]:
        if isinstance(node, Mapping):
            own = {str(node["Relation Name"])} if "Relation Name" in node else set[str]()
            return own.union(*(tables(inner) for inner in node.values()))
        return set[str]().union(*map(tables, node)) if isinstance(node, list) else set[str]()

    foreign = tables(plan) - READABLE
    if foreign:
        raise HttpError(400, f"Error preparing subscriber query: table '{min(foreign)}' is not allowed")


def _escaped(expression: str) -> str:
    return expression.replace("%", "%%")


def blocklist(process: Process, call: Call) -> bool:
    """Blocklist by ids: the people, and every row of theirs becomes unsubscribed."""
    ids = call.json().get("ids") or []
    if not ids:
        raise HttpError(400, "One or more IDs are invalid: ids")
    now = process.clock.now()
    with process.store.connection() as connection, connection.transaction():
        connection.execute(
            "update subscribers set status = 'blocklisted', updated_at = %s where id = any(%s)", (now, ids)
        )
        connection.execute(
            "update subscriber_lists set status = 'unsubscribed', updated_at = %s where subscriber_id = any(%s)",
            (now, ids),
        )
    return True


def manage_lists(process: Process, call: Call) -> bool:
    """By ids: adding with a status overwrites an unsubscribed row (this is the unsafe way)."""
    sent = call.json()
    ids, targets, now = sent.get("ids") or [], sent.get("target_list_ids") or [], process.clock.now()
    if not ids:
        raise HttpError(400, "No IDs given.")
    if not targets:
        raise HttpError(400, "No lists given.")
    pairs = {"ids": ids, "lists": targets, "status": sent.get("status") or "", "now": now}
    actions = {
        "add": "insert into subscriber_lists as sl (subscriber_id, list_id, status, created_at, updated_at)"
        " select a, b, coalesce(nullif(%(status)s, ''), 'unconfirmed')::subscription_status, %(now)s, %(now)s"
        " from unnest(%(ids)s::int[]) a, unnest(%(lists)s::int[]) b on conflict (subscriber_id, list_id) do update"
        " set status = coalesce(nullif(%(status)s, '')::subscription_status, sl.status)",
        "remove": "delete from subscriber_lists where subscriber_id = any(%(ids)s) and list_id = any(%(lists)s)",
        "unsubscribe": "update subscriber_lists set status = 'unsubscribed', updated_at = %(now)s"
        " where subscriber_id = any(%(ids)s) and list_id = any(%(lists)s)",
    }
    if sent.get("action") not in actions:
        raise HttpError(400, "Invalid action.")
    process.store.run(actions[sent["action"]], pairs)
    return True


def query_lists(process: Process, call: Call) -> bool:
    """By query: adding inserts where absent and touches nobody's row (the safe way)."""
    sent = call.json()
    targets, now = sent.get("target_list_ids") or [], process.clock.now()
    if not targets:
        raise HttpError(400, "No lists given.")
    expression = _escaped((sent.get("query") or "").strip().removesuffix(";") or "TRUE")
    people = (  # the caller's SQL is what this endpoint is for
        "with people as (select subscribers.id from subscribers left join subscriber_lists on"  # noqa: S608
        " (cardinality(%(from)s::int[]) > 0 and subscriber_lists.subscriber_id = subscribers.id)"
        f" where subscriber_lists.list_id = all(%(from)s::int[]) and {expression}) "
    )
    actions = {
        "add": "insert into subscriber_lists (subscriber_id, list_id, status, created_at, updated_at)"
        " select p.id, l, coalesce(nullif(%(status)s, ''), 'unconfirmed')::subscription_status, %(now)s, %(now)s"
        " from people p, unnest(%(lists)s::int[]) l on conflict (subscriber_id, list_id) do nothing",
        "remove": "delete from subscriber_lists where subscriber_id in (select id from people)"
        " and list_id = any(%(lists)s)",
        "unsubscribe": "update subscriber_lists set status = 'unsubscribed', updated_at = %(now)s"
        " where subscriber_id in (select id from people) and list_id = any(%(lists)s)",
    }
    if sent.get("action") not in actions:
        raise HttpError(400, "Invalid action.")
    process.store.run(
        people + actions[sent["action"]],
        {
            "from": sent.get("list_ids") or [],
            "lists": targets,
            "status": sent.get("status") or "",
            "now": now,
        },
    )
    return True


def start_import(process: Process, call: Call) -> dict[str, Any]:
    """Take a file and import it in the background."""
    if process.importer.status["status"] == "importing":
        raise HttpError(
            400, "An import is already running. Wait for it to finish or stop it before trying again."
        )
    options = Options.read(str(call.form.get("params", "")))
    name, content = call.form.get("file") or ("", b"")
    if not name:
        raise HttpError(400, "Invalid file: http: no such file")
    process.importer.start(options, name, content)
    return process.importer.status


def get_bounces(process: Process, call: Call) -> dict[str, Any]:
    """Bounces with their people."""
    page = call.page()
    order = "asc" if call.one("order") == "asc" else REVERSE
    rows = process.store.rows(
        "select count(*) over () as all_of_them, b.id, b.type, b.source, b.meta, b.created_at, b.subscriber_id,"  # noqa: S608
        " s.uuid as subscriber_uuid, s.email, s.status as subscriber_status,"
        " case when c.id is null then null else jsonb_build_object('id', c.id, 'name', c.name) end as campaign"
        " from bounces b join subscribers s on s.id = b.subscriber_id left join campaigns c on c.id = b.campaign_id"
        f" order by b.created_at {order}, b.id {order} offset %s limit %s",
        (page.offset, page.limit),
    )
    if not rows:
        return {"results": [], "search": "", "query": "", "total": 0, "per_page": 0, "page": 0}
    return results([_without(r, "all_of_them") for r in rows], rows[0]["all_of_them"], page)


def _without(row: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != key}
