"""Drift is a clear fall, and nothing else."""

from __future__ import annotations

import numpy as np

from trainer.runs.causes.drift import Drift


def feed(drift: Drift, ratio: float, outcomes: int, seed: int = 0) -> None:
    for hit in np.random.default_rng(seed).random(outcomes) < ratio:
        drift.observe(bool(hit), 10.0)


def test_a_clear_fall_is_drift_and_a_new_checkpoint_starts_anew() -> None:
    drift = Drift(0.7, window=300)
    feed(drift, 0.4, 300)
    assert not drift.drifted()
    feed(drift, 0.1, 300, seed=1)
    assert drift.drifted()
    drift.restart(5.0)
    assert not drift.drifted()


def test_what_was_before_the_checkpoint_does_not_count() -> None:
    drift = Drift(0.7, window=50)
    drift.restart(20.0)
    feed(drift, 0.9, 100)
    feed(drift, 0.0, 100)
    assert not drift.drifted()


def test_chance_and_small_falls_are_none() -> None:
    for seed in range(20):
        drift = Drift(0.7, window=300)
        feed(drift, 0.3, 300, seed)
        feed(drift, 0.27, 600, seed + 100)
        assert not drift.drifted()


def test_hitting_more_is_no_drift() -> None:
    drift = Drift(0.7, window=50)
    feed(drift, 0.0, 50)
    feed(drift, 0.9, 50)
    assert not drift.drifted()
