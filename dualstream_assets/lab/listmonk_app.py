"""The addresses of the listmonk stand-in: which of its functions answers what, and how a request is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dualstream_assets.lab import listmonk_campaigns as campaigns
from dualstream_assets.lab import listmonk_people as people
from dualstream_assets.lab import listmonk_process as processes
from dualstream_assets.lab import listmonk_public as public
from dualstream_assets.lab.listmonk_http import Call, HttpError, dumped, form_of
from dualstream_assets.lab.listmonk_process import Process

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

Api = Callable[[Process, Call], Any]


def _unknown(process: Process, call: Call) -> Any:  # noqa: ARG001
    raise HttpError(404, "404 unknown endpoint")


API: Mapping[tuple[str, str], Api] = {
    ("GET", "/health"): lambda process, call: True,  # noqa: ARG005
    ("GET", "/config"): processes.get_config,
    ("GET", "/settings"): processes.get_settings,
    ("PUT", "/settings"): processes.put_settings,
    ("PUT", "/settings/{key}"): processes.put_setting,
    ("POST", "/admin/reload"): processes.reload,
    ("GET", "/logs"): processes.get_logs,
    ("GET", "/lists"): people.get_lists,
    ("POST", "/lists"): people.create_list,
    ("GET", "/lists/{id}"): people.get_list,
    ("PUT", "/lists/{id}"): people.update_list,
    ("GET", "/subscribers"): people.get_subscribers,
    ("PUT", "/subscribers/blocklist"): people.blocklist,
    ("PUT", "/subscribers/lists"): people.manage_lists,
    ("PUT", "/subscribers/query/lists"): people.query_lists,
    ("GET", "/import/subscribers"): lambda process, call: process.importer.status,  # noqa: ARG005
    ("POST", "/import/subscribers"): people.start_import,
    ("GET", "/import/subscribers/logs"): lambda process, call: process.importer.log,  # noqa: ARG005
    ("DELETE", "/import/subscribers"): lambda process, call: (  # noqa: ARG005
        process.importer.stop() or process.importer.status
    ),
    ("GET", "/bounces"): people.get_bounces,
    ("GET", "/templates"): campaigns.get_templates,
    ("POST", "/templates"): campaigns.create_template,
    ("GET", "/campaigns"): campaigns.get_campaigns,
    ("POST", "/campaigns"): campaigns.create_campaign,
    ("GET", "/campaigns/running/stats"): campaigns.running_stats,
    ("GET", "/campaigns/{id}"): campaigns.get_campaign,
    ("PUT", "/campaigns/{id}/status"): campaigns.set_status,
}
"""What is there, and needs an API user; everything else under /api is a 404."""


def application(process: Callable[[], Process]) -> Starlette:
    """The routes; `process` gives the process that runs now."""
    from starlette.applications import Starlette
    from starlette.routing import Route

    def api(handler: Api) -> Callable[[Request], Any]:
        def answer(now: Process, call: Call) -> Response:
            import psycopg
            from starlette.responses import Response

            try:
                now.admit(call)
                return Response(dumped({"data": handler(now, call)}), media_type="application/json")
            except HttpError as error:
                status, message = error.status, error.message
            except psycopg.Error as error:
                status, message = 500, f"pq: {str(error).splitlines()[0]}"
            return Response(dumped({"message": message}), status, media_type="application/json")

        return _endpoint(process, answer)

    def page(handler: Callable[[Process, Call], Response]) -> Callable[[Request], Any]:
        def answer(now: Process, call: Call) -> Response:
            from starlette.responses import HTMLResponse

            try:
                return handler(now, call)
            except HttpError as error:
                return HTMLResponse(f"<!doctype html><html><body>{error.message}</body></html>", error.status)

        return _endpoint(process, answer)

    def health(now: Process, call: Call) -> Response:  # noqa: ARG001
        from starlette.responses import Response

        return Response(dumped({"data": True}), media_type="application/json")

    def about(now: Process, call: Call) -> Response:
        from starlette.responses import Response

        now.admit(call)
        return Response(
            dumped({"version": processes.VERSION, "build": "stand-in"}), media_type="application/json"
        )

    one_person = "/{campaign}/{person}"
    return Starlette(
        routes=[
            Route("/health", page(health)),
            Route("/api/about", page(about)),
            *(Route(f"/api{path}", api(handler), methods=[verb]) for (verb, path), handler in API.items()),
            Route("/api/{rest:path}", api(_unknown), methods=["GET", "POST", "PUT", "DELETE", "PATCH"]),
            Route("/webhooks/bounce", api(processes.post_bounce), methods=["POST"]),
            Route(f"/subscription{one_person}", page(public.opt_out), methods=["POST"]),
            Route(f"/subscription{one_person}", page(public.opt_out_page), methods=["GET"]),
            Route(f"/campaign{one_person}/px.png", page(public.pixel), methods=["GET"]),
            Route("/link/{link}/{campaign}/{person}", page(public.link), methods=["GET"]),
        ]
    )


def _endpoint(
    process: Callable[[], Process], answer: Callable[[Process, Call], Response]
) -> Callable[[Request], Any]:
    from starlette.concurrency import run_in_threadpool

    async def endpoint(request: Request) -> Response:
        raw = await request.body()
        call = Call(
            {name: str(value) for name, value in request.path_params.items()},
            tuple(request.query_params.multi_items()),
            dict(request.headers),
            raw,
            form_of(request.headers.get("content-type", ""), raw),
        )
        return await run_in_threadpool(answer, process(), call)

    return endpoint
