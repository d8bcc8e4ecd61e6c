"""The trainer's metrics: alerts see the first increase, and a gate that measured nothing shows nothing."""

from __future__ import annotations

from prometheus_client import generate_latest

from trainer.runs.metrics import RUN_RESULTS, TrainerMetrics


def test_runs_are_counted_from_zero_and_scores_are_absent_until_measured() -> None:
    metrics = TrainerMetrics()
    text = generate_latest(metrics.registry).decode()
    for result in RUN_RESULTS:
        assert f'sidestream_training_runs_total{{result="{result}"}} 0.0' in text
    assert "sidestream_gate_score{" not in text
    metrics.run_ended("refused")
    metrics.gate_measured({("candidate", "overall"): 0.25})
    text = generate_latest(metrics.registry).decode()
    assert 'sidestream_training_runs_total{result="refused"} 1.0' in text
    assert 'sidestream_gate_score{checkpoint_role="candidate",slice="overall"} 0.25' in text


def test_foreign_records_are_counted_by_topic_from_zero() -> None:
    metrics = TrainerMetrics()
    metrics.foreign_record("checkpoints")
    text = generate_latest(metrics.registry).decode()
    assert 'sidestream_foreign_records_total{topic="checkpoints"} 1.0' in text
    assert 'sidestream_foreign_records_total{topic="semantic-ids"} 0.0' in text
