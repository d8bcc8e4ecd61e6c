"""Who speaks for a line: the parts of a source add up to its score, and the item that is named is the one without which
the source says least."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from store.histories import UserRow
from store.requests import Request
from tests.small_world import World, two_tastes
from trainer.retrieval.evidence import Evidence
from trainer.retrieval.speakers import _PARTS, parts, speaker

ADDED_UP = ["follows", "together", "counts", "two_hops", "words"]
"""Sources whose parts add up to the score; those of vectors do but for one factor."""


@pytest.fixture(scope="module")
def world() -> World:
    """With vectors as owners would have published them."""
    world, random = two_tastes(), np.random.default_rng(0)
    vectors_ND = world.recommender.published.x_ND
    made_ND = np.eye(2, vectors_ND.shape[1])[np.arange(len(vectors_ND)) % 2] + 0.1 * random.random(vectors_ND.shape)
    vectors_ND[:] = made_ND / np.linalg.norm(made_ND, axis=1, keepdims=True)
    return world


def evidence_of(world: World, user: UserRow) -> Evidence:
    return world.recommender._evidence(Request(user_id="u"), user)


@pytest.mark.parametrize("source", [*_PARTS])
def test_the_parts_of_a_source_add_up_to_what_it_says(world: World, source: str) -> None:
    evidence = evidence_of(world, world.users["u3"])
    said_N = evidence.of(source, np.arange(evidence.size))
    added_N = np.array([parts(evidence, source, handle).sum() for handle in range(evidence.size)])
    assert np.abs(said_N).max() > 0
    factor = 1.0 if source in ADDED_UP else float(said_N @ added_N / (added_N @ added_N))
    np.testing.assert_allclose(added_N * factor, said_N, rtol=1e-3, atol=1e-5)


def test_without_the_item_that_is_named_the_source_says_least(world: World) -> None:
    """By really taking each past item away, for what each source ranks highest."""
    held: Counter[bool] = Counter()
    for number in range(0, 50, 5):
        user = world.users[f"u{number}"]
        evidence = evidence_of(world, user)
        less = {entry.item_id: evidence_of(world, user.without(entry.item_id)) for entry in user.entries}
        for source in _PARTS:
            for handle in evidence.top(source, np.ones(evidence.size, bool), 2).tolist():
                named = speaker(evidence, source, handle)
                assert named is not None
                left = {item_id: float(each.of(source, np.array([handle]))[0]) for item_id, each in less.items()}
                held[left[world.recommender.catalog.ids[named]] <= min(left.values()) + 1e-3] += 1
    assert held.total() >= 150, held
    assert held[False] <= 0.1 * held.total(), held


def test_where_no_past_item_speaks_none_is_named(world: World) -> None:
    evidence = evidence_of(world, world.users["u3"])
    assert speaker(evidence, "popular", 0) is None
    assert speaker(evidence_of(world, UserRow()), "follows", 0) is None
    assert speaker(evidence, "after_last", 0) == evidence.taste.handles_L[0]
    nothing = int(np.flatnonzero(evidence.of("follows", np.arange(evidence.size)) == 0)[0])
    assert speaker(evidence, "follows", nothing) is None
