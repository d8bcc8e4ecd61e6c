"""Objectives are exported as the settings have them, and every event counts as in time or late by them."""

from __future__ import annotations

from store.settings import Freshness
from stream.metrics.metrics import Metrics
from tests.stream.metrics.exposition import scrape

STRICT = Freshness(upload_to_recommendable_s=0.37, model_data_age_s=60.0, input_lag_events=7, late_share=0.002)


def test_rules_compare_with_the_settings() -> None:
    series = scrape(Metrics(freshness=STRICT))
    assert series['sidestream_objective_seconds{stage="upload_to_recommendable"}'] == 0.37
    assert series['sidestream_objective_seconds{stage="checkpoint_age"}'] == 60
    assert series['sidestream_objective_seconds{stage="codebook_age"}'] == Freshness().codebook_age_s
    assert series["sidestream_objective_lag_events{}"] == 7
    assert series["sidestream_objective_late_ratio{}"] == 0.002


def test_the_share_of_late_events_is_exact_whatever_the_objective() -> None:
    """0.37 s is no edge of the histogram."""
    metrics = Metrics(freshness=STRICT)
    metrics.became_recommendable(0.36, 97)
    metrics.became_recommendable(0.38, 3)
    series = scrape(metrics)
    assert series['sidestream_passages_total{result="late",stage="upload_to_recommendable"}'] == 3
    assert series['sidestream_passages_total{result="in_time",stage="upload_to_recommendable"}'] == 97
    assert series['sidestream_passages_total{result="late",stage="engagement_to_embedding"}'] == 0
