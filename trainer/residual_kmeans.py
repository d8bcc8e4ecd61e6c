"""Residual k-means: a codebook level by level, each level's centroids fitted to what the level before left over.

k-means++ seeding, Lloyd steps with empty clusters put on the worst-served points, and optionally a bound on a cluster's
size (balanced: a cluster that is too full gives its farthest members to their next choice), which spreads items over
the codes. Seeded; the same data and seed give the same centroids.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trainer.exact import on_grid

Progress = Callable[[str, float], None]
"""Called with what is being done and the share done, 0 to 1."""


def residual_kmeans(
    x_ND: np.ndarray,
    widths: tuple[int, ...],
    *,
    seed: int = 0,
    steps: int = 25,
    slack: float | None = None,
    starts: tuple[np.ndarray, ...] | None = None,
    progress: Progress | None = None,
) -> tuple[np.ndarray, ...]:
    """Centroids per level (W, D), on the grid. `slack`: no cluster above `slack` × the mean size (None: unbounded).
    `starts`: a parent's centroids to begin from (warm start)."""
    random = np.random.Generator(np.random.PCG64(seed))
    residual_ND = np.asarray(x_ND, "f4")
    levels = []
    for level, width in enumerate(widths):
        start = starts[level] if starts is not None and starts[level].shape == (width, x_ND.shape[1]) else None
        centroids_WD = on_grid(_fit(residual_ND, width, random, steps, slack, start)).astype("f4")
        residual_ND = residual_ND - centroids_WD[nearest(residual_ND, centroids_WD)]
        levels.append(centroids_WD.astype("f8"))
        if progress:
            progress(f"k-means level {level + 1}", (level + 1) / len(widths))
    return tuple(levels)


def nearest(x_ND: np.ndarray, centroids_WD: np.ndarray) -> np.ndarray:
    """Index of each row's nearest centroid (shape N)."""
    index_N: np.ndarray = np.argmin(np.square(centroids_WD).sum(axis=1) / 2 - x_ND @ centroids_WD.T, axis=1)
    return index_N


def _fit(
    x_ND: np.ndarray, width: int, random: np.random.Generator, steps: int, slack: float | None, start: np.ndarray | None
) -> np.ndarray:
    centroids_WD = seeded(x_ND, width, random) if start is None else start.astype("f4")
    limit = None if slack is None else max(int(np.ceil(slack * len(x_ND) / width)), 1)
    for _ in range(steps):
        score_NW = np.square(centroids_WD).sum(axis=1) / 2 - x_ND @ centroids_WD.T
        code_N = score_NW.argmin(axis=1)
        if limit is not None:
            code_N = balanced(score_NW, code_N, limit)
        moved_WD = _means(x_ND, code_N, centroids_WD, score_NW)
        still = np.allclose(moved_WD, centroids_WD, atol=1e-5)
        centroids_WD = moved_WD
        if still:
            break
    return centroids_WD


def seeded(x_ND: np.ndarray, width: int, random: np.random.Generator) -> np.ndarray:
    """k-means++: each start is drawn with probability proportional to its squared distance from those before."""
    centroids_WD = np.zeros((width, x_ND.shape[1]), "f4")
    if len(x_ND) == 0:
        return centroids_WD
    sample_MD = x_ND[random.choice(len(x_ND), min(len(x_ND), 20 * width), replace=False)]
    centroids_WD[0] = sample_MD[random.integers(len(sample_MD))]
    distance_M = np.square(sample_MD - centroids_WD[0]).sum(axis=1)
    for index in range(1, width):
        total = float(distance_M.sum(dtype="f8"))
        draw = random.random()
        pick = int(np.searchsorted(np.cumsum(distance_M, dtype="f8"), draw * total)) if total > 0 else 0
        centroids_WD[index] = sample_MD[min(pick, len(sample_MD) - 1)]
        distance_M = np.minimum(distance_M, np.square(sample_MD - centroids_WD[index]).sum(axis=1))
    return centroids_WD


def _means(x_ND: np.ndarray, code_N: np.ndarray, centroids_WD: np.ndarray, score_NW: np.ndarray) -> np.ndarray:
    """The mean of each cluster; an empty one (a dead code) is reset onto a point that is served worst."""
    width = len(centroids_WD)
    size_W = np.bincount(code_N, minlength=width)
    order_N = np.argsort(code_N, kind="stable")
    starts_W = np.concatenate([[0], np.cumsum(size_W)[:-1]])
    filled = size_W > 0
    means_WD = centroids_WD.copy()
    sums = np.add.reduceat(x_ND[order_N], starts_W[filled], axis=0)
    means_WD[filled] = sums / size_W[filled][:, None]
    dead = np.flatnonzero(~filled)
    if len(dead):
        error_N = score_NW[np.arange(len(x_ND)), code_N] + np.square(x_ND).sum(axis=1) / 2
        worst = np.argsort(-error_N, kind="stable")[: len(dead)]
        means_WD[dead[: len(worst)]] = x_ND[worst]
    return means_WD


def balanced(score_NW: np.ndarray, code_N: np.ndarray, limit: int, rounds: int = 8) -> np.ndarray:
    """Codes with no cluster (much) above `limit`: over-full ones keep their closest and send the rest to the next best
    cluster with room, a few rounds long."""
    code_N = code_N.copy()
    score_NW = score_NW.copy()
    rows_N = np.arange(len(code_N))
    for _ in range(rounds):
        size_W = np.bincount(code_N, minlength=score_NW.shape[1])
        full = np.flatnonzero(size_W > limit)
        if not len(full):
            break
        order_N = np.lexsort((score_NW[rows_N, code_N], code_N))
        rank_N = np.empty(len(code_N), np.int64)
        rank_N[order_N] = np.arange(len(code_N)) - np.repeat(np.cumsum(size_W) - size_W, size_W)
        out = np.flatnonzero(rank_N >= limit)
        score_NW[out, code_N[out]] = np.inf
        score_NW[np.ix_(out, np.flatnonzero(size_W >= limit))] = np.inf
        movable = out[np.isfinite(score_NW[out]).any(axis=1)]
        code_N[movable] = score_NW[movable].argmin(axis=1)
    return code_N
