"""The client returns what the server said, and every failure says what to do."""

from __future__ import annotations

import asyncio
import builtins
import socket
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import pytest
from aiohttp import web
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stream.client import client as clients
from stream.client.client import Client, ClientError
from stream.metrics.metrics import Metrics
from stream.web.server import application
from tests.stream.web.fake_service import TITLES, FakeService


@dataclass
class Serving:
    """An application served from a thread of its own."""

    url: str
    service: FakeService


async def _serve(
    app: web.Application, port: int, told: list[int], begun: threading.Event, ended: asyncio.Event
) -> None:
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    told.append(runner.addresses[0][1])
    begun.set()
    await ended.wait()
    await runner.cleanup()


def serving(app: web.Application, port: int = 0) -> Generator[str, None, None]:
    told: list[int] = []
    begun, ended, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(_serve(app, port, told, begun, ended)))
    thread.start()
    try:
        assert begun.wait(10)
        yield f"http://127.0.0.1:{told[0]}"
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()


@pytest.fixture
def worker() -> Iterator[Serving]:
    metrics = Metrics()
    service = FakeService(metrics)
    for url in serving(application(service, metrics)):
        yield Serving(url, service)


@pytest.fixture
def foreign_url() -> Iterator[str]:
    """A web server that is no sidestream worker; `/v1/status` never ends."""

    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(1.5)
        return web.Response()

    async def other(request: web.Request) -> web.Response:
        return web.Response(text="<html>", status=200 if request.method == "GET" else 502)

    app = web.Application()
    app.add_routes([web.get("/v1/status", slow), web.route("*", "/{any:.*}", other)])
    yield from serving(app)


def test_recommend_sends_what_was_asked(worker: Serving) -> None:
    with Client(worker.url) as client:
        answer = client.recommend("ü", task="search", query="Brot 🍞", item_id="i1", country="DE", device="tv", k=2)
    assert [item.item_id for item in answer.items] == list(TITLES)[:2]
    assert answer.checkpoint == "c1"
    asked = worker.service.asked[0]
    assert (asked.user_id, asked.task, asked.query, asked.country, asked.device, asked.k) == (
        *("ü", "search", "Brot 🍞", "DE", "tv", 2),
    )


def test_lookups(worker: Serving) -> None:
    with Client(worker.url) as client:
        for item_id, title in TITLES.items():
            assert client.item(item_id)["title"] == title
            assert client.trace(item_id)["item_id"] == item_id
            assert len(client.similar(item_id, k=2).items) == 2
        assert client.user("u1")["user_id"] == "u1"
        assert client.checkpoints()["serving"] == "c1"
        assert client.status()["verdict"] == "unknown"
        assert [len(answer.items) for answer in client.recommend_many([{"user_id": "u", "k": 1}])] == [1]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
@example(".")
@example("..")
@example("%2E%2E")
@example("a/../b")
@example("similar")
@example("x?k=1#a")
@example("%E0%A4%A")
@example("a\x00\r\nb")
def test_every_id_can_be_named(worker: Serving, id_: str) -> None:
    worker.service.titles = {id_: "found"}
    worker.service.engagements = [{"user_id": id_, "item_id": id_}]
    with Client(worker.url) as client:
        assert client.item(id_)["item_id"] == id_
        assert client.trace(id_)["item_id"] == id_
        assert client.similar(id_).items[0].item_id == id_
        assert client.user(id_)["user_id"] == id_


def test_readiness(worker: Serving) -> None:
    with Client(worker.url) as client:
        assert client.ready() == (True, "")
        client.wait_until_ready(1)
        worker.service.is_ready = False
        assert client.ready() == (False, "recovering: 12 of 40 records")
        with pytest.raises(clients.TimeoutError, match="recovering"):
            client.wait_until_ready(0.2)


def test_a_wrong_parameter_names_its_remedy(worker: Serving) -> None:
    with Client(worker.url) as client:
        with pytest.raises(clients.RefusedError, match="1 to 100") as caught:
            client.recommend("u", k=1000)
        assert caught.value.field == "k"
        with pytest.raises(ValueError, match="name the user"):
            client.recommend("")
        for call in (client.item, client.user, client.trace):
            with pytest.raises(clients.RefusedError):
                call("")
            with pytest.raises(clients.RefusedError):
                call("\ud800")
        with pytest.raises(clients.RefusedError):
            client.recommend("\ud800")


def test_an_unknown_item_is_not_found(worker: Serving) -> None:
    with Client(worker.url) as client:
        with pytest.raises(clients.NotFoundError, match="publish"):
            client.item("none")
        with pytest.raises(LookupError):
            client.user("none")


def test_a_fault_of_the_server_is_told(worker: Serving) -> None:
    worker.service.fault = RuntimeError()
    with Client(worker.url) as client, pytest.raises(clients.ServerError, match="log has the cause"):
        client.recommend("u")


def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"127.0.0.1:{taken.getsockname()[1]}"  # bound, not listening: refused, and nobody else takes it
        with Client(url) as client:
            with pytest.raises(clients.UnreachableError, match="sidestream up"):
                client.ready()
            with pytest.raises(clients.TimeoutError, match="nothing answers"):
                client.wait_until_ready(0.15)


def test_a_restarted_worker_is_asked_again() -> None:
    """The kept connection is dead after the restart; the call that finds out is sent once more."""
    metrics = Metrics()
    first = serving(application(FakeService(metrics), metrics))
    url = next(first)
    with Client(url) as client:
        assert client.ready()[0]
        first.close()
        second = serving(application(FakeService(metrics), metrics), int(url.rsplit(":", 1)[1]))
        next(second)
        assert client.ready()[0]
        second.close()


def test_not_a_worker(foreign_url: str) -> None:
    with Client(foreign_url, timeout_s=0.3) as client:
        with pytest.raises(clients.ServerError, match="check the URL"):
            client.checkpoints()
        with pytest.raises(clients.ServerError, match="check the URL"):
            client.recommend("u")
        with pytest.raises(builtins.TimeoutError, match=r"0\.3 s"):
            client.status()


def test_a_url_that_is_none() -> None:
    with pytest.raises(clients.UnreachableError, match="give one like"):
        Client("http://[::1")
    with Client("nothing://x") as client, pytest.raises(clients.UnreachableError):
        client.ready()


def test_every_error_is_one_tree() -> None:
    errors = [value for value in vars(clients).values() if isinstance(value, type) and issubclass(value, Exception)]
    own = [error for error in errors if error.__module__ == clients.__name__]
    assert len(own) == 6
    assert all(issubclass(error, ClientError) for error in own)
    assert clients.__doc__ is not None
    assert all(error.__name__ in clients.__doc__ for error in own)
