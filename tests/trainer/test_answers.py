"""Answers: the lines of a ranking, best first, each with what stands for it; the last may explore."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from store.requests import RecommendedItem, Request
from tests.small_world import START, World, card, two_tastes
from trainer.answers import lines_of
from trainer.candidate_ranking import Ranking
from trainer.exploration import Exploration
from trainer.ranking.heads import HEADS
from trainer.recommender import RecommenderRules
from trainer.selection import TaskRules, selected


@pytest.fixture(scope="module")
def world() -> World:
    return two_tastes()


def ranking(world: World, **fields: object) -> Ranking:
    return world.recommender.rank(Request(user_id="u1", **fields), world.users["u1"])  # type: ignore[arg-type]


def shown_of(ranked: Ranking, exploration: Exploration) -> tuple[list[RecommendedItem], np.ndarray]:
    return lines_of(ranked, exploration, selected(ranked, TaskRules()))


def never() -> Exploration:
    return Exploration(share=0.0, below=5, seed=0)


def test_lines_are_the_best_of_the_ranking_with_their_features(world: World) -> None:
    ranked, catalog = ranking(world, k=7), world.recommender.catalog
    lines, x_KF = shown_of(ranked, never())
    assert [line.item_id for line in lines] == [catalog.ids[handle] for handle in ranked.handles_B[:7].tolist()]
    assert [line.score for line in lines] == ranked.scores_B[:7].tolist()
    assert x_KF.tobytes() == ranked.x_BF[:7].tobytes()
    assert len(world.ask("u1", k=500).items) == len(ranked.handles_B)


def test_only_who_asks_for_an_explanation_gets_probabilities(world: World) -> None:
    assert all(line.heads is msgspec.UNSET for line in world.ask("u1").items)
    for line in world.ask("u1", explain=True).items:
        assert line.heads is not msgspec.UNSET
        assert list(line.heads) == list(HEADS)
        assert all(0 <= probability <= 1 for probability in line.heads.values())


def test_what_is_shown_is_counted_and_what_explores_is_among_what_nobody_knows(world: World) -> None:
    for number in range(60, 70):
        world.recommender.insert(card(number, START))
    always = Exploration(share=1.0, below=5, seed=0)
    lines, x_KF = shown_of(ranked := ranking(world, k=5), always)
    assert [line.source == "explore" for line in lines] == [False] * 4 + [True]
    handle = world.recommender.catalog.handles[lines[-1].item_id]
    assert world.recommender.catalog.positives_N[handle] < 5
    assert x_KF[-1].tobytes() == ranked.x_BF[list(ranked.handles_B).index(handle)].tobytes()
    assert (always.lines, always.explored, always.shown(np.array([handle]))[0]) == (5, 1, 1.0)


def test_exploration_is_bounded_and_says_so() -> None:
    def explored(share: float) -> int:
        world = World(RecommenderRules(explore_share=share))
        for number in range(30):
            world.recommender.insert(card(number))
        for n in range(200):
            world.engage(f"u{n % 15}", f"i{n % 14}", START + n)
        answers = [world.ask(f"u{n}") for n in range(100)]
        assert all(line.source != "explore" for answer in answers for line in answer.items[:-1])
        return sum(answer.items[-1].source == "explore" for answer in answers)

    assert explored(0.0) == 0
    assert 5 <= explored(0.3) <= 60


def test_every_line_has_a_source_and_a_reason(world: World) -> None:
    for line in world.ask("u1").items:
        assert line.source
        assert "{" not in line.reason
        assert line.reason
