"""Neighbours: unit vectors by place in one matrix, and the nearest of them to a vector.

Exact: one float32 product over all rows. At 100,000 rows of 64 numbers it takes about a millisecond; an HNSW graph
(usearch) took half of that, found less than half of the true neighbours of random vectors, and paid milliseconds for
each changed row, which costs one assignment here (`bench/embeddings.py`). Places are dense, so that a mask over them
can forbid some.

Invariant: the matrix holds what was put last; a row of zeros is nowhere, and never returned.
"""

from __future__ import annotations

from math import sqrt

import numpy as np


class Neighbours:
    """Vectors of `width` numbers by place from 0. One writer; a reader may ask from another thread."""

    def __init__(self, width: int, capacity: int = 1024) -> None:
        self.width = width
        self.x_ND = np.zeros((capacity, width), np.float32)
        self.size = 0

    def put(self, places_B: np.ndarray, vectors_BD: np.ndarray) -> None:
        """Places vectors, scaled to length 1 (zeros stay: that row is nowhere); of a repeated place the last counts."""
        if not len(places_B):
            return
        size = int(places_B.max()) + 1
        self.reserve(size)
        norm_B1 = np.sqrt(np.einsum("bd,bd->b", vectors_BD, vectors_BD))[:, None]
        self.x_ND[places_B] = vectors_BD / np.maximum(norm_B1, 1e-30)
        self.size = max(self.size, size)

    def put_one(self, place: int, vector_D: np.ndarray) -> None:
        """`put` of one vector, in a fraction of the time."""
        self.reserve(place + 1)
        self.x_ND[place] = vector_D / max(sqrt(float(vector_D @ vector_D)), 1e-30)
        self.size = max(self.size, place + 1)

    def reserve(self, size: int) -> None:
        """Makes room, so that places below `size` can be read: as zeros until they are put."""
        if size > len(self.x_ND):
            more_ND = np.zeros((max(size, 2 * len(self.x_ND)) - len(self.x_ND), self.width), np.float32)
            self.x_ND = np.concatenate([self.x_ND, more_ND])

    def nearest(
        self, vector_D: np.ndarray, k: int, allowed_N: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Places and cosines of the k nearest, best first, ties by place; only where `allowed_N` is true, if given."""
        x_ND, size = self.x_ND, self.size
        norm = float(np.linalg.norm(vector_D))
        if norm == 0.0 or k <= 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        cosine_N = x_ND[:size] @ (vector_D / norm).astype(np.float32)
        cosine_N[cosine_N == 0.0] = -np.inf  # nowhere; a row exactly across is no neighbour either
        if allowed_N is not None:
            cosine_N[~allowed_N[:size]] = -np.inf
        places = np.argpartition(cosine_N, -k)[-k:] if size > k else np.arange(size)
        places = np.sort(places[np.isfinite(cosine_N[places])])
        places = places[np.argsort(-cosine_N[places], kind="stable")]
        return places, cosine_N[places]
