"""The ranking of a request: the candidates of all sources, once each, in the order of its own ranker's scores."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from store.items import ItemRow
from store.requests import Request
from store.settings import Utility
from tests.small_world import START, World, card, two_tastes
from trainer.candidate_ranking import Ranking, rank_candidates
from trainer.ranking.columns import NAMES
from trainer.ranking.ranker import HeuristicRanker


@pytest.fixture(scope="module")
def world() -> World:
    return two_tastes()


@pytest.fixture(scope="module")
def ranking(world: World) -> Ranking:
    return world.recommender.rank(Request(user_id="u1"), world.users["u1"])


def test_candidates_are_what_the_sources_propose_each_once_best_first(ranking: Ranking) -> None:
    proposed = np.concatenate(list(ranking.proposed.values()))
    assert len(set(proposed.tolist())) == len(ranking.handles_B)
    assert set(proposed.tolist()) == set(ranking.handles_B.tolist())
    assert ranking.allowed_N[ranking.handles_B].all()
    assert (np.diff(ranking.scores_B) <= 0).all()
    assert ranking.scores_B[0] > ranking.scores_B[-1]
    again_B = ranking.moment.ranker.score(ranking.x_BF, ranking.moment.utility)
    assert again_B == pytest.approx(ranking.scores_B), "the scores are of other rows"


def test_any_items_have_the_features_and_scores_that_they_would_have_among_these(ranking: Ranking) -> None:
    some = ranking.handles_B[::3]
    assert ranking.features_of(some).tobytes() == ranking.x_BF[::3].tobytes()
    assert ranking.scores_of(some) == pytest.approx(ranking.scores_B[::3])
    others = np.setdiff1d(np.arange(ranking.evidence.size), ranking.handles_B)
    assert ranking.features_of(others).shape == (len(others), len(NAMES))


def test_one_that_need_not_be_ordered_has_the_same_candidates(ranking: Ranking) -> None:
    plain = rank_candidates(ranking.moment, ranking.evidence, ranking.allowed_N, ordered=False)
    assert plain.handles_B.tolist() == sorted(ranking.handles_B.tolist())
    assert (len(plain.scores_B), len(plain.x_BF)) == (0, 0)


class Reversed(HeuristicRanker):
    """Puts last what the heuristic would put first."""

    def score(self, x_BF: np.ndarray, utility: Utility = Utility(), wanted: int | None = None) -> np.ndarray:
        return -super().score(x_BF, utility, wanted)


def test_the_ranker_of_the_moment_decides_the_order(ranking: Ranking) -> None:
    other = rank_candidates(replace(ranking.moment, ranker=Reversed()), ranking.evidence, ranking.allowed_N)
    assert other.scores_B.tolist() == sorted((-ranking.scores_B).tolist(), reverse=True)
    assert other.handles_B[0] == ranking.handles_B[-1]
    assert isinstance(other.moment.ranker, Reversed)


def test_a_search_is_ordered_by_what_was_asked_for(world: World) -> None:
    searched = world.recommender.rank(Request(user_id="u1", task="search", query="even"), world.users["u1"])
    relevance_B = searched.evidence.of("query", searched.handles_B)
    assert relevance_B[:5].min() > relevance_B[-5:].max()


def test_nothing_allowed_is_an_empty_ranking(ranking: Ranking) -> None:
    empty = rank_candidates(ranking.moment, ranking.evidence, np.zeros_like(ranking.allowed_N))
    assert (len(empty.handles_B), len(empty.scores_B), empty.x_BF.shape) == (0, 0, (0, len(NAMES)))


def test_named_items_are_ordered_as_they_stand_among_what_the_sources_would_propose(world: World) -> None:
    ranked = world.recommender.rank(Request(user_id="u1"), world.users["u1"])
    catalog = world.recommender.catalog
    some = [catalog.ids[handle] for handle in ranked.handles_B[[3, 11, 0, 7]].tolist()]
    had = "i1" if "i1" not in some else "i3"
    answer = world.ask("u1", k=10, candidates=(*some, had, "never seen"))
    by_id = {item.item_id: item for item in answer.items}
    assert had in by_id
    scores = dict(zip(ranked.handles_B.tolist(), ranked.scores_B.tolist(), strict=True))
    for one in some:
        assert by_id[one].score == pytest.approx(scores[catalog.handles[one]])
    assert [item.score for item in answer.items] == sorted((item.score for item in answer.items), reverse=True)


def test_a_narrow_filter_finds_what_is_popular_and_fresh_within_it() -> None:
    """The lists of the hottest and of the newest hold none of them."""
    world = World()
    for number in range(2600):
        one = card(number % 200, START + number, tags=["rare"] if number < 30 else [])
        world.recommender.insert(msgspec.structs.replace(one, item_id=f"i{number}"))
    for number in [*range(100, 950), 5]:
        row = ItemRow(offset=1, positives=9 if number >= 100 else 3, first_at=START, last_at=START, decayed_at=START)
        row.popularity = [float(row.positives)] * len(world.recommender.rules.item.half_lives_s)
        world.recommender.update(f"i{number}", row)
    answer = world.ask("nobody", k=10, tags=("rare",))
    assert answer.items[0].item_id == "i5"
    assert answer.items[0].source == "popular"
    assert {item.item_id for item in answer.items} <= {f"i{number}" for number in range(30)}
    assert "fresh" in {item.source for item in answer.items}
