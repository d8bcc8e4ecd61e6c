"""Taste: what was liked, each item once, the newest first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.small_world import START, World
from trainer.retrieval.taste import CandidateRules, deeper, taste_of

RULES = CandidateRules()


def named(world: World, handles: np.ndarray) -> list[str]:
    return [world.recommender.catalog.ids[handle] for handle in handles.tolist()]


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


def test_deeper_sources_propose_more_and_none_that_proposes_falls_silent() -> None:
    assert deeper(RULES, 1.0) is RULES
    quotas = deeper(RULES, 0.001).quotas
    assert {name for name, quota in quotas.items() if quota} == {name for name, n in RULES.quotas.items() if n}
    assert deeper(RULES, 2.0).quotas["fresh"] == 2 * RULES.quotas["fresh"]
