"""The parent's codebook stays until there are enough items, or somebody asks for another one."""

from __future__ import annotations

import numpy as np

from store.settings import Codebook, Settings
from tests.trainer.worlds import cards, corpus
from trainer.runs.causes.codebook_choice import assigner, choose_codebook, sequences_of
from trainer.semantic_ids.codebook import ZERO_VERSION, zero_codebook

SETTINGS = Settings(codebook=Codebook(levels=2, width=4, learn_after_items=10_000))


def test_below_the_threshold_the_version_stays_and_a_request_brings_another() -> None:
    world = corpus()
    listed = [cards()[item_id] for item_id in world.item_ids]
    held_E = np.zeros(len(world), bool)
    ignored = lambda _step, _done: None  # noqa: E731
    kept = choose_codebook(None, listed, world, held_E, SETTINGS, ignored)
    assert kept.version == ZERO_VERSION
    learned = choose_codebook(kept, listed, world, held_E, SETTINGS, ignored, "anew")
    assert learned.version > ZERO_VERSION
    assert choose_codebook(learned, listed, world, held_E, SETTINGS, ignored) is learned


def test_sequences_are_the_items_of_users_with_more_than_one() -> None:
    found = sequences_of(np.array([0, 0, 1, 2, 2, 2]), np.array([5, 6, 7, 8, 9, 8]))
    assert [items.tolist() for items in found] == [[5, 6], [8, 9, 8]]


def test_codes_are_taken_as_published_under_the_version_and_assigned_under_another() -> None:
    book = zero_codebook(SETTINGS)
    some = list(cards().values())[:4]
    codes_NL = assigner(book)(some)
    assert codes_NL.shape == (4, 2)
    published = list(cards(book.version).values())[:2]
    mixed_NL = assigner(zero_codebook(Settings()))([*published, *some])
    assert mixed_NL[:2].tolist() == [card.codes for card in published]
    assert mixed_NL.shape == (6, 3)
