"""Residual k-means: the levels of a codebook, each fitted to what the level before left over.

Lloyd steps from k-means++ starts, empty clusters put on the points that are served worst, and prices that even out how
often codes are used: a code that is taken too often grows dearer, step by step, and stays so in the codebook (balanced
k-means whose balance holds for items yet to come, since the price is part of the assignment).

The first level clusters items where they are. Later ones cluster the direction of the residual, scaled to length 1
(residuals crowd near zero, and unscaled most codes would die). The last looks at a few principal directions only, which
parts near-duplicates (see `Level`). Seeded: the same data and seed give the same levels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from trainer.content.exact_sums import on_grid, unit_on_grid
from trainer.semantic_ids.codebook import LAST_WIDTH, Level

Progress = Callable[[str, float], None]
"""Called with what is being done and the share done, 0 to 1."""

_RECYCLED = 0.03
_ASKED = 4096
"""Rows that are asked how many codes they have use for."""
_WORTH = 1 / 6
"""The least gain of a doubling of the codes, in that of the best one."""
_TRIES = 3
"""k-means may end badly: the best of so many counts."""
_PRICES = (0.02, 0.01)
"""The first step of prices, first level and later ones, in units of the mean squared length."""


def fit_levels(
    x_ND: np.ndarray, widths: Sequence[int], *, seed: int = 0, steps: int = 15, progress: Progress | None = None
) -> tuple[Level, ...]:
    """Levels of these widths fitted to fused rows."""
    random = np.random.Generator(np.random.PCG64(seed))
    residual_ND = on_grid(x_ND)
    levels = []
    for place, width in enumerate(widths):
        start = _blank(residual_ND, place, len(widths), width)
        seeds_WV, price_W = balanced_kmeans(start.seen(residual_ND), width, random, steps, _PRICES[place > 0])
        draft = replace(start, seeds_WV=on_grid(seeds_WV), price_W=on_grid(price_W))
        code_N = draft.code(residual_ND)
        level = replace(draft, points_WD=on_grid(means(residual_ND, code_N, _outward(draft, residual_ND))))
        residual_ND = residual_ND - level.points_WD[code_N]
        levels.append(level)
        if progress:
            progress(f"level {place + 1} of {len(widths)}", (place + 1) / len(widths))
    return tuple(levels)


def useful_width(x_ND: np.ndarray, most: int, *, seed: int = 0) -> int:
    """How many first codes fused rows have use for, `most` at most: the last doubling that brings rows which codes were
    not fitted to nearer to them, by no less than a sixth of what the best doubling does. Where items come in a few
    tight kinds, the gain breaks off when each has its code, and more would part what belongs together, at random."""
    random = np.random.Generator(np.random.PCG64(seed))
    order_M = random.permutation(len(x_ND))[:_ASKED]
    held_ND, fitted_ND = x_ND[order_M[::4]], np.delete(x_ND[order_M], np.s_[::4], axis=0)
    if len(fitted_ND) < 4:
        return most
    widths = [*(1 << power for power in range(most.bit_length()) if 1 << power < most), most]
    errors = [min(_held_error(fitted_ND, held_ND, width, random) for _ in range(_TRIES)) for width in widths]
    gains = np.log(np.maximum(errors[:-1], 1e-9) / np.maximum(errors[1:], 1e-9))
    gains /= np.log2(np.array(widths[1:]) / widths[:-1])
    worth = np.flatnonzero((gains > 0) & (gains >= _WORTH * gains.max(initial=0.0)))
    return widths[int(worth[-1]) + 1] if len(worth) else most


def _held_error(fitted_ND: np.ndarray, held_ND: np.ndarray, width: int, random: np.random.Generator) -> float:
    """Mean squared distance of held-out rows to the nearest of `width` means, less what the means themselves are off
    because each is of few rows."""
    seeds_WD, _ = balanced_kmeans(fitted_ND, width, random, 5, 0.0)
    size_W = np.bincount(_nearest(fitted_ND, seeds_WD), minlength=width)
    code_M = _nearest(held_ND, seeds_WD)
    error_M = np.square(held_ND - seeds_WD[code_M]).sum(axis=1)
    size_M = np.maximum(size_W[code_M], 1)
    return float((error_M * size_M / (size_M + 1)).mean())


def _nearest(x_ND: np.ndarray, seeds_WD: np.ndarray) -> np.ndarray:
    return np.asarray((np.square(seeds_WD).sum(axis=1) / 2 - x_ND @ seeds_WD.T).argmin(axis=1))


def refit_levels(
    x_ND: np.ndarray, parents: Sequence[Level], *, seed: int = 0, progress: Progress | None = None
) -> tuple[Level, ...]:
    """Levels for items that have changed, with as many IDs kept as can be: codes stay where they are, except that those
    nobody has, and the 3 % that fewest have, move to where items are served worst."""
    random = np.random.Generator(np.random.PCG64(seed))
    residual_ND = on_grid(x_ND)
    levels = []
    for place, parent in enumerate(parents):
        level = _recycled(parent, residual_ND, random) if len(residual_ND) else parent
        residual_ND = residual_ND - level.points_WD[level.code(residual_ND)]
        levels.append(level)
        if progress:
            progress(f"level {place + 1} of {len(parents)}", (place + 1) / len(parents))
    return tuple(levels)


def _recycled(level: Level, residual_ND: np.ndarray, random: np.random.Generator) -> Level:
    code_N = level.code(residual_ND)
    size_W = np.bincount(code_N, minlength=len(level.price_W))
    spare = max(int((size_W == 0).sum()), int(_RECYCLED * len(size_W)))
    moved = np.argsort(size_W, kind="stable")[:spare]
    error_N = np.square(residual_ND - level.points_WD[code_N]).sum(axis=1)
    if not spare or error_N.sum() <= 0:
        return level
    seeds_WV, points_WD, price_W = level.seeds_WV.copy(), level.points_WD.copy(), level.price_W.copy()
    draws = min(spare, int((error_N > 0).sum()))
    rows = random.choice(len(error_N), draws, replace=False, p=error_N / error_N.sum())
    moved = moved[:draws]
    seeds_WV[moved], points_WD[moved], price_W[moved] = level.seen(residual_ND)[rows], residual_ND[rows], 0.0
    for _ in range(3):
        level = replace(level, seeds_WV=on_grid(seeds_WV), points_WD=on_grid(points_WD), price_W=price_W)
        code_N = level.code(residual_ND)
        seeds_WV[moved] = means(level.seen(residual_ND), code_N, seeds_WV)[moved]
        points_WD[moved] = means(residual_ND, code_N, points_WD)[moved]
    return level


def _blank(residual_ND: np.ndarray, place: int, levels: int, width: int) -> Level:
    """A level yet to be fitted, which decides what it will look at: places (the first), directions in all dimensions,
    or directions in the few principal ones (the last)."""
    dimensions = residual_ND.shape[1]
    projection_DV = None
    if 0 < place == levels - 1:
        unit_ND = unit_on_grid(residual_ND)
        _, vectors_DD = np.linalg.eigh(unit_ND.T @ unit_ND)
        projection_DV = on_grid(vectors_DD[:, ::-1][:, : min(LAST_WIDTH, dimensions)])
    seen = dimensions if projection_DV is None else projection_DV.shape[1]
    return Level(np.zeros((width, seen)), np.zeros(width), np.zeros((width, dimensions)), projection_DV, unit=place > 0)


def _outward(draft: Level, residual_ND: np.ndarray) -> np.ndarray:
    """Points for codes that no item has: along their seed, as far as residuals go on average."""
    seeds_WD = draft.seeds_WV if draft.projection_DV is None else draft.seeds_WV @ draft.projection_DV.T
    if not draft.unit or not len(residual_ND):
        return seeds_WD
    seen_NV = residual_ND if draft.projection_DV is None else residual_ND @ draft.projection_DV
    outward_WD: np.ndarray = seeds_WD * float(np.sqrt(np.square(seen_NV).sum(axis=1)).mean())
    return outward_WD


def balanced_kmeans(
    x_ND: np.ndarray, width: int, random: np.random.Generator, steps: int, price: float
) -> tuple[np.ndarray, np.ndarray]:
    """Centroids (W, D) and prices (W): `steps` Lloyd steps, then as many in which only prices move."""
    x_ND = np.asarray(x_ND, "f4")
    seeds_WD = plus_plus(x_ND, width, random)
    price_W = np.zeros(width, "f4")
    if not len(x_ND):
        return seeds_WD, price_W
    unit = float(np.square(x_ND).sum(axis=1).mean())
    for step in range(2 * steps):
        score_NW = np.square(seeds_WD).sum(axis=1) / 2 + price_W - x_ND @ seeds_WD.T
        code_N = score_NW.argmin(axis=1)
        size_W = np.bincount(code_N, minlength=width)
        if step < steps:
            seeds_WD = means(x_ND, code_N, seeds_WD)
            _reset_dead(seeds_WD, price_W, x_ND, size_W, score_NW[np.arange(len(x_ND)), code_N])
        if step >= steps // 2:
            too_full_W = np.clip(size_W * width / len(x_ND) - 1, -1, 1).astype("f4")
            price_W = price_W + price * unit * (1 - 0.45 * step / steps) * too_full_W
            price_W -= price_W.mean()
    return seeds_WD, price_W


def plus_plus(x_ND: np.ndarray, width: int, random: np.random.Generator) -> np.ndarray:
    """k-means++: each start is drawn with probability proportional to its squared distance from those before."""
    seeds_WD = np.zeros((width, x_ND.shape[1]), "f4")
    if not len(x_ND):
        return seeds_WD
    sample_MD = x_ND[random.choice(len(x_ND), min(len(x_ND), 20 * width), replace=False)]
    square_M = np.square(sample_MD).sum(axis=1)
    distance_M = np.full(len(sample_MD), np.inf)
    pick = int(random.integers(len(sample_MD)))
    for index in range(width):
        seeds_WD[index] = sample_MD[pick]
        distance_M = np.minimum(distance_M, square_M + square_M[pick] - 2 * (sample_MD @ sample_MD[pick]))
        distance_M = np.maximum(distance_M, 0.0)
        total_M = np.cumsum(distance_M, dtype="f8")
        pick = min(int(np.searchsorted(total_M, random.random() * total_M[-1], side="right")), len(sample_MD) - 1)
    return seeds_WD


def means(x_ND: np.ndarray, code_N: np.ndarray, old_WD: np.ndarray) -> np.ndarray:
    """The mean of each cluster; one without members stays where it was."""
    size_W = np.bincount(code_N, minlength=len(old_WD))
    filled_W = size_W > 0
    order_N = np.argsort(code_N, kind="stable")
    starts_W = np.cumsum(size_W) - size_W
    mean_WD = np.array(old_WD, dtype=x_ND.dtype)
    if len(x_ND):
        sums = np.add.reduceat(x_ND[order_N], starts_W[filled_W], axis=0)
        mean_WD[filled_W] = sums / size_W[filled_W][:, None]
    return mean_WD


def _reset_dead(
    seeds_WD: np.ndarray, price_W: np.ndarray, x_ND: np.ndarray, size_W: np.ndarray, score_N: np.ndarray
) -> None:
    """Puts codes that nobody has onto the points that are served worst, at the mean price."""
    dead = np.flatnonzero(size_W == 0)
    if len(dead):
        worst = np.argsort(-(score_N + np.square(x_ND).sum(axis=1) / 2), kind="stable")[: len(dead)]
        seeds_WD[dead[: len(worst)]] = x_ND[worst]
        price_W[dead] = 0.0
