"""Drift: whether the system hits clearly less often than it did when the serving checkpoint was new.

Fed with the live prequential outcomes that scorers publish: was the engaged item among the ten that would have been
shown?

Invariant: without two full windows there is no drift; a fall that chance explains (one-sided, 97.5 %) is none.
"""

from __future__ import annotations

from collections import deque


class Drift:
    """`ratio`: recent hits below this part of the early ones are drift; `window`: outcomes that make up each."""

    def __init__(self, ratio: float, window: int = 400) -> None:
        self._ratio = ratio
        self._window = window
        self._first: list[bool] = []
        self._recent: deque[bool] = deque(maxlen=window)
        self._since_s = 0.0

    def restart(self, since_s: float) -> None:
        """Another checkpoint serves since `since_s` (epoch seconds): its own beginning is what it is compared with."""
        if since_s != self._since_s:
            self._since_s = since_s
            self._first.clear()
            self._recent.clear()

    def observe(self, hit: bool, at_s: float) -> None:
        """One sampled engagement, in the order of the log; those from before the checkpoint do not count."""
        if at_s < self._since_s:
            return
        if len(self._first) < self._window:
            self._first.append(hit)
        else:
            self._recent.append(hit)

    def drifted(self) -> bool:
        """Whether a training run is called for."""
        if len(self._recent) < self._window:
            return False
        then, now = sum(self._first) / self._window, sum(self._recent) / self._window
        error = ((then * (1 - then) * self._ratio**2 + now * (1 - now)) / self._window) ** 0.5
        return bool(now + 1.96 * error < self._ratio * then)
