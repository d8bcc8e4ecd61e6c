"""Server-sent events: what was missed, then what is new; bounded, however slowly somebody reads."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from stream.metrics.metrics import Metrics
from stream.web.console import live
from stream.web.console.live import Live
from stream.web.replies import as_json
from tests.stream.web.fake_service import FakeService

Look = Callable[[TestClient[Any, Any], Live], Awaitable[None]]


def following(look: Look, *, tick_s: float = 0.02, stuck_s: float = 5.0, padding: int = 0) -> None:
    async def main() -> None:
        metrics = Metrics()
        service = FakeService(metrics)
        service.padding = "x" * padding
        followed = Live(service, metrics, tick_s=tick_s, stuck_s=stuck_s)
        followed.history.interval_s = tick_s
        app = web.Application(middlewares=[as_json])
        app.router.add_get("/console/events", followed.stream, allow_head=False)
        task = asyncio.create_task(followed.run())
        try:
            async with TestClient(TestServer(app)) as client:
                await look(client, followed)
                followed.close()
        finally:
            task.cancel()

    asyncio.run(main())


async def event(response: ClientResponse) -> tuple[str, dict[str, Any]]:
    name = (await response.content.readuntil(b"\n")).decode().removeprefix("event: ").strip()
    data = (await response.content.readuntil(b"\n\n")).decode().removeprefix("data: ")
    return name, msgspec.json.decode(data)


async def next_history(response: ClientResponse) -> dict[str, Any]:
    while True:
        name, said = await event(response)
        if name == "history":
            return said


def test_a_stream_tells_the_hour_and_then_what_is_new() -> None:
    async def look(client: TestClient[Any, Any], followed: Live) -> None:
        followed.history.take()
        response = await client.get("/console/events")
        assert response.content_type == "text/event-stream"
        name, first = await event(response)
        assert (name, first["process"]) == ("history", followed.history.process)
        name, status = await event(response)
        assert name == "status"
        assert (status["ready"], status["checkpoint"]) == (True, "c1")
        more = await next_history(response)
        assert more["next"] - first["next"] == len(more["at"])

    following(look)


def test_a_page_that_comes_back_is_told_what_it_missed_only() -> None:
    async def look(client: TestClient[Any, Any], followed: Live) -> None:
        for _ in range(10):
            followed.history.take()
        since = f"{followed.history.process}:{followed.history.next - 4}"
        missed = await next_history(await client.get("/console/events", params={"since": since}))
        assert 4 <= len(missed["at"]) <= 6
        whole = await next_history(await client.get("/console/events", params={"since": "another:4"}))
        assert len(whole["at"]) >= 10

    following(look, tick_s=0.2)


def test_streams_are_bounded_and_a_place_is_given_back() -> None:
    async def look(client: TestClient[Any, Any], followed: Live) -> None:
        held = [await client.get("/console/events") for _ in range(live.MOST_STREAMS)]
        refused = await client.get("/console/events")
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        for response in held:
            response.close()
        while followed.open:
            await asyncio.sleep(0.01)
        assert (await client.get("/console/events")).status == 200

    following(look)


def test_what_is_wrong_is_refused_or_means_nothing() -> None:
    async def look(client: TestClient[Any, Any], followed: Live) -> None:
        assert (await client.get("/console/events", params={"sense": "1"})).status == 400
        for since in ("", "x", f"{followed.history.process}:-1", ":" + "9" * 5000, f"{followed.history.process}:²"):
            assert (await client.get("/console/events", params={"since": since})).status == 200

    following(look)


def test_one_who_does_not_read_is_cut_off_and_nothing_piles_up() -> None:
    async def look(client: TestClient[Any, Any], followed: Live) -> None:
        stuck = socket.create_connection((client.server.host, client.server.port))
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.sendall(b"GET /console/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        while not followed.open:
            await asyncio.sleep(0.01)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while followed.open:
            assert loop.time() - began < 10.0, "it still holds its place"
            await asyncio.sleep(0.05)
        stuck.close()

    following(look, stuck_s=0.3, padding=500_000)


def test_a_fault_of_a_sample_ends_nothing() -> None:
    async def look(client: TestClient[Any, Any], followed: Live) -> None:
        followed.history.take = lambda: 1 / 0  # type: ignore[method-assign,assignment,return-value]
        response = await client.get("/console/events")
        assert [(await event(response))[0] for _ in range(5)][-1] == "status"

    following(look)
