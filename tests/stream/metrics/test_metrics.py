"""Metrics have the names of docs/contracts.md, bounded labels, and never understate."""

from __future__ import annotations

import itertools
import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from store.settings import Freshness
from stream.metrics.freshness import EDGES_S, quantile_s
from stream.metrics.metrics import Metrics
from stream.metrics.recent_counts import RecentCounts
from stream.metrics.status import report

CONTRACT_NAMES = {
    "sidestream_upload_to_semantic_id_seconds": "histogram",
    "sidestream_upload_to_recommendable_seconds": "histogram",
    "sidestream_engagement_to_embedding_seconds": "histogram",
    "sidestream_serving_model_data_age_seconds": "gauge",
    "sidestream_checkpoint_age_seconds": "gauge",
    "sidestream_codebook_age_seconds": "gauge",
    "sidestream_events": "counter",
    "sidestream_dead_letters": "counter",
    "sidestream_consumer_lag": "gauge",
    "sidestream_recommend_seconds": "histogram",
    "sidestream_recommend_requests": "counter",
    "sidestream_peer_failures": "counter",
    "sidestream_swaps": "counter",
    "sidestream_swap_pause_seconds": "histogram",
    "sidestream_live_hit_ratio": "gauge",
    "sidestream_live_items": "gauge",
    "sidestream_ranker_calibration_error": "gauge",
    "sidestream_exploration_coverage_ratio": "gauge",
    "sidestream_shown_lines": "counter",
    "sidestream_shown_line_hits": "counter",
    "sidestream_semantic_id_collision_ratio": "gauge",
    "sidestream_codebook_perplexity": "gauge",
    "sidestream_quantization_error": "gauge",
    "sidestream_semantic_id_distinct_ratio": "gauge",
    "sidestream_semantic_id_largest_collision": "gauge",
    "sidestream_codebook_dead_codes": "gauge",
    "sidestream_codebook_error": "gauge",
    "sidestream_codebook_drift": "gauge",
    "sidestream_codebook_churn": "gauge",
}


class FakeClock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def scrape(metrics: Metrics) -> dict[str, float]:
    """Series in Prometheus' notation → value, through Prometheus' own parser."""
    series = {}
    for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            series[f"{sample.name}{{{labels}}}"] = sample.value
    return series


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def metrics(clock: FakeClock) -> Metrics:
    return Metrics(clock=clock, wall_clock=clock)


def test_names_and_types_are_those_of_the_design(metrics: Metrics) -> None:
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    found = {family.name: family.type for family in families if not family.name.endswith("_created")}
    assert found == CONTRACT_NAMES


def test_a_worker_exports_nothing_of_what_only_the_trainer_knows(metrics: Metrics) -> None:
    exported = {name.partition("{")[0] for name in scrape(metrics)}
    assert not [name for name in exported if name.startswith(("sidestream_training_runs", "sidestream_gate"))]


def test_what_happened_is_counted(metrics: Metrics) -> None:
    metrics.absorbed("engagements", 200)
    metrics.duplicated("engagements", 3)
    metrics.refused("uploads", "not_json")
    metrics.swapped("swapped", 0.0002)
    metrics.recommended("home", "ok", 0.012)
    series = scrape(metrics)
    assert series['sidestream_events_total{result="absorbed",topic="engagements"}'] == 200
    assert series['sidestream_events_total{result="duplicate",topic="engagements"}'] == 3
    assert series['sidestream_events_total{result="refused",topic="uploads"}'] == 1
    assert series['sidestream_dead_letters_total{reason="not_json"}'] == 1
    assert series['sidestream_swaps_total{result="swapped"}'] == 1
    assert series["sidestream_swap_pause_seconds_count{}"] == 1
    assert series['sidestream_recommend_requests_total{result="ok",task="home"}'] == 1
    assert series['sidestream_recommend_seconds_bucket{le="0.015",task="home"}'] == 1


def test_labels_are_bounded(metrics: Metrics) -> None:
    for n in range(50):
        metrics.absorbed(f"topic-{n}")
        metrics.refused("uploads", f"reason-{n}")
        metrics.recommended(f"task-{n}", f"result-{n}", 0.1)
        metrics.swapped(f"result-{n}")
        metrics.live_hits(10, f"slice-{n}", 0.5)
    series = scrape(metrics)
    assert series['sidestream_events_total{result="absorbed",topic="other"}'] == 50
    assert series['sidestream_dead_letters_total{reason="other"}'] == 50
    assert not [name for name in series if "-7" in name]


