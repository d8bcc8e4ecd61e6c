"""The top of a list of scores, the same on every processor."""

from __future__ import annotations

import numpy as np

FEW = 8192
"""Of more scores than this a sample of one in `_STRIDE` tells first which are worth a look."""
_STRIDE = 29


def top(score_N: np.ndarray, allowed_N: np.ndarray | None, k: int) -> np.ndarray:
    """Handles of the k highest scores above 0, among the allowed, best first; ties by handle."""
    if len(score_N) > FEW:
        some = np.flatnonzero(score_N > max(0.0, _bar(score_N, allowed_N, k)))
        found = best_of(some, score_N, allowed_N, k)
        if len(found) == k:
            return found
    return best_of(np.flatnonzero(score_N > 0), score_N, allowed_N, k)


def _bar(score_N: np.ndarray, allowed_N: np.ndarray | None, k: int) -> float:
    """What most likely more than k, and not many more, of the allowed scores exceed: by a sample, four times as many as
    k would be its share. None of the k best is at or under it if k exceed it, however the sample fell."""
    sample_M = score_N[::_STRIDE]
    if allowed_N is not None:
        sample_M = sample_M[allowed_N[::_STRIDE]]
    rank = 4 * k // _STRIDE + 4
    return float(np.partition(sample_M, -rank)[-rank]) if rank < len(sample_M) else 0.0


def best_of(handles: np.ndarray, score_N: np.ndarray, allowed_N: np.ndarray | None, k: int) -> np.ndarray:
    """Those of `handles` with the k highest scores, among the allowed, best first; ties by handle."""
    if allowed_N is not None:
        handles = handles[allowed_N[handles]]
    if len(handles) > k:
        handles = handles[_best_places(score_N[handles], k)]
    return np.asarray(handles[np.argsort(-score_N[handles], kind="stable")])


def _best_places(score_M: np.ndarray, k: int) -> np.ndarray:
    """Places of the k highest of more than k scores, ascending. `argpartition` would take, of those that tie for the
    last place (uploads of one moment), others on another processor."""
    least = np.partition(score_M, -k)[-k]
    places = np.flatnonzero(score_M >= least)
    tied = np.flatnonzero(score_M[places] == least)
    return np.delete(places, tied[len(tied) - (len(places) - k) :])
