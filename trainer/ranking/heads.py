"""Heads: what is expected of a line that is shown, as calibrated probabilities, and what they are worth together.

`click`: somebody it is shown to engages positively. `completion`: who engages, completes (a watched fraction or rating
from the configured threshold on). `negative`: it is skipped, disliked or hidden.

The order itself is learned by the ranker's large model from engagements against candidates drawn evenly; what was shown
is no fair sample of what could have been. The heads begin where that ends: small boosted trees over what people said.
The click head starts from the ranker's raw score and learns from impressions what is to be corrected; of `negative`,
the trees learn its odds against a positive engagement, so that one unit holds whether anything was shown or not:
P(negative | shown) = P(click | shown) · odds. A head without enough outcomes of either sort is left out.

Invariant: calibration is fitted on the newest outcomes, which the head has not learned from; trees that do not predict
those better than their start alone are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import lightgbm
import msgspec
import numpy as np

from store.settings import Utility
from trainer.ranking.calibration import Platt, calibration_error, platt

HEADS = ("click", "completion", "negative")
CLICK, COMPLETION, NEGATIVE = range(3)

LEAST = 30
"""So many outcomes of either sort are needed to learn from."""
HELD_OUT = 0.2
MOST_ODDS = 20.0

Raw = Callable[[np.ndarray], np.ndarray]
"""Rows of features → raw scores of the ranker's large model."""


def worth(p_BH: np.ndarray, utility: Utility) -> np.ndarray:
    """What each row of probabilities is worth (see `Utility`)."""
    click_B = p_BH[:, CLICK]
    gain_B = utility.click * click_B + utility.completion * click_B * p_BH[:, COMPLETION]
    return np.asarray(gain_B - utility.negative * p_BH[:, NEGATIVE])


class Measured(msgspec.Struct, frozen=True):
    """How a head did on outcomes that neither its trees nor its calibration had seen: expected calibration error, mean
    prediction, share observed, and how many outcomes."""

    error: float
    predicted: float
    observed: float
    outcomes: int


class Head(msgspec.Struct, kw_only=True, dict=True):
    """One head: `start` places the ranker's raw score (None: the head starts from nothing), trees (LightGBM's text;
    empty: none), calibration, and how well it was calibrated."""

    start: Platt | None
    model: str
    calibration: Platt
    measured: Measured

    @cached_property
    def _trees(self) -> lightgbm.Booster | None:
        return lightgbm.Booster(model_str=self.model) if self.model else None

    def raw(self, x_BF: np.ndarray, raw_B: np.ndarray) -> np.ndarray:
        """Before calibration."""
        base_B = np.zeros(len(x_BF)) if self.start is None else self.start.slope * raw_B + self.start.intercept
        if self._trees is None or not len(x_BF):
            return base_B
        return np.asarray(base_B + self._trees.predict(x_BF, raw_score=True, num_threads=1))

    def __call__(self, x_BF: np.ndarray, raw_B: np.ndarray) -> np.ndarray:
        """Probabilities, given the ranker's raw scores of the same rows."""
        return self.calibration(self.raw(x_BF, raw_B))


class Heads(msgspec.Struct, kw_only=True):
    """The heads of a ranker. `shown`: whether `click` speaks of shown lines, as learned from impressions; before there
    are enough it speaks of candidates: that one of them is what the user engages with next."""

    click: Head
    completion: Head | None = None
    negative: Head | None = None
    shown: bool = False

    def probabilities(self, x_BF: np.ndarray, raw_B: np.ndarray) -> np.ndarray:
        """P(click), P(completion | click), P(negative) of each row (B × 3); 0 for a head that is left out."""
        p_BH = np.zeros((len(x_BF), len(HEADS)))
        p_BH[:, CLICK] = self.click(x_BF, raw_B)
        if self.completion is not None:
            p_BH[:, COMPLETION] = self.completion(x_BF, raw_B)
        if self.negative is not None:
            against_B = self.negative(x_BF, raw_B)
            odds_B = np.minimum(against_B / np.maximum(1.0 - against_B, 1e-9), MOST_ODDS)
            p_BH[:, NEGATIVE] = np.minimum(p_BH[:, CLICK] * odds_B, 1.0)
        return p_BH

    def keep_order(self, utility: Utility) -> bool:
        """Whether the order by utility is the order by the ranker's raw score."""
        completes = self.completion is not None and utility.completion != 0
        refuses = self.negative is not None and utility.negative != 0
        return not (self.click.model or completes or refuses)

    def measured(self) -> dict[str, Measured]:
        """By name of the head."""
        found = zip(HEADS, (self.click, self.completion, self.negative), strict=True)
        return {name: head.measured for name, head in found if head is not None}


