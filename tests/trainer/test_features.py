from __future__ import annotations

import numpy as np

from tests.trainer.test_recommender import START, World, card
from trainer.candidates import Evidence, gather, taste_of, united
from trainer.features import COLUMNS, as_untouched, compute
from trainer.item_learning import DAY_S


def world_with_untouched_items() -> World:
    world = World()
    for number in range(60):
        world.recommender.insert(card(number, START - DAY_S))
    for n in range(400):
        world.engage(f"u{n % 40}", f"i{(n * 7 + n // 40) % 40}", START + n * DAY_S / 100)
    return world


def evidence_of(world: World, user_id: str) -> Evidence:
    recommender = world.recommender
    taste = taste_of(world.users[user_id], recommender.catalog, recommender.rules.candidates)
    return Evidence(recommender.catalog, recommender.space, taste, recommender.rules.candidates)


def test_what_is_borrowed_from_touched_items_looks_as_untouched_ones_do() -> None:
    world = world_with_untouched_items()
    evidence = evidence_of(world, "u3")
    candidates = united(gather(evidence, world.recommender.catalog.live_N[: evidence.size]), evidence.size)
    untouched = candidates[world.recommender.catalog.positives_N[candidates] == 0]
    assert len(untouched) > 5
    now_s = START + 5 * DAY_S
    all_AF = compute(evidence, candidates, now_s, "next", None)
    x_BF = compute(evidence, untouched, now_s, "next", None, candidates)
    borrowed_BF = as_untouched(x_BF, all_AF, len(candidates), np.random.default_rng(0))
    atol = np.full(x_BF.shape[1], 1e-5)
    atol[COLUMNS["rank_near_taste"]] = 0.1  # one place: the same product, rounded another way
    apart = np.flatnonzero(~np.isclose(borrowed_BF, x_BF, atol=atol, equal_nan=True).all(axis=0))
    assert set(apart) <= {COLUMNS["age"], COLUMNS["age_difference"]}
    touched = candidates[world.recommender.catalog.positives_N[candidates] > 0]
    before_BF = compute(evidence, touched, now_s, "next", None, candidates)
    after_BF = as_untouched(before_BF, all_AF, len(candidates), np.random.default_rng(0))
    assert (after_BF[:, COLUMNS["positives"]] == 0).all()
    assert not np.isclose(before_BF, after_BF, equal_nan=True)[:, COLUMNS["heat_4"]].any()


def test_features_of_some_candidates_are_those_they_have_among_all() -> None:
    world = world_with_untouched_items()
    evidence = evidence_of(world, "u5")
    handles = np.flatnonzero(world.recommender.catalog.live_N[: evidence.size])
    whole_AF = compute(evidence, handles, START + 5 * DAY_S, "home", None)
    some = handles[::3]
    some_BF = compute(evidence, some, START + 5 * DAY_S, "home", None, handles)
    np.testing.assert_allclose(some_BF, whole_AF[::3], rtol=1e-5)
