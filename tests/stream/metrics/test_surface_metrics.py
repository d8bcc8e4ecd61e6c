"""Metrics of what answers went without: from the start, by part and by task."""

from __future__ import annotations

from stream.metrics.metrics import Metrics
from tests.stream.metrics.exposition import scrape


def test_what_was_late_and_what_stood_in_for_it(metrics: Metrics) -> None:
    metrics.surfaces.late("model")
    metrics.surfaces.fell_back("home", "failed")
    metrics.surfaces.cached("home")
    series = scrape(metrics)
    assert series['sidestream_cached_answers_total{task="home"}'] == 1
    assert series['sidestream_cached_answers_total{task="next"}'] == 0
    assert series['sidestream_late_parts_total{part="model"}'] == 1
    assert series['sidestream_late_parts_total{part="ranking"}'] == 0
    assert series['sidestream_fallback_answers_total{cause="failed",task="home"}'] == 1
    assert series['sidestream_fallback_answers_total{cause="late",task="similar"}'] == 0
