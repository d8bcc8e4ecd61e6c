"""Recent counts: how much was counted in the last minutes, in constant memory.

A ring of slots, each with the counts of one stretch of time; a slot is emptied when its stretch comes round again.

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
        self._counts = [[0] * width for _ in range(slots)]  # by slot and bucket: lists, for one is counted at a time
        self._stretches = [-1] * slots
        self._slot_s = slot_s
        self._clock = clock
        self._began = clock()

    def add(self, bucket: int, n: int = 1) -> None:
        """Count `n` more in `bucket`, now."""
        stretch = int(self._clock() / self._slot_s)
        slot = stretch % len(self._stretches)
        if self._stretches[slot] != stretch:
            self._stretches[slot] = stretch
            self._counts[slot] = [0] * len(self._counts[slot])
        self._counts[slot][bucket] += n

    def total_W(self) -> np.ndarray:
        """The counts of each bucket over the window."""
        oldest = int(self._clock() / self._slot_s) - len(self._stretches)
        live_S = np.array(self._stretches) > oldest
        total: np.ndarray = np.array(self._counts)[live_S].sum(axis=0)
        return total

    def window_s(self) -> float:
        """Seconds that `total_W` speaks for: the whole window, or less since the start."""
        whole = self._slot_s * (len(self._stretches) - 1) + self._clock() % self._slot_s
        return max(min(whole, self._clock() - self._began), self._slot_s / 10)

    def rate_per_s(self) -> float:
        """Counts a second over the window, all buckets together."""
        return float(self.total_W().sum()) / self.window_s()
