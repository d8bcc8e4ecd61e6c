"""What the page asks for a person on call: bad input is refused by name, what could not be done is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from store.requests import DeskError
from store.settings import Serving, Tokens
from stream.metrics.metrics import Metrics
from stream.web.console.desk_routes import MOST_REPLAYED, desk_routes
from stream.web.server import application
from tests.stream.web.fake_desk import FakeDesk
from tests.stream.web.fake_service import FakeService

OPERATOR = {"Authorization": "Bearer o"}
TOKENS = Serving(host="0.0.0.0", tokens=Tokens(read="r", write="w", operate="o"))
OPEN = Serving(host="0.0.0.0", open=True)
LEVER = {"action": "promote", "checkpoint": "20261128T030000-0003", "serving": "20261128T040000-0004"}
Ask = tuple[str, str, Any]


def asked(desk: FakeDesk, *asks: Ask, serving: Serving = Serving(), **headers: str) -> list[tuple[int, Any]]:
    async def main() -> list[tuple[int, Any]]:
        metrics = Metrics()
        app = application(FakeService(metrics), metrics, serving, desk_routes(desk))
        async with TestClient(TestServer(app)) as client:
            found = []
            for method, path, body in asks:
                async with client.request(method, path, json=body, headers=headers) as response:
                    found.append((response.status, await response.json()))
            return found

    return asyncio.run(main())


LOOKS: list[Ask] = [
    ("GET", f"/console/{path}", None) for path in ("lineage", "owners", "topics", "topics?prefix=1.22", "dead-letters")
]


def test_every_look_answers_and_a_lever_is_pulled() -> None:
    desk = FakeDesk()
    said = asked(desk, *LOOKS, ("GET", f"/console/checkpoints/{LEVER['checkpoint']}", None))
    assert [status for status, _ in said] == [200] * 6
    assert asked(desk, ("POST", "/console/checkpoints", LEVER))[0][0] == 202
    assert desk.pulled == [("promote", LEVER["checkpoint"])]
    again = asked(desk, ("POST", "/console/checkpoints", LEVER))[0]
    assert (again[0], "look again" in again[1]["error"]["remedy"]) == (409, True)
    sent = asked(desk, ("POST", "/console/dead-letters", {"letters": [[0, 1], [0, 2]]}))[0]
    assert sent == (200, {"sent": 2, "left": 0})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "action"),
        ({**LEVER, "action": "delete"}, "action"),
        ({**LEVER, "checkpoint": 5}, "checkpoint"),
        ({"action": "promote", "checkpoint": "c"}, "serving"),
        ({**LEVER, "serving": []}, "serving"),
    ],
)
def test_a_lever_that_is_wrong_is_refused(body: dict[str, Any], field: str) -> None:
    desk = FakeDesk()
    status, said = asked(desk, ("POST", "/console/checkpoints", body))[0]
    assert (status, said["error"]["field"]) == (400, field)
    assert desk.pulled == []


@pytest.mark.parametrize(
    "letters",
    [None, [], "x", [[0]], [[0, -1]], [[True, 1]], [[0, 1 << 70]], [[0, 1.5]], [[0, 1]] * (MOST_REPLAYED + 1)],
)
def test_letters_that_are_wrong_are_refused(letters: Any) -> None:
    desk = FakeDesk()
    status, said = asked(desk, ("POST", "/console/dead-letters", {"letters": letters}))[0]
    assert (status, said["error"]["field"]) == (400, "letters")
    assert desk.replayed == []


@pytest.mark.parametrize("prefix", ["x", "1.", ".1", "-1", "1.²", "9" * 9, ".".join(["1"] * 17)])
def test_a_prefix_that_is_wrong_is_refused(prefix: str) -> None:
    status, said = asked(FakeDesk(), ("GET", f"/console/topics?prefix={prefix}", None))[0]
    assert (status, said["error"]["field"]) == (400, "prefix")


def test_what_could_not_be_done_is_told_with_its_cause() -> None:
    desk = FakeDesk()
    desk.fault = DeskError("no Kafka broker answers: start one")
    assert {status for status, _ in asked(desk, *LOOKS)} == {503}
    status, said = asked(desk, ("POST", "/console/checkpoints", LEVER))[0]
    assert (status, said["error"]["remedy"]) == (503, "no Kafka broker answers: start one")
    assert asked(FakeDesk(), ("GET", "/console/checkpoints/never", None))[0][0] == 404


ACTS: list[Ask] = [("POST", "/console/checkpoints", LEVER), ("POST", "/console/dead-letters", {"letters": [[0, 1]]})]


def test_levers_and_letters_need_the_operators_token() -> None:
    desk = FakeDesk()
    guarded = [*ACTS, ("GET", "/console/dead-letters", None)]
    for token, status in (("r", 403), ("w", 403)):
        found = asked(desk, *guarded, serving=TOKENS, Authorization=f"Bearer {token}")
        assert [each for each, _ in found] == [status] * 3
    assert [each for each, _ in asked(desk, *guarded, serving=TOKENS)] == [401] * 3
    assert desk.pulled == desk.replayed == []
    assert [each for each, _ in asked(desk, *guarded, serving=TOKENS, **OPERATOR)] == [202, 200, 200]
    assert asked(desk, ("GET", "/console/lineage", None), serving=TOKENS, Authorization="Bearer r")[0][0] == 200


def test_where_everybody_is_let_in_nobody_has_levers() -> None:
    desk = FakeDesk()
    found = asked(desk, *ACTS, ("GET", "/console/dead-letters", None), ("GET", "/console/lineage", None), serving=OPEN)
    assert [status for status, _ in found] == [403, 403, 403, 200]
    assert "[serving.tokens]" in found[0][1]["error"]["remedy"]
    assert desk.pulled == desk.replayed == []


def test_a_form_of_another_page_cannot_pull_a_lever() -> None:
    async def main() -> int:
        metrics = Metrics()
        desk = FakeDesk()
        async with TestClient(
            TestServer(application(FakeService(metrics), metrics, Serving(), desk_routes(desk)))
        ) as it:
            response = await it.post("/console/checkpoints", data="{}", headers={"Content-Type": "text/plain"})
            assert desk.pulled == []
            return response.status

    assert asyncio.run(main()) == 415
