"""Asking the application over a real socket, and reading its errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from store.settings import Serving
from stream.metrics.metrics import Metrics
from stream.web.server import application
from tests.stream.web.fake_service import FakeService

Ask = Callable[[TestClient[Any, Any], FakeService], Awaitable[None]]


def with_app(ask: Ask) -> None:
    """Run `ask` against the application over a real socket."""

    async def main() -> None:
        metrics = Metrics()
        service = FakeService(metrics)
        async with TestClient(TestServer(application(service, metrics, Serving()))) as client:
            await ask(client, service)

    asyncio.run(main())


def raw(path: str) -> URL:
    return URL(path, encoded=True)


async def refused(response: ClientResponse, status: int, field: str) -> str:
    assert response.status == status, await response.text()
    assert response.content_type == "application/json"
    error = (await response.json())["error"]
    assert error["field"] == field
    assert error["remedy"]
    remedy: str = error["remedy"]
    return remedy
