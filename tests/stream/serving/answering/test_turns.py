"""Turns: what waits is answered together, each as if alone; who fails or leaves takes nothing from the others."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from store.histories import UserRow
from store.requests import Request
from stream.serving.answering.turns import MOST_TOGETHER, Ask, Turns
from tests.trainer.test_model_bundle import CARDS, generator, tiny_codebook
from tests.trainer.worlds import NOW
from trainer.model_bundle import ModelBundle
from trainer.recommender import Recommender, RecommenderRules

Lines = list[tuple[str, float, str]]


@pytest.fixture
def recommender() -> Recommender:
    made = Recommender(RecommenderRules(explore_share=0.0), serving=ModelBundle(tiny_codebook()))
    made.exchange(ModelBundle(tiny_codebook(), "c", generator(), published=made.published, beams=len(CARDS)))
    for card in CARDS:
        made.insert(card)
        made.serving.insert(made.catalog.handles[card.item_id], card)
    made.observe(NOW)
    return made


def ask(number: int) -> Ask:
    return Ask(Request(user_id=f"u{number}", k=number + 1), UserRow())


@asynccontextmanager
async def waiting(recommender: Recommender, asks: list[Ask]) -> AsyncIterator[tuple[Turns, list[asyncio.Task[Any]]]]:
    """All of them wait, until the block ends."""
    turns, go_on = Turns(recommender), threading.Event()
    turns._thread.submit(go_on.wait)
    tasks = [asyncio.create_task(turns.answer(one)) for one in asks]
    await asyncio.sleep(0)
    try:
        yield turns, tasks
    finally:
        go_on.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        turns.close()


def lines(made: Any) -> Lines:
    return [(item.item_id, item.score, item.source) for item in made[0].answer.items]


@pytest.mark.parametrize("passes", [1, 0])
def test_each_is_answered_as_if_alone_and_by_one_pass_of_the_model(recommender: Recommender, passes: int) -> None:
    if not passes:
        recommender.exchange(ModelBundle(tiny_codebook()))
    asks = [ask(number) for number in range(MOST_TOGETHER + 1)]
    alone = [lines((recommender.answer(one.request, one.user), 0.0)) for one in asks]
    recommender.serving.forget_warming()

    async def scenario() -> list[Any]:
        async with waiting(recommender, asks) as (_, tasks):
            pass
        return [task.result() for task in tasks]

    made = asyncio.run(scenario())
    assert [lines(one) for one in made] == alone
    assert all(cost_s > 0 for _, cost_s in made)
    assert recommender.serving.asked == passes * len(asks)
    assert len(recommender.serving._costs_s) == passes, "the last had a turn, and a pass, of its own"


def test_one_that_fails_takes_no_other_with_it(recommender: Recommender, caplog: pytest.LogCaptureFixture) -> None:
    broken = Ask(Request(user_id="u9"), SimpleNamespace())  # type: ignore[arg-type]  (a row that is none)

    async def scenario() -> list[asyncio.Task[Any]]:
        async with waiting(recommender, [ask(1), broken, ask(2)]) as (_, tasks):
            pass
        return tasks

    with caplog.at_level(logging.CRITICAL):
        first, failed, last = asyncio.run(scenario())
    assert (len(lines(first.result())), len(lines(last.result()))) == (2, 3)
    assert isinstance(failed.exception(), AttributeError)
    assert (recommender.serving.asked, recommender.serving.failures) == (2, 0)


def test_who_no_longer_waits_is_not_answered(recommender: Recommender) -> None:
    async def scenario() -> list[asyncio.Task[Any]]:
        async with waiting(recommender, [ask(1), ask(2)]) as (_, tasks):
            tasks[0].cancel()
            await asyncio.sleep(0)
        return tasks

    gone, answered = asyncio.run(scenario())
    assert gone.cancelled()
    assert len(lines(answered.result())) == 3
    assert recommender.serving.asked == 1


def test_the_model_is_not_asked_for_who_has_no_time_left(recommender: Recommender) -> None:
    late = Ask(Request(user_id="u1", within_ms=1), UserRow(), due_s=0.0)

    async def scenario() -> Any:
        async with waiting(recommender, [late, ask(1), ask(2)]) as (_, tasks):
            pass
        return tasks[0].result()

    served, _ = asyncio.run(scenario())
    assert [note.reason for note in served.answer.notes if note.reason == "late"] == ["late"]
    assert recommender.serving.asked == 2


def test_a_close_cancels_who_still_waits(recommender: Recommender) -> None:
    async def scenario() -> list[asyncio.Task[Any]]:
        async with waiting(recommender, [ask(1)]) as (turns, tasks):
            turns.close()
        return tasks

    (task,) = asyncio.run(scenario())
    assert task.cancelled()
