"""A share of the time for work that can be left out: what has been taken is paid for by the time that passes.

Invariant: over any stretch much longer than `burst_s`, the work takes at most its share of it and one piece more.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class TimeShare:
    """`free` says whether a piece of work may begin; the piece is a `with` block. Unused time is saved up to `burst_s`
    seconds of work."""

    def __init__(self, share: float, burst_s: float = 0.05, clock: Callable[[], float] = time.perf_counter) -> None:
        self._share = share
        self._burst_s = burst_s
        self._clock = clock
        self._saved_s = 0.0
        self._seen_at = clock()
        self._began = 0.0

    def free(self) -> bool:
        """Whether enough time has passed since the last pieces of work."""
        now = self._clock()
        self._saved_s = min(self._burst_s, self._saved_s + (now - self._seen_at) * self._share)
        self._seen_at = now
        return self._saved_s > 0.0

    def __enter__(self) -> None:
        self._began = self._clock()

    def __exit__(self, *_: object) -> None:
        self._saved_s -= self._clock() - self._began
