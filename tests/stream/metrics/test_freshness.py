"""Freshness never understates, whatever was observed, and a stage without events has no quantile."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.metrics.freshness import EDGES_S, quantile_s
from stream.metrics.metrics import Metrics
from tests.stream.metrics.exposition import FakeClock, scrape


def test_histograms_resolve_ten_milliseconds_to_a_minute() -> None:
    inside = [edge for edge in EDGES_S if 0.01 <= edge <= 60]
    assert inside[0] == 0.01
    assert inside[-1] == 60
    assert max(high / low for low, high in itertools.pairwise(inside)) <= 1.5
    assert {0.5, 1.0} <= set(inside)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1e5), st.integers(1, 300)), min_size=1, max_size=40))
def test_quantiles_never_understate(observed: list[tuple[float, int]]) -> None:
    metrics = Metrics(clock=FakeClock())
    for age_s, n in observed:
        metrics.embedded(age_s, n)
    ages_s = np.sort(np.repeat([age for age, _ in observed], [n for _, n in observed]))
    recent = metrics.snapshot()["freshness"]["engagement_to_embedding"]
    assert recent["count"] == len(ages_s)
    for quantile, name in ((0.5, "p50_s"), (0.99, "p99_s")):
        truth = ages_s[math.ceil(quantile * len(ages_s)) - 1]
        assert truth <= recent[name] <= ages_s[-1]


def test_a_frame_counts_as_its_events(metrics: Metrics) -> None:
    metrics.embedded(0.09, 200)
    series = scrape(metrics)
    assert series['sidestream_engagement_to_embedding_seconds_bucket{le="0.1"}'] == 200
    assert series['sidestream_engagement_to_embedding_seconds_bucket{le="0.08"}'] == 0
    assert series["sidestream_engagement_to_embedding_seconds_sum{}"] == pytest.approx(18.0)


def test_the_window_forgets_and_prometheus_does_not(metrics: Metrics, clock: FakeClock) -> None:
    metrics.became_recommendable(30.0)
    clock.now += 200
    assert metrics.snapshot()["freshness"]["upload_to_recommendable"]["p99_s"] == 30.0
    clock.now += 400
    assert metrics.snapshot()["freshness"]["upload_to_recommendable"]["p99_s"] is None
    assert scrape(metrics)["sidestream_upload_to_recommendable_seconds_count{}"] == 1


def test_no_events_have_no_quantile() -> None:
    assert quantile_s(np.zeros(len(EDGES_S) + 1, dtype=np.int64), 0.5, 0.0) is None
