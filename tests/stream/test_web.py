"""The HTTP face answers what DESIGN section 6 says, and no input makes it fail."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from store.requests import BadRequestError
from stream.metrics import Metrics
from stream.web import AddressError, WebServer, application
from tests.stream.fake_service import TITLES, FakeService

Ask = Callable[[TestClient[Any, Any], FakeService], Awaitable[None]]


def with_app(ask: Ask) -> None:
    """Run `ask` against the application over a real socket."""

    async def main() -> None:
        metrics = Metrics()
        service = FakeService(metrics)
        async with TestClient(TestServer(application(service, metrics))) as client:
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


def test_recommend_passes_every_parameter() -> None:
    async def ask(client: TestClient[Any, Any], service: FakeService) -> None:
        fields = {"user_id": "ü/1", "task": "search", "query": "brot 🍞", "item_id": "i1", "country": "DE"}
        response = await client.get("/v1/recommend", params={**fields, "device": "tv", "k": "2", "unknown": "x"})
        assert response.status == 200
        answer = await response.json()
        assert [item["item_id"] for item in answer["items"]] == list(TITLES)[:2]
        assert {"checkpoint", "codebook", "request_id", "took_ms", "degraded"} < set(answer)
        posted = await client.post("/v1/recommend", json={**fields, "device": "tv", "k": 2})
        assert await posted.json() == answer
        assert service.asked[0] == service.asked[1]
        assert service.asked[0].query == "brot 🍞"

    with_app(ask)


def test_batch_answers_in_order() -> None:
    async def ask(client: TestClient[Any, Any], service: FakeService) -> None:
        requests = [{"user_id": "u1", "k": 1}, {"user_id": "far", "k": 3}]
        answers = (await (await client.post("/v1/recommend", json={"requests": requests})).json())["answers"]
        assert [len(answer["items"]) for answer in answers] == [1, 3]
        assert [answer["degraded"] for answer in answers] == [False, True]
        assert await (await client.post("/v1/recommend", json={"requests": []})).json() == {"answers": []}
        wrong = await client.post("/v1/recommend", json={"requests": [{"user_id": "u"}, {"user_id": "u", "k": 0}]})
        await refused(wrong, 400, "requests[1].k")
        many = [{"user_id": "u1"}] * 101
        await refused(await client.post("/v1/recommend", json={"requests": many}), 400, "requests")
        await refused(await client.post("/v1/recommend", json={"requests": 5}), 400, "requests")

    with_app(ask)


BAD_QUERIES = [
    ("", "user_id"),
    ("user_id=", "user_id"),
    ("user_id=%20", "user_id"),
    ("user_id=" + "u" * 257, "user_id"),
    ("user_id=u&k=0", "k"),
    ("user_id=u&k=101", "k"),
    ("user_id=u&k=" + "9" * 400, "k"),
    ("user_id=u&k=-1", "k"),
    ("user_id=u&k=ten", "k"),
    ("user_id=u&k=", "k"),
    ("user_id=u&k=1.5", "k"),
    ("user_id=u&k=%D9%A3", "k"),  # an Arabic-Indic digit
    ("user_id=u&k=1&k=2", "k"),
    ("user_id=u&user_id=v", "user_id"),
    ("user_id=u&task=dance", "task"),
    ("user_id=u&task=HOME", "task"),
    ("user_id=u&task=search", "query"),
    ("user_id=u&task=search&query=%20", "query"),
    ("user_id=u&task=similar", "item_id"),
    ("user_id=u&task=similar&item_id=", "item_id"),
    ("user_id=u&query=" + "q" * 2001, "query"),
    ("user_id=u&country=" + "c" * 65, "country"),
]


def test_bad_parameters_name_the_field_and_the_remedy() -> None:
    async def ask(client: TestClient[Any, Any], service: FakeService) -> None:
        for query, field in BAD_QUERIES:
            await refused(await client.get(raw(f"/v1/recommend?{query}")), 400, field)
        remedy = await refused(await client.get("/v1/recommend?user_id=u&task=dance"), 400, "task")
        assert "home" in remedy
        assert "notification" in remedy
        assert service.asked == []

    with_app(ask)


BAD_BODIES = [
    (b"", "body"),
    (b"{", "body"),
    (b"[]", "body"),
    (b"null", "body"),
    (b"\xff\xfe", "body"),
    (b'{"user_id": "\\ud800"}', "body"),
    (b'{"user_id": "\\udc00 "}', "body"),
    (b"[" * 100_000, "body"),
    (b'{"user_id": 5}', "user_id"),
    (b'{"user_id": null}', "user_id"),
    (b'{"user_id": "u", "k": "5"}', "k"),
    (b'{"user_id": "u", "k": 1e400}', "body"),
    (b'{"user_id": "u", "k": 99999999999999999999999999}', "k"),
    (b'{"user_id": "u", "k": NaN}', "body"),
    (b'{"user_id": "u", "task": "x"}', "task"),
    (b'{"user_id": "u", "task": ["home"]}', "task"),
    (b'{"user_id": "u", "query": {}}', "query"),
    (b'{"requests": [5]}', "requests[0]"),
    (b'{"requests": [{"user_id": "u", "device": 1}]}', "requests[0].device"),
]


def test_bad_bodies_name_the_field_and_the_remedy() -> None:
    async def ask(client: TestClient[Any, Any], service: FakeService) -> None:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        for body, field in BAD_BODIES:
            await refused(await client.post("/v1/recommend", data=body, headers=headers), 400, field)
        for wrong in ("text/plain", "application/x-www-form-urlencoded", "nonsense"):
            headers = {"Content-Type": wrong}
            response = await client.post("/v1/recommend", data=b'{"user_id": "u"}', headers=headers)
            await refused(response, 415, "content-type")
        large = io.BytesIO(json.dumps({"user_id": "u", "query": "q" * (1 << 20)}).encode())
        headers = {"Content-Type": "application/json"}
        await refused(await client.post("/v1/recommend", data=large, headers=headers), 413, "body")

    with_app(ask)


def test_items_by_encoded_id() -> None:
    async def ask(client: TestClient[Any, Any], service: FakeService) -> None:
        for item_id in TITLES:
            encoded = quote(item_id, safe="")
            assert (await (await client.get(raw(f"/v1/items/{encoded}"))).json())["item_id"] == item_id
            assert (await client.get(raw(f"/v1/items/{encoded}/similar?k=3"))).status == 200
            assert (await (await client.get(raw(f"/v1/trace/{encoded}"))).json())["item_id"] == item_id
        await refused(await client.get(raw("/v1/items/i1/similar?k=0")), 400, "k")

    with_app(ask)


def test_what_is_unknown_is_404_with_a_remedy() -> None:
    async def ask(client: TestClient[Any, Any], service: FakeService) -> None:
        for path in ("/v1/items/none", "/v1/items/none/similar", "/v1/trace/none", "/v1/items/%2E%2E", "/v1/items/%FF"):
            await refused(await client.get(raw(path)), 404, "item_id")
        await refused(await client.get("/v1/users/nobody"), 404, "user_id")
        assert (await client.get("/v1/users/u1")).status == 200
        for path in ("/v1/nothing", "/v1/items/", "/v1", "/v1/items/a/b/c"):
            await refused(await client.get(path), 404, "path")

    with_app(ask)


def test_wrong_methods_say_which_are_right() -> None:
    async def ask(client: TestClient[Any, Any], service: FakeService) -> None:
        for method, path in (("DELETE", "/v1/recommend"), ("POST", "/v1/items/i1"), ("PUT", "/healthz")):
            response = await client.request(method, path)
            await refused(response, 405, "method")
            assert "GET" in response.headers["Allow"]

    with_app(ask)


def test_readiness_and_liveness() -> None:
    async def ask(client: TestClient[Any, Any], service: FakeService) -> None:
        assert await (await client.get("/readyz")).json() == {"ready": True, "reason": ""}
        service.is_ready = False
        response = await client.get("/readyz")
        assert response.status == 503
        assert (await response.json())["reason"] == "recovering: 12 of 40 records"
        assert (await client.get("/healthz")).status == 200
        assert (await (await client.get("/v1/status")).json())["ready"] is False

    with_app(ask)


def test_requests_are_counted_by_task_and_result() -> None:
    async def ask(client: TestClient[Any, Any], service: FakeService) -> None:
        await client.get("/v1/recommend?user_id=u1&task=next")
        await client.get("/v1/recommend?user_id=far")
        await client.get("/v1/recommend?user_id=u1&k=0")
        await client.post("/v1/recommend", json={"requests": [{"user_id": "u1"}, {"user_id": "far"}]})
        service.fault = BadRequestError("item_id", "name a live one")
        await refused(await client.get("/v1/recommend?user_id=u1"), 400, "item_id")
        service.fault = RuntimeError("the worker's own fault")
        assert (await client.get("/v1/recommend?user_id=u1")).status == 500
        response = await client.get("/metrics")
        assert response.content_type == "text/plain"
        text = await response.text()
        for labels, count in (
            ('result="ok",task="next"', 1),
            ('result="ok",task="home"', 1),
            ('result="degraded",task="home"', 2),
            ('result="bad_request",task="other"', 1),
            ('result="bad_request",task="home"', 1),
            ('result="error",task="home"', 1),
        ):
            assert f"sidestream_recommend_requests_total{{{labels}}} {count}.0" in text
        assert 'sidestream_recommend_seconds_count{task="home"} 5.0' in text

    with_app(ask)


def test_a_fault_of_the_server_is_json_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def ask(client: TestClient[Any, Any], service: FakeService) -> None:
        service.fault = RuntimeError("secret detail")
        response = await client.get("/v1/recommend?user_id=u1")
        assert response.status == 500
        assert "secret" not in await response.text()

    with_app(ask)
    assert "secret detail" in caplog.text


def test_the_page_and_its_own_routes() -> None:
    async def ask(client: TestClient[Any, Any], service: FakeService) -> None:
        response = await client.get("/")
        assert response.content_type == "text/html"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        html = await response.text()
        assert "://" not in html.replace("http://www.w3.org/2000/svg", "")
        found = await (await client.get("/console/items", params={"text": "köln"})).json()
        assert found == {"items": [{"item_id": "i3", "title": "Köln bei Nacht"}]}
        assert await (await client.get("/console/users")).json() == {"users": ["u1", "u2"]}

    with_app(ask)


def test_a_click_in_the_playground_is_published_and_changes_the_order() -> None:
    async def ask(client: TestClient[Any, Any], service: FakeService) -> None:
        click = {"user_id": "u1", "item_id": "i3", "kind": "click", "task": "home", "occurred_at": 5, "value": 1e9}
        response = await client.post("/console/engage", json=click)
        assert response.status == 202
        published = service.engagements[0]
        assert published.pop("event_id") == (await response.json())["event_id"]
        assert published == {"user_id": "u1", "item_id": "i3", "kind": "click", "task": "home"}
        answer = await (await client.get("/v1/recommend?user_id=u1&k=1")).json()
        assert answer["items"][0]["item_id"] == "i3"
        for wrong, field in (
            ({**click, "kind": "hug"}, "kind"),
            ({**click, "item_id": ""}, "item_id"),
            ({**click, "user_id": 5}, "user_id"),
        ):
            await refused(await client.post("/console/engage", json=wrong), 400, field)
        foreign = await client.post("/console/engage", data=json.dumps(click), headers={"Content-Type": "text/plain"})
        await refused(foreign, 415, "content-type")
        assert len(service.engagements) == 1

    with_app(ask)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(["user_id", "task", "query", "item_id", "country", "device", "k", "requests"])


def test_no_input_is_a_500() -> None:
    """Any Unicode, any JSON, any path: one application for all examples."""

    async def ask(client: TestClient[Any, Any], service: FakeService) -> None:
        loop = asyncio.get_running_loop()

        @settings(max_examples=80, deadline=None)
        @given(st.dictionaries(FIELDS, JSON, max_size=5), st.text(st.characters(), max_size=30), st.binary(max_size=12))
        def examples(body: dict[str, Any], text: str, octets: bytes) -> None:
            async def one() -> None:
                encoded = quote(text, safe="", errors="surrogatepass") + "".join(f"%{octet:02X}" for octet in octets)
                responses = [
                    await client.post("/v1/recommend", json=body),
                    await client.get(raw(f"/v1/recommend?user_id={encoded}&query={encoded}&k={encoded[:6]}")),
                    await client.get(raw(f"/v1/recommend?user_id=u&query={encoded}")),
                    await client.get(raw(f"/v1/items/x{encoded}")),
                    await client.get(raw(f"/console/items?text={encoded}")),
                ]
                for response in responses:
                    assert response.status < 500, (response.status, response.url, body)
                    assert response.content_type == "application/json"
                    json.loads(await response.read())

            asyncio.run_coroutine_threadsafe(one(), loop).result()

        await asyncio.to_thread(examples)

    with_app(ask)


def test_a_taken_port_says_what_to_do() -> None:
    async def main() -> None:
        metrics = Metrics()
        server = WebServer(FakeService(metrics), metrics, "127.0.0.1", 0)
        await server.start()
        assert server.url.startswith("http://127.0.0.1:")
        port = int(server.url.rsplit(":", 1)[1])
        assert port > 0
        with pytest.raises(AddressError, match="--web-port"):
            await WebServer(FakeService(metrics), metrics, "127.0.0.1", port).start()
        await server.stop()
        await server.stop()

    asyncio.run(main())


def test_a_server_on_all_interfaces_is_reached_by_name() -> None:
    metrics = Metrics()
    assert WebServer(FakeService(metrics), metrics, "0.0.0.0", 8470).url == f"http://{socket.gethostname()}:8470"
    assert WebServer(FakeService(metrics), metrics, "::1", 8470).url == "http://[::1]:8470"


def test_metrics_are_in_the_format_that_was_asked_for() -> None:
    async def ask(client: TestClient[Any, Any], service: FakeService) -> None:
        response = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        assert response.content_type == "application/openmetrics-text"
        assert (await response.text()).endswith("# EOF\n")

    with_app(ask)
