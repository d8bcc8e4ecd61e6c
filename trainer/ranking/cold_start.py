"""Cold start: how an item without any engagement is judged, by content alone, against others without any.

Every item's first engagement is an example of it: the item against cold negatives, as all of them were then. From
these a conditional logit (McFadden 1974) learns how much each likeness of content tells; its score is one more column
for the ranker's trees, which have far too few such engagements to find a smooth sum by themselves.

Invariant: the score of a row is a function of its content columns alone, whatever else is known of the item.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from trainer.ranking.columns import COLUMNS, CONTENT_ALONE

LEAST = 50
"""So many first engagements are needed; before that the score is 0 for all."""

_TELLING = [COLUMNS[name] for name in CONTENT_ALONE]
_STEPS = 20
_RIDGE = 10.0


class ColdStartModel(msgspec.Struct, frozen=True):
    """Mean, scale and weight of each content column."""

    mean: list[float] = []
    scale: list[float] = []
    weight: list[float] = []

    def __call__(self, x_BF: np.ndarray) -> np.ndarray:
        """One score a row: differences within a request are log odds."""
        if not self.weight:
            return np.zeros(len(x_BF), np.float32)
        z_BT = (x_BF[:, _TELLING] - np.array(self.mean)) / np.array(self.scale)
        return np.asarray(z_BT @ np.array(self.weight), np.float32)

    def beside(self, x_BF: np.ndarray) -> np.ndarray:
        """The rows with their scores as one more column."""
        return np.column_stack([x_BF, self(x_BF)])


def fit(first_engagements: Sequence[np.ndarray]) -> ColdStartModel:
    """The weights of greatest likelihood, by Newton's method; of each example (R × F) the first row was engaged."""
    if len(first_engagements) < LEAST:
        return ColdStartModel()
    rows = min(map(len, first_engagements))
    x_GRT = np.stack([x_RF[:rows, _TELLING] for x_RF in first_engagements]).astype(np.float64)
    mean_T, scale_T = x_GRT.mean((0, 1)), x_GRT.std((0, 1)) + 1e-3
    z_GRT = (x_GRT - mean_T) / scale_T
    weight_T = np.zeros(len(_TELLING))
    for _ in range(_STEPS):
        score_GR = z_GRT @ weight_T
        p_GR = np.exp(score_GR - score_GR.max(axis=1, keepdims=True))
        p_GR /= p_GR.sum(axis=1, keepdims=True)
        expected_GT = np.einsum("gr,grt->gt", p_GR, z_GRT)
        slope_T = (z_GRT[:, 0] - expected_GT).sum(axis=0) - _RIDGE * weight_T
        bend_TT = np.einsum("gr,grt,gru->tu", p_GR, z_GRT, z_GRT) - expected_GT.T @ expected_GT
        weight_T += np.linalg.solve(bend_TT + _RIDGE * np.eye(len(weight_T)), slope_T)
    return ColdStartModel(mean_T.tolist(), scale_T.tolist(), weight_T.tolist())
