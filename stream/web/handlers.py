"""Handlers: the routes that applications and the page ask (docs/contracts.md).

Each is a few lines: parameters in, one call of the `Service`, JSON out.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from store.events import KINDS
from store.requests import UNKNOWN_ITEM, Answer, BadRequestError, Request, RoleError
from stream.metrics.metrics import Metrics
from stream.web import parameters
from stream.web.admission import Admission, OverloadedError
from stream.web.console.live import Live, since_in, status_of
from stream.web.contract import Health, Service
from stream.web.openapi import document
from stream.web.page.assembled import assembled
from stream.web.replies import NotFoundError, body, reply

SERVICE: web.AppKey[Service] = web.AppKey("service")
HEALTH: web.AppKey[Health] = web.AppKey("health")
METRICS: web.AppKey[Metrics] = web.AppKey("metrics", Metrics)
ADMISSION: web.AppKey[Admission] = web.AppKey("admission", Admission)
CONSOLE: web.AppKey[bool] = web.AppKey("console", bool)
LIVE: web.AppKey[Live] = web.AppKey("live", Live)


def routes(console: bool = True, answers: bool = True) -> list[web.RouteDef]:
    """Every route of the contract, and with `console` the page with its own. A worker that does not answer refuses what
    others do."""
    asked = [
        web.get("/v1/recommend", recommend),
        web.post("/v1/recommend", recommend_posted),
        web.post("/v1/rank", rank),
        web.get("/v1/items/{item_id:[^/]+}", item),
        web.get("/v1/items/{item_id:[^/]+}/similar", similar),
        web.get("/v1/users/{user_id:[^/]+}", user),
        web.get("/v1/checkpoints", checkpoints),
        web.get("/v1/trace/{item_id:[^/]+}", trace),
    ]
    told = [
        web.get("/v1/status", status),
        web.get("/v1/history", history),
        web.get("/healthz", healthz),
        web.get("/readyz", readyz),
        web.get("/metrics", scrape),
        web.get("/openapi.json", openapi),
    ]
    if not answers:
        return [*(web.route(one.method, one.path, refused) for one in asked), *told]
    return [*(console_routes() if console else ()), *asked, *told]


async def refused(_: web.Request) -> web.StreamResponse:
    """What a worker answers that only absorbs."""
    raise RoleError


def console_routes() -> list[web.RouteDef]:
    """The page, and what only it asks."""
    return [
        web.get("/", page),
        web.post("/console/engage", engage),
        web.get("/console/events", events, allow_head=False),
        web.get("/console/items", console_items),
        web.get("/console/users", console_users),
    ]


# ---- recommendations ----


async def recommend(request: web.Request) -> web.StreamResponse:
    return await _answered(request, lambda: parameters.from_query(request.query))


async def recommend_posted(request: web.Request) -> web.StreamResponse:
    parameters.only(request.query)
    fields = await body(request)
    if "requests" in fields:
        return await _answered_batch(request, fields)
    return await _answered(request, lambda: parameters.from_fields(fields), fields)


async def rank(request: web.Request) -> web.StreamResponse:
    """An application's own candidates, in the order that suits the user."""
    parameters.only(request.query)
    fields = await body(request)
    return await _answered(request, lambda: parameters.to_rank(fields), fields)


async def _answered(
    request: web.Request, parse: Callable[[], Request], fields: Mapping[str, Any] = MappingProxyType({})
) -> web.StreamResponse:
    """`fields`: the body that the request was in."""
    began = time.perf_counter()
    task, result = "other", "bad_request"
    try:
        asked = parse()
        task, result = asked.task, "error"
        with request.app[ADMISSION].admitted():
            answer = await request.app[SERVICE].recommend(asked)
        if asked.task == "similar":
            _found(None if UNKNOWN_ITEM in {note.reason for note in answer.notes} else answer, "item_id")
        result = _result_of(answer)
        return reply(parameters.noted(answer, fields))
    except (BadRequestError, NotFoundError):
        result = "bad_request"
        raise
    except OverloadedError:
        result = "overloaded"
        raise
    finally:
        request.app[METRICS].recommended(task, result, time.perf_counter() - began)


