"""The live metric: a sample of engagements is ranked before it is learned from, in the running system.

Hits are kept per checkpoint, so that a new checkpoint is judged by what it served and not by what came before it.

Invariant: an engagement enters the metric once, with the ranking as it was before the engagement was absorbed.
"""

from __future__ import annotations

from collections import deque
from math import sqrt

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
    """Hit ratios at 10 by slice, and by checkpoint for the watch over a swap."""

    def __init__(self) -> None:
        self.slices: dict[str, HitWindow] = {}
        self._checkpoints: dict[str, HitWindow] = {}

    def add(self, checkpoint: str, slices: list[str], hit: bool) -> None:
        for name in slices:
            self.slices.setdefault(name, HitWindow()).add(hit)
        self._checkpoints.setdefault(checkpoint, HitWindow()).add(hit)
        while len(self._checkpoints) > 8:
            self._checkpoints.pop(next(iter(self._checkpoints)))

    def of(self, checkpoint: str) -> HitWindow:
        return self._checkpoints.get(checkpoint, HitWindow())

    def harm(self, now: str, before: str, bound: float, least: int = 50) -> str | None:
        """Why `now` is worse than `before` by more than the bound (a ratio of hit ratios) and more than chance explains
        (two standard errors); None when it is not, or not yet known."""
        new, old = self.of(now), self.of(before)
        if len(new) < least or len(old) < least:
            return None
        error = sqrt(old.ratio * (1 - old.ratio) * (1 / len(new) + 1 / len(old)))
        if new.ratio < bound * old.ratio and old.ratio - new.ratio > 2 * error:
            return f"live hit ratio@10 fell from {old.ratio:.3f} to {new.ratio:.3f} ({len(new)} samples)"
        return None
