"""Health of codebooks."""

from __future__ import annotations

import doctest

import numpy as np

import trainer.semantic_ids.health
from store.settings import Settings
from trainer.semantic_ids.codebook import zero_codebook
from trainer.semantic_ids.health import health_of, level_health, perplexity


def test_examples_hold() -> None:
    assert doctest.testmod(trainer.semantic_ids.health).failed == 0


def test_collisions_and_uniqueness_are_counted_by_items() -> None:
    book = zero_codebook(Settings())
    codes = np.array([[1, 2, 3], [1, 2, 3], [1, 2, 3], [4, 5, 6], [7, 8, 9]])
    health = health_of(book, codes, [], [])
    assert (health.items, health.unique, health.distinct, health.largest_collision) == (5, 0.4, 0.6, 3)
    assert health.collision_ratio == 0.6
    assert health.levels[0].dead == book.widths[0] - 3


def test_perplexity_counts_codes_used_in_effect() -> None:
    assert level_health(np.repeat(np.arange(8), 4), 8).perplexity == 8.0 or abs(perplexity(np.full(8, 4)) - 8) < 1e-9
    assert perplexity(np.array([9, 0, 0])) == 1.0
    assert perplexity(np.zeros(4)) == 0.0


def test_no_items_are_healthy() -> None:
    health = health_of(zero_codebook(Settings()), np.zeros((0, 3), np.int32), [], [])
    assert (health.unique, health.refresh_due, health.drift) == (1.0, False, 1.0)
