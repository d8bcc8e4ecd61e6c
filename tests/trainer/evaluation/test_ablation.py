"""An ablation blanks what it names, drops what a source alone proposed, and counts in pairs."""

from __future__ import annotations

import numpy as np
import pytest

from tests.trainer.ranking.test_ranker import RULES, example
from trainer.evaluation.ablation import Ablation, KeptRanking
from trainer.ranking.columns import COLUMNS, GROUPS, NAMES, without
from trainer.ranking.learner import RankerLearner


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, float]]:
    """Rankers that learn that people go for `follows`, and 40 engagements whose true item has most of it. Source `a`
    proposes everything, but for every fourth true item, which only `b` has."""
    rng = np.random.default_rng(0)
    learner = RankerLearner(RULES)
    for n in range(600):
        learner.absorb(example(rng, n))
    ablation = Ablation(RULES)
    ablation.begin(learner)
    ablation.names = ["a", "b"]
    for n in range(40):
        x_BF = rng.normal(size=(60, len(NAMES))).astype(np.float16)
        x_BF[7, COLUMNS["follows"]] = 4.0
        sources_BS = np.tile([True, True], (60, 1))
        sources_BS[7, 0] = n % 4 != 0
        ablation.kept.append(KeptRanking(x_BF, sources_BS, 7))
    return ablation.measure(10)


def test_what_decides_is_missed_and_what_does_not_is_not(found: dict[str, dict[str, float]]) -> None:
    assert found["everything"]["hr@10"] == 1.0
    assert found["without transitions features"]["hr@10"] < 0.5
    assert found["without age features"]["hr@10"] > 0.9


def test_a_source_takes_along_what_it_alone_proposed(found: dict[str, dict[str, float]]) -> None:
    assert found["without source b"] == {"hr@10": 0.75, "evaluated": 40, "gained": 0, "lost": 10}
    assert found["without source a"]["lost"] == 0


def test_a_group_goes_with_the_ranks_by_it() -> None:
    gone = set(without(["vector"]))
    assert gone == {COLUMNS[name] for name in (*GROUPS["vector"], "rank_vector_taste")}
    assert not gone & set(without(["spectral"]))


def test_every_column_belongs_to_some_group() -> None:
    assert without(tuple(GROUPS)) == sorted(COLUMNS.values())
