"""Peer handlers: what workers ask of each other, and the codebook's report; no contract for applications."""

from __future__ import annotations

from aiohttp import web

from stream.web import parameters
from stream.web.contract import PeerService
from stream.web.handlers import ADMISSION
from stream.web.replies import reply, whole


def peer_routes(service: PeerService) -> list[web.RouteDef]:
    """The routes of one worker."""

    async def codebook(http: web.Request) -> web.StreamResponse:
        parameters.only(http.query)
        return reply(service.codebook())

    async def recommend(http: web.Request) -> web.StreamResponse:
        parameters.only(http.query)
        request = parameters.from_fields(parameters.json_object(await whole(http)))
        with http.app[ADMISSION].admitted():
            answer = await service.recommend_owned(request)
        if answer is None:
            return web.Response(status=409, text="this worker does not own the user: ask again, or answer without")
        return reply(answer)

    async def user(http: web.Request) -> web.StreamResponse:
        parameters.only(http.query)
        return reply(service.owned_user(http.match_info["user_id"]))

    return [
        web.get("/v1/codebook", codebook),
        web.post("/internal/recommend", recommend),
        web.get("/internal/users/{user_id:[^/]+}", user),
    ]
