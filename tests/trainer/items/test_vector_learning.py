"""Vector learning: what follows each other comes together, whoever owns it and however signals fall into batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from store.embeddings import EmbeddingRules, EmbeddingStore
from store.items import ItemRow
from store.keys import partition_of
from store.signals import Signal
from trainer.items.catalog import Catalog
from trainer.items.content_vectors import ContentVectors
from trainer.items.memory_table import MemoryTable
from trainer.items.published_vectors import PublishedVectors
from trainer.items.vector_learning import (
    VectorLearner,
    VectorRules,
    memory_learners,
    publish_vector,
    start_of,
)

RULES = VectorRules(width=16, negatives=60)
GROUPS, SIZE = 6, 10
ITEMS = [f"{group}-{number}" for group in range(GROUPS) for number in range(SIZE)]


def signals(count: int, seed: int = 0) -> list[Signal]:
    """Users who stay within one group of items; some items are ten times as popular as others."""
    rng = np.random.default_rng(seed)
    popularity = np.where(np.arange(SIZE) == 0, 10.0, 1.0)
    histories: dict[int, list[str]] = {user: [] for user in range(60)}
    found = []
    for at in range(count):
        user = int(rng.integers(60))
        item = f"{user % GROUPS}-{rng.choice(SIZE, p=popularity / popularity.sum())}"
        context = histories[user][:-11:-1]
        found.append(Signal(item, f"{at}", 1, float(at), 1.0, None, context))
        histories[user].append(item)
    return found


class World:
    """Owners of all partitions, and what they publish."""

    def __init__(self, partitions: int = 2, rules: VectorRules = RULES) -> None:
        self.published = PublishedVectors(ContentVectors(Catalog()), rules.width)
        self.learners = memory_learners(self.published, rules, EmbeddingRules(width=rules.width), partitions)
        self.rows: dict[str, ItemRow] = {}

    def learn(self, some: list[Signal], batch: int) -> World:
        for first in range(0, len(some), batch):
            for signal in some[first : first + batch]:
                self.learners[partition_of(signal.item_id, len(self.learners))].absorb(signal)
            for learner in self.learners:
                for item_id, changed in learner.learn().items():
                    row = self.rows.setdefault(item_id, ItemRow())
                    publish_vector(row, *changed)
                    self.published.place(self.published.catalog.handle(item_id), row)
        return self

    def likeness(self) -> np.ndarray:
        x_ND = self.published.of(ITEMS)
        return np.asarray(x_ND @ x_ND.T)

    def found_in_group(self) -> float:
        """How many of each item's nearest (as many as a group has others) are of its group."""
        near = np.argsort(-self.likeness() + 9.0 * np.eye(len(ITEMS)), axis=1)[:, : SIZE - 1]
        return float(np.mean(near // SIZE == np.arange(len(ITEMS))[:, None] // SIZE))


@pytest.mark.parametrize("partitions", [1, 4])
def test_items_that_follow_each_other_come_together(partitions: int) -> None:
    assert World(partitions).learn(signals(3000), 16).found_in_group() > 0.7  # by chance .15


def test_the_most_popular_item_is_not_everybodys_neighbour() -> None:
    """What log q is for: popular items of other groups are no nearer than rare ones."""
    likeness = World().learn(signals(3000), 16).likeness()
    other = np.arange(len(ITEMS))[:, None] // SIZE != np.arange(len(ITEMS)) // SIZE
    popular = np.arange(len(ITEMS)) % SIZE == 0
    to_popular, to_rare = likeness[:, popular][other[:, popular]], likeness[:, ~popular][other[:, ~popular]]
    assert float(to_popular.mean()) < float(to_rare.mean()) + 0.1


def test_the_same_calls_give_the_same_vectors() -> None:
    one, two = World().learn(signals(500), 16), World().learn(signals(500), 16)
    assert all(one.rows[item].vector == two.rows[item].vector for item in one.rows)


@pytest.mark.parametrize("batch", [1, 5, 100])
def test_how_signals_fall_into_batches_changes_little(batch: int) -> None:
    """The stated tolerance: groups are found as well but for .1, and likenesses agree to a correlation above .8."""
    some = signals(3000)
    there, here = World().learn(some, 16), World().learn(some, batch)
    assert here.found_in_group() > there.found_in_group() - 0.1
    upper = np.triu_indices(len(ITEMS), 1)
    assert np.corrcoef(there.likeness()[upper], here.likeness()[upper])[0, 1] > 0.8


def test_only_owned_rows_are_written() -> None:
    table = MemoryTable(EmbeddingRules(width=RULES.width))
    learned = PublishedVectors(ContentVectors(Catalog()), RULES.width)
    learner = VectorLearner(table, lambda item: item.endswith("1"), learned, RULES)
    for signal in signals(400):
        if signal.item_id.endswith("1"):
            learner.absorb(signal)
    changed = learner.learn()
    assert set(changed) == {item for item in ITEMS if item.endswith("1")}
    assert table.read(ITEMS).sights_B.nonzero()[0].tolist() == [
        place for place, item in enumerate(ITEMS) if item.endswith("1")
    ]


def test_every_signal_is_a_sight_and_what_is_not_positive_is_none() -> None:
    learner = World(1).learners[0]
    learner.absorb(Signal("a", "1", 1, 5.0, 1.0, None, ["b"]))
    learner.absorb(Signal("a", "2", 1, 3.0, 2.0, None, []))
    learner.absorb(Signal("a", "3", 1, 9.0, 0.0, None, ["b"]))
    learner.absorb(Signal("c", "4", 11, 9.0, -2.0, None, ["b"]))
    assert learner.pending == 2
    assert set(learner.learn()) == {"a"}
    found = learner.table.read(["a", "b", "c"])
    assert found.sights_B.tolist() == [2, 0, 0]
    assert found.at_s_B[0] == 5.0
    assert learner.learn() == {}


def test_on_disk_it_learns_what_it_learns_in_memory(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path / "vectors", EmbeddingRules(width=RULES.width, cached_rows=5))
    in_memory = World(1)
    on_disk = World(1)
    on_disk.learners[0] = VectorLearner(store, lambda _: True, on_disk.published, RULES)
    some = signals(300)
    in_memory.learn(some, 16)
    on_disk.learn(some, 16)
    assert np.array_equal(in_memory.likeness(), on_disk.likeness())
    store.close()


def test_a_lost_table_goes_on_from_what_is_published() -> None:
    world = World(1).learn(signals(2000), 16)
    before = world.published.of(ITEMS)
    world.learners = memory_learners(
        world.published, VectorRules(width=RULES.width, rate=1e-6), EmbeddingRules(width=RULES.width), 1
    )
    world.learn(signals(200, seed=1), 16)
    assert np.allclose(world.published.of(ITEMS), before, atol=1e-2)


def test_what_is_known_of_an_item_is_where_it_starts_and_the_rest_is_its_own() -> None:
    expected_D = np.zeros(8, np.float32)
    expected_D[0] = 0.8
    one, two = start_of("a", expected_D), start_of("b", expected_D)
    assert not np.allclose(one, two)
    assert np.allclose(start_of("a", expected_D), one)
    assert start_of("a", expected_D / 0.8).tolist() == (expected_D / 0.8).tolist()
    assert float(np.linalg.norm(start_of("c", np.zeros(8, np.float32)))) == pytest.approx(1.0)
