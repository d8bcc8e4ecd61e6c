"""Whatever a client sends, it gets JSON that says what to do, and never a 500."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any
from urllib.parse import quote

from aiohttp.test_utils import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stream.web.fake_service import FakeService
from tests.stream.web.web_client import raw, refused, with_app

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
    ("user_id=u&within_ms=0", "within_ms"),
    ("user_id=u&within_ms=60001", "within_ms"),
    ("user_id=u&within_ms=soon", "within_ms"),
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
