"""Answerers: the workers that have said lately that they answer.

They are known by what they tell the owners of partitions, every few seconds, so nobody has to be configured.

Invariant: one that has been silent for `SILENT_S` is not named.
"""

from __future__ import annotations

import time
from collections.abc import Callable

SILENT_S = 15.0
MOST = 1000


class Answerers:
    """Addresses, the longest silent first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard_at: dict[str, float] = {}

    def heard(self, url: str) -> None:
        """A worker has said that it answers at this address."""
        self._heard_at.pop(url, None)
        self._heard_at[url] = self._clock()
        while len(self._heard_at) > MOST:
            del self._heard_at[next(iter(self._heard_at))]

    def urls(self) -> list[str]:
        """Those that are there now."""
        least = self._clock() - SILENT_S
        self._heard_at = {url: at for url, at in self._heard_at.items() if at > least}
        return list(self._heard_at)
