"""The broker's clock, as its acknowledgements tell it: when was an event first to go onto the log?

A spilled event bears that time (`store.headers.CAME_AT`), so that a request to forget, a take-down or an edit that came
between is not outlived by it. It is compared with the times at which the broker took other records, so it has to be in
the broker's time, whatever this machine's clock says.

Invariant: of two records of a partition the later one is never dated before the earlier one was taken. Until something
was acknowledged, this machine's clock is believed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from stream.client.spilling.spill import Place


class BrokerClock:
    """Times in milliseconds since the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._ahead_ms = 0
        self._newest: dict[Place, int] = {}

    def told(self, place: Place, timestamp_ms: int) -> None:
        """The broker has just acknowledged a record that it took at that time."""
        self._ahead_ms = timestamp_ms - self.now_ms()
        self._newest[place] = max(timestamp_ms, self._newest.get(place, 0))

    def now_ms(self) -> int:
        """By this machine's clock."""
        return int(self._clock() * 1000)

    def came_at_ms(self, place: Place, published_ms: int) -> int:
        """By the broker's clock, what was published at `published_ms` by this machine's."""
        return max(published_ms + self._ahead_ms, self._newest.get(place, 0))
