"""What the system gains: what helps is seen, what says nothing gains nothing, what is unknown is left out."""

from __future__ import annotations

import msgspec
import numpy as np

from tests.trainer.gate.test_judging import EXAMPLES
from trainer.gate.system_gain import NONE, base_ranker, gain_of, orders, rows_of
from trainer.ranking.columns import NAMES
from trainer.ranking.example import Group
from trainer.ranking.learner import RankerRules
from trainer.ranking.ranker import HeuristicRanker


def groups(count: int = 200, rows: int = 20) -> list[Group]:
    return [Group(np.zeros((rows, len(NAMES)), np.float16), 2 * rows - 1) for _ in range(count)]


def said(strength: float, count: int = 200, rows: int = 20, seed: int = 0) -> list[np.ndarray]:
    """Noise, and so much more for the true one."""
    random = np.random.default_rng(seed)
    return [random.standard_normal(rows) + strength * (np.arange(rows) == 0) for _ in range(count)]


def test_what_a_model_knows_is_gained_and_noise_is_not() -> None:
    found = orders(groups(), HeuristicRanker(), {"knows": said(2.0), "says nothing": said(0.0)})
    knows = gain_of(found["knows"].nats_N - found[NONE].nats_N)
    nothing = gain_of(found["says nothing"].nats_N - found[NONE].nats_N)
    assert knows.low > 0.5
    assert nothing.mean < 0.02
    assert found["knows"].ndcg_N.mean() > 2 * found[NONE].ndcg_N.mean()


def test_a_sampled_rival_stands_for_all_that_were_as_likely() -> None:
    """39 candidates of which 19 negatives are sampled: a model that says nothing is as sure as chance among 39."""
    found = orders(groups(), HeuristicRanker(), {})
    assert np.allclose(found[NONE].nats_N, -np.log(39))


def test_numbers_that_are_none_gain_nothing_and_break_nothing() -> None:
    broken = [np.full(20, np.nan) for _ in range(200)]
    found = orders(groups(), HeuristicRanker(), {"broken": broken})
    assert abs(gain_of(found["broken"].nats_N - found[NONE].nats_N).mean) < 1e-9


def test_items_that_are_gone_are_left_out_and_without_the_true_one_nothing_is_asked() -> None:
    example = EXAMPLES[0]
    places = {item: place for place, item in enumerate(example.items)}
    found = rows_of(example, places)
    assert found is not None
    assert found[1].tolist() == list(range(len(places)))
    fewer = rows_of(example, {item: places[item] for item in example.items[:5]})
    assert fewer is not None
    assert len(fewer[0].candidates_BF) == len(fewer[1]) == 5
    assert rows_of(example, {item: places[item] for item in example.items[1:]}) is None
    assert rows_of(msgspec.structs.replace(example, items=[]), places) is None, "of a worker that names no items"


def test_few_examples_leave_the_order_to_plain_evidence() -> None:
    assert isinstance(base_ranker(EXAMPLES[:50], RankerRules(), seed=0), HeuristicRanker)


def test_one_engagement_tells_nothing() -> None:
    assert gain_of(np.array([1.0])).low == -np.inf
