"""Traced requests: those for items that name a trace in the header `traceparent` are told of as a stage of it.

Invariant: a request is answered as it is without.
"""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Middleware

from store.headers import TRACEPARENT
from stream.tracing.requests import answering
from stream.tracing.stages import Stages
from stream.web.replies import Handler

ROUTES = ("/v1/recommend", "/v1/items/{item_id}/similar", "/internal/recommend")


def traced(stages: Stages) -> Middleware:
    """A middleware that knows who may ask: strangers fill no collector."""

    @web.middleware
    async def tell(request: web.Request, handler: Handler) -> web.StreamResponse:
        traceparent, resource = request.headers.get(TRACEPARENT), request.match_info.route.resource
        route = "" if resource is None else resource.canonical
        if traceparent is None or route not in ROUTES:
            return await handler(request)
        with answering(stages, request.method, route, traceparent) as stage:
            response = await handler(request)
            if stage is not None:
                stage.span.set_attribute("http.response.status_code", response.status)
            return response

    return tell
