"""Prompts: serving writes exactly the positions that training saw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs

from store.histories import HistoryRules, UserRow, absorb
from store.memory.prefix_tree import PrefixTree
from store.requests import Request
from store.settings import Settings
from tests.trainer.worlds import (
    NOW,
    WEIGHTS,
    WIDTHS,
    cards,
    codes_of,
    corpus,
    logged,
    prior,
    stream,
    vocabulary,
)
from trainer.gate.held_out import HeldOutEvents, prompt_of
from trainer.model import batches
from trainer.model.batches import Behaviour, event_positions
from trainer.model.beam_search import Generator
from trainer.model.corpus import corpus_of
from trainer.model.decoder import Decoder, Shape
from trainer.model.prompts import Past, PromptLimits, prompt_for
from trainer.model.vocabulary import BEGIN, NONE
from trainer.model_bundle import ModelBundle
from trainer.semantic_ids.codebook import zero_codebook


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
    limits = PromptLimits(history=10, positions=8)
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
    assert set(prompt.tokens_TK[0, 1:5].tolist()) == {
        *v.attribute_tokens("country", "NO"),
        *v.attribute_tokens("age", "25"),
    }


def test_a_profile_alone_is_a_prompt_and_more_attributes_take_more_positions() -> None:
    v = vocabulary()
    attributes = {f"attribute {n}": float(n) for n in range(5)}
    prompt = prompt_for(v, task="home", now=NOW, attributes=attributes, country="NO", device="tv")
    told = prompt.tokens_TK[prompt.tokens_TK != NONE].tolist()
    assert told == [
        BEGIN,
        *(token for name in sorted(attributes) for token in v.attribute_tokens(name, attributes[name])),
    ]
    assert len(prompt.tokens_TK) == len(prompt.item_T) == 3
    other = prompt_for(v, task="home", now=NOW + 3600, attributes=attributes, country="SE", device="tv")
    assert (prompt.ask != other.ask).tolist() == [False, False, True, False, True]


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
    assert np.array_equal(prompt.item_T[1:], world.item_E[begin:event])
    batch_asks = Behaviour(world, v, np.ones(len(world), bool), np.ones(len(world)), 50, np.zeros(len(world), int))
    assert batch_asks.targets == len(world)


def test_training_gate_and_serving_read_the_same_bytes() -> None:
    """One user with a profile, a long history and turned-away items, asked about at each step: what a bundle reads of
    the user's row is what the gate reads of the corpus, and what a training row has up to there."""
    v, attributes = vocabulary(), {"age": "25-34", "plan": "family", "visits": 12.0}
    events = [one for one in stream(users=2, each=30) if one.user_id == "user-1"]
    events = [structs.replace(one, country="NO", device="tv", task="home", value=0.5) for one in events]
    events[7] = structs.replace(events[7], kind="skip")
    made = corpus_of(logged(events), cards(), WEIGHTS, {"user-1": attributes})
    world = replace(made, codes_IL=codes_of([cards()[item_id] for item_id in made.item_ids]))
    every = np.ones(len(world), bool)
    behaviour = Behaviour(world, v, every, np.ones(len(world)), 50, np.zeros(len(world), int))
    unblurred = pytest.MonkeyPatch()
    unblurred.setattr(batches, "blurred", lambda tokens_BTK, *_: tokens_BTK)
    batch = next(behaviour.batches(400, np.random.default_rng(0)))
    unblurred.undo()
    made_by = Generator(Decoder(Shape.of(v, layers=1, width=32, heads=2)).eval(), v, prior())
    bundle = ModelBundle(zero_codebook(Settings()), generator=made_by, history=20)
    bundle.tree = PrefixTree(WIDTHS)
    handles = {item_id: place for place, item_id in enumerate(world.item_ids)}
    for place, codes_L in enumerate(world.codes_IL):
        bundle.tree.insert(place, codes_L)
    held_out = HeldOutEvents(world, np.arange(len(world)), every)
    user = UserRow(attributes=dict(attributes))
    for place, event in enumerate(events):
        request = Request(user_id="user-1", task="home", country="NO", device="tv")
        served = bundle.prompt(request, user, handles, event.occurred_at)
        judged = prompt_of(made_by, held_out, place, world.codes_IL, 20)
        assert served.tokens_TK.tobytes() == judged.tokens_TK.tobytes()
        assert served.item_T.tobytes() == judged.item_T.tobytes()
        assert served.ask.tobytes() == judged.ask.tobytes()
        if place <= 20:
            length = len(served.tokens_TK)
            assert served.tokens_TK.tobytes() == batch.tokens_BTK[0, :length].tobytes()
            assert served.item_T.tobytes() == batch.item_BT[0, :length].tobytes()
            asked = np.flatnonzero(batch.column_N == length - 1)
            assert (len(asked) == 1) == (place != 7)  # a skip is read and not learned
            if len(asked):
                assert served.ask.tobytes() == batch.ask_NA[asked[0]].tobytes()
        absorb(user, event, place, 0, HistoryRules(weights=WEIGHTS))
