"""The routes of the contract, and the page's: what each passes to the service, answers, and counts."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from aiohttp.test_utils import TestClient

from store.requests import BadRequestError
from tests.stream.web.fake_service import TITLES, FakeService
from tests.stream.web.web_client import raw, refused, with_app


def test_recommend_passes_every_parameter() -> None:
    async def ask(client: TestClient[Any, Any], service: FakeService) -> None:
        fields = {"user_id": "ü/1", "task": "search", "query": "brot 🍞", "item_id": "i1", "country": "DE"}
        response = await client.get("/v1/recommend", params={**fields, "device": "tv", "k": "2", "exclude": "i9"})
        assert response.status == 200
        answer = await response.json()
        assert [item["item_id"] for item in answer["items"]] == list(TITLES)[:2]
        assert {"checkpoint", "codebook", "request_id", "took_ms", "degraded"} < set(answer)
        posted = await client.post("/v1/recommend", json={**fields, "device": "tv", "k": 2, "exclude": ["i9"]})
        assert await posted.json() == answer
        assert service.asked[0] == service.asked[1]
        assert service.asked[0].query == "brot 🍞"

    with_app(ask)


def test_an_applications_own_candidates_are_ranked() -> None:
    async def ask(client: TestClient[Any, Any], service: FakeService) -> None:
        fields = {"user_id": "u1", "candidates": ["i1", "i3"], "task": "notification"}
        response = await client.post("/v1/rank", json={**fields, "candidate": []})
        assert response.status == 200
        assert [note["reason"] for note in (await response.json())["notes"]] == ["unknown_field"]
        asked = service.asked[0]
        assert (asked.candidates, asked.k, asked.task) == (("i1", "i3"), 2, "notification")
        await refused(await client.post("/v1/rank", json={"user_id": "u1"}), 400, "candidates")
        await refused(await client.post("/v1/rank?k=1", json=fields), 400, "k")

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


def test_metrics_are_in_the_format_that_was_asked_for() -> None:
    async def ask(client: TestClient[Any, Any], service: FakeService) -> None:
        response = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        assert response.content_type == "application/openmetrics-text"
        assert (await response.text()).endswith("# EOF\n")

    with_app(ask)


def test_like_an_unknown_item_is_404_and_one_of_a_batch_fails_itself_alone() -> None:
    async def ask(client: TestClient[Any, Any], service: FakeService) -> None:
        lost = {"user_id": "u1", "task": "similar", "item_id": "none"}
        await refused(await client.get("/v1/recommend", params=lost), 404, "item_id")
        await refused(await client.post("/v1/recommend", json=lost), 404, "item_id")
        found = await client.get("/v1/recommend", params={**lost, "item_id": "i1", "k": "1"})
        assert (found.status, len((await found.json())["items"])) == (200, 1)
        batch = await client.post("/v1/recommend", json={"requests": [lost, {"user_id": "u1", "k": 2}]})
        one, other = (await batch.json())["answers"]
        assert (one["items"], one["notes"][0]["reason"]) == ([], "unknown_item")
        assert len(other["items"]) == 2
        text = await (await client.get("/metrics")).text()
        assert 'sidestream_recommend_requests_total{result="bad_request",task="similar"} 2.0' in text

    with_app(ask)


def test_what_has_no_effect_is_noted_in_a_body_and_refused_in_a_query_string() -> None:
    async def ask(client: TestClient[Any, Any], service: FakeService) -> None:
        plain = {"user_id": "u1", "k": 2}
        answer = await (await client.post("/v1/recommend", json={**plain, "K": 3, "limit": 3})).json()
        assert [note["reason"] for note in answer["notes"]] == ["unknown_field"] * 2
        assert "did you mean k?" in answer["notes"][0]["text"]
        batch = {"requests": [{**plain, "category": "sport"}, plain], "excluded": ["i1"]}
        answers = (await (await client.post("/v1/recommend", json=batch)).json())["answers"]
        assert [len(answer["notes"]) for answer in answers] == [2, 1]
        many = await (await client.post("/v1/recommend", json={**plain, **{f"x{n}": n for n in range(1000)}})).json()
        assert len(many["notes"]) == 10
        assert (await (await client.post("/v1/recommend", json=plain)).json())["notes"] == []
        for path in ("items/i1", "items/i1/similar", "users/u1", "checkpoints", "status", "trace/i1"):
            await refused(await client.get(f"/v1/{path}?fields=title"), 400, "fields")

    with_app(ask)


def test_similar_pages_by_exclusion() -> None:
    async def ask(client: TestClient[Any, Any], service: FakeService) -> None:
        first = (await (await client.get("/v1/items/i1/similar?k=2")).json())["items"]
        shown = "&".join(f"exclude={quote(item['item_id'], safe='')}" for item in first)
        then = (await (await client.get(raw(f"/v1/items/i1/similar?k=2&{shown}"))).json())["items"]
        assert len({item["item_id"] for item in [*first, *then]}) == 4
        await refused(await client.get(f"/v1/items/i1/similar?exclude={'x' * 257}"), 400, "exclude")

    with_app(ask)
