"""The table: rows follow cards and published vectors, whoever tells it what, and whenever."""

from __future__ import annotations

import numpy as np
import torch

from tests.trainer.worlds import NOW, corpus, vocabulary
from trainer.model.decoder import Decoder, Shape
from trainer.model.item_table import FixedVectors, ItemTable
from trainer.model.item_tower import TowerShape
from trainer.model.prompts import Past, Prompt, prompt_for


class Vectors:
    """Vectors that change while a table is in use."""

    def __init__(self, items: int) -> None:
        self.vector_NV = np.zeros((items, 64), np.float32)
        self.changes_N = np.zeros(items, np.int32)

    def known(self, places: np.ndarray) -> np.ndarray:
        return self.vector_NV[places]

    def publish(self, place: int, seed: int) -> None:
        self.vector_NV[place] = np.random.default_rng(seed).standard_normal(64) / 8
        self.changes_N[place] += 1


def model() -> Decoder:
    made = Decoder(Shape.of(vocabulary(), layers=1, width=32, heads=2, tower=TowerShape(own=256))).eval()
    torch.manual_seed(0)
    with torch.no_grad():  # as learning leaves them
        torch.nn.init.normal_(made.tower.vector_in.weight, std=0.2)
        torch.nn.init.normal_(made.tower.vector_out.weight, std=0.2)
        assert made.tower.own is not None
        torch.nn.init.normal_(made.tower.own, std=0.1)
    return made


def table_of(vectors: Vectors, capacity: int = 4) -> ItemTable:
    world = corpus()
    table = ItemTable(made := model(), vectors, capacity)
    assert made.shape.tower.out == table.out_NO.shape[1]
    table.describe(range(len(world.codes_IL)), world.codes_IL, world.content_IC, world.item_ids)
    table.follow()
    return table


def test_a_published_vector_changes_its_own_row_only_and_no_one_has_to_tell() -> None:
    vectors = Vectors(32)
    table = table_of(vectors)
    before_NO = table.out_NO[:32].copy()
    vectors.publish(7, seed=1)
    table.follow()
    changed_N = (table.out_NO[:32] != before_NO).any(axis=1)
    assert np.flatnonzero(changed_N).tolist() == [7]


def test_the_order_in_which_an_item_became_known_does_not_matter() -> None:
    world, vectors = corpus(), Vectors(32)
    vectors.publish(3, seed=2)
    early = table_of(vectors)
    late = ItemTable(model(), vectors, 1)
    for place in reversed(range(32)):
        late.describe([place], world.codes_IL[[place]], world.content_IC[[place]], [world.item_ids[place]])
    late.follow()
    assert np.allclose(early.out_NO[:32], late.out_NO[:32], atol=1e-5)


def test_a_card_that_changes_moves_its_item() -> None:
    world, vectors = corpus(), Vectors(32)
    table = table_of(vectors)
    before_O = table.out_NO[5].copy()
    table.describe([5], world.codes_IL[[6]], world.content_IC[[6]], [world.item_ids[5]])
    table.follow()
    assert not np.allclose(table.out_NO[5], before_O)
    table.describe([5], world.codes_IL[[6]], world.content_IC[[6]], [world.item_ids[6]])
    table.follow()
    assert np.allclose(table.out_NO[5], table.out_NO[6], atol=1e-5)


def test_positions_without_an_item_or_with_an_unknown_one_are_told_nothing() -> None:
    table = table_of(Vectors(32))
    past = [Past([0, 0, 0], 1, NOW, None, 2), Past([0, 1, 0], 1, NOW + 60), Past([0, 2, 0], 1, NOW + 90, None, 900)]
    prompts = [
        prompt_for(vocabulary(), task="home", now=NOW + 99, history=past),
        prompt_for(vocabulary(), task="home", now=NOW),
    ]
    told_RT = np.abs(table.inputs(prompts)).sum(axis=2) > 0
    assert told_RT.tolist() == [[False, True, False, False], [False, False, False, False]]


def test_fixed_vectors_are_those_of_a_corpus() -> None:
    vector_NV = np.random.default_rng(0).standard_normal((5, 64)).astype(np.float16)
    assert np.array_equal(FixedVectors(vector_NV).known(np.array([4, 0])), vector_NV[[4, 0]].astype(np.float32))


def test_training_and_serving_have_the_same_taste() -> None:
    """The discounted mean at a position in a batch is that of a prompt which ends there, whatever stands between."""
    table = table_of(Vectors(32))
    item_T = np.array([-1, 4, 9, -1, 17, -1])
    held_1T = torch.from_numpy(item_T != -1)[None]
    out_1TO = torch.from_numpy(table.out_NO[np.maximum(item_T, 0)])[None] * held_1T[..., None]
    learned_TO = model().tower.tastes(out_1TO, held_1T)[0].detach().numpy()
    for end in range(1, len(item_T) + 1):
        prompt = Prompt(np.zeros((end, 6), np.int64), np.zeros(5, np.int64), item_T[:end])
        assert np.allclose(table.tastes([prompt])[0], learned_TO[end - 1], atol=1e-5)
