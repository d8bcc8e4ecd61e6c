"""The report on the model: pairs, the young beside the old, by age; nothing without a model."""

from __future__ import annotations

import pytest

from trainer.evaluation.model_in_replay import ColdOutcome, ModelOutcome, ModelRecord
from trainer.evaluation.model_report import model_report


def record() -> ModelRecord:
    """Of 100 engagements 10 before there was a checkpoint; the model alone hits the even ones, the ranker without it
    every third."""
    outcomes = [
        ModelOutcome(n, n >= 10, 0 if n % 2 == 0 else 40, 0 if n % 3 == 0 else -1, n % 10 == 0, behind=100 + n)
        for n in range(100)
    ]
    cold = [ColdOutcome(n, 0, 0 if n % 2 else 30, 40) for n in range(20)]
    return ModelRecord(
        outcomes, cold, [{"at": 10, "passed": True, "cpu_s": 2.5}, {"at": 50, "passed": True, "cpu_s": 1.0}]
    )


def test_everything_is_told_of_the_engagements_that_a_checkpoint_was_there_for() -> None:
    told = model_report(record(), [0] * 100, [n % 7 for n in range(100)], 10)
    assert told["overall"]["evaluated"] == 90
    assert told["overall"]["alone_hr@10"] == pytest.approx(0.5)
    assert told["overall"]["with_hr@10"] == 1.0
    assert told["overall"]["without_hr@10"] == pytest.approx(1 / 3)
    low, high = told["overall"]["gain_interval"]
    assert told["overall"]["gain"] == pytest.approx(2 / 3)
    assert low < told["overall"]["gain"] < high
    assert told["younger"]["evaluated"] == 9
    assert told["younger"]["share_of_older"] == pytest.approx(1.0 / (36 / 81))
    assert told["cold_within"]["gain"] == pytest.approx(0.5)
    assert told["cold_within"]["chance@10"] == pytest.approx(0.25)
    assert [part["behind"][0] for part in told["by_age"]] == sorted(part["behind"][0] for part in told["by_age"])
    assert told["train_cpu_s"] == 3.5


def test_without_a_model_nothing_is_told() -> None:
    assert model_report(ModelRecord(), [], [], 10) == {}
