"""The HTTP face of a worker (docs/contracts.md): recommendations, items, users, checkpoints, health, metrics, the page.

Handlers are a few lines: parameters in, one call of the `Service`, JSON out. Everything that can go wrong is turned
into JSON in one place (`_as_json`), so that input never causes a 500 and every error says what to do.

Invariant: every answer but `/metrics` and `/` is JSON, `{"error": {"field", "remedy"}}` when something is wrong.
"""

from __future__ import annotations

import logging
import socket
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from importlib.resources import files
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client.exposition import choose_encoder

from store.events import KINDS
from store.requests import Answer, BadRequestError, Request
from stream.metrics.metrics import Metrics
from stream.web import parameters
from stream.web.contract import Service
from stream.web.openapi import document

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1 << 20
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SERVICE: web.AppKey[Service] = web.AppKey("service")
METRICS: web.AppKey[Metrics] = web.AppKey("metrics", Metrics)


class NotFoundError(LookupError):
    """What was asked for does not exist: `field` names it, `remedy` says what to do."""

    def __init__(self, field: str, remedy: str) -> None:
        super().__init__(f"{field}: {remedy}")
        self.field = field
        self.remedy = remedy


class AddressError(OSError):
    """The web address cannot be had: choose another port (0 for a free one) or host, or stop who holds it."""


def application(service: Service, metrics: Metrics, routes: Iterable[web.RouteDef] = ()) -> web.Application:
    """The application of a worker; `routes` are its own, beside the contract."""
    app = web.Application(middlewares=[_as_json], client_max_size=MAX_BODY_BYTES)
    app[SERVICE] = service
    app[METRICS] = metrics
    app.add_routes(
        [
            web.get("/v1/recommend", recommend),
            web.post("/v1/recommend", recommend_posted),
            web.get("/v1/items/{item_id:[^/]+}", item),
            web.get("/v1/items/{item_id:[^/]+}/similar", similar),
            web.get("/v1/users/{user_id:[^/]+}", user),
            web.get("/v1/checkpoints", checkpoints),
            web.get("/v1/status", status),
            web.get("/v1/trace/{item_id:[^/]+}", trace),
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", scrape),
            web.get("/openapi.json", openapi),
            web.get("/", page),
            web.post("/console/engage", engage),
            web.get("/console/items", console_items),
            web.get("/console/users", console_users),
            *routes,
        ]
    )
    return app


