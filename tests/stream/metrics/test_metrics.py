"""Metrics have the names of docs/contracts.md, bounded labels, and never understate."""

from __future__ import annotations

import threading

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from stream.metrics.metrics import Metrics
from tests.stream.metrics.exposition import FakeClock, scrape

CONTRACT_NAMES = {
    "sidestream_upload_to_semantic_id_seconds": "histogram",
    "sidestream_upload_to_recommendable_seconds": "histogram",
    "sidestream_engagement_to_embedding_seconds": "histogram",
    "sidestream_serving_model_data_age_seconds": "gauge",
    "sidestream_checkpoint_age_seconds": "gauge",
    "sidestream_codebook_age_seconds": "gauge",
    "sidestream_events": "counter",
    "sidestream_dead_letters": "counter",
    "sidestream_dropped_values": "counter",
    "sidestream_foreign_records": "counter",
    "sidestream_consumer_lag": "gauge",
    "sidestream_canaries": "counter",
    "sidestream_passages": "counter",
    "sidestream_objective_seconds": "gauge",
    "sidestream_objective_lag_events": "gauge",
    "sidestream_objective_late_ratio": "gauge",
    "sidestream_canary_age_seconds": "gauge",
    "sidestream_canaries_missing": "gauge",
    "sidestream_canary_overdue_after_seconds": "gauge",
    "sidestream_recommend_seconds": "histogram",
    "sidestream_recommend_requests": "counter",
    "sidestream_peer_failures": "counter",
    "sidestream_copy_answers": "counter",
    "sidestream_trace_spans": "counter",
    "sidestream_malformed_traceparents": "counter",
    "sidestream_late_parts": "counter",
    "sidestream_cached_answers": "counter",
    "sidestream_fallback_answers": "counter",
    "sidestream_table_requests": "counter",
    "sidestream_table_cpu_seconds": "counter",
    "sidestream_table_age_seconds": "histogram",
    "sidestream_table_lists": "gauge",
    "sidestream_table_bytes": "gauge",
    "sidestream_swaps": "counter",
    "sidestream_watch_rollbacks": "counter",
    "sidestream_swap_pause_seconds": "histogram",
    "sidestream_live_hit_ratio": "gauge",
    "sidestream_live_items": "gauge",
    "sidestream_unknown_items": "gauge",
    "sidestream_unknown_item_engagements": "counter",
    "sidestream_expired_rows": "counter",
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
    metrics.spans("exported", 5)
    metrics.malformed_traceparent()
    series = scrape(metrics)
    assert series['sidestream_trace_spans_total{result="exported"}'] == 5
    assert series['sidestream_trace_spans_total{result="dropped"}'] == 0
    assert series["sidestream_malformed_traceparents_total{}"] == 1
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


def test_rate_counts_events_a_second(metrics: Metrics, clock: FakeClock) -> None:
    for _ in range(60):
        metrics.absorbed("engagements", 200)
        clock.now += 0.5
    assert metrics.snapshot()["events_per_s"]["engagements"] == pytest.approx(400, rel=0.1)
    clock.now += 60
    assert "engagements" not in metrics.snapshot()["events_per_s"]


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


def test_dropped_values_are_counted_by_field(metrics: Metrics) -> None:
    metrics.dropped("uploads", ["tags", "tags", "category"])
    assert scrape(metrics)['sidestream_dropped_values_total{field="tags",topic="uploads"}'] == 2


def test_foreign_records_are_counted_by_topic_from_zero(metrics: Metrics) -> None:
    assert scrape(metrics)['sidestream_foreign_records_total{topic="item-states"}'] == 0
    metrics.foreign_record("item-states")
    metrics.foreign_record("somebody-elses")
    assert scrape(metrics)['sidestream_foreign_records_total{topic="item-states"}'] == 1
    assert scrape(metrics)['sidestream_foreign_records_total{topic="other"}'] == 1


def test_canaries_that_were_sent_or_not_are_counted_from_zero(metrics: Metrics) -> None:
    assert scrape(metrics)['sidestream_canaries_total{result="failed",topic="uploads"}'] == 0
    metrics.canary("uploads", "failed")
    assert scrape(metrics)['sidestream_canaries_total{result="failed",topic="uploads"}'] == 1
