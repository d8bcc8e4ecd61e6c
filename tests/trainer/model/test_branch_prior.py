"""The prior counts exactly, forgets the target, and survives the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.model.branch_prior import SMOOTHING, BranchPrior

WIDTHS = (3, 4, 2)
paths = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=30)


def key_of(path: tuple[int, ...]) -> int:
    key = 0
    for code, width in zip(path, WIDTHS, strict=False):
        key = key * width + code
    return key


def counted(taken: list[tuple[int, int, int]]) -> BranchPrior:
    """Plain counts."""
    return BranchPrior.over_time(np.array(taken, int).reshape(-1, 3), WIDTHS, half_life=1e9, moments=1).at(1)


@given(paths, st.integers(0, 2))
def test_rows_and_branches_are_the_counts(taken: list[tuple[int, int, int]], level: int) -> None:
    prior = counted(taken)
    for prefix in {path[:level] for path in taken}:
        counts = [sum(path[: level + 1] == (*prefix, code) for path in taken) for code in range(WIDTHS[level])]
        want = np.log1p(np.array(counts) / SMOOTHING)
        assert prior.rows(level, np.array([key_of(prefix)]))[0] == pytest.approx(want, rel=1e-5)
        keys = np.array([key_of((*prefix, code)) for code in range(WIDTHS[level])])
        assert prior.branches(level, keys) == pytest.approx(want, rel=1e-5)


@given(paths, st.integers(1, 6))
def test_a_moment_knows_what_came_before_it_and_nothing_else(taken: list[tuple[int, int, int]], moments: int) -> None:
    prior = BranchPrior.over_time(np.array(taken), WIDTHS, half_life=1e9, moments=moments)
    for moment in range(moments + 1):
        before = [path for place, path in enumerate(taken) if place * moments // len(taken) < moment]
        alone = counted(before)
        wanted = np.array(taken)
        moment_N = np.full(len(wanted), moment)
        together = prior.path_rows(wanted, moment_N)
        assert all(
            np.allclose(x, y, atol=1e-5)
            for x, y in zip(together, alone.path_rows(wanted, np.zeros(len(wanted), int)), strict=True)
        )
        assert all(np.array_equal(x, y) for x, y in zip(prior.at(moment).keys, alone.keys, strict=True))


def test_counts_halve_with_the_half_life() -> None:
    taken = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]])
    prior = BranchPrior.over_time(taken, WIDTHS, half_life=3.0, moments=2).at(2)
    assert prior.weights[0][0] == pytest.approx(0.5)


def test_what_was_never_taken_is_alike() -> None:
    empty = BranchPrior.empty(WIDTHS)
    assert (empty.rows(1, np.array([0, 2])) == 0).all()
    assert (empty.branches(2, np.array([0, 23])) == 0).all()
    prior = counted([(0, 0, 0)])
    assert (prior.rows(1, np.array([2])) == 0).all()


def test_a_saved_prior_is_the_same(tmp_path: Path) -> None:
    prior = counted([(0, 1, 0), (2, 3, 1), (2, 3, 1)])
    prior.save(tmp_path)
    again = BranchPrior.load(tmp_path, WIDTHS)
    assert all(
        np.array_equal(x, y) for x, y in zip(prior.keys + prior.weights, again.keys + again.weights, strict=True)
    )
    assert prior.branches(2, np.array([key_of((2, 3, 1))]))[0] == pytest.approx(np.log1p(2 / SMOOTHING))
