"""Negatives: what the true item of an example is set against, drawn by chance.

Other candidates, evenly: negatives picked from the top of the present order would teach that what ranks high is wrong.
And if the item has no engagement yet, cold negatives, which have none either: the few such candidates have each been
picked for their content by some source, and against them content would seem to tell nothing.

Invariant: a draw is a function of the seed, the event, and what could have been drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from store.keys import hash64

NO_HANDLES = np.zeros(0, np.int64)


@dataclass(frozen=True, kw_only=True, slots=True)
class NegativeRules:
    """How many other `candidates` an example has, and how many `cold` items if its own is cold."""

    candidates: int = 40
    cold: int = 12
    seed: int = 0


class NegativeSampler:
    """Draws for one event."""

    def __init__(self, seed: int, event_id: str) -> None:
        self._rng = np.random.default_rng((seed, hash64(event_id)))

    def candidates(self, true: int, handles_B: np.ndarray, count: int) -> np.ndarray:
        """Up to `count` other candidates, each once; whatever the order of `handles_B`, the same."""
        others = np.sort(handles_B[handles_B != true])
        return np.asarray(self._rng.choice(others, min(len(others), count), replace=False))

    def cold(self, true: int, allowed_N: np.ndarray, positives_N: np.ndarray, count: int) -> np.ndarray:
        """`count` allowed items that have no engagement, like the true one; none if that has some."""
        if true >= len(allowed_N) or positives_N[true] > 0:
            return NO_HANDLES
        untouched = np.flatnonzero(allowed_N & (positives_N[: len(allowed_N)] == 0))
        untouched = untouched[untouched != true]
        return np.asarray(self._rng.choice(untouched, count)) if len(untouched) else NO_HANDLES
