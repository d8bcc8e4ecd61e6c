"""Candidates: the best of each source, only of what is allowed; each source by the one thing that it looks at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from store.items import ItemRow
from tests.small_world import START, World, card
from trainer.items.item_learning import DAY_S
from trainer.retrieval.candidates import CandidateRules, Evidence, best_of, gather, taste_of, top, united

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


tens = settings(max_examples=50)
scores = npst.arrays(np.float32, SIZE, elements=st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0]))


@tens
@given(score_N=scores, allowed_N=npst.arrays(bool, SIZE), k=st.integers(1, SIZE + 5))
def test_the_top_are_the_highest_above_zero_if_allowed(score_N: np.ndarray, allowed_N: np.ndarray, k: int) -> None:
    ordered = sorted(range(SIZE), key=lambda handle: (-score_N[handle], handle))
    assert top(score_N, allowed_N, k).tolist() == [h for h in ordered if score_N[h] > 0 and allowed_N[h]][:k]


@tens
@given(score_N=scores, handles=st.sets(st.integers(0, SIZE - 1)), k=st.integers(1, SIZE))
def test_the_best_of_some_may_have_any_score(score_N: np.ndarray, handles: set[int], k: int) -> None:
    found = best_of(np.array(sorted(handles), np.int64), score_N, None, k)
    assert found.tolist() == sorted(handles, key=lambda handle: (-score_N[handle], handle))[:k]


@tens
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


def test_transitions_are_read_from_the_last_item_both_ways() -> None:
    world = World()
    for a, b in (("i0", "i2"), ("i2", "i4"), ("i4", "i6")):
        for user in range(3):
            world.engage(f"{a}{user}", a, START + user)
            world.engage(f"{a}{user}", b, START + DAY_S + user)
    world.engage("u", "i2", START + 2 * DAY_S)
    dense = evidence_of(world, "u").dense
    handles = world.recommender.catalog.handles
    best = {name: int(dense[name].argmax()) for name in ("after_last", "before_last", "two_hops")}
    assert best["after_last"] == handles["i4"]
    assert best["before_last"] == handles["i0"]
    assert dense["after_last"][handles["i0"]] == dense["before_last"][handles["i4"]] == 0
    assert dense["two_hops"][handles["i6"]] > 0 == dense["follows"][handles["i6"]]


def test_no_history_says_nothing_but_what_is_popular_and_fresh_is_there(world: World) -> None:
    evidence = evidence_of(world, "nobody")
    assert not any(score_N.any() for score_N in evidence.dense.values())
    proposed = {name: named(world, handles) for name, handles in gather(evidence, np.ones(SIZE, bool)).items()}
    assert set(proposed["popular_0"]) == {f"i{number}" for number in range(20)}
    assert proposed["popular_0"][:2] == ["i19", "i18"]
    assert proposed["fresh"] == [f"i{number}" for number in range(SIZE - 1, 19, -1)]


def test_a_taste_is_what_was_liked_each_once_newest_first_after_the_item_viewed() -> None:
    world = World()
    for at, (item, kind) in enumerate([("i1", "click"), ("i2", "like"), ("i3", "dislike"), ("i1", "click")]):
        world.engage("u", item, START + at, kind)
    user, catalog = world.users["u"], world.recommender.catalog
    taste = taste_of(user, catalog, RULES)
    assert named(world, taste.handles_L) == ["i1", "i2"]
    assert (taste.times_L - START).tolist() == [3.0, 1.0]
    assert (taste.count, named(world, taste.refused_R), taste.last_at) == (3, ["i3"], START + 3)
    viewing = taste_of(user, catalog, RULES, first=catalog.handles["i2"])
    assert named(world, viewing.handles_L) == ["i2", "i1"]
    assert viewing.last_at == START + 3, "a view has no time of its own"
    assert named(world, taste_of(user, catalog, replace(RULES, long=1)).handles_L) == ["i1"]
    assert taste_of(None, catalog, RULES).last_at == 0.0


def test_an_item_that_came_after_the_evidence_is_passed_over() -> None:
    world = World()
    world.engage("u", "i0", START)
    recommender = world.recommender
    for number in range(len(recommender.catalog.live_N)):  # past what the vectors have room for
        recommender.catalog.update(f"n{number}", ItemRow(neighbours={"i0": 1.0}))
    evidence = evidence_of(world, "u")
    assert evidence.size < len(recommender.catalog)
    assert all(len(score_N) == evidence.size for score_N in evidence.dense.values())
