"""Exact arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies

from trainer.content.exact_sums import GRID, on_grid, product, unit_on_grid


@settings(deadline=None)
@given(strategies.integers(0, 2**31), strategies.integers(1, 40), strategies.integers(1, 200))
def test_products_equal_integer_arithmetic(seed: int, rows: int, inner: int) -> None:
    """Against Python's integers, which round nothing: so no order of summation can give anything else."""
    random = np.random.default_rng(seed)
    x_NI, w_IO = on_grid(random.standard_normal((rows, inner))), on_grid(random.standard_normal((inner, 3)))
    whole = (x_NI * GRID).astype(np.int64).astype(object) @ (w_IO * GRID).astype(np.int64).astype(object)
    np.testing.assert_array_equal(product(x_NI, w_IO), (whole / GRID**2).astype("f8"))


def test_strange_numbers_come_onto_the_grid() -> None:
    assert on_grid(np.array([np.nan, np.inf, -np.inf, 1e9, 2**-15 * 0.9])).tolist() == [
        0.0,
        1024.0,
        -1024.0,
        1024.0,
        0.0,
    ]


def test_numbers_too_large_to_be_exact_are_refused() -> None:
    with pytest.raises(AssertionError, match="too large"):
        product(np.full((1, 100), 1024.0), np.full((100, 1), 1024.0))


def test_unit_rows_are_unit_and_zero_rows_stay() -> None:
    rows = unit_on_grid(np.array([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.0, 0.0]], atol=1e-4)
