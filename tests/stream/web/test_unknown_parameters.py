"""No parameter is ignored in silence: whatever route it is sent to, one that does not exist is refused by its name."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from store.requests import Request
from store.settings import Serving
from stream.metrics.metrics import Metrics
from stream.web.access import PUBLIC
from stream.web.peer_handlers import peer_routes
from stream.web.server import application
from tests.stream.web.test_peer_handlers import Owner
from tests.stream.web.web_client import raw, refused

JSON = {"Content-Type": "application/json"}


def whole_face() -> web.Application:
    """Every route that a worker has."""
    metrics = Metrics()
    owner = Owner(metrics)
    return application(owner, metrics, Serving(), peer_routes(owner))


def routes(app: web.Application) -> list[tuple[str, str]]:
    """Method and path of each, with an id in its place."""
    found = [(route.method, route.resource.canonical) for route in app.router.routes() if route.resource]
    return [(method, re.sub(r"\{[^}]+\}", "i1", path)) for method, path in found if method != "HEAD"]


def asked(*requests: tuple[str, str]) -> list[tuple[int, Any]]:
    """Status and body of each answer."""

    async def main() -> list[tuple[int, Any]]:
        answers = []
        async with TestClient(TestServer(whole_face())) as client:
            for method, path in requests:
                body = b'{"user_id": "u1", "item_id": "i1", "kind": "click"}' if method == "POST" else None
                async with client.request(method, raw(path), data=body, headers=JSON if body else {}) as response:
                    answers.append((response.status, await response.read()))
        return answers

    return asyncio.run(main())


def test_every_route_names_a_parameter_that_it_has_not() -> None:
    found = [(method, path) for method, path in routes(whole_face()) if path not in PUBLIC]
    assert len(found) > 10
    for (method, path), (status, body) in zip(
        found, asked(*((method, f"{path}?user_id=u1&surprise=1") for method, path in found)), strict=True
    ):
        told = msgspec.json.decode(body)
        named = told["error"]["field"] if "error" in told else told
        assert (status, named) in ((400, "surprise"), (400, "user_id")), (method, path, named)
        if path == "/v1/recommend" and method == "GET":
            assert named == "surprise"


def test_what_machines_ask_takes_no_parameters_and_minds_none() -> None:
    """Probes, scrapers and browsers add some of their own; the document and docs/contracts.md say so."""
    answers = asked(*(("GET", f"{path}?name[]=x&t=1") for path in PUBLIC))
    assert [status for status, _ in answers] == [200] * len(PUBLIC)


def test_a_field_of_a_console_engagement_that_has_no_effect_is_told() -> None:
    async def main() -> Any:
        async with TestClient(TestServer(whole_face())) as client:
            click = {"user_id": "u1", "item_id": "i1", "kind": "click", "value": 3, "occured_at": 5, "task": None}
            return await (await client.post("/console/engage", json=click)).json()

    assert asyncio.run(main())["ignored"] == ["value", "occured_at", "task"]


def test_a_method_that_a_route_has_not_is_answered_with_those_that_it_has() -> None:
    async def main() -> None:
        async with TestClient(TestServer(whole_face())) as client:
            for _, path in routes(whole_face()):
                for method in ("OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"):
                    response = await client.request(method, raw(path))
                    allowed = {each for each, other in routes(whole_face()) if other == path}
                    remedy = await refused(response, 405, "method")
                    assert set(response.headers["Allow"].split(", ")) - {"HEAD"} == allowed
                    assert all(each in remedy for each in allowed)

    asyncio.run(main())


def test_head_is_answered_as_get_is_without_the_body() -> None:
    async def main() -> None:
        async with TestClient(TestServer(whole_face())) as client:
            for path, status in (("/healthz", 200), ("/v1/items/i1", 200), ("/v1/items/none", 404), ("/v1/x", 404)):
                response = await client.head(path)
                assert (response.status, await response.read()) == (status, b"")

    asyncio.run(main())


def test_ids_that_are_no_text_or_hold_anything_are_unknown_never_a_fault() -> None:
    strange = ("%00", "%2F", "a%2Fb", "%FF", "%ED%A0%80", "%2E%2E", "%0D%0A", "%", "%zz", "%20", "x" * 3000, "+")
    paths = ("/v1/items/{}", "/v1/items/{}/similar", "/v1/users/{}", "/v1/trace/{}")
    for path in paths:
        for status, body in asked(*(("GET", path.format(each)) for each in strange)):
            assert status == 404, body
            assert "error" in msgspec.json.decode(body)
    assert {status for status, _ in asked(("GET", "/v1/items/" + "x" * 9000))} == {400}


def test_workers_among_themselves_keep_the_bounds_of_all() -> None:
    async def main() -> list[int]:
        async with TestClient(TestServer(whole_face())) as client:
            bodies = (
                msgspec.json.encode(Request(user_id="mine", k=10**6)),
                msgspec.json.encode(Request(user_id="mine", exclude=("x" * 300,))),
                b'{"user_id":"mine","unknown":' + b"[" * 50_000,
                b'{"user_id":"\\ud800"}',
            )
            return [(await client.post("/internal/recommend", data=body)).status for body in bodies]

    assert asyncio.run(main()) == [400] * 4
