"""Access: who may ask what. A token for each role, and no stranger's name for this machine.

Roles include the ones before them: `read` asks for recommendations and what is known, `write` publishes from the
console, `operate` is for the workers among themselves, and for the page's levers and dead letters. Health, metrics, the
page's file and the OpenAPI document are for all.

Without tokens a worker serves on its own machine only, or where `serving.open` says that strangers are kept out
(`store.settings`); there nobody has levers. On its own machine a page of another site could still reach it by a name
of its own that leads to 127.0.0.1 (DNS rebinding), so the request must name this machine.

Invariant: a token is compared in a time that tells nothing of it, and is never part of an answer or a log.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from store.settings import LOOPBACK, Serving
from stream.web.replies import Handler, refusal

Role = Literal["read", "write", "operate"]
ROLES: tuple[Role, ...] = ("read", "write", "operate")
DEAD_LETTERS = "/console/dead-letters"
PUBLIC = ("/", "/healthz", "/readyz", "/metrics", "/openapi.json")


def role_of(method: str, path: str) -> Role | None:
    """What a request needs; None: nothing."""
    if path in PUBLIC:
        return None
    if path.startswith("/internal/") or path == DEAD_LETTERS or (method, path) == ("POST", "/console/checkpoints"):
        return "operate"
    return "write" if (method, path) == ("POST", "/console/engage") else "read"


def guard(serving: Serving) -> Middleware:
    """The middleware of a worker with these settings."""
    tokens = {role: token for role in ROLES if (token := getattr(serving.tokens, role))}
    names = () if serving.open else (*LOOPBACK, serving.host, urlsplit(serving.advertise).hostname or serving.host)

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        refused = _refused(request, tokens) if tokens else _foreign(request, names) or _lever(request, serving)
        return refused or await handler(request)

    return guarded


def _refused(request: web.Request, tokens: Mapping[Role, str]) -> web.StreamResponse | None:
    needed = role_of(request.method, request.path)
    if needed is None:
        return None
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    held = [role for role, token in tokens.items() if hmac.compare_digest(token.encode(), given.strip().encode())]
    if scheme.lower() != "bearer" or not held:
        response = refusal("authorization", "send Authorization: Bearer with a token of [serving.tokens]", status=401)
        response.headers["WWW-Authenticate"] = 'Bearer realm="sidestream"'
        return response
    if ROLES.index(held[-1]) < ROLES.index(needed):
        return refusal("authorization", f"this needs a token with the role {needed}, not {held[-1]}", status=403)
    return None


def _lever(request: web.Request, serving: Serving) -> web.StreamResponse | None:
    """Refuses what only operators may where everybody is let in."""
    if not serving.open or request.path.startswith("/internal/"):
        return None
    if role_of(request.method, request.path) != "operate":
        return None
    return refusal("authorization", "with serving.open nobody may do this here: set [serving.tokens]", status=403)


def _foreign(request: web.Request, names: tuple[str, ...]) -> web.StreamResponse | None:
    if not names:
        return None
    try:
        asked = urlsplit(f"//{request.host}").hostname
    except ValueError:
        asked = None
    if asked in names:
        return None
    return refusal("host", "ask by 127.0.0.1 or localhost; behind a proxy, serving.advertise is its name", status=403)
