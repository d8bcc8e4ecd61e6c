"""Learned vectors: as published, and where they are expected before that."""

from __future__ import annotations

import numpy as np
import pytest

from store.items import ItemCard, ItemRow, pack_parts
from trainer.items.catalog import Catalog
from trainer.items.content_vectors import ContentVectors
from trainer.items.published_vectors import PublishedVectors
from trainer.items.vector_learning import publish_vector

WIDTH = 8


def card(item_id: str, topic: int | None, codes: list[int] | None = None) -> ItemCard:
    vector = np.zeros(4, np.float32)
    if topic is not None:
        vector[topic] = 1.0
    return ItemCard(
        item_id=item_id, codebook="v", codes=codes or [], suffix=0, assigned_at=0.0, uploaded_at=0.0,
        published_at_ms=0, content=pack_parts({} if topic is None else {"text": vector}),
    )  # fmt: skip


class World:
    """A catalogue whose content is one of two topics, with as many learned items of each."""

    def __init__(self, per_topic: int = 20, *, content: bool = True) -> None:
        self.catalog = Catalog()
        self.published = PublishedVectors(ContentVectors(self.catalog), WIDTH)
        rng = np.random.default_rng(0)
        self.directions = np.eye(WIDTH, dtype=np.float32)[:2]
        for number in range(2 * per_topic):
            topic = number % 2
            handle = self.insert(card(f"{topic}-{number}", topic if content else None, [topic, number]))
            vector_D = self.directions[topic] + 0.2 * rng.standard_normal(WIDTH).astype(np.float32)
            row = ItemRow(positives=10, popularity=[1.0] * 7)
            publish_vector(row, vector_D / np.linalg.norm(vector_D), 1.0)
            self.catalog.update(f"{topic}-{number}", row)
            self.published.place(handle, row)

    def insert(self, new: ItemCard) -> int:
        handle = self.catalog.insert(new)
        if "text" in new.content:
            self.published.content.x_NC[handle] = np.eye(self.published.content.width)[new.parts()["text"].argmax()]
        self.published.describe(handle)
        return handle


def test_an_untouched_item_is_expected_where_content_says() -> None:
    world = World()
    before = world.insert(card("early", 1))
    world.published.refit()
    after = world.insert(card("late", 0))
    assert world.published.x_ND[before] @ world.directions[1] > 0.4
    assert world.published.x_ND[after] @ world.directions[0] > 0.4
    assert world.published.x_ND[after] @ world.directions[1] < 0.3
    assert np.linalg.norm(world.published.expected_ND, axis=1).max() <= 1.0 + 1e-6


def test_without_content_its_semantic_id_tells() -> None:
    world = World(content=False)
    world.published.refit()
    known = world.insert(card("known", None, [1, 99]))
    unknown = world.insert(card("unknown", None, [7, 99]))
    assert world.published.x_ND[known] @ world.directions[1] > 0.5
    assert not world.published.x_ND[unknown].any()


def test_what_was_learned_stays_as_published() -> None:
    world = World()
    before = world.published.of(["0-0", "1-1"])
    world.published.refit()
    assert np.array_equal(world.published.of(["0-0", "1-1"]), before)
    assert np.linalg.norm(before, axis=1) == pytest.approx([1.0, 1.0], abs=1e-2)
    assert not world.published.of(["nobody"]).any()


def test_hard_negatives_are_published_items_that_are_near() -> None:
    world = World()
    world.insert(card("untouched", 0))
    world.published.refit()
    near = world.published.nearest(world.directions[:1], 5, draw=3)
    assert len(near) >= 4
    assert all(item.startswith("0-") for item in near)
    assert len(world.published.nearest(world.directions[:1], 1000, draw=3)) == 40


def test_a_vector_of_another_width_is_as_none() -> None:
    world = World()
    row = ItemRow(positives=1)
    publish_vector(row, np.ones(WIDTH + 1, np.float32), 1.0)
    handle = world.insert(card("old", None))
    world.published.place(handle, row)
    assert not world.published.of(["old"]).any()


def test_it_grows_with_the_catalogue() -> None:
    catalog = Catalog(capacity=2)
    learned = PublishedVectors(ContentVectors(catalog), WIDTH)
    for number in range(9):
        row = ItemRow(positives=1, popularity=[1.0] * 7)
        publish_vector(row, np.eye(WIDTH, dtype=np.float32)[number % WIDTH], 0.0)
        learned.place(catalog.update(f"{number}", row), row)
    assert learned.of([f"{number}" for number in range(9)]).argmax(axis=1).tolist() == [*range(8), 0]
