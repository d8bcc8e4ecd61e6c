"""Replies: whatever a handler raises becomes JSON of one form and a fitting status, without the server's secrets."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from store.requests import BadRequestError
from stream.web.replies import MAX_BODY_BYTES, NotFoundError, as_json, body, reply

RAISED: dict[str, Exception] = {
    "bad": BadRequestError("k", "ask for fewer"),
    "gone": NotFoundError("item_id", "name another"),
    "unread": msgspec.DecodeError("half a record"),
    "kept": web.HTTPServiceUnavailable(reason="Busy"),
    "fault": RuntimeError("the password is swordfish"),
}


async def fail(request: web.Request) -> web.Response:
    raise RAISED[request.match_info["name"]]


async def echo(request: web.Request) -> web.Response:
    return reply(await body(request), status=201)


def asked(ask: Callable[[TestClient[Any, Any]], Awaitable[ClientResponse]]) -> tuple[int, Any, ClientResponse]:
    """Status, JSON and response of one request to an application of these two handlers."""

    async def main() -> tuple[int, Any, ClientResponse]:
        app = web.Application(middlewares=[as_json], client_max_size=MAX_BODY_BYTES)
        app.add_routes([web.get("/raise/{name}", fail), web.post("/echo", echo)])
        async with TestClient(TestServer(app)) as client:
            response = await ask(client)
            assert response.content_type == "application/json"
            return response.status, await response.json(), response

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "status", "field", "remedy"),
    [
        ("bad", 400, "k", "ask for fewer"),
        ("gone", 404, "item_id", "name another"),
        ("unread", 400, "body", "half a record"),
        ("kept", 503, "", "Busy"),
    ],
)
def test_what_is_raised_has_its_status_field_and_remedy(name: str, status: int, field: str, remedy: str) -> None:
    found = asked(lambda client: client.get(f"/raise/{name}"))
    assert found[:2] == (status, {"error": {"field": field, "remedy": remedy}})


def test_a_fault_of_ours_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    status, told, _ = asked(lambda client: client.get("/raise/fault?k=1"))
    assert status == 500
    assert "log has the cause" in told["error"]["remedy"]
    assert "swordfish" not in str(told)
    assert "GET /raise/fault?k=1 failed" in caplog.text
    assert "swordfish" in caplog.text


def test_what_is_sent_comes_back() -> None:
    sent = {"a": [1, None, "Ё"]}
    assert asked(lambda client: client.post("/echo", json=sent))[:2] == (201, sent)


@pytest.mark.parametrize(
    ("data", "kind", "status", "field"),
    [
        (b"{}", "text/plain", 415, "content-type"),
        (b"[]", "application/json", 400, "body"),
        (b"{", "application/json", 400, "body"),
        (b'{"a": "' + b"x" * MAX_BODY_BYTES + b'"}', "application/json", 413, "body"),
    ],
)
def test_a_body_is_one_json_object_of_bounded_size(data: bytes, kind: str, status: int, field: str) -> None:
    found = asked(lambda client: client.post("/echo", data=io.BytesIO(data), headers={"Content-Type": kind}))
    assert (found[0], found[1]["error"]["field"]) == (status, field)
    assert found[1]["error"]["remedy"]


def test_another_method_names_those_there_are() -> None:
    status, told, response = asked(lambda client: client.put("/echo"))
    assert (status, response.headers["Allow"]) == (405, "POST")
    assert told["error"] == {"field": "method", "remedy": "use POST"}


def test_a_path_that_is_not_there_says_where_to_look() -> None:
    status, told, _ = asked(lambda client: client.get("/nothing"))
    assert (status, told["error"]["field"]) == (404, "path")
    assert "/openapi.json" in told["error"]["remedy"]
