"""Desk routes: what the page asks for a person on call, and the levers it has. No contract for applications.

Each is a few lines: parameters in, one call of the `Desk`, JSON out. Reading what serves, owners and topics needs the
role `read`; dead letters (they hold what people did) and every act need `operate` (`stream.web.access`).
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from store.records.levers import LEVERS, Lever
from store.requests import BadRequestError, DeskError
from stream.web import parameters
from stream.web.console.contract import Desk
from stream.web.replies import Handler, NotFoundError, body, refusal, reply

MOST_REPLAYED = 200
MOST_LEVELS = 16


def desk_routes(desk: Desk) -> list[web.RouteDef]:
    """The routes of one worker."""

    async def lineage(http: web.Request) -> web.StreamResponse:
        parameters.only(http.query)
        return reply(desk.lineage())

    async def checkpoint(http: web.Request) -> web.StreamResponse:
        parameters.only(http.query)
        found = await desk.checkpoint(http.match_info["checkpoint"])
        return _found(found, "checkpoint", "none of this name was announced: look again")

    async def pull(http: web.Request) -> web.StreamResponse:
        parameters.only(http.query)
        lever, wanted, seen = _lever(await body(http))
        await desk.pull(lever, wanted, seen)
        return reply({"action": lever, "checkpoint": wanted}, status=202)

    async def letters(http: web.Request) -> web.StreamResponse:
        parameters.only(http.query)
        return reply(await desk.letters())

    async def replay(http: web.Request) -> web.StreamResponse:
        parameters.only(http.query)
        return reply(await desk.replay(_places(await body(http))))

    async def owners(http: web.Request) -> web.StreamResponse:
        parameters.only(http.query)
        return reply(await desk.owners())

    async def topics(http: web.Request) -> web.StreamResponse:
        parameters.only(http.query, ("prefix",))
        found = await desk.topics(_prefix(parameters.once(http.query, "prefix") or ""))
        return _found(found, "prefix", "no live item has this prefix (any more): go up")

    return [
        web.get("/console/lineage", _told(lineage)),
        web.get("/console/checkpoints/{checkpoint:[^/]+}", _told(checkpoint)),
        web.post("/console/checkpoints", _told(pull)),
        web.get("/console/dead-letters", _told(letters)),
        web.post("/console/dead-letters", _told(replay)),
        web.get("/console/owners", _told(owners)),
        web.get("/console/topics", _told(topics)),
    ]


def _told(handler: Handler) -> Handler:
    """What could not be done is told with its cause: 409 where it is not as the person saw it, else 503."""

    async def told(http: web.Request) -> web.StreamResponse:
        try:
            return await handler(http)
        except DeskError as error:
            return refusal("", str(error), status=409 if error.conflict else 503)

    return told


def _found(value: dict[str, Any] | None, field: str, remedy: str) -> web.Response:
    if value is None:
        raise NotFoundError(field, remedy)
    return reply(value)


def _lever(fields: dict[str, Any]) -> tuple[Lever, str, str | None]:
    lever, checkpoint, serving = (fields.get(name) for name in ("action", "checkpoint", "serving"))
    if lever not in LEVERS:
        raise BadRequestError("action", f"use one of {', '.join(LEVERS)}")
    if not isinstance(checkpoint, str) or not checkpoint:
        raise BadRequestError("checkpoint", "name one that was announced")
    if "serving" not in fields or not isinstance(serving, str | None):
        raise BadRequestError("serving", "say what served when you decided; null for none")
    return lever, checkpoint, serving


def _places(fields: dict[str, Any]) -> list[tuple[int, int]]:
    places = fields.get("letters")
    if not isinstance(places, list) or not 0 < len(places) <= MOST_REPLAYED:
        raise BadRequestError("letters", f"send [[partition, offset], …], 1 to {MOST_REPLAYED} of them")
    if not all(isinstance(place, list) and len(place) == 2 and all(map(_is_number, place)) for place in places):
        raise BadRequestError("letters", "each is [partition, offset], two whole numbers")
    return [(partition, offset) for partition, offset in places]


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _prefix(text: str) -> list[int]:
    codes = text.split(".") if text else []
    if len(codes) > MOST_LEVELS or not all(code.isascii() and code.isdigit() and len(code) < 8 for code in codes):
        raise BadRequestError("prefix", "send codes with dots between them, like 12.7")
    return [int(code) for code in codes]
