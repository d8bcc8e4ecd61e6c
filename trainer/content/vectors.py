"""Vectors of content: unit rows, and the parts of items stacked by modality.

Invariant: a row is scaled by itself alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

NO_CONTENT = "id"
"""The part of an item that came with no content at all: a fixed direction of its id, so that such items have IDs of
their own instead of all sharing one (they mean nothing before behaviour does)."""


def unit_rows(x_ND: np.ndarray) -> np.ndarray:
    """Rows of length 1 (float32); a row of zeros stays one."""
    # Scaled by the largest entry first: squares of large given numbers would overflow.
    wide_ND = np.asarray(x_ND, "f8")
    wide_ND = wide_ND / np.maximum(np.abs(wide_ND).max(axis=1, keepdims=True, initial=0.0), 1e-300)
    norm_N1 = np.sqrt((wide_ND * wide_ND).sum(axis=1, keepdims=True))
    unit_ND: np.ndarray = (wide_ND / np.maximum(norm_N1, 1e-12)).astype("f4")
    return unit_ND


def stack_parts(parts: Sequence[Mapping[str, np.ndarray]], name: str, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows that have modality `name` at `width`: their indices, and their vectors (float64)."""
    have = [index for index, part in enumerate(parts) if name in part and len(part[name]) == width]
    rows = np.array([parts[index][name] for index in have], dtype="f8").reshape(len(have), width)
    return np.asarray(have, dtype=np.int64), rows
