"""Calibration: what is predicted comes true as often, whatever the scale of the scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.ranking.calibration import LEAST_SLOPE, Platt, calibration_error, platt, sigmoid


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.3, -4.0), (2.5, 3.0)])
def test_platt_finds_the_line_that_made_the_outcomes(slope: float, intercept: float) -> None:
    rng = np.random.default_rng(0)
    score_B = rng.normal(1.0, 1.5, 40_000)
    label_B = (rng.random(40_000) < sigmoid(slope * score_B + intercept)).astype(float)
    found = platt(score_B, label_B)
    assert (found.slope, found.intercept) == pytest.approx((slope, intercept), abs=0.15)
    assert calibration_error(found(score_B), label_B) < 0.01
    assert calibration_error(sigmoid(score_B), label_B) > calibration_error(found(score_B), label_B)


def test_a_sampled_negative_stands_for_all_that_were_as_likely_to_be_drawn() -> None:
    rng = np.random.default_rng(1)
    score_B = rng.normal(0.0, 1.0, 60_000)
    label_B = (rng.random(60_000) < sigmoid(score_B - 4.0)).astype(float)
    drawn_B = (label_B > 0) | (rng.random(60_000) < 0.1)
    weight_B = np.where(label_B > 0, 1.0, 10.0)[drawn_B]
    found = platt(score_B[drawn_B], label_B[drawn_B], weight_B)
    assert float(found(score_B).mean()) == pytest.approx(float(label_B.mean()), rel=0.1)


scores = st.lists(st.floats(-30, 30), min_size=1, max_size=30)


@given(scores, st.data())
def test_it_never_turns_an_order_round_and_is_always_a_probability(scores: list[float], data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    found = platt(np.array(scores), np.array(labels, float))
    assert found.slope >= LEAST_SLOPE
    p_B = found(np.sort(scores))
    assert np.isfinite(p_B).all()
    assert ((p_B >= 0) & (p_B <= 1)).all()
    assert (np.diff(p_B) >= 0).all()
    assert 0.0 <= calibration_error(p_B, np.array(labels, float)) <= 1.0


def test_without_outcomes_nothing_is_claimed() -> None:
    assert np.isnan(calibration_error(np.zeros(0), np.zeros(0)))
    assert platt(np.zeros(0), np.zeros(0)) == Platt(1.0, 0.0)