def fit(x_RF: np.ndarray, label_R: np.ndarray, raw_R: np.ndarray | None, seed: int, threads: int = 1) -> Head | None:
    """A head from outcomes in order of time, the newest of them held out; None if there are too few of either sort.
    With `raw_R` it starts from the ranker's raw scores."""
    cut = int(len(label_R) * (1 - HELD_OUT))
    early_R, late_R = label_R[:cut], label_R[cut:]
    if min(early_R.sum(), (1 - early_R).sum()) < LEAST or not 0 < late_R.sum() < len(late_R):
        return None
    start = None if raw_R is None else platt(raw_R[:cut], early_R)
    base_R = None if start is None or raw_R is None else start.slope * raw_R + start.intercept
    data = lightgbm.Dataset(x_RF[:cut], early_R, init_score=None if base_R is None else base_R[:cut])
    rounds = int(min(100, 10 + cut / 100))
    trees = lightgbm.train(_parameters(seed, threads), data, num_boost_round=rounds)
    unmeasured = Measured(0.0, 0.0, 0.0, 0)
    late_RF, late_raw_R = x_RF[cut:], np.zeros(len(late_R)) if raw_R is None else raw_R[cut:]
    chosen = len(late_R) // 2
    made = [
        Head(start=start, model=model, calibration=Platt(), measured=unmeasured)
        for model in (trees.model_to_string(), "")
    ]
    best = min(made, key=lambda head: _loss(head.raw(late_RF[:chosen], late_raw_R[:chosen]), late_R[:chosen]))
    return calibrated(best, late_RF, late_R, late_raw_R)


def _loss(score_R: np.ndarray, label_R: np.ndarray) -> float:
    """Mean log loss after calibration on the same outcomes."""
    p_R = np.clip(platt(score_R, label_R)(score_R), 1e-12, 1 - 1e-12)
    return float(-np.mean(label_R * np.log(p_R) + (1 - label_R) * np.log(1 - p_R)))


def calibrated(
    head: Head, x_RF: np.ndarray, label_R: np.ndarray, raw_R: np.ndarray, weight_R: np.ndarray | None = None
) -> Head:
    """The head calibrated on all of these outcomes, and measured on the newer half with what the older half gave."""
    score_R = head.raw(x_RF, raw_R)
    weight_R = np.ones(len(label_R)) if weight_R is None else weight_R
    half = len(label_R) // 2
    p_R = platt(score_R[:half], label_R[:half], weight_R[:half])(score_R[half:])
    late_R, late_weight_R = label_R[half:], weight_R[half:]
    measured = Measured(
        calibration_error(p_R, late_R, late_weight_R),
        float(np.average(p_R, weights=late_weight_R)),
        float(np.average(late_R, weights=late_weight_R)),
        len(late_R),
    )
    calibration = platt(score_R, label_R, weight_R)
    return Head(start=head.start, model=head.model, calibration=calibration, measured=measured)


def _parameters(seed: int, threads: int) -> dict[str, object]:
    return {
        "objective": "binary",
        "learning_rate": 0.05,
        "num_leaves": 15,
        "min_data_in_leaf": 50,
        "feature_fraction": 0.6,
        "lambda_l2": 10.0,
        "max_bin": 127,
        "num_threads": threads,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
