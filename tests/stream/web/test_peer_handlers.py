"""What workers ask of each other: the owner answers, another says that it is none, and bad input is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp.test_utils import TestClient, TestServer

from store.requests import Answer, Request
from store.settings import Serving
from stream.metrics.metrics import Metrics
from stream.web.peer_handlers import peer_routes
from stream.web.server import application
from tests.stream.web.fake_service import FakeService


class Owner(FakeService):
    """Owns the user `mine`."""

    async def recommend_owned(self, request: Request) -> Answer | None:
        return await self.recommend(request) if request.user_id == "mine" else None

    def owned_user(self, user_id: str) -> dict[str, Any] | None:
        return {"user_id": user_id} if user_id == "mine/1" else None

    def codebook(self) -> dict[str, Any]:
        return {"health": {"distinct": 1.0}}


async def ask() -> None:
    metrics = Metrics()
    service = Owner(metrics)
    async with TestClient(TestServer(application(service, metrics, Serving(), peer_routes(service)))) as client:
        asked = msgspec.json.encode(Request(user_id="mine", k=2))
        answered = await client.post("/internal/recommend", data=asked)
        assert len(msgspec.json.decode(await answered.read(), type=Answer).items) == 2
        refused = await client.post("/internal/recommend", data=msgspec.json.encode(Request(user_id="other")))
        assert refused.status == 409
        assert (await client.post("/internal/recommend", data=b"[")).status == 400
        assert await (await client.get("/internal/users/mine%2F1")).json() == {"user_id": "mine/1"}
        assert await (await client.get("/internal/users/other")).json() is None
        assert await (await client.get("/v1/codebook")).json() == {"health": {"distinct": 1.0}}


def test_the_owner_answers_and_another_says_that_it_is_none() -> None:
    asyncio.run(ask())
