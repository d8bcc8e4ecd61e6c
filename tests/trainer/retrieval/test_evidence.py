"""Evidence: what each source says, and that the nearest are found by a look at all."""

from __future__ import annotations

import numpy as np
import pytest

from store.items import ItemRow
from tests.small_world import START, World, two_tastes
from trainer.items.item_learning import DAY_S
from trainer.retrieval.evidence import Evidence, look_together
from trainer.retrieval.taste import CandidateRules, taste_of

RULES = CandidateRules()


def evidence_of(world: World, user_id: str) -> Evidence:
    recommender = world.recommender
    taste = taste_of(world.users.get(user_id), recommender.catalog, RULES)
    return Evidence(recommender.catalog, recommender.spectral, recommender.published, taste, RULES)


def test_transitions_are_read_from_the_last_item_both_ways() -> None:
    world = World()
    for a, b in (("i0", "i2"), ("i2", "i4"), ("i4", "i6")):
        for user in range(3):
            world.engage(f"{a}{user}", a, START + user)
            world.engage(f"{a}{user}", b, START + DAY_S + user)
    world.engage("u", "i2", START + 2 * DAY_S)
    evidence, handles = evidence_of(world, "u"), world.recommender.catalog.handles
    dense = {name: evidence.of(name, np.arange(evidence.size)) for name in evidence.sources}
    best = {name: int(dense[name].argmax()) for name in ("after_last", "before_last", "two_hops")}
    assert best["after_last"] == handles["i4"]
    assert best["before_last"] == handles["i0"]
    assert dense["after_last"][handles["i0"]] == dense["before_last"][handles["i4"]] == 0
    assert dense["two_hops"][handles["i6"]] > 0 == dense["follows"][handles["i6"]]


def test_several_who_look_together_find_what_each_finds_alone() -> None:
    world = two_tastes()
    users = [*list(world.users)[:4], "nobody"]
    together = [evidence_of(world, user) for user in users]
    world.recommender.catalog.update("late", ItemRow(neighbours={"i0": 1.0}))
    look_together(together)
    told = 0
    for user, evidence in zip(users, together, strict=True):
        alone = evidence_of(world, user)
        assert alone.near.keys() == evidence.near.keys()
        for name, near in evidence.near.items():
            found_N = near.space.all(evidence.size)[near.number]
            assert np.array_equal(found_N, alone.near[name].space.all(evidence.size)[near.number])
            told += 1
    assert told == 4 * 6


def test_an_item_that_came_after_the_evidence_is_passed_over() -> None:
    world = World()
    world.engage("u", "i0", START)
    recommender = world.recommender
    for number in range(len(recommender.catalog.live_N)):  # past what the vectors have room for
        recommender.catalog.update(f"n{number}", ItemRow(neighbours={"i0": 1.0}))
    evidence = evidence_of(world, "u")
    assert evidence.size < len(recommender.catalog)
    allowed_N = np.ones(evidence.size, bool)
    assert all((evidence.top(name, allowed_N, 5) < evidence.size).all() for name in evidence.sources)


@pytest.mark.parametrize("name", ["spectral_taste", "spectral_last", "content_spectral", "content_taste"])
def test_the_nearest_of_a_source_are_those_of_which_it_says_most(name: str) -> None:
    world = two_tastes()
    evidence = evidence_of(world, next(iter(world.users)))
    allowed_N = np.arange(evidence.size) % 3 > 0
    score_N = evidence.of(name, np.arange(evidence.size))
    assert score_N.any()
    worst = score_N[evidence.top(name, allowed_N, 5)].min()
    assert np.sort(score_N[allowed_N])[-5] == pytest.approx(worst, abs=0.01)
    one = evidence.of(name, np.array([7]))
    assert one[0] == score_N[7], "the same number whoever is asked for with it"
