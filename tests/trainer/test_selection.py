"""Selection: bounds spread a list and leave it as long; a threshold shortens it, and nothing unknown passes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from store.requests import Request
from tests.small_world import START, World, card
from trainer.model_bundle import ModelBundle
from trainer.ranking.heads import CLICK
from trainer.ranking.ranker import HeuristicRanker
from trainer.recommender import RecommenderRules
from trainer.selection import TaskRules, selected


class Learned(HeuristicRanker):
    """The heuristic, as if its probabilities had been learned."""

    name = "learned"
    heads = object()  # type: ignore[assignment]


def world_with(**tasks: TaskRules) -> World:
    """Twenty items: the first ten of one creator, the newest first in every order."""
    world = World(RecommenderRules(explore_share=0.0, tasks=tasks))  # type: ignore[arg-type]
    for number in range(20):
        world.recommender.insert(card(number, START - number, creator_id="busy" if number < 10 else f"c{number}"))
    return world


def creators(world: World, k: int, task: str = "home") -> list[str]:
    catalog = world.recommender.catalog
    answer = world.ask("u", k=k, task=task)
    cards = [catalog.cards[catalog.handles[item.item_id]] for item in answer.items]
    return [str(one.creator_id) for one in cards if one is not None]


def test_a_creator_has_no_more_lines_than_the_bound_while_there_are_others() -> None:
    world = world_with(home=TaskRules(most_per_creator=2))
    assert Counter(creators(world, 8))["busy"] == 2
    assert Counter(creators(world, 8, "next"))["busy"] > 2, "another task has no bound"
    assert len(creators(world, 20)) == 20, "a list is not shorter for the bound"
    assert creators(world, 20)[:2].count("busy") + creators(world, 20)[-8:].count("busy") == 10, "the others wait"


def test_a_topic_has_no_more_lines_than_the_bound() -> None:
    world = world_with(home=TaskRules(most_per_topic=3))
    bundle = world.recommender.serving
    for number in range(20):
        bundle.insert(number, card(number))

    def topics() -> list[int]:
        return [item.semantic_id[0] for item in world.ask("u", k=10).items]

    assert max(Counter(topics()).values()) <= 10
    ranking = world.recommender.rank(Request(user_id="u", k=10), None)
    chosen = selected(ranking, TaskRules(most_per_topic=1)).places_K
    assert len({*chosen.tolist()}) == 10, "no place twice, and as many as were asked for"


def test_what_would_hardly_be_clicked_is_not_shown_and_nothing_before_anybody_knows() -> None:
    world = world_with(notification=TaskRules(least_click=0.05))
    answer = world.ask("u", task="notification")
    assert answer.items == []
    assert [note.reason for note in answer.notes] == ["poor"]
    world.recommender.exchange_ranker(Learned())
    ranking = world.recommender.rank(Request(user_id="u", task="notification", k=20), None)
    p_B = ranking.moment.ranker.probabilities(ranking.x_BF)[:, CLICK]
    least = float(np.sort(p_B)[-4])
    shown = selected(ranking, TaskRules(least_click=least))
    assert shown.places_K.tolist() == np.flatnonzero(p_B >= least)[:20].tolist()
    assert shown.poor == np.count_nonzero(p_B < least)
    assert not shown.may_explore


@pytest.mark.parametrize("k", [1, 5, 50])
def test_without_rules_the_best_are_shown(k: int) -> None:
    ranking = world_with().recommender.rank(Request(user_id="u", k=k), None)
    assert selected(ranking, TaskRules()).places_K.tolist() == list(range(min(k, 20)))
    assert isinstance(ranking.moment.bundle, ModelBundle)
