"""Latencies: how long answers took between two looks, from the process's own Prometheus histogram.

Invariant: nothing understates. A quantile is the upper edge of its bucket; beyond the last edge it is all the time that
these answers took together, of which none can have taken more. Without answers there is no quantile.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from prometheus_client import CollectorRegistry

ANSWERING = "sidestream_recommend_seconds"
REQUESTS = "sidestream_recommend_requests_total"
FAULTS = ("overloaded", "error")
"""Results of requests that got no answer, and not by their own fault."""


class Latencies:
    """Of one registry. Each look speaks for the time since the one before."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._buckets: dict[float, float] = {}
        self._sum_s = 0.0
        self._results: dict[str, float] = {}
        self.look(1.0)

    def look(self, passed_s: float) -> dict[str, float | None]:
        """`p50_s` and `p99_s` of the answers of the last `passed_s`; how many a second came (`requests_per_s`), were
        `degraded_per_s`, and got no answer (`failed_per_s`)."""
        buckets, sum_s, results = self._read()
        new = {edge: count - self._buckets.get(edge, 0.0) for edge, count in sorted(buckets.items())}
        came = {result: count - self._results.get(result, 0.0) for result, count in results.items()}
        longest_s = sum_s - self._sum_s
        self._buckets, self._sum_s, self._results = buckets, sum_s, results
        return {
            "p50_s": _quantile_s(new, 0.5, longest_s),
            "p99_s": _quantile_s(new, 0.99, longest_s),
            "requests_per_s": sum(came.values()) / passed_s,
            "degraded_per_s": came.get("degraded", 0.0) / passed_s,
            "failed_per_s": sum(came.get(result, 0.0) for result in FAULTS) / passed_s,
        }

    def _read(self) -> tuple[dict[float, float], float, dict[str, float]]:
        """Cumulative buckets of all tasks, the sum of all, and requests by result."""
        buckets: dict[float, float] = {}
        results: dict[str, float] = {}
        sum_s = 0.0
        for name, labels, value in self._samples():
            if name == f"{ANSWERING}_bucket":
                edge = float(labels["le"])
                buckets[edge] = buckets.get(edge, 0.0) + value
            elif name == f"{ANSWERING}_sum":
                sum_s += value
            elif name == REQUESTS:
                results[labels["result"]] = results.get(labels["result"], 0.0) + value
        return buckets, sum_s, results

    def _samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        wanted = self._registry.restricted_registry([ANSWERING, f"{ANSWERING}_bucket", f"{ANSWERING}_sum", REQUESTS])
        for family in wanted.collect():
            for sample in family.samples:
                yield sample.name, sample.labels, sample.value


def _quantile_s(cumulative: dict[float, float], quantile: float, longest_s: float) -> float | None:
    total = cumulative.get(math.inf, 0.0)
    if total <= 0:
        return None
    edge = next(edge for edge, count in cumulative.items() if count >= quantile * total)
    return min(edge, longest_s)
