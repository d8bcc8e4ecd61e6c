"""Exact arithmetic: linear maps whose results no batch size, thread count, BLAS or processor can change by a bit.

A float sum depends on its order, and a matrix product's order depends on the shape of the batch: the same item could
get another code in another batch. Here every number is a multiple of 2**-14 held in float64: a product is a multiple of
2**-28, and while sums stay below 2**24 each intermediate fits the 53 bits of a float64. Nothing is ever rounded inside
a product, so order cannot matter. Rounding happens between the products, element by element.

Invariant: all arrays given to `product` are on the grid (`on_grid`) and bounded, so its result is exact.
"""

from __future__ import annotations

import numpy as np

GRID = float(2**14)
_BOUND = float(2**24)


def on_grid(x: np.ndarray) -> np.ndarray:
    """`x` as float64 rounded to multiples of 2**-14, within ±1024; NaN becomes 0."""
    rounded = np.array(x, "f8")  # in place from here on: this is most of what assignment costs
    rounded[np.isnan(rounded)] = 0.0
    np.clip(rounded, -1024.0, 1024.0, out=rounded)
    rounded *= GRID
    np.rint(rounded, out=rounded)
    rounded *= 1.0 / GRID
    return rounded


def product(x_NI: np.ndarray, w_IO: np.ndarray) -> np.ndarray:
    """x @ w, exactly (shape N, O); both on the grid."""
    if len(x_NI) == 0:
        return np.zeros((0, w_IO.shape[1]))
    assert np.abs(x_NI).max() * np.abs(w_IO).sum(axis=0).max(initial=0.0) < _BOUND, "numbers too large to be exact"
    product_NO: np.ndarray = x_NI @ w_IO
    return product_NO


def unit_on_grid(x_ND: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, on the grid; zero rows stay zero. The sum is exact; root and division are IEEE's."""
    x_ND = on_grid(x_ND)
    norm_N1 = np.sqrt(np.square(x_ND).sum(axis=1, keepdims=True))
    return on_grid(x_ND / np.where(norm_N1 > 0, norm_N1, 1.0))
