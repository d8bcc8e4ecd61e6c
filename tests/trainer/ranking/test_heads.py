"""Heads on a simulated population: predicted is observed within a stated bound; what is served is weighed by them."""

from __future__ import annotations

import numpy as np
import pytest

from store.settings import Utility
from trainer.ranking.calibration import calibration_error, sigmoid
from trainer.ranking.columns import COLUMNS, NAMES
from trainer.ranking.feedback import Feedback, HeldOut
from trainer.ranking.heads import CLICK, COMPLETION, NEGATIVE, Heads, worth
from trainer.ranking.impressions import ImpressionOutcome, ImpressionRules, Impressions, Shown

BOUND = 0.025
"""How far predicted and observed may be apart on average over a bin: two standard errors of 1,500 lines."""


class Population:
    """People who click what the ranker scores high, more by night; complete what is fresh; refuse one tag of items."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.noise = np.random.default_rng(99)
        self.noise = np.random.default_rng(99)

    def lines(self, count: int) -> np.ndarray:
        # What other columns there are must not move what these people do: their noise has draws of its own.
        x_BF = self.noise.normal(size=(count, len(NAMES))).astype(np.float32)
        for name in ("follows", "age", "content_taste"):
            x_BF[:, COLUMNS[name]] = self.rng.normal(size=count)
        x_BF[:, COLUMNS["hour"]] = self.rng.uniform(0, 24, count)
        return x_BF.astype(np.float16).astype(np.float32)

    @staticmethod
    def raw(x_BF: np.ndarray) -> np.ndarray:
        """What the large model says: right in tendency, wrong in scale."""
        return np.asarray(2.0 * x_BF[:, COLUMNS["follows"]] + 3.0, np.float64)

    @staticmethod
    def truth(x_BF: np.ndarray) -> np.ndarray:
        """P(click), P(completion | click), P(negative)."""
        night_B = x_BF[:, COLUMNS["hour"]] > 18
        click_B = sigmoid(-1.8 + 0.8 * x_BF[:, COLUMNS["follows"]] + 1.0 * night_B)
        complete_B = sigmoid(0.3 + 1.2 * x_BF[:, COLUMNS["age"]])
        odds_B = np.exp(-1.5 + 1.0 * (x_BF[:, COLUMNS["content_taste"]] > 0.5))
        return np.stack([click_B, complete_B, click_B * odds_B], axis=1)

    def act(self, x_BF: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Who clicks, completes (of those), refuses (of the others)."""
        p_BH = self.truth(x_BF)
        draw_B = self.rng.random(len(x_BF))
        click_B = draw_B < p_BH[:, CLICK]
        refuse_B = ~click_B & (draw_B < p_BH[:, CLICK] + p_BH[:, NEGATIVE])
        return click_B, click_B & (self.rng.random(len(x_BF)) < p_BH[:, COMPLETION]), refuse_B


class Act:
    """An engagement."""

    def __init__(self, at: float, weight: float, value: float | None) -> None:
        self.kind, self.occurred_at, self.weight, self.value = "watch", at, weight, value


def learned(population: Population, requests: int = 3000, k: int = 8) -> Feedback:
    """A population is shown lists; what it does reaches the learner as in the running system."""
    impressions = Impressions(ImpressionRules(window_s=10.0, completed={"watch": 0.8}))
    feedback = Feedback(20_000, 5_000, {"watch": 0.8})
    for n in range(requests):
        x_KF = population.lines(k)
        impressions.show(
            Shown(
                request_id=f"r{n}",
                user_id="u",
                task="home",
                shown_at=float(n),
                item_ids=[f"{n}-{place}" for place in range(k)],
                columns=len(NAMES),
                features=x_KF.astype("<f2").tobytes(),
            )
        )
        for place, (clicked, completed, refused) in enumerate(zip(*population.act(x_KF), strict=True)):
            if clicked or refused:
                value = None if refused else 0.9 if completed else 0.1
                weight = 1.0 if clicked else -1.0
                feedback.engaged(Act(float(n), weight, value), x_KF[place])
                item = f"{n}-{place}"
                impressions.engage(
                    ImpressionOutcome(
                        user_id="u", item_id=item, kind="watch", occurred_at=n + 1.0, weight=weight, request_id=f"r{n}"
                    )
                )
        for impression in impressions.advance(float(n)):
            feedback.shown(impression)
    return feedback


@pytest.fixture(scope="module")
def heads() -> Heads:
    found = learned(Population(0)).fit(Population.raw, None, seed=0, threads=1)
    assert found is not None
    return found


def test_predicted_is_observed_within_the_bound(heads: Heads) -> None:
    assert heads.shown
    assert heads.completion is not None
    assert heads.negative is not None
    population = Population(1)
    x_BF = population.lines(15_000)
    p_BH = heads.probabilities(x_BF, population.raw(x_BF))
    clicked_B, completed_B, refused_B = population.act(x_BF)
    assert calibration_error(p_BH[:, CLICK], clicked_B) < BOUND
    assert calibration_error(p_BH[clicked_B, COMPLETION], completed_B[clicked_B]) < 2 * BOUND  # a quarter of the lines
    assert calibration_error(p_BH[:, NEGATIVE], refused_B) < BOUND
    truth_BH = population.truth(x_BF)
    for head in (CLICK, COMPLETION, NEGATIVE):
        assert np.corrcoef(p_BH[:, head], truth_BH[:, head])[0, 1] > 0.7


def test_what_is_measured_at_the_fit_is_what_comes(heads: Heads) -> None:
    measured = heads.measured()
    assert set(measured) == {"click", "completion", "negative"}
    for one in measured.values():
        assert one.outcomes > 100
        assert one.error < 0.08
        assert one.predicted == pytest.approx(one.observed, abs=0.08)


def test_the_request_is_an_input(heads: Heads) -> None:
    x_BF = Population(2).lines(2_000)
    by_night_BF, by_day_BF = x_BF.copy(), x_BF.copy()
    by_night_BF[:, COLUMNS["hour"]], by_day_BF[:, COLUMNS["hour"]] = 22.0, 10.0
    night_B, day_B = (heads.click(rows, Population.raw(rows)) for rows in (by_night_BF, by_day_BF))
    assert night_B.mean() > day_B.mean() + 0.08


def test_before_anything_was_shown_click_speaks_of_candidates() -> None:
    population = Population(3)
    x_RF = population.lines(4_000)
    label_R = population.act(x_RF)[0].astype(float)
    feedback = Feedback(100, 100, {})
    assert feedback.fit(population.raw, None, 0, 1) is None
    found = feedback.fit(population.raw, HeldOut(x_RF, label_R, np.ones(len(x_RF))), 0, 1)
    assert found is not None
    assert (found.shown, found.completion, found.negative) == (False, None, None)
    assert found.keep_order(Utility())
    assert calibration_error(found.click(x_RF, population.raw(x_RF)), label_R) < BOUND


def test_utility_weighs_the_heads() -> None:
    p_BH = np.array([[0.5, 0.2, 0.0], [0.5, 0.8, 0.0], [0.5, 0.2, 0.4]])
    assert worth(p_BH, Utility(click=1.0, completion=0.0, negative=0.0)).tolist() == [0.5, 0.5, 0.5]
    assert worth(p_BH, Utility(click=1.0, completion=1.0, negative=0.5)) == pytest.approx([0.6, 0.9, 0.4])
