"""What waits is bounded, and refused at once beyond it; single requests do not wait behind batches."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiohttp.test_utils import TestClient, TestServer

from store.requests import Answer, Request
from store.settings import Serving
from stream.metrics.metrics import Metrics
from stream.web.admission import Admission, OverloadedError
from stream.web.server import application
from tests.stream.web.fake_service import FakeService


class SlowService(FakeService):
    """Answers when told to."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__(metrics)
        self.may_answer = asyncio.Event()

    async def recommend(self, request: Request) -> Answer:
        await self.may_answer.wait()
        return await super().recommend(request)


def test_a_place_is_given_back_whatever_happens() -> None:
    admission = Admission(most_single=1, most_batches=1)
    with pytest.raises(ZeroDivisionError), admission.admitted():
        raise ZeroDivisionError
    with admission.admitted(), admission.admitted(batch=True):
        with pytest.raises(OverloadedError, match="1 requests wait"), admission.admitted():
            pass
        with pytest.raises(OverloadedError, match="1 batches wait"), admission.admitted(batch=True):
            pass
    with admission.admitted(), admission.admitted(batch=True):
        pass


def test_one_more_than_may_wait_is_refused_at_once_and_recovery_is_too() -> None:
    async def main() -> None:
        metrics = Metrics()
        service = SlowService(metrics)
        serving = Serving(most_waiting=3, most_waiting_batches=2)
        async with TestClient(TestServer(application(service, metrics, serving))) as client:

            async def single() -> int:
                async with client.get("/v1/recommend?user_id=u1") as response:
                    return response.status

            async def batch() -> int:
                async with client.post("/v1/recommend", json={"requests": [{"user_id": "u1"}] * 2}) as response:
                    return response.status

            waiting = [asyncio.create_task(ask()) for ask in (*[single] * 3, *[batch] * 2)]
            await asyncio.sleep(0.2)
            began = time.monotonic()
            async with client.get("/v1/recommend?user_id=u1") as refused:
                assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
                assert "come again" in (await refused.json())["error"]["remedy"]
            assert await batch() == 503
            assert time.monotonic() - began < 1.0
            service.may_answer.set()
            assert await asyncio.gather(*waiting) == [200] * 5
            assert [await single(), await batch()] == [200, 200]
            text = await (await client.get("/metrics")).text()
            assert 'sidestream_recommend_requests_total{result="overloaded",task="home"} 3.0' in text

    asyncio.run(main())
