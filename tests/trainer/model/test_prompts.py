"""Prompts: serving writes exactly the positions that training saw."""

from __future__ import annotations

import numpy as np

from tests.trainer.worlds import NOW, corpus, vocabulary
from trainer.model.batches import Behaviour, event_positions
from trainer.model.prompts import Limits, Past, prompt_for
from trainer.model.vocabulary import BEGIN, NONE
from trainer.runs.gate import HeldOutEvents


def past(number: int) -> Past:
    return Past([1, number % 8, 0], kind=1, occurred_at=NOW + 3600.0 * number, value=0.5)


def test_a_prompt_ends_with_the_newest_item_and_its_ask() -> None:
    v = vocabulary()
    prompt = prompt_for(v, task="next", now=NOW + 7200, history=[past(0), past(1)])
    assert prompt.tokens_TK.shape == (3, v.slots)
    assert prompt.tokens_TK[0, 0] == BEGIN
    assert prompt.tokens_TK[-1, :3].tolist() == v.semantic([1, 1, 0])
    assert prompt.ask[0] == v.task("next")
    assert prompt.ask[1] != NONE


def test_nothing_known_is_a_prompt_too() -> None:
    prompt = prompt_for(vocabulary(), task="home", now=NOW)
    assert len(prompt.tokens_TK) == 1
    assert prompt.ask[1] == NONE


def test_long_histories_lose_their_oldest_end_but_not_the_gap() -> None:
    v = vocabulary()
    history = [past(n) for n in range(40)]
    limits = Limits(history=10, positions=8)
    prompt = prompt_for(v, task="search", now=NOW, history=history, context=[2, 3, 0], query="cats", limits=limits)
    assert len(prompt.tokens_TK) == 8
    assert prompt.tokens_TK[0, 0] == BEGIN
    words = v.text("cats", 32)
    assert prompt.tokens_TK[-len(words) :, 0].tolist() == words
    items = prompt.tokens_TK[1 : -len(words) - 1]
    assert items[-1, :3].tolist() == v.semantic([1, 39 % 8, 0])
    assert (items[:, 4] == items[0, 4]).all()  # an hour before each, the first kept one included


def test_attributes_come_with_the_first_position() -> None:
    v = vocabulary()
    prompt = prompt_for(v, task="home", now=NOW, attributes={"country": "NO", "age": "25"})
    assert set(prompt.tokens_TK[0, 1:3].tolist()) == {v.attribute("country", "NO"), v.attribute("age", "25")}


def test_serving_and_training_write_the_same_positions() -> None:
    v, world = vocabulary(), corpus()
    bag_EK = event_positions(world, v)
    event = int(np.flatnonzero(world.user_E == 3)[6])
    held_out = HeldOutEvents(world, np.array([event]), np.ones(len(world), bool))
    prompt = prompt_for(
        v, task="home", now=float(world.occurred_E[event]), history=held_out.past(event, world.codes_IL, 50)
    )
    begin = int(np.searchsorted(world.user_E, 3))
    assert np.array_equal(prompt.tokens_TK[1:], bag_EK[begin:event])
    batch_asks = Behaviour(world, v, np.ones(len(world), bool), np.ones(len(world)), 50, np.zeros(len(world), int))
    assert batch_asks.targets == len(world)
