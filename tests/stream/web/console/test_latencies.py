"""How long answers took between two looks: nothing understates, and nothing is not zero."""

from __future__ import annotations

import pytest

from stream.metrics.metrics import Metrics
from stream.web.console.latencies import Latencies


def test_a_look_speaks_for_the_time_since_the_one_before() -> None:
    metrics = Metrics()
    metrics.recommended("home", "ok", 4.0)
    latencies = Latencies(metrics.registry)
    for _ in range(98):
        metrics.recommended("home", "ok", 0.004)
    metrics.recommended("next", "degraded", 0.04)
    metrics.recommended("next", "error", 0.04)
    found = latencies.look(10.0)
    assert (found["p50_s"], found["p99_s"]) == (0.005, 0.05), "the upper edges of their buckets"
    assert (found["requests_per_s"], found["degraded_per_s"], found["failed_per_s"]) == (10.0, 0.1, 0.1)


def test_without_answers_there_is_no_latency_and_a_known_rate() -> None:
    found = Latencies(Metrics().registry).look(5.0)
    assert found["p50_s"] is found["p99_s"] is None
    assert found["requests_per_s"] == 0.0


def test_beyond_the_last_edge_nothing_understates() -> None:
    metrics = Metrics()
    latencies = Latencies(metrics.registry)
    metrics.recommended("home", "ok", 31.0)
    assert latencies.look(5.0)["p99_s"] == pytest.approx(31.0)