def test_counters_that_alerts_watch_start_at_zero(metrics: Metrics) -> None:
    series = scrape(metrics)
    assert series['sidestream_swaps_total{result="failed"}'] == 0
    assert series['sidestream_dead_letters_total{reason="oversized"}'] == 0


def test_a_gauge_that_nobody_set_is_absent(metrics: Metrics) -> None:
    unset = ("sidestream_checkpoint_age_seconds{}", "sidestream_live_items{}", "sidestream_quantization_error{}")
    assert not set(unset) & set(scrape(metrics))
    metrics.live_items(0)
    assert scrape(metrics)["sidestream_live_items{}"] == 0


def test_ages_grow_while_nothing_happens(metrics: Metrics, clock: FakeClock) -> None:
    metrics.serving(data_until=900.0, published_at=960.0)
    metrics.codebook_serves(trained_at=500.0)
    clock.now = 1100.0
    series = scrape(metrics)
    assert series["sidestream_serving_model_data_age_seconds{}"] == 200
    assert series["sidestream_checkpoint_age_seconds{}"] == 140
    assert series["sidestream_codebook_age_seconds{}"] == 600


def test_lag_of_a_lost_partition_is_forgotten(metrics: Metrics) -> None:
    metrics.lag({("uploads", 0): 5, ("uploads", 1): 7})
    assert metrics.snapshot()["lag"] == {"uploads": 12}
    metrics.lag({("uploads", 1): 2})
    assert metrics.snapshot()["lag"] == {"uploads": 2}
    assert 'sidestream_consumer_lag{partition="0",topic="uploads"}' not in scrape(metrics)


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


def test_rate_counts_events_a_second(metrics: Metrics, clock: FakeClock) -> None:
    for _ in range(60):
        metrics.absorbed("engagements", 200)
        clock.now += 0.5
    assert metrics.snapshot()["events_per_s"]["engagements"] == pytest.approx(400, rel=0.1)
    clock.now += 60
    assert "engagements" not in metrics.snapshot()["events_per_s"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 9)), max_size=60))
def test_recent_counts_hold_what_is_young_and_nothing_old(steps: list[tuple[float, int]]) -> None:
    clock = FakeClock()
    recent = RecentCounts(1, slots=4, slot_s=1.0, clock=clock)
    log: list[tuple[float, int]] = []
    for pause_s, n in steps:
        clock.now += pause_s
        recent.add(0, n)
        log.append((clock.now, n))
    total = int(recent.total_W()[0])
    assert sum(n for at, n in log if clock.now - at < 3.0) <= total <= sum(n for at, n in log if clock.now - at < 4.0)


def test_status_judges_every_stage_and_claims_nothing_without_evidence(metrics: Metrics, clock: FakeClock) -> None:
    empty = report(metrics.snapshot(), Freshness())
    assert empty["verdict"] == "unknown"
    assert {stage["verdict"] for stage in empty["stages"]} == {"unknown"}
    metrics.became_recommendable(0.1)
    metrics.embedded(0.45)
    metrics.serving(data_until=clock.now - 7 * 3600, published_at=clock.now - 60)
    metrics.lag({("engagements", 0): 20_000})
    status = report(metrics.snapshot(), Freshness())
    verdicts = {stage["stage"]: stage["verdict"] for stage in status["stages"]}
    assert verdicts == {
        "upload_to_semantic_id": "unknown",
        "upload_to_recommendable": "met",
        "engagement_to_embedding": "close",
        "serving_model_data_age": "missed",
        "checkpoint_age": "met",
        "codebook_age": "unknown",
    }
    assert status["lag"]["engagements"]["verdict"] == "missed"
    assert status["verdict"] == "missed"


def test_codebook_health_is_reported(metrics: Metrics) -> None:
    metrics.codebook_measured(perplexities=[200.0, 150.0], error=0.2, collision_ratio=0.01)
    health = report(metrics.snapshot(), Freshness())["codebook_health"]
    assert health == {"collision_ratio": 0.01, "perplexity": [200.0, 150.0], "quantization_error": 0.2}


def test_threads_lose_no_count(metrics: Metrics) -> None:
    def work() -> None:
        for _ in range(2000):
            metrics.embedded(0.1, 3)
            metrics.absorbed("engagements", 2)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    series = scrape(metrics)
    assert series["sidestream_engagement_to_embedding_seconds_count{}"] == 24_000
    assert series['sidestream_events_total{result="absorbed",topic="engagements"}'] == 16_000
