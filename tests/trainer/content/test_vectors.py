"""Vectors of content: rows at unit length."""

from __future__ import annotations

import numpy as np

from trainer.content.vectors import unit_rows


def test_unit_rows_survive_extreme_numbers() -> None:
    np.testing.assert_allclose(
        unit_rows(np.array([[1e308, 1e308], [1e-200, 0.0], [0.0, 0.0]])).sum(axis=1), [2**0.5, 1, 0]
    )
