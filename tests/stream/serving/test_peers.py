"""Peers over real HTTP: an answer comes through, and every kind of failure is counted and logged, not too often."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import generate_latest

from store.records.peer_messages import Heard, OwnedRow, RowRequest, Told
from store.requests import Answer, Request
from store.security import server_context, trust
from store.settings import Tls
from stream.metrics.metrics import PEER_FAILURES, Metrics
from stream.serving.peers import LOG_EVERY_S, Peers
from tests.secured import make_certificates

ANSWER = Answer(items=[], checkpoint="c", codebook="v", request_id="r", took_ms=1.0, degraded=False)
Ask = Callable[[Peers], Awaitable[object]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def answered(request: web.Request) -> web.StreamResponse:
    if request.path.startswith("/internal/users/"):
        return web.Response(body=msgspec.json.encode({"user_id": request.match_info["user_id"]}))
    assert msgspec.json.decode(await request.read(), type=Request).user_id == "u"
    return web.Response(body=msgspec.json.encode(ANSWER))


async def refusing(_: web.Request) -> web.StreamResponse:
    return web.Response(status=409, text="not mine")


async def nonsense(_: web.Request) -> web.StreamResponse:
    return web.Response(body=b"[1]")


async def silent(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(3)
    return web.Response()


def counted(metrics: Metrics) -> dict[str, float]:
    text = generate_latest(metrics.registry).decode()
    prefix = "sidestream_peer_failures_total{reason="
    lines = [line for line in text.splitlines() if line.startswith(prefix)]
    found = {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in lines}
    assert found.keys() == set(PEER_FAILURES)
    return {reason: count for reason, count in found.items() if count}


async def ask(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]], metrics: Metrics, *asks: Ask
) -> list[object]:
    app = web.Application()
    app.add_routes([web.post("/internal/recommend", handler), web.get("/internal/users/{user_id:[^/]+}", handler)])
    async with TestServer(app) as server:
        url = str(server.make_url("/")).rstrip("/")
        peers = Peers(owner_of=lambda _: url, own_url=lambda: "http://me", metrics=metrics, timeout_s=1.0)
        await peers.start()
        found = [await each(peers) for each in asks]
        await peers.stop()
    return found


def test_a_worker_is_asked_what_it_says_of_itself() -> None:
    async def readiness(_: web.Request) -> web.StreamResponse:
        return web.json_response({"ready": False, "reason": "recovering"}, status=503)

    async def main() -> None:
        app = web.Application()
        app.add_routes([web.get("/readyz", readiness), web.get("/nonsense/readyz", nonsense)])
        app.add_routes([web.get("/silent/readyz", silent)])
        async with TestServer(app) as server:
            url = str(server.make_url("/")).rstrip("/")
            peers = Peers(owner_of=lambda _: url, own_url=lambda: "http://me", metrics=Metrics(), timeout_s=0.3)
            assert (await peers.ready(url))[0] is None, "it has not been started"
            await peers.start()
            assert await peers.ready(url) == (False, "recovering")
            for silence in (f"{url}/nonsense", f"{url}/silent", "http://127.0.0.1:1", "no url"):
                assert (await peers.ready(silence))[0] is None
            await peers.stop()

    asyncio.run(main())


def recommend(peers: Peers) -> Awaitable[object]:
    return peers.recommend(Request(user_id="u"))


def user(peers: Peers) -> Awaitable[object]:
    return peers.user("a/b c")


def test_the_owners_answer_comes_through() -> None:
    metrics = Metrics()
    assert asyncio.run(ask(answered, metrics, recommend, user)) == [ANSWER, {"user_id": "a/b c"}]
    assert counted(metrics) == {}


@pytest.mark.parametrize(("handler", "reason"), [(refusing, "refused"), (nonsense, "refused"), (silent, "timeout")])
def test_a_failure_is_counted_and_said_once(handler: Handler, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    with caplog.at_level(logging.WARNING, "stream.serving.peers"):
        assert asyncio.run(ask(handler, metrics, recommend, user)) == [None, None]
    assert counted(metrics) == {reason: 2}
    assert len([record for record in caplog.records if record.name == "stream.serving.peers"]) == 1


def test_a_silent_peer_costs_its_time_once() -> None:
    metrics = Metrics()
    began = time.monotonic()
    assert asyncio.run(ask(silent, metrics, *[recommend] * 5)) == [None] * 5
    assert time.monotonic() - began < 3
    assert counted(metrics) == {"timeout": 5}


def test_a_request_waits_for_a_peer_no_longer_than_it_has_time_and_the_next_asks_again() -> None:
    metrics = Metrics()
    hurried: Ask = lambda peers: peers.recommend(Request(user_id="u", within_ms=50))  # noqa: E731
    began = time.monotonic()
    assert asyncio.run(ask(silent, metrics, *[hurried] * 4)) == [None] * 4
    assert 0.2 <= time.monotonic() - began < 0.9
    assert counted(metrics) == {"timeout": 4}


def test_an_owner_that_is_gone_or_unknown_or_this_worker(caplog: pytest.LogCaptureFixture) -> None:
    metrics, now = Metrics(), 0.0
    owner: str | None = "http://127.0.0.1:1"

    async def scenario() -> None:
        nonlocal owner, now
        peers = Peers(
            owner_of=lambda _: owner, own_url=lambda: "http://me", metrics=metrics, timeout_s=1.0, clock=lambda: now
        )
        await peers.start()
        assert await peers.recommend(Request(user_id="u")) is None
        owner = None
        assert await peers.recommend(Request(user_id="u")) is None
        owner = "http://me"
        assert await peers.recommend(Request(user_id="u")) is None
        now = LOG_EVERY_S
        assert await peers.user("u") is None
        await peers.stop()

    with caplog.at_level(logging.WARNING, "stream.serving.peers"):
        asyncio.run(scenario())
    assert counted(metrics) == {"unreachable": 1, "unknown": 3}
    said = [record.getMessage() for record in caplog.records if record.name == "stream.serving.peers"]
    assert len(said) == 3  # unreachable, unknown, and unknown again once some time has passed


def test_a_peer_that_speaks_tls_is_asked_and_a_stranger_is_not(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    context = server_context(Tls(certificate_file=str(certificates.broker)))

    async def main(ca_file: Path) -> Answer | None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answered)
        server = TestServer(app, host="127.0.0.1", scheme="https")
        await server.start_server(ssl=context)
        peers = Peers(
            owner_of=lambda _: f"https://127.0.0.1:{server.port}",
            own_url=lambda: "",
            metrics=Metrics(),
            timeout_s=2.0,
            trusted=trust(Tls(ca_file=str(ca_file))),
        )
        await peers.start()
        try:
            return await peers.recommend(Request(user_id="u"))
        finally:
            await peers.stop()
            await server.close()

    assert asyncio.run(main(certificates.ca)) == ANSWER
    assert asyncio.run(main(certificates.stranger)) is None


class Owner:
    """An owner that answers, gives rows, or both."""

    def __init__(self, *ways: str) -> None:
        self.ways = ways
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if request.path not in self.ways:
            return web.Response(status=501 if request.path == "/internal/recommend" else 404)
        if request.path == "/internal/rows":
            assert msgspec.msgpack.decode(await request.read(), type=RowRequest) == RowRequest("u", "home")
            return web.Response(body=msgspec.msgpack.encode(OwnedRow(None)))
        if request.path == "/internal/told":
            return web.Response(body=msgspec.msgpack.encode(Heard([("i", True)])))
        return await answered(request)


async def ask_owner(owner: Owner, by_rows: bool) -> list[object]:
    app = web.Application()
    app.add_routes([web.post("/{path:.*}", owner.answer)])
    async with TestServer(app) as server:
        url = str(server.make_url("/")).rstrip("/")
        peers = Peers(
            owner_of=lambda _: url, own_url=lambda: "http://me", metrics=Metrics(), timeout_s=1.0, by_rows=by_rows
        )
        await peers.start()
        found = [await recommend(peers), await recommend(peers), await peers.tell(url, Told("http://me"))]
        found.append(await peers.answer_by(url, Request(user_id="u")))
        await peers.stop()
    return found


A, R, TOLD, ASKED = "/internal/recommend", "/internal/rows", "/internal/told", "/v1/recommend"


@pytest.mark.parametrize(
    ("ways", "by_rows", "found", "asked"),
    [
        ((A, R), False, ANSWER, [A, A]),
        ((A, R), True, OwnedRow(None), [R, R]),
        ((R,), False, OwnedRow(None), [A, R, R]),  # one that only absorbs
        ((A,), True, ANSWER, [R, A, A]),  # one of a release before
        ((), True, None, [R, A, A, R]),
    ],
)
def test_an_owner_is_asked_the_way_that_it_knows(
    ways: tuple[str, ...], by_rows: bool, found: object, asked: list[str]
) -> None:
    owner = Owner(*ways)
    told = Heard()  # one of a release before cannot be told, and is there
    assert asyncio.run(ask_owner(owner, by_rows)) == [found, found, told, None]
    assert owner.asked == [*asked, TOLD, ASKED]


def test_an_owner_hears_and_one_that_answers_is_asked() -> None:
    owner = Owner(A, TOLD, ASKED)
    assert asyncio.run(ask_owner(owner, False)) == [ANSWER, ANSWER, Heard([("i", True)]), ANSWER]
