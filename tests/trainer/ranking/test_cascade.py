"""The cascade: what it shows is what all trees would show, and what it leaves behind stays behind."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from trainer.ranking.cascade import STAGES, cascaded

ROWS, COLUMNS = 400, 8
PARAMETERS = {"objective": "regression", "num_leaves": 7, "min_data_in_leaf": 5, "num_threads": 1, "verbose": -1}


@pytest.fixture(scope="module")
def x_RF() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((ROWS, COLUMNS)).astype(np.float32)


@pytest.fixture(scope="module")
def booster(x_RF: np.ndarray) -> lightgbm.Booster:
    label_R = x_RF[:, 0] + 0.5 * np.abs(x_RF[:, 1]) + 0.2 * x_RF[:, 2] * x_RF[:, 3]
    return lightgbm.train(PARAMETERS, lightgbm.Dataset(x_RF, label_R, params={"verbose": -1}), num_boost_round=160)


def test_the_best_are_those_of_all_trees_with_their_scores(booster: lightgbm.Booster, x_RF: np.ndarray) -> None:
    all_R, found_R = booster.predict(x_RF, raw_score=True), cascaded(booster, x_RF, 40)
    best = np.argsort(-found_R)[:10]
    assert best.tolist() == np.argsort(-all_R)[:10].tolist()
    assert found_R[best] == pytest.approx(all_R[best])


def test_who_is_left_behind_is_behind_all_others_in_the_order_of_the_trees_so_far(
    booster: lightgbm.Booster, x_RF: np.ndarray
) -> None:
    found_R = cascaded(booster, x_RF, 40)
    order = np.argsort(-found_R, kind="stable")
    for (after, share), end in zip(STAGES, (ROWS, int(40 * STAGES[0][1])), strict=True):
        left = order[int(40 * share) : end]
        assert (np.diff(booster.predict(x_RF[left], num_iteration=after, raw_score=True)) <= 1e-9).all()
        assert found_R[left].max() < found_R[order[: int(40 * share)]].min()


@pytest.mark.parametrize("best", [ROWS, 2 * ROWS])
def test_where_all_are_wanted_all_trees_judge_all(booster: lightgbm.Booster, x_RF: np.ndarray, best: int) -> None:
    assert cascaded(booster, x_RF, best) == pytest.approx(booster.predict(x_RF, raw_score=True))


def test_few_trees_judge_all(x_RF: np.ndarray) -> None:
    few = lightgbm.train(
        PARAMETERS, lightgbm.Dataset(x_RF, x_RF[:, 0].copy(), params={"verbose": -1}), num_boost_round=10
    )
    assert cascaded(few, x_RF, 5) == pytest.approx(few.predict(x_RF, raw_score=True))


def test_rows_that_are_alike_are_told_apart_by_who_went_on(booster: lightgbm.Booster, x_RF: np.ndarray) -> None:
    same_RF = np.repeat(x_RF[:1], ROWS, axis=0)
    found_R = cascaded(booster, same_RF, 40)
    assert np.argsort(-found_R, kind="stable")[:40].tolist() == list(range(40))
    assert np.isfinite(found_R).all()
