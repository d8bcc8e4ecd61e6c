"""The ranker as the trainer fits it: engagements, refusals and impressions in, one file with its heads out."""

from __future__ import annotations

import numpy as np
import pytest

from store.keys import hash64
from store.settings import Utility
from trainer.ranking.columns import COLUMNS, NAMES
from trainer.ranking.example import Example
from trainer.ranking.heads import CLICK, COMPLETION, NEGATIVE
from trainer.ranking.impressions import UNTOLD, Impression
from trainer.ranking.learner import RankerLearner, RankerRules
from trainer.ranking.ranker import Boosted, HeuristicRanker, ranker_from

NEGATIVES = 12
RULES = RankerRules(first=100, min_rows=5, completed={"watch": 0.5})


def rows(rng: np.random.Generator, count: int) -> np.ndarray:
    """Noise in each column, the same for a column whatever other columns there are."""
    draw = int(rng.integers(1 << 32))
    columns = [np.random.default_rng([draw, hash64(name)]).normal(size=count) for name in NAMES]
    return np.column_stack(columns).astype(np.float16)


def example(rng: np.random.Generator, n: int, weight: float = 1.0) -> Example:
    """People go for `follows`; they finish what is young; they refuse what is close in content."""
    x_BF = rows(rng, 1 + NEGATIVES)
    x_BF[0, COLUMNS["follows"]] += 2.0
    if weight < 0:
        x_BF[0, COLUMNS["content_taste"]] += 2.0
    return Example(
        user_id="u",
        item_id="i",
        task="home",
        kind="watch" if weight > 0 else "skip",
        occurred_at=float(n),
        weight=weight,
        rank=0,
        candidates=100,
        source="follows",
        positives=1,
        age_s=1.0,
        history=1,
        columns=len(NAMES),
        cold_negatives=0,
        features=x_BF.astype("<f2").tobytes(),
        value=0.9 if x_BF[0, COLUMNS["age"]] < 0 else 0.1,
    )


def impression(rng: np.random.Generator, n: int) -> Impression:
    x_KF = rows(rng, 6)
    told_K4 = np.tile(UNTOLD, (6, 1))
    told_K4[:, 1] = rng.random(6) < 1 / (1 + np.exp(2.0 - x_KF[:, COLUMNS["follows"]].astype(float)))
    return Impression(f"r{n}", "home", float(n), x_KF, told_K4)


@pytest.fixture(scope="module")
def learner() -> RankerLearner:
    rng = np.random.default_rng(0)
    learner = RankerLearner(RULES)
    for n in range(900):
        learner.absorb(example(rng, n, -1.0 if n % 3 == 0 else 1.0))
        learner.absorb_impression(impression(rng, n))
    return learner


@pytest.fixture(scope="module")
def ranker(learner: RankerLearner) -> Boosted:
    made = learner.refit()
    assert isinstance(made, Boosted)
    return made


def test_refusals_are_learned_from_but_are_no_positives(learner: RankerLearner, ranker: Boosted) -> None:
    assert (learner.absorbed, len(learner.feedback.acts), len(learner.feedback.impressions)) == (600, 900, 900)
    assert ranker.heads is not None
    assert ranker.heads.shown
    x_BF = rows(np.random.default_rng(1), 4000).astype(np.float32)
    p_BH = ranker.probabilities(x_BF)
    near_B = x_BF[:, COLUMNS["content_taste"]] > 1.5
    assert p_BH[near_B, NEGATIVE].mean() > 2 * p_BH[~near_B, NEGATIVE].mean()
    young_B = x_BF[:, COLUMNS["age"]] < 0
    assert p_BH[young_B, COMPLETION].mean() > 0.5 > p_BH[~young_B, COMPLETION].mean()
    follows_B = x_BF[:, COLUMNS["follows"]] > 1
    assert p_BH[follows_B, CLICK].mean() > p_BH[~follows_B, CLICK].mean()


def test_utility_decides_among_the_best_and_leaves_the_rest_behind_them(ranker: Boosted) -> None:
    x_BF = rows(np.random.default_rng(2), 300).astype(np.float32)
    plain_B = ranker.score(x_BF, Utility(completion=0.0, negative=0.0))
    wary_B = ranker.score(x_BF, Utility(completion=0.0, negative=5.0))
    best = np.argsort(-ranker.raw(x_BF))[:100]
    rest = np.setdiff1d(np.arange(300), best)
    assert wary_B[best].min() > wary_B[rest].max()
    assert set(np.argsort(-wary_B)[:100]) == set(best)
    near = x_BF[:, COLUMNS["content_taste"]]
    assert near[np.argsort(-wary_B)[:50]].mean() < near[np.argsort(-plain_B)[:50]].mean() - 0.3


def test_a_file_holds_it_whole_and_one_of_another_version_is_refused(ranker: Boosted) -> None:
    x_BF = rows(np.random.default_rng(3), 50).astype(np.float32)
    again = ranker_from(ranker.to_bytes())
    assert again.score(x_BF) == pytest.approx(ranker.score(x_BF))
    assert again.probabilities(x_BF) == pytest.approx(ranker.probabilities(x_BF))
    assert again.heads is not None
    assert ranker.heads is not None
    assert again.heads.measured() == ranker.heads.measured()
    older = ranker.to_bytes().replace(f'"columns":{len(NAMES)}'.encode(), b'"columns":7')
    for wrong in (older, b"boosted 200\ntree", b""):
        with pytest.raises(ValueError, match="the trainer will fit another"):
            ranker_from(wrong)


@pytest.mark.usefixtures("ranker")  # which is fitted to all that the learner has
def test_impressions_alone_call_for_a_fit_and_a_correction_does_not(learner: RankerLearner) -> None:
    rng = np.random.default_rng(4)
    assert not learner.due()
    for _ in range(2000):
        learner.absorb_impression(impression(rng, 899))
    assert not learner.due()
    for n in range(1000, 2000):
        learner.absorb_impression(impression(rng, n))
    assert learner.due()


def test_the_prior_guesses_in_its_own_order() -> None:
    x_BF = rows(np.random.default_rng(5), 40).astype(np.float32)
    x_BF[:, COLUMNS["follows"]] = np.log2(np.linspace(1e-4, 0.5, 40))
    prior = HeuristicRanker()
    p_B = prior.probabilities(x_BF)[:, CLICK]
    assert (np.argsort(-p_B, kind="stable") == np.argsort(-prior.score(x_BF), kind="stable")).all()
    assert 0 < p_B.min() <= p_B.max() < 0.101
    assert prior.probabilities(x_BF[:0]).shape == (0, 3)
