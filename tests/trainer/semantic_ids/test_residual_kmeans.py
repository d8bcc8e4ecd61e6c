"""Residual k-means: levels that fit, use their codes, come out equal for equal seeds, and keep codes in a refresh."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.content.exact_sums import unit_on_grid
from trainer.semantic_ids.codebook import Level
from trainer.semantic_ids.residual_kmeans import (
    balanced_kmeans,
    fit_levels,
    means,
    plus_plus,
    refit_levels,
    useful_width,
)


def clustered(items: int, clusters: int, seed: int = 0) -> np.ndarray:
    random = np.random.Generator(np.random.PCG64(seed))
    centres_CD = random.standard_normal((clusters, 24))
    return unit_on_grid(centres_CD[random.integers(clusters, size=items)] + 0.3 * random.standard_normal((items, 24)))


def left_over(levels: tuple[Level, ...], x_ND: np.ndarray) -> list[float]:
    """Mean squared length of what each level leaves over."""
    errors = []
    for level in levels:
        x_ND = x_ND - level.points_WD[level.code(x_ND)]
        errors.append(float(np.square(x_ND).sum(axis=1).mean()))
    return errors


def test_every_level_leaves_less_over() -> None:
    x_ND = clustered(2000, 12)
    told: list[tuple[str, float]] = []
    levels = fit_levels(x_ND, [16, 16, 16], steps=8, progress=lambda what, done: told.append((what, done)))
    first, second, third = left_over(levels, x_ND)
    assert 1.0 > first > second > third
    assert [done for _, done in told] == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_codes_are_evenly_used() -> None:
    x_ND = clustered(3000, 3)  # a plain k-means of width 32 would give most codes to the three clusters' middles
    levels = fit_levels(x_ND, [32], steps=10)
    size_W = np.bincount(levels[0].code(x_ND), minlength=32)
    assert size_W.min() > 0
    assert size_W.max() < 6 * size_W.mean()


def test_equal_seeds_give_equal_levels() -> None:
    x_ND = clustered(500, 5)
    one, two, other = (fit_levels(x_ND, [8, 8], seed=seed, steps=4) for seed in (3, 3, 4))
    assert all(np.array_equal(a.points_WD, b.points_WD) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[0].points_WD, other[0].points_WD)


def test_a_refresh_keeps_most_codes_and_serves_new_items_better() -> None:
    old_ND, new_ND = clustered(1500, 8, seed=1), clustered(300, 2, seed=2)
    parents = fit_levels(old_ND, [128, 128], steps=8)  # 3 % of these may move
    both_ND = np.concatenate([old_ND, new_ND])
    levels = refit_levels(both_ND, parents)
    kept = (levels[0].code(old_ND) == parents[0].code(old_ND)).mean()
    assert kept > 0.85
    assert left_over(levels, new_ND)[0] < left_over(parents, new_ND)[0]


def test_as_many_first_codes_are_useful_as_there_are_kinds() -> None:
    random = np.random.default_rng(0)
    assert [useful_width(clustered(1000, kinds), 64) for kinds in (2, 5)] == [2, 8]
    assert useful_width(clustered(3000, 200), 128) == 128
    assert useful_width(unit_on_grid(random.standard_normal((1000, 64))), 60) == 60, "no kinds at all"
    assert useful_width(np.zeros((0, 4)), 9) == useful_width(np.eye(4), 9) == 9


def test_no_items_are_no_error() -> None:
    nothing_ND = np.zeros((0, 6))
    levels = fit_levels(nothing_ND, [4, 4], steps=2)
    assert [level.points_WD.shape for level in levels] == [(4, 6), (4, 6)]
    assert refit_levels(nothing_ND, levels) == levels
    seeds_WD, price_W = balanced_kmeans(nothing_ND, 4, np.random.Generator(np.random.PCG64(0)), 2, 0.1)
    assert not seeds_WD.any()
    assert not price_W.any()


def test_fewer_different_items_than_codes_are_no_error() -> None:
    x_ND = np.repeat(unit_on_grid(np.eye(3)), 5, axis=0)
    levels = fit_levels(x_ND, [8], steps=4)
    assert left_over(levels, x_ND)[0] == pytest.approx(0.0, abs=1e-3)
    assert plus_plus(x_ND.astype("f4"), 8, np.random.Generator(np.random.PCG64(0))).shape == (8, 3)


def test_the_mean_of_a_cluster_without_members_stays() -> None:
    old_WD = np.array([[5.0, 5.0], [7.0, 7.0], [9.0, 9.0]])
    found_WD = means(np.array([[1.0, 3.0], [3.0, 5.0]]), np.array([2, 2]), old_WD)
    assert found_WD.tolist() == [[5.0, 5.0], [7.0, 7.0], [2.0, 4.0]]
