"""The live metric: a sample of engagements is ranked before it is learned from, in the running system.

Invariant: an engagement enters the metric once, with the ranking as it was before the engagement was absorbed.
"""

from __future__ import annotations

from collections import deque

WINDOW = 500


class HitWindow:
    """The share of hits among the last `size` samples."""

    def __init__(self, size: int = WINDOW) -> None:
        self._hits: deque[bool] = deque(maxlen=size)

    def add(self, hit: bool) -> None:
        self._hits.append(hit)

    def __len__(self) -> int:
        return len(self._hits)

    @property
    def ratio(self) -> float:
        return sum(self._hits) / len(self._hits) if self._hits else 0.0


class LiveMetric:
    """Hit ratios at 10 by slice."""

    def __init__(self) -> None:
        self.slices: dict[str, HitWindow] = {}

    def add(self, slices: list[str], hit: bool) -> None:
        for name in slices:
            self.slices.setdefault(name, HitWindow()).add(hit)
