"""The OpenAPI document is well formed, complete, and true of real responses."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import quote

from aiohttp.test_utils import TestClient, TestServer
from jsonschema import Draft202012Validator

from store.settings import Serving
from stream.metrics.metrics import Metrics
from stream.web.openapi import document
from stream.web.peer_handlers import peer_routes
from stream.web.server import application
from tests.stream.web.fake_service import FakeService
from tests.stream.web.test_peer_handlers import Owner

CONTRACT = {
    "/v1/recommend",
    "/v1/rank",
    "/v1/items/{item_id}",
    "/v1/items/{item_id}/similar",
    "/v1/users/{user_id}",
    "/v1/checkpoints",
    "/v1/codebook",
    "/v1/status",
    "/v1/history",
    "/v1/trace/{item_id}",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/",
}


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """A validator of one schema of the document; references are to the document's own components."""
    return Draft202012Validator({**schema, "components": document()["components"]})


def test_the_document_covers_exactly_the_routes() -> None:
    owner = Owner(Metrics())
    for console, contract in ((True, CONTRACT), (False, CONTRACT - {"/"})):
        app = application(owner, Metrics(), Serving(console=console), peer_routes(owner))
        routed = {
            (re.sub(r":[^}]+", "", route.resource.canonical), route.method)
            for route in app.router.routes()
            if route.resource is not None and route.method != "HEAD"
        }
        routed = {(path, method) for path, method in routed if not path.startswith(("/console/", "/internal/"))}
        paths = document(console)["paths"]
        documented = {(path, method.upper()) for path, methods in paths.items() for method in methods}
        assert documented == routed
        assert {path for path, _ in documented} == contract


def test_every_schema_is_a_schema_and_every_reference_resolves() -> None:
    schemas = document()["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    names = set(re.findall(r"#/components/schemas/(\w+)", repr(document())))
    assert names <= set(schemas)
    assert set(schemas) - names == set()


def test_operations_are_named_once() -> None:
    names = [method["operationId"] for methods in document()["paths"].values() for method in methods.values()]
    assert len(names) == len(set(names))


def test_requests_are_judged_alike_by_document_and_server() -> None:
    bodies: list[dict[str, Any]] = [
        {"user_id": "u"},
        {"user_id": ""},
        {},
        {"user_id": "u", "k": 100},
        {"user_id": "u", "k": 101},
        {"user_id": "u", "k": 0},
        {"user_id": "u", "k": "1"},
        {"user_id": "u", "query": None},
        {"user_id": "u", "query": "q" * 2001},
        {"user_id": "u", "task": "next"},
        {"user_id": "u", "task": "dance"},
        {"user_id": "u" * 257},
        {"requests": []},
        {"requests": [{"user_id": "u"}]},
        {"requests": [{"user_id": "u"}] * 101},
        {"requests": {}},
        {"user_id": " \u2003"},
        {"user_id": "u", "item_id": ""},
        {"user_id": "u", "requests": [{"user_id": "u"}]},
        {"user_id": "u", "requests": None},
        {"requests": [{"user_id": "u", "requests": 5}]},
    ]

    async def main() -> None:
        schema = document()["paths"]["/v1/recommend"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        async with TestClient(TestServer(application(FakeService(Metrics()), Metrics(), Serving()))) as client:
            for body in bodies:
                response = await client.post("/v1/recommend", json=body)
                assert (response.status == 200) == validator(schema).is_valid(body), body

    asyncio.run(main())


def test_real_responses_have_the_documented_form() -> None:
    calls: list[tuple[str, str, dict[str, Any] | None, str]] = [
        ("get", "/v1/recommend?user_id=u1", None, "/v1/recommend"),
        ("get", "/v1/recommend", None, "/v1/recommend"),
        ("post", "/v1/recommend", {"user_id": "u1"}, "/v1/recommend"),
        ("post", "/v1/recommend", {"requests": [{"user_id": "u1"}]}, "/v1/recommend"),
        ("post", "/v1/recommend", {"user_id": 5}, "/v1/recommend"),
        ("post", "/v1/rank", {"user_id": "u1", "candidates": ["i1"]}, "/v1/rank"),
        ("post", "/v1/rank", {"user_id": "u1", "candidates": []}, "/v1/rank"),
        ("get", f"/v1/items/{quote('{braces}')}", None, "/v1/items/{item_id}"),
        ("get", "/v1/items/none", None, "/v1/items/{item_id}"),
        ("get", "/v1/items/i1/similar", None, "/v1/items/{item_id}/similar"),
        ("get", "/v1/items/i1/similar?k=0", None, "/v1/items/{item_id}/similar"),
        ("get", "/v1/users/u1", None, "/v1/users/{user_id}"),
        ("get", "/v1/users/none", None, "/v1/users/{user_id}"),
        ("get", "/v1/checkpoints", None, "/v1/checkpoints"),
        ("get", "/v1/status", None, "/v1/status"),
        ("get", "/v1/history?since=gone:5", None, "/v1/history"),
        ("get", "/v1/trace/i1", None, "/v1/trace/{item_id}"),
        ("get", "/healthz", None, "/healthz"),
        ("get", "/readyz", None, "/readyz"),
        ("get", "/openapi.json", None, "/openapi.json"),
    ]

    async def main() -> None:
        paths = document()["paths"]
        async with TestClient(TestServer(application(FakeService(Metrics()), Metrics(), Serving()))) as client:
            for method, url, body, path in calls:
                response = await client.request(method, url, json=body) if body else await client.request(method, url)
                documented = paths[path][method]["responses"]
                assert str(response.status) in documented, (url, response.status)
                content = documented[str(response.status)]["content"][response.content_type]
                validator(content["schema"]).validate(await response.json())

    asyncio.run(main())
