"""Replies: JSON in and out, and every error in one form, turned into it in one place (`as_json`).

Invariant: input never causes a 500, and every error names the field and says what to do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from store.requests import BadRequestError, RoleError
from stream.web import parameters
from stream.web.admission import RETRY_AFTER_S, OverloadedError
from stream.web.connections import BODY_S

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1 << 20

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class NotFoundError(LookupError):
    """What was asked for does not exist: `field` names it, `remedy` says what to do."""

    def __init__(self, field: str, remedy: str) -> None:
        super().__init__(f"{field}: {remedy}")
        self.field = field
        self.remedy = remedy


async def body(request: web.Request) -> dict[str, Any]:
    """The JSON object of the body. The content type is required: a foreign page cannot send it without asking."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="content-type: send application/json")
    return parameters.json_object(await whole(request))


async def whole(request: web.Request) -> bytes:
    """The body, as long as it comes in time."""
    try:
        async with asyncio.timeout(BODY_S):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None


def reply(value: Any, *, status: int = 200) -> web.Response:
    """`value` as a JSON response."""
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def refusal(field: str, remedy: str, *, status: int) -> web.Response:
    """An error in the form that all errors have."""
    return reply({"error": {"field": field, "remedy": remedy}}, status=status)


@web.middleware
async def as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except BadRequestError as error:
        return refusal(error.field, error.remedy, status=400)
    except NotFoundError as error:
        return refusal(error.field, error.remedy, status=404)
    except RoleError as error:
        return refusal("path", str(error), status=501)
    except OverloadedError as error:
        response = refusal("", str(error), status=503)
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
        return response
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
    if error.status == 408:
        return "body", f"send it within {BODY_S:g} s"
    if error.status == 413:
        return "body", f"send at most {MAX_BODY_BYTES} bytes"
    if error.status == 415:
        return "content-type", "send application/json"
    return "", error.reason
