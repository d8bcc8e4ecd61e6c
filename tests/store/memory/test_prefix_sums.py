"""Prefix sums against a dictionary of all prefixes, which is what they stand for."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from store.memory.prefix_sums import NO_CODE, PrefixSums

PRIOR = 5.0
codes = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), max_size=30)


def padded(rows: list[list[int]]) -> np.ndarray:
    return np.array([row + [NO_CODE] * (4 - len(row)) for row in rows], np.int32).reshape(-1, 4)


def vectors(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(-8, 9, (count, 3)).astype(np.float32)


def mean_by_dictionary(rows: list[list[int]], x_TD: np.ndarray, asked: list[int], own: int | None) -> np.ndarray:
    for length in range(len(asked), 0, -1):
        others = [
            x_TD[place]
            for place, row in enumerate(rows)
            if place != own and len(row) >= length and row[:length] == asked[:length]
        ]
        if others:
            return np.sum(others, axis=0) / (len(others) + PRIOR)
    return np.zeros(3)


@settings(max_examples=50, deadline=None)
@given(rows=codes, asked=codes)
def test_means_are_those_of_the_longest_prefix_with_others(rows: list[list[int]], asked: list[list[int]]) -> None:
    x_TD = vectors(len(rows))
    sums = PrefixSums(padded(rows), x_TD)
    nothing_AD, nobody_A = np.zeros((len(asked), 3), np.float32), np.zeros(len(asked), bool)
    found_AD = sums.means(padded(asked), nothing_AD, nobody_A, PRIOR)
    for found_D, one in zip(found_AD, asked, strict=True):
        np.testing.assert_allclose(found_D, mean_by_dictionary(rows, x_TD, one, None), rtol=1e-6)
    found_TD = sums.means(padded(rows), x_TD, np.ones(len(rows), bool), PRIOR)
    for place, row in enumerate(rows):
        np.testing.assert_allclose(found_TD[place], mean_by_dictionary(rows, x_TD, row, place), rtol=1e-6)


def test_a_prefix_that_tells_no_more_than_the_one_above_is_not_kept() -> None:
    rows = [[1, 2, 3, 4], [1, 2, 3, 5], [2, 0, 0, 0]]
    assert len(PrefixSums(padded(rows), vectors(3))) == 4, "1, 1/2/3/4, 1/2/3/5 and 2"


def test_of_nothing_nothing_is_known() -> None:
    sums = PrefixSums(np.zeros((0, 0), np.int32), np.zeros((0, 3), np.float32))
    assert sums.means(padded([[1, 2]]), np.zeros((1, 3), np.float32), np.zeros(1, bool), PRIOR).tolist() == [[0, 0, 0]]
