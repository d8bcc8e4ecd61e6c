"""Freshness: how old an event is when it reaches a stage, as a Prometheus histogram with a recent window.

Prometheus keeps the whole history; a person (and `sidestream status`) wants the last five minutes. Ages arrive in
bulk: all events of a frame share one broker timestamp, so `observe(age_s, n)` costs the same for one event and for 200.

Invariant (docs/architecture.md, 6): nothing here understates. A quantile is the upper edge of its bucket, and beyond
the last edge the largest age seen; a stage that saw no event has no quantile, not zero.
"""

from __future__ import annotations

import bisect
import math
import threading
import time
from collections.abc import Iterator
from itertools import accumulate

import numpy as np
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from stream.metrics.recent_counts import Clock, RecentCounts

EDGES_S: tuple[float, ...] = (
    *(0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8),
    *(1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.5, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 300.0, 900.0, 3600.0),
)
"""Upper bucket edges, seconds: within a third of each other from 10 ms to 60 s; every default objective is an edge."""

SLOTS, SLOT_S = 60, 5.0


class FreshnessHistogram(Collector):
    """One freshness metric. `observe` may be called from any thread."""

    def __init__(self, name: str, help_text: str, clock: Clock = time.monotonic) -> None:
        self.name = name
        self._help = help_text
        self._lock = threading.Lock()
        self._counts = [0] * (len(EDGES_S) + 1)  # by bucket, the last one is +Inf; of a list one is told at less cost
        self._sum_s = 0.0
        self._largest_s = 0.0
        self._recent = RecentCounts(len(EDGES_S) + 1, slots=SLOTS, slot_s=SLOT_S, clock=clock)

    def observe(self, age_s: float, n: int = 1) -> None:
        """`n` events reached the stage `age_s` after their broker timestamp; a clock ahead of ours counts as 0."""
        if n < 1:
            return
        age_s = max(0.0, age_s)
        bucket = bisect.bisect_left(EDGES_S, age_s)
        with self._lock:
            self._counts[bucket] += n
            self._sum_s += age_s * n
            self._largest_s = max(self._largest_s, age_s)
            self._recent.add(bucket, n)

    def recent(self) -> dict[str, float | int | None]:
        """`count`, `p50_s`, `p99_s` (None without events) and `window_s` of the recent window."""
        with self._lock:
            counts_B, largest_s = self._recent.total_W(), self._largest_s
            window_s = self._recent.window_s()
        return {
            "count": int(counts_B.sum()),
            "p50_s": quantile_s(counts_B, 0.5, largest_s),
            "p99_s": quantile_s(counts_B, 0.99, largest_s),
            "window_s": round(window_s, 1),
        }

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The cumulative histogram in Prometheus' form."""
        with self._lock:
            cumulative, sum_s = list(accumulate(self._counts)), self._sum_s
        edges = [*(str(edge) for edge in EDGES_S), "+Inf"]
        buckets = [(edge, float(count)) for edge, count in zip(edges, cumulative, strict=True)]
        yield HistogramMetricFamily(self.name, self._help, buckets=buckets, sum_value=sum_s)


def quantile_s(counts_B: np.ndarray, quantile: float, largest_s: float) -> float | None:
    """An upper bound of the quantile from bucket counts: the edge of the bucket it lies in, seconds."""
    total = int(counts_B.sum())
    if total == 0:
        return None
    rank = max(1, math.ceil(quantile * total))
    bucket = int(np.searchsorted(counts_B.cumsum(), rank))
    return min(EDGES_S[bucket], largest_s) if bucket < len(EDGES_S) else largest_s
