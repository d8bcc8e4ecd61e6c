"""Who may ask what: tokens by role, and no stranger's name for this machine."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.test_utils import TestClient, TestServer

from store.settings import Serving, SettingsError, Tokens, settings_from, unguarded
from stream.metrics.metrics import Metrics
from stream.web.access import role_of
from stream.web.server import application
from tests.stream.web.fake_service import FakeService

TOKENS = Tokens(read="ada-reads", write="ada-writes", operate="ada-operates")
CLICK = {"user_id": "u", "item_id": "i1", "kind": "click"}


def statuses(serving: Serving, *asks: tuple[str, str], **headers: str) -> list[int]:
    async def main() -> list[int]:
        metrics = Metrics()
        async with TestClient(TestServer(application(FakeService(metrics), metrics, serving))) as client:
            found = []
            for method, path in asks:
                body = CLICK if method == "POST" else None
                async with client.request(method, path, json=body, headers=headers) as response:
                    assert "ada" not in await response.text()
                    found.append(response.status)
            return found

    return asyncio.run(main())


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


READ, WRITE = ("GET", "/v1/recommend?user_id=u"), ("POST", "/console/engage")


def test_without_a_token_only_health_metrics_and_the_files_are_answered() -> None:
    public = [("GET", path) for path in ("/", "/healthz", "/readyz", "/metrics", "/openapi.json")]
    asked = [*public, READ, WRITE, ("GET", "/v1/users/u"), ("GET", "/console/users"), ("GET", "/internal/users/u")]
    assert statuses(Serving(tokens=TOKENS), *asked) == [200] * len(public) + [401] * 5


@pytest.mark.parametrize(
    ("token", "read", "write"), [("ada-reads", 200, 403), ("ada-writes", 200, 202), ("ada-operates", 200, 202)]
)
def test_a_role_includes_the_ones_before(token: str, read: int, write: int) -> None:
    assert statuses(Serving(tokens=TOKENS), READ, WRITE, **bearing(token)) == [read, write]


@pytest.mark.parametrize("given", ["Bearer nobody", "Bearer ", "Basic ada-reads", "ada-reads", "Bearer ada-read\u00e9"])
def test_what_is_no_token_of_ours_is_refused(given: str) -> None:
    assert statuses(Serving(tokens=TOKENS), READ, Authorization=given) == [401]


def test_paths_among_workers_need_the_operators_token() -> None:
    assert role_of("POST", "/internal/recommend") == "operate"
    assert statuses(Serving(tokens=TOKENS), ("POST", "/internal/recommend"), **bearing("ada-writes")) == [403]


@pytest.mark.parametrize("name", ["evil.example", "evil.example:8470", "127.0.0.1.evil.example", "[::1", ""])
def test_a_strangers_name_for_this_machine_is_refused(name: str) -> None:
    assert statuses(Serving(), READ, WRITE, Host=name) == [403, 403]


@pytest.mark.parametrize("name", ["localhost:8470", "127.0.0.1", "[::1]:9", "LOCALHOST", "shop.example"])
def test_this_machines_names_and_the_advertised_one_are_answered(name: str) -> None:
    assert statuses(Serving(advertise="https://shop.example"), READ, Host=name) == [200]


def test_an_open_worker_is_called_as_one_likes() -> None:
    assert statuses(Serving(host="0.0.0.0", open=True), READ, Host="worker-1:8470") == [200]


def test_the_console_can_be_switched_off() -> None:
    off = Serving(console=False)
    assert statuses(off, ("GET", "/"), WRITE, ("GET", "/console/users"), READ) == [404, 404, 404, 200]


def test_beyond_this_machine_a_worker_needs_tokens_or_says_that_it_is_open() -> None:
    assert "serving.open = true" in unguarded(Serving(host="0.0.0.0"))
    assert unguarded(Serving(host="::1")) == unguarded(Serving()) == ""
    assert unguarded(Serving(host="10.0.0.7", tokens=TOKENS)) == unguarded(Serving(host="0.0.0.0", open=True)) == ""


def test_tokens_are_given_all_or_none() -> None:
    with pytest.raises(SettingsError, match="needs write and operate, too"):
        settings_from({"serving": {"tokens": {"read": "x"}}})
