"""The HTTP face answers what docs/contracts.md says."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from store.settings import Serving, Tls
from stream.client.client import Client, UnreachableError
from stream.metrics.metrics import Metrics
from stream.web import server as web_server
from stream.web.server import AddressError, OnceAMinute, WebServer, application
from tests.secured import make_certificates
from tests.stream.web.fake_service import FakeService
from tests.stream.web.web_client import refused, with_app


def test_wrong_methods_say_which_are_right() -> None:
    async def ask(client: TestClient[Any, Any], service: FakeService) -> None:
        for method, path in (("DELETE", "/v1/recommend"), ("POST", "/v1/items/i1"), ("PUT", "/healthz")):
            response = await client.request(method, path)
            await refused(response, 405, "method")
            assert "GET" in response.headers["Allow"]

    with_app(ask)


def test_a_fault_of_the_server_is_json_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def ask(client: TestClient[Any, Any], service: FakeService) -> None:
        service.fault = RuntimeError("secret detail")
        response = await client.get("/v1/recommend?user_id=u1")
        assert response.status == 500
        assert "secret" not in await response.text()

    with_app(ask)
    assert "secret detail" in caplog.text


def test_a_taken_port_says_what_to_do() -> None:
    async def main() -> None:
        metrics = Metrics()
        server = WebServer(FakeService(metrics), metrics, Serving(port=0))
        await server.start()
        assert server.url.startswith("http://127.0.0.1:")
        port = int(server.url.rsplit(":", 1)[1])
        assert port > 0
        with pytest.raises(AddressError, match="--web-port"):
            await WebServer(FakeService(metrics), metrics, Serving(port=port)).start()
        await server.stop()
        await server.stop()

    asyncio.run(main())


def test_a_server_on_all_interfaces_is_reached_by_name() -> None:
    metrics = Metrics()
    assert (
        WebServer(FakeService(metrics), metrics, Serving(host="0.0.0.0")).url == f"http://{socket.gethostname()}:8470"
    )
    assert WebServer(FakeService(metrics), metrics, Serving(host="::1")).url == "http://[::1]:8470"


def test_workers_can_have_routes_among_themselves() -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.json_response(msgspec.json.decode(await request.read()))

    async def main() -> None:
        metrics = Metrics()
        app = application(FakeService(metrics), metrics, Serving(), [web.post("/internal/echo", echo)])
        async with TestClient(TestServer(app)) as client:
            assert await (await client.post("/internal/echo", data=b"[1]")).json() == [1]
            await refused(await client.post("/internal/echo", data=b"["), 400, "body")

    asyncio.run(main())


def test_with_a_certificate_it_speaks_https_and_who_does_not_trust_it_is_told(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)

    async def main() -> None:
        metrics = Metrics()
        serving = Serving(port=0, tls=Tls(certificate_file=str(certificates.broker)))
        server = WebServer(FakeService(metrics), metrics, serving)
        await server.start()
        try:
            await asyncio.to_thread(ask, server.url)
        finally:
            await server.stop()

    def ask(url: str) -> None:
        assert url.startswith("https://127.0.0.1:")
        with Client(url, ca_file=str(certificates.ca)) as client:
            assert client.ready()[0]
        for ca_file in ("", str(certificates.stranger)):
            not_trusted = pytest.raises(UnreachableError, match=r"not trusted .*ca_file")
            with Client(url, ca_file=ca_file) as stranger, not_trusted:
                stranger.ready()
        with Client(url.replace("https:", "http:")) as plain, pytest.raises(UnreachableError, match="try https://"):
            plain.ready()

    asyncio.run(main())


def while_serving(ask: Callable[[str], None]) -> None:
    """Runs `ask` with the address of a real server, in a thread of its own."""

    async def main() -> None:
        metrics = Metrics()
        server = WebServer(FakeService(metrics), metrics, Serving(port=0))
        await server.start()
        try:
            await asyncio.to_thread(ask, server.url)
        finally:
            await server.stop()

    asyncio.run(main())


def test_as_many_ids_as_may_be_excluded_have_room_in_the_line_of_a_request() -> None:
    """Thirty of the longest had."""

    def ask(url: str) -> None:
        excluded = "&".join(f"exclude={number:0256}" for number in range(1000))
        line = f"/v1/recommend?user_id=u1&k=1&{excluded}"
        assert (raw_get(url, line)[:12], raw_get(url, line + "&exclude=x")[:12]) == (b"HTTP/1.1 200", b"HTTP/1.1 400")

    while_serving(ask)


def test_bytes_that_are_no_http_are_refused_and_told_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each was an error with a traceback: whoever scanned the port filled the log."""
    monkeypatch.setattr(web_server.refused_bytes, "filters", [OnceAMinute()])

    def ask(url: str) -> None:
        for line in ("/ HTTP/1.1\r\nX: \x00", "/ HTTP/9.9", "/" + "x" * 400_000) * 3:
            assert raw_get(url, line)[:12] in (b"HTTP/1.0 400", b"")
        assert raw_get(url, "/healthz")[:12] == b"HTTP/1.1 200"

    while_serving(ask)
    (told,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert (told.levelname, told.exc_info) == ("WARNING", None)
    assert "no HTTP" in told.getMessage()


def raw_get(url: str, line: str) -> bytes:
    """How the answer to a request begins, whatever its line is; nothing where the connection was cut."""
    version = "" if " HTTP/" in line else " HTTP/1.1"
    address = urlsplit(url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), 5) as connection:
        try:
            connection.sendall(f"GET {line}{version}\r\nHost: 127.0.0.1\r\n\r\n".encode())
            return connection.recv(200)
        except OSError:
            return b""
