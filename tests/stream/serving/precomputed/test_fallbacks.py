"""Fallbacks: an answer that is late or fails is not waited for where its task says so, and is marked and counted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from store.requests import Answer, Request
from store.settings import Fallback, Serving, TaskSettings
from tests.stream.metrics.exposition import scrape
from tests.stream.serving.test_service import Alone

HOME = Request(user_id="u", k=2)
LATE = Request(user_id="u", k=2, within_ms=30)


def serving(fallback: Fallback) -> Serving:
    return Serving(tasks={"home": TaskSettings(fallback=fallback)}, impression_sample=1.0)


def with_worker(fallback: Fallback, use: Callable[[Alone], Any]) -> tuple[Any, dict[str, float]]:
    async def scenario() -> tuple[Any, dict[str, float]]:
        worker = Alone(serving(fallback))
        try:
            return await use(worker), scrape(worker.scorer.metrics)
        finally:
            worker.close()

    return asyncio.run(scenario())


async def behind_another(worker: Alone, request: Request) -> Answer:
    """The answer to a request that waits behind one that does not end before it is answered."""
    release = threading.Event()
    worker.scorer._turns._thread.submit(release.wait, 60)
    try:
        return await worker.scorer.recommend(request, None)
    finally:
        release.set()


@pytest.mark.parametrize("fallback", ["popular", "table"])
def test_a_late_answer_is_not_waited_for(fallback: Fallback) -> None:
    answer, series = with_worker(fallback, lambda worker: behind_another(worker, LATE))
    assert len(answer.items) == 2
    assert answer.degraded
    assert [note.reason for note in answer.notes] == ["fallback"]
    assert "30 ms" in answer.notes[0].text
    assert series['sidestream_fallback_answers_total{cause="late",task="home"}'] == 1
    assert series['sidestream_late_parts_total{part="ranking"}'] == 1


def test_what_was_given_up_is_not_made() -> None:
    async def use(worker: Alone) -> int:
        await behind_another(worker, LATE)
        lines = worker.scorer.recommender.exploration.lines
        await worker.scorer.recommend(HOME, None)
        return worker.scorer.recommender.exploration.lines - lines

    made, _ = with_worker("popular", use)
    assert made == 2, "the lines of the answer in time only"


def test_a_failure_is_answered_for_and_told(caplog: pytest.LogCaptureFixture) -> None:
    async def use(worker: Alone) -> Answer:
        worker.scorer.recommender.ranker = None  # type: ignore[assignment]
        return await worker.scorer.recommend(HOME, None)

    answer, series = with_worker("popular", use)
    assert len(answer.items) == 2
    assert [note.reason for note in answer.notes] == ["fallback"]
    assert series['sidestream_fallback_answers_total{cause="failed",task="home"}'] == 1
    assert "an answer could not be made" in caplog.text
    with pytest.raises(AttributeError):
        with_worker("none", use)


def test_an_answer_in_time_is_the_usual_one() -> None:
    answer, series = with_worker("popular", lambda worker: worker.scorer.recommend(HOME, None))
    assert not answer.degraded
    assert answer.notes == []
    assert series['sidestream_fallback_answers_total{cause="late",task="home"}'] == 0
