"""Content vectors: every item through the one projection, whatever was fitted when it came."""

from __future__ import annotations

import numpy as np

from tests.trainer.items.test_spectral_embedding import card
from trainer.items.catalog import Catalog
from trainer.items.content_vectors import GROWTH, ContentVectors

WIDTH = 4


def held(items: int) -> ContentVectors:
    content = ContentVectors(Catalog(capacity=2), WIDTH)
    for number in range(items):
        content.describe(content.catalog.insert(card(number, number % 3)))
    return content


def test_rows_are_unit_grow_with_the_catalogue_and_are_zero_without_a_card() -> None:
    content = held(20)
    nameless = content.catalog.handle("only named by a row")
    assert not content.describe(nameless)
    assert np.allclose(np.linalg.norm(content.x_NC[:20], axis=1), 1.0, atol=1e-5)
    assert not content.x_NC[nameless].any()


def test_after_a_fit_all_rows_are_those_of_the_new_projection() -> None:
    content = held(40)
    before_NC = content.x_NC[:40].copy()
    content.adopt(*content.refitted(40))
    fitted_NC = content.x_NC[:40].copy()
    assert not np.allclose(fitted_NC, before_NC)
    for handle in range(40):
        content.describe(handle)
    assert np.allclose(content.x_NC[:40], fitted_NC, atol=1e-5)
    group_N = np.arange(40) % 3
    cosine_NN = fitted_NC @ fitted_NC.T
    assert cosine_NN[group_N[:, None] == group_N].mean() > cosine_NN[group_N[:, None] != group_N].mean() + 0.3


def test_a_catalogue_that_has_hardly_grown_keeps_its_projection() -> None:
    content = held(100)
    content.adopt(*content.refitted(100))
    kept = content.projection
    content.describe(content.catalog.insert(card(100, 0)))
    assert 100 * GROWTH > 1
    assert content.refitted(101)[0] is kept
    for number in range(101, 110):
        content.describe(content.catalog.insert(card(number, 0)))
    assert content.refitted(110)[0] is not kept
