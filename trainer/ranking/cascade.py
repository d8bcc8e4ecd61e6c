"""The cascade: all rows are judged by a ranker's first trees, the better ones by more, the best by all.

A fitted ranker has hundreds of trees and a request hundreds of candidates, of which a handful is shown. Trees are
fitted one after the other, each to what those before it leave, so the first ones say most (early exits of additive
ensembles: Cambazoglu et al., WSDM 2010).

Invariant: the score of a row that was judged by all trees is the same as without a cascade, to rounding; each that was
left behind is lower than all that were not, and those keep the order in which they were left.
"""

from __future__ import annotations

import lightgbm
import numpy as np

STAGES = ((40, 2.5), (120, 1.0))
"""After so many trees so many rows go on, as multiples of those that all trees judge."""
LEAST_TREES = 100
"""Fewer judge all: choosing rows costs what it saves."""
_APART = 1e-9


def cascaded(booster: lightgbm.Booster, x_BF: np.ndarray, best: int) -> np.ndarray:
    """Raw scores (B); all trees judge only so many of the `best`."""
    trees = booster.num_trees()
    stages = STAGES if trees >= LEAST_TREES else ()
    cuts = [(after, int(best * share)) for after, share in stages if after < trees and int(best * share) < len(x_BF)]
    raw_B, on = np.zeros(len(x_BF)), np.arange(len(x_BF))
    left: list[np.ndarray] = []
    judged = 0
    for after, most in (*cuts, (trees, len(x_BF))):
        raw_B[on] += _judged(booster, x_BF[on] if left else x_BF, judged, after)
        judged = after
        if len(on) > most:
            order = np.argsort(-raw_B[on], kind="stable")
            left.append(on[order[most:]])
            on = np.sort(on[order[:most]])
    for behind in reversed(left):
        raw_B[behind] -= max(0.0, float(raw_B[behind[0]] - raw_B[on].min()) + _APART)
        on = behind
    return raw_B


def _judged(booster: lightgbm.Booster, x_BF: np.ndarray, begin: int, end: int) -> np.ndarray:
    """What the trees from `begin` to `end` say."""
    found = booster.predict(x_BF, start_iteration=begin, num_iteration=end - begin, raw_score=True, num_threads=1)
    return np.asarray(found)
