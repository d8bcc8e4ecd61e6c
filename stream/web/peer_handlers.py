"""Peer handlers: what workers ask of each other, and the codebook's report; no contract for applications."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from store.records.peer_messages import RowRequest, Told
from store.requests import RoleError
from stream.web import parameters
from stream.web.contract import OwnerService, PeerService
from stream.web.handlers import ADMISSION
from stream.web.replies import reply, whole

_row_requests = msgspec.msgpack.Decoder(RowRequest)
_told = msgspec.msgpack.Decoder(Told)


def peer_routes(service: PeerService) -> list[web.RouteDef]:
    """The routes of a worker that answers."""

    async def codebook(http: web.Request) -> web.StreamResponse:
        parameters.only(http.query)
        return reply(service.codebook())

    async def recommend(http: web.Request) -> web.StreamResponse:
        parameters.only(http.query)
        request = parameters.from_fields(parameters.json_object(await whole(http)))
        with http.app[ADMISSION].admitted():
            answer = await service.recommend_owned(request)
        return _not_mine() if answer is None else reply(answer)

    return [web.get("/v1/codebook", codebook), web.post("/internal/recommend", recommend), *owner_routes(service)]


def absorbing_routes(service: OwnerService) -> list[web.RouteDef]:
    """The routes of one that only absorbs: what others answer is refused."""

    async def refused(_: web.Request) -> web.StreamResponse:
        raise RoleError

    return [web.get("/v1/codebook", refused), web.post("/internal/recommend", refused), *owner_routes(service)]


def owner_routes(service: OwnerService) -> list[web.RouteDef]:
    """The routes of every worker to which users may belong."""

    async def user(http: web.Request) -> web.StreamResponse:
        parameters.only(http.query)
        return reply(service.owned_user(http.match_info["user_id"]))

    async def rows(http: web.Request) -> web.StreamResponse:
        parameters.only(http.query)
        row = service.owned_row(_row_requests.decode(await whole(http)))
        return _not_mine() if row is None else _packed(row)

    async def told(http: web.Request) -> web.StreamResponse:
        parameters.only(http.query)
        return _packed(service.hear(_told.decode(await whole(http))))

    return [
        web.get("/internal/users/{user_id:[^/]+}", user),
        web.post("/internal/rows", rows),
        web.post("/internal/told", told),
    ]


def _not_mine() -> web.Response:
    return web.Response(status=409, text="this worker does not own the user: ask again, or answer without")


def _packed(value: Any) -> web.Response:
    return web.Response(body=msgspec.msgpack.encode(value), content_type="application/msgpack")
