"""Requests for items that name a trace are told of as they were answered; others are only answered."""

from __future__ import annotations

import asyncio

from aiohttp.test_utils import TestClient, TestServer

from store.settings import Serving, Tokens
from stream.metrics.metrics import Metrics
from stream.web.server import application
from stream.web.traced import traced
from tests.stream.tracing.test_stages import SAMPLED, Told
from tests.stream.web.fake_service import FakeService

NAMED = {"traceparent": SAMPLED.decode()}


def test_a_stranger_fills_no_collector() -> None:
    told, metrics = Told(), Metrics()
    serving = Serving(tokens=Tokens(read="r", write="w", operate="o"))

    async def main() -> list[int]:
        app = application(FakeService(metrics), metrics, serving, around=[traced(told.stages)])
        async with TestClient(TestServer(app)) as client:
            known = NAMED | {"Authorization": "Bearer r"}
            return [(await client.get("/v1/recommend?user_id=u", headers=one)).status for one in (NAMED, known)]

    assert asyncio.run(main()) == [401, 200]
    assert told.names == ["GET /v1/recommend"]


def test_answers_are_told_with_their_status_and_no_user() -> None:
    told, metrics = Told(), Metrics()

    async def main() -> list[int]:
        app = application(FakeService(metrics), metrics, around=[traced(told.stages)])
        async with TestClient(TestServer(app)) as client:
            ways = ["/v1/recommend?user_id=somebody", "/v1/recommend?k=no", "/v1/status", "/nowhere"]
            answers = [await client.get(way, headers=NAMED) for way in ways]
            answers.append(await client.get(ways[0]))
            answers.append(await client.post("/v1/recommend", json={"user_id": "u"}, headers={"traceparent": "soon"}))
            return [answer.status for answer in answers]

    assert asyncio.run(main()) == [200, 400, 200, 404, 200, 200]
    assert told.names == ["GET /v1/recommend"] * 2
    assert [dict(span.attributes or {}) for span in told.spans] == [
        {"http.request.method": "GET", "http.route": "/v1/recommend", "http.response.status_code": status}
        for status in (200, 400)
    ]
    assert told.malformed == 1
