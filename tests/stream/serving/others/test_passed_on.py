"""Requests over Kafka are passed on: to each that answers in turn, and they wait for one."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from store.requests import Answer, Request
from stream.serving.others import passed_on
from stream.serving.others.answerers import Answerers
from stream.serving.others.passed_on import PassedOn
from stream.serving.peers import Peers

ANSWER = Answer(items=[], checkpoint="c", codebook="v", request_id="r", took_ms=1.0)


class Some:
    """Peers of which one is away."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def answer_by(self, url: str, _: Request) -> Answer | None:
        self.asked.append(url)
        return None if url == "http://away" else ANSWER


def test_each_is_asked_in_turn_and_a_request_waits_until_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passed_on, "RETRY_S", 0.001)

    async def scenario() -> list[str]:
        answerers, peers = Answerers(), Some()
        passing = PassedOn(answerers, cast(Peers, peers))
        waiting = asyncio.create_task(passing.recommend(Request(user_id="u")))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        answerers.heard("http://a")
        assert await waiting == ANSWER
        answerers.heard("http://away")
        peers.asked.clear()
        for _ in range(4):
            assert await passing.recommend(Request(user_id="u")) == ANSWER
        return peers.asked

    asked = asyncio.run(scenario())
    assert set(asked) == {"http://a", "http://away"}
    assert asked.count("http://a") == 4