class WebServer:
    """Serves a worker's application in the running event loop. `port` 0 takes a free one; `routes` are the
    worker's own, beside the contract; `start` may fail with `AddressError`."""

    def __init__(
        self, service: Service, metrics: Metrics, host: str, port: int, routes: Iterable[web.RouteDef] = ()
    ) -> None:
        self._app = application(service, metrics, routes)
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where others reach it; the port is known once it has started."""
        anywhere = self._host in ("0.0.0.0", "::", "")
        host = socket.gethostname() if anywhere else self._host
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Bind and serve."""
        runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            await runner.cleanup()
            raise AddressError(
                f"cannot serve on {self._host}:{self._port} ({error.strerror or error}): "
                "give another --web-port (0 takes a free one)"
            ) from None
        self._port = int(runner.addresses[0][1])
        self._runner = runner

    async def stop(self) -> None:
        """Answer what is under way for up to two seconds, then close."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


# ---- recommendations ----


async def recommend(request: web.Request) -> web.StreamResponse:
    return await _answered(request, lambda: parameters.from_query(request.query))


async def recommend_posted(request: web.Request) -> web.StreamResponse:
    fields = await _body(request)
    if "requests" in fields:
        return await _answered_batch(request, fields)
    return await _answered(request, lambda: parameters.from_fields(fields))


async def _answered(request: web.Request, parse: Callable[[], Request]) -> web.StreamResponse:
    began = time.perf_counter()
    task, result = "other", "bad_request"
    try:
        asked = parse()
        task, result = asked.task, "error"
        answer = await request.app[SERVICE].recommend(asked)
        result = _result_of(answer)
        return reply(answer)
    except BadRequestError:
        result = "bad_request"
        raise
    finally:
        request.app[METRICS].recommended(task, result, time.perf_counter() - began)


async def _answered_batch(request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
    """Each request of a batch counts for itself, and took as long as the whole batch."""
    began = time.perf_counter()
    asked: list[Request] = []
    results = ["bad_request"]
    try:
        asked = parameters.from_batch(fields["requests"])
        results = ["error"] * len(asked)
        answers = await request.app[SERVICE].recommend_many(asked)
        results = [_result_of(answer) for answer in answers]
        return reply({"answers": answers})
    finally:
        took_s = time.perf_counter() - began
        tasks: list[str] = [each.task for each in asked] or ["other"] * len(results)
        for task, result in zip(tasks, results, strict=False):
            request.app[METRICS].recommended(task, result, took_s)


def _result_of(answer: Answer) -> str:
    return "degraded" if answer.degraded else "ok"


# ---- what is known ----


async def item(request: web.Request) -> web.StreamResponse:
    item_id = request.match_info["item_id"]
    return reply(_found(request.app[SERVICE].item(item_id), "item_id"))


async def similar(request: web.Request) -> web.StreamResponse:
    k = parameters.once(request.query, "k")
    number = parameters.bounded_k(parameters.whole_number("k", k)) if k is not None else 10
    return reply(_found(await request.app[SERVICE].similar(request.match_info["item_id"], number), "item_id"))


async def user(request: web.Request) -> web.StreamResponse:
    return reply(_found(await request.app[SERVICE].user(request.match_info["user_id"]), "user_id"))


async def checkpoints(request: web.Request) -> web.StreamResponse:
    return reply(request.app[SERVICE].checkpoints())


async def status(request: web.Request) -> web.StreamResponse:
    ready, reason = request.app[SERVICE].ready()
    return reply({**request.app[SERVICE].status(), "ready": ready, "reason": reason, "now": time.time()})


async def trace(request: web.Request) -> web.StreamResponse:
    return reply(_found(request.app[SERVICE].trace(request.match_info["item_id"]), "item_id"))


_REMEDIES = {
    "item_id": "no such item was uploaded: check the id (URL-encode it), or publish the item first",
    "user_id": "nothing is known of this user: check the id (URL-encode it); recommendations work all the same",
}


def _found(value: Any, field: str) -> Any:
    if value is None:
        raise NotFoundError(field, _REMEDIES[field])
    return value


# ---- health and metrics ----


async def healthz(_: web.Request) -> web.StreamResponse:
    return reply({"alive": True})


async def readyz(request: web.Request) -> web.StreamResponse:
    ready, reason = request.app[SERVICE].ready()
    return reply({"ready": ready, "reason": reason}, status=200 if ready else 503)


async def scrape(request: web.Request) -> web.StreamResponse:
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(request.app[METRICS].registry), headers={"Content-Type": content_type})


async def openapi(_: web.Request) -> web.StreamResponse:
    return reply(document())


# ---- the page: everything under /console/ serves the page only and is no contract ----


async def page(_: web.Request) -> web.StreamResponse:
    html = files("stream.web").joinpath("page.html").read_text(encoding="utf-8")
    headers = {"Content-Security-Policy": PAGE_POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
    return web.Response(text=html, content_type="text/html", charset="utf-8", headers=headers)


async def engage(request: web.Request) -> web.StreamResponse:
    """Publishes what a person did in the playground; answers once the log has it."""
    engagement = parameters.engagement_fields(await _body(request))
    if engagement["kind"] not in KINDS:
        raise BadRequestError("kind", f"use one of {', '.join(KINDS)}")
    engagement["event_id"] = f"console-{uuid.uuid4().hex}"
    await request.app[SERVICE].engage(engagement)
    return reply({"event_id": engagement["event_id"]}, status=202)


async def console_items(request: web.Request) -> web.StreamResponse:
    text = parameters.once(request.query, "text") or ""
    return reply({"items": request.app[SERVICE].search_items(text[: parameters.MAX_QUERY_CHARS], 20)})


async def console_users(request: web.Request) -> web.StreamResponse:
    return reply({"users": request.app[SERVICE].sample_users(50)})


# ---- in and out ----


async def _body(request: web.Request) -> dict[str, Any]:
    """The JSON object of the body. The content type is required: a foreign page cannot send it without asking."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="content-type: send application/json")
    return parameters.json_object(await request.read())


def reply(value: Any, *, status: int = 200) -> web.Response:
    """`value` as a JSON response."""
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def refusal(field: str, remedy: str, *, status: int) -> web.Response:
    """An error in the form that all errors have."""
    return reply({"error": {"field": field, "remedy": remedy}}, status=status)


@web.middleware
async def _as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except BadRequestError as error:
        return refusal(error.field, error.remedy, status=400)
    except NotFoundError as error:
        return refusal(error.field, error.remedy, status=404)
    except msgspec.DecodeError as error:  # by one of the routes among workers: ours decode through `parameters`
        return refusal("body", str(error), status=400)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        response = refusal("method", f"use {allowed}", status=405)
        response.headers["Allow"] = allowed
        return response
    except web.HTTPException as error:
        return refusal(*_http_remedy(error), status=error.status)
    except Exception:
        log.exception("%s %s failed", request.method, request.rel_url)
        return refusal("", "this is a fault of the server: its log has the cause; ask again", status=500)


def _http_remedy(error: web.HTTPException) -> tuple[str, str]:
    if error.status == 404:
        return "path", "there is nothing here: /openapi.json lists every path"
    if error.status == 413:
        return "body", f"send at most {MAX_BODY_BYTES} bytes"
    if error.status == 415:
        return "content-type", "send application/json"
    return "", error.reason
