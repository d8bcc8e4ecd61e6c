"""Recent counts: how much was counted in the last minutes, in constant memory.

A ring of slots, each a vector of counts for one stretch of time; a slot is emptied when its stretch comes round again.

Invariant: `total` never holds a count older than `slots * slot_s`, and never misses one younger than
`(slots - 1) * slot_s`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

Clock = Callable[[], float]


class RecentCounts:
    """Counts by bucket over the recent past. Not thread-safe: the caller holds its own lock."""

    def __init__(self, width: int, *, slots: int, slot_s: float, clock: Clock = time.monotonic) -> None:
        self._counts_SW = np.zeros((slots, width), dtype=np.int64)  # S: slots of the ring, W: buckets
        self._stretch_S = np.full(slots, -1, dtype=np.int64)
        self._slot_s = slot_s
        self._clock = clock
        self._began = clock()

    def add(self, bucket: int, n: int = 1) -> None:
        """Count `n` more in `bucket`, now."""
        stretch = int(self._clock() / self._slot_s)
        slot = stretch % len(self._stretch_S)
        if self._stretch_S[slot] != stretch:
            self._stretch_S[slot] = stretch
            self._counts_SW[slot] = 0
        self._counts_SW[slot, bucket] += n

    def total_W(self) -> np.ndarray:
        """The counts of each bucket over the window."""
        oldest = int(self._clock() / self._slot_s) - len(self._stretch_S)
        live_S = self._stretch_S > oldest
        total: np.ndarray = self._counts_SW[live_S].sum(axis=0)
        return total

    def window_s(self) -> float:
        """Seconds that `total_W` speaks for: the whole window, or less since the start."""
        whole = self._slot_s * (len(self._stretch_S) - 1) + self._clock() % self._slot_s
        return max(min(whole, self._clock() - self._began), self._slot_s / 10)

    def rate_per_s(self) -> float:
        """Counts a second over the window, all buckets together."""
        return float(self.total_W().sum()) / self.window_s()
