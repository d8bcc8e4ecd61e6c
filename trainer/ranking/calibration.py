"""Calibration: scores become probabilities that come true as often as they say.

A head's raw score is close to log odds but for the way its examples were drawn, so two numbers mend it (Platt, 1999):
p = 1 / (1 + exp(-(slope · score + intercept))), fitted to outcomes that the head has not learned from. The slope stays
positive: calibration changes what a score says, never the order.

The expected calibration error (Naeini et al., AAAI 2015) is the mean distance between what was predicted and what was
observed, over bins of equally many predictions: `BINS`, or as many as leave `IN_BIN` to each.
"""

from __future__ import annotations

import msgspec
import numpy as np

LEAST_SLOPE = 0.05
BINS = 10
IN_BIN = 100
_STEPS = 30


class Platt(msgspec.Struct, frozen=True):
    """Raw score → probability."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, score_B: np.ndarray) -> np.ndarray:
        return sigmoid(self.slope * score_B + self.intercept)


def sigmoid(score_B: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-score)), finite everywhere."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(score_B, -60.0, 60.0))))


def platt(score_B: np.ndarray, label_B: np.ndarray, weight_B: np.ndarray | None = None) -> Platt:
    """The fit of greatest likelihood, by Newton's method; a slope of 1 is taken as likely before anything is seen, so
    that a handful of outcomes moves little but the intercept."""
    weight_B = np.ones(len(score_B)) if weight_B is None else weight_B
    rate = float(np.clip(np.average(label_B, weights=weight_B), 1e-6, 1 - 1e-6)) if len(score_B) else 0.5
    centre = float(np.average(score_B, weights=weight_B)) if len(score_B) else 0.0
    at_2 = np.array([1.0, np.log(rate / (1 - rate))])
    x_B2 = np.stack([score_B - centre, np.ones(len(score_B))], axis=1)
    for _ in range(_STEPS):
        p_B = sigmoid(x_B2 @ at_2)
        slope_2 = x_B2.T @ (weight_B * (p_B - label_B)) + np.array([at_2[0] - 1.0, 0.0])
        curve_22 = (x_B2 * (weight_B * p_B * (1 - p_B))[:, None]).T @ x_B2 + np.diag([1.0, 1e-6])
        step_2 = np.clip(np.linalg.solve(curve_22, slope_2), -2.0, 2.0)
        at_2 = at_2 - step_2
        if np.abs(step_2).max() < 1e-9:
            break
    slope = max(LEAST_SLOPE, float(at_2[0]))
    return Platt(slope, float(at_2[1]) - slope * centre)


def calibration_error(p_B: np.ndarray, label_B: np.ndarray, weight_B: np.ndarray | None = None) -> float:
    """The expected calibration error; NaN without outcomes."""
    if not len(p_B):
        return float("nan")
    weight_B = np.ones(len(p_B)) if weight_B is None else weight_B
    bins = int(np.clip(len(p_B) // IN_BIN, 1, BINS))
    order = np.argsort(p_B, kind="stable")
    share_B = np.cumsum(weight_B[order]) / weight_B.sum()
    bin_B = np.minimum((share_B * bins - 1e-9).astype(np.int64), bins - 1)
    off_B = np.bincount(bin_B, ((p_B - label_B) * weight_B)[order], bins)
    return float(np.abs(off_B).sum() / weight_B.sum())
