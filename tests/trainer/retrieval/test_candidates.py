"""Candidates: the best of each source, only of what is allowed; each source by the one thing that it looks at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tests.small_world import START, World, card
from trainer.items.item_learning import DAY_S
from trainer.retrieval.candidates import gather, united
from trainer.retrieval.evidence import Evidence
from trainer.retrieval.taste import CandidateRules, taste_of

RULES = CandidateRules(fresh_below=4)
SIZE = 30


@pytest.fixture(scope="module")
def world() -> World:
    """Everybody walks through the items of one parity in order; i20 to i29 nobody has touched."""
    world = World()
    for number in range(SIZE):
        world.recommender.insert(card(number, START + number))
    for step in range(10):
        for user in range(8):
            world.engage(f"u{user}", f"i{2 * step + user % 2}", START + DAY_S + step * 3600 + user)
    return world


def evidence_of(world: World, user_id: str, rules: CandidateRules = RULES) -> Evidence:
    recommender = world.recommender
    taste = taste_of(world.users.get(user_id), recommender.catalog, rules)
    return Evidence(recommender.catalog, recommender.spectral, recommender.published, taste, rules)


def named(world: World, handles: np.ndarray) -> list[str]:
    return [world.recommender.catalog.ids[handle] for handle in handles.tolist()]


@settings(max_examples=50)
@given(allowed_N=npst.arrays(bool, SIZE), quota=st.integers(0, 6), user=st.sampled_from(["u0", "u1", "nobody"]))
def test_no_source_proposes_more_than_its_quota_or_what_is_not_allowed(
    world: World, allowed_N: np.ndarray, quota: int, user: str
) -> None:
    evidence = evidence_of(world, user, replace(RULES, quotas=dict.fromkeys(RULES.quotas, quota)))
    proposed = gather(evidence, allowed_N)
    assert bool(proposed) is (quota > 0)
    for handles in proposed.values():
        assert len(set(handles.tolist())) == len(handles) <= quota
        assert allowed_N[handles].all()
    every = {handle for handles in proposed.values() for handle in handles.tolist()}
    assert united(proposed, evidence.size).tolist() == sorted(every)


def test_no_history_says_nothing_but_what_is_popular_and_fresh_is_there(world: World) -> None:
    evidence = evidence_of(world, "nobody")
    assert not any(evidence.of(name, np.arange(SIZE)).any() for name in evidence.sources)
    proposed = {name: named(world, handles) for name, handles in gather(evidence, np.ones(SIZE, bool)).items()}
    assert set(proposed["popular_0"]) == {f"i{number}" for number in range(20)}
    assert proposed["popular_0"][:2] == ["i19", "i18"]
    assert proposed["fresh"] == [f"i{number}" for number in range(SIZE - 1, 19, -1)]