async def _answered_batch(request: web.Request, fields: dict[str, Any]) -> web.StreamResponse:
    """Each request of a batch counts for itself, and took as long as the whole batch. What cannot be found is noted in
    its answer: it does not fail the others."""
    began = time.perf_counter()
    asked: list[Request] = []
    results = ["bad_request"]
    try:
        asked = parameters.from_batch(fields["requests"])
        results = ["error"] * len(asked)
        with request.app[ADMISSION].admitted(batch=True):
            answers = await request.app[SERVICE].recommend_many(asked)
        results = [_result_of(answer) for answer in answers]
        told = [parameters.noted(answer, each) for answer, each in zip(answers, fields["requests"], strict=True)]
        return reply({"answers": [parameters.noted(answer, fields, ("requests",)) for answer in told]})
    except OverloadedError:
        results = ["overloaded"] * len(asked)
        raise
    finally:
        took_s = time.perf_counter() - began
        tasks: list[str] = [each.task for each in asked] or ["other"] * len(results)
        for task, result in zip(tasks, results, strict=False):
            request.app[METRICS].recommended(task, result, took_s)


def _result_of(answer: Answer) -> str:
    return "degraded" if answer.degraded else "ok"


# ---- what is known ----


async def item(request: web.Request) -> web.StreamResponse:
    parameters.only(request.query)
    item_id = request.match_info["item_id"]
    return reply(_found(request.app[SERVICE].item(item_id), "item_id"))


async def similar(request: web.Request) -> web.StreamResponse:
    parameters.only(request.query, ("k", "exclude"))
    k = parameters.once(request.query, "k")
    number = parameters.bounded_k(parameters.whole_number("k", k)) if k is not None else 10
    excluded = parameters.every(request.query, "exclude")
    with request.app[ADMISSION].admitted():
        answer = await request.app[SERVICE].similar(request.match_info["item_id"], number, excluded)
    return reply(_found(answer, "item_id"))


async def user(request: web.Request) -> web.StreamResponse:
    parameters.only(request.query)
    return reply(_found(await request.app[SERVICE].user(request.match_info["user_id"]), "user_id"))


async def checkpoints(request: web.Request) -> web.StreamResponse:
    parameters.only(request.query)
    return reply(request.app[SERVICE].checkpoints())


async def status(request: web.Request) -> web.StreamResponse:
    parameters.only(request.query)
    return reply(status_of(request.app[HEALTH]))


async def history(request: web.Request) -> web.StreamResponse:
    parameters.only(request.query, ("since",))
    response = reply(request.app[LIVE].history.since(*since_in(request)))
    response.enable_compression()
    return response


async def trace(request: web.Request) -> web.StreamResponse:
    parameters.only(request.query)
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
    ready, reason = request.app[HEALTH].ready()
    return reply({"ready": ready, "reason": reason}, status=200 if ready else 503)


async def scrape(request: web.Request) -> web.StreamResponse:
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(request.app[METRICS].registry), headers={"Content-Type": content_type})


async def openapi(request: web.Request) -> web.StreamResponse:
    return reply(document(console=request.app[CONSOLE]))


# ---- the page: everything under /console/ serves the page only and is no contract ----


async def page(_: web.Request) -> web.StreamResponse:
    html, policy = assembled()
    headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
    return web.Response(text=html, content_type="text/html", charset="utf-8", headers=headers)


async def engage(request: web.Request) -> web.StreamResponse:
    """Publishes what a person did in the playground; answers once the log has it."""
    parameters.only(request.query)
    fields = await body(request)
    engagement = parameters.engagement_fields(fields)
    if engagement["kind"] not in KINDS:
        raise BadRequestError("kind", f"use one of {', '.join(KINDS)}")
    engagement["event_id"] = f"console-{uuid.uuid4().hex}"
    await request.app[SERVICE].engage(engagement)
    ignored = [name[: parameters.MAX_LABEL_CHARS] for name in fields if name not in engagement]
    return reply({"event_id": engagement["event_id"], "ignored": ignored[: parameters.MAX_NOTED]}, status=202)


async def events(request: web.Request) -> web.StreamResponse:
    """What is so, pushed as it changes."""
    return await request.app[LIVE].stream(request)


async def console_items(request: web.Request) -> web.StreamResponse:
    parameters.only(request.query, ("text",))
    text = parameters.once(request.query, "text") or ""
    return reply({"items": request.app[SERVICE].search_items(text[: parameters.MAX_QUERY_CHARS], 20)})


async def console_users(request: web.Request) -> web.StreamResponse:
    parameters.only(request.query)
    return reply({"users": request.app[SERVICE].sample_users(50)})
