"""Examples: every engagement a target once, nothing at or after the cut."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.worlds import NOW, corpus, engagement, stream, vocabulary
from trainer.model.batches import Behaviour, Metadata, blurred
from trainer.model.corpus import at_or_after, cut_offsets
from trainer.model.vocabulary import NONE


@settings(max_examples=25, deadline=None)
@given(row_items=st.integers(2, 20), positions=st.integers(1, 400), seed=st.integers(0, 9))
def test_every_engagement_is_a_target_exactly_once(row_items: int, positions: int, seed: int) -> None:
    world, v = corpus(stream(users=9, each=30)), vocabulary()
    behaviour = Behaviour(
        world, v, np.ones(len(world), bool), np.arange(len(world)) + 1.0, row_items, np.zeros(len(world), int)
    )
    batches = list(behaviour.batches(positions, np.random.default_rng(seed)))
    learned = np.sort(np.concatenate([batch.weight_N for batch in batches]))
    assert np.array_equal(learned, np.arange(len(world)) + 1.0)
    for batch in batches:
        assert len(batch.tokens_BTK) == 1 or batch.tokens_BTK.shape[0] * batch.tokens_BTK.shape[1] <= positions
        assert (batch.column_N < batch.tokens_BTK.shape[1]).all()


def test_a_target_follows_what_came_right_before_it() -> None:
    world, v = corpus(), vocabulary()
    behaviour = Behaviour(
        world, v, np.ones(len(world), bool), np.arange(len(world)) + 0.0, 50, np.zeros(len(world), int)
    )
    for batch in behaviour.batches(300, np.random.default_rng(0)):
        for row, column, event in zip(batch.row_N, batch.column_N, batch.weight_N.astype(int), strict=True):
            assert batch.codes_NL[batch.weight_N == event][0].tolist() == world.codes_IL[world.item_E[event]].tolist()
            if column > 0:
                first = batch.tokens_BTK[row, column, 0]
                assert first == v.level_begins[0] + world.codes_IL[world.item_E[event - 1]][0]
                assert world.user_E[event - 1] == world.user_E[event]


def test_nothing_at_or_after_the_cut_is_learned_or_seen() -> None:
    world, v = corpus(), vocabulary()
    cut = cut_offsets(world, 100)
    held_E = at_or_after(world, cut)
    assert 100 <= held_E.sum() <= 140
    assert world.stamp_E[held_E].min() >= np.quantile(world.stamp_E[~held_E], 0.9)
    behaviour = Behaviour(world, v, ~held_E, np.ones(len(world)), 50, np.zeros(len(world), int))
    shown = sum(
        int((batch.tokens_BTK[:, 1:, 0] != NONE).sum()) for batch in behaviour.batches(400, np.random.default_rng())
    )
    assert behaviour.targets == (~held_E).sum()
    assert shown <= (~held_E).sum()


def test_unknown_items_and_worthless_kinds_are_left_out_and_dislikes_are_no_targets() -> None:
    events = stream(users=2, each=2)
    events.append(engagement(90, "user-0", "no-such-item", NOW + 1e6))
    dislike = engagement(91, "user-0", "cats-1", NOW + 2e6)
    import msgspec

    events.append(msgspec.structs.replace(dislike, kind="skip"))
    events.append(msgspec.structs.replace(dislike, kind="impression", event_id="92"))
    world = corpus(events)
    assert len(world) == 5
    behaviour = Behaviour(world, vocabulary(), np.ones(5, bool), np.ones(5), 50, np.zeros(len(world), int))
    assert behaviour.targets == 4


def test_a_query_and_an_item_at_hand_come_last() -> None:
    events = stream(users=2, each=3)
    events.append(engagement(80, "user-0", "cats-1", NOW + 1e6, query="number one", context_item_id="cats-0"))
    world, v = corpus(events), vocabulary()
    behaviour = Behaviour(world, v, np.ones(len(world), bool), np.ones(len(world)), 50, np.zeros(len(world), int))
    batch = behaviour.asked_batch(4, np.random.default_rng(0))
    assert batch is not None
    words = v.text("number one", 32)
    assert batch.tokens_BTK[0, -len(words) :, 0].tolist() == words
    assert batch.tokens_BTK[0, -len(words) - 1, :3].tolist() == v.semantic([0, 0, 0])
    assert batch.ask_NA[0, 0] == v.task("search")
    assert batch.codes_NL[0].tolist() == [0, 1, 0]


def test_metadata_goes_round_all_items_both_ways() -> None:
    world, v = corpus(), vocabulary()
    metadata = Metadata(world.texts, world.codes_IL, v, moment=0)
    random = np.random.default_rng(0)
    batches = [metadata.batch(8, random) for _ in range(8)]
    assert all(len(batch.codes_NL) == 4 for batch in batches)
    assert all((batch.text_W == v.text_size).sum() == 4 for batch in batches)  # each description ends
    named = {tuple(codes) for batch in batches for codes in batch.codes_NL.tolist()}
    assert len(named) > 16


def test_blurring_hides_deep_codes_first() -> None:
    v = vocabulary()
    tokens_BTK = np.ones((20, 50, v.slots), np.int64)
    items_BT = np.ones((20, 50), bool)
    items_BT[:, :5] = False
    out = blurred(tokens_BTK, items_BT, v, np.random.default_rng(0))
    assert (out[:, :5] == 1).all(), "what is no item keeps all"
    hidden = (out[:, 5:, :3] == NONE).mean((0, 1))
    assert hidden[0] == 0
    assert 0.02 < hidden[1] < hidden[2] < 0.15
    assert (tokens_BTK == 1).all()


def test_rows_that_are_read_anyway_are_learned_whole() -> None:
    world, v = corpus(), vocabulary()
    nobody, everybody = np.zeros(len(world), bool), np.ones(len(world), bool)
    few = nobody.copy()
    few[np.flatnonzero(world.user_E == 5)[-1]] = True
    moment_E = np.zeros(len(world), int)
    assert Behaviour(world, v, few, np.ones(len(world)), 50, moment_E).targets == 1
    whole = Behaviour(world, v, few, np.ones(len(world)), 50, moment_E, everybody)
    assert whole.targets == (world.user_E == 5).sum()
    assert sum(len(b.row_N) for b in whole.batches(400, np.random.default_rng(0))) == whole.targets
