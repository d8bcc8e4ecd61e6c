"""Connections are bounded in number and in time: who sends nothing, or slowly, takes no place of others for long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from store.settings import Serving
from stream.metrics.metrics import Metrics
from stream.web import connections, replies, server
from stream.web.server import WebServer
from tests.stream.web.fake_service import FakeService

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = (
    b"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
)


def served(ask: Callable[[str, int], Awaitable[None]]) -> None:
    async def main() -> None:
        metrics = Metrics()
        face = WebServer(FakeService(metrics), metrics, Serving(port=0))
        await face.start()
        host, _, port = face.url.removeprefix("http://").partition(":")
        try:
            await ask(host, int(port))
        finally:
            await face.stop()
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await asyncio.open_connection(host, int(port))

    asyncio.run(main())


async def answer(host: str, port: int, sent: bytes) -> bytes:
    """What comes until the connection is closed, or pauses."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(sent)
        async with asyncio.timeout(5):
            return await reader.read(4000)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def test_one_more_than_may_be_open_is_closed_at_once_and_there_is_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each took a file of the process, until none was left for rows, log and peers."""
    monkeypatch.setattr(server, "listen", lambda *given: connections.listen(*given, most=3))

    async def ask(host: str, port: int) -> None:
        held = [await asyncio.open_connection(host, port) for _ in range(3)]
        for _, writer in held:
            writer.write(b"GET ")
        await asyncio.sleep(0.05)
        assert await answer(host, port, HEALTH) == b""
        held[0][1].close()
        await asyncio.sleep(0.05)
        assert (await answer(host, port, HEALTH)).startswith(b"HTTP/1.1 200")
        for _, writer in held[1:]:
            writer.close()

    served(ask)


def test_who_sends_a_head_slowly_or_not_at_all_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour long each could be held open by a byte."""
    assert connections.IDLE_S == 75.0
    monkeypatch.setattr(server, "IDLE_S", 0.2)

    async def ask(host: str, port: int) -> None:
        assert [await answer(host, port, sent) for sent in (b"", b"GET /healthz HT", b"\r\n")] == [b""] * 3
        assert (await answer(host, port, HEALTH)).startswith(b"HTTP/1.1 200")

    served(ask)


def test_a_body_that_does_not_come_is_waited_for_no_longer_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert connections.BODY_S == 30.0
    monkeypatch.setattr(replies, "BODY_S", 0.1)

    async def ask(host: str, port: int) -> None:
        said = await answer(host, port, POST)
        assert said.startswith(b"HTTP/1.1 408")
        assert b'"remedy"' in said

    served(ask)
