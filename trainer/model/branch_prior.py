"""The prior: how often each branch of the prefix tree was taken lately; the model learns what a user adds to that.

Popularity is most of what can be known at first, and a network learns it slowly; counting learns it at once. So the
logits of a branch are those of its decayed count, scaled by a gain that the model learns from the state and from what
is asked (a search cares little for popularity), plus the model's own. A run starts where "popular" stands.

While learning, every engagement is given the counts of its own moment, from what came before it. (With the counts of
today the network would spend itself on explaining what was popular then; with counts that hold the target itself it
would learn to trust the counts of rare items, which at serving time do not know the future.)

Keys: a branch at level l of moment m is the number whose digits are m and its codes (base: the levels' widths), so all
children of a prefix are neighbours in the sorted keys, and one search serves rows of many moments.

Legend: E engagements in order of time, N rows, V codes of a level, P branches that were taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

PRIOR_FILE = "prior.safetensors"
SMOOTHING = 0.3
"""The count that a branch has which was never taken (the newest engagement counts 1)."""
_LEAST = 0.01
"""Counts that decayed below this are forgotten."""


@dataclass(frozen=True, slots=True)
class BranchPrior:
    """Sorted branch keys and their counts, by level. That of a checkpoint has one moment, 0."""

    widths: tuple[int, ...]
    keys: tuple[np.ndarray, ...]
    weights: tuple[np.ndarray, ...]

    @staticmethod
    def over_time(codes_EL: np.ndarray, widths: Sequence[int], half_life: float, moments: int = 48) -> BranchPrior:
        """The counts before each of `moments` equal parts of the engagements, and (moment `moments`) after the last.
        A count halves with every `half_life` engagements. Engagement e belongs to moment `e * moments // E`."""
        E = len(codes_EL)
        moment_E = np.arange(E) * moments // max(1, E)
        end_S = np.searchsorted(moment_E, np.arange(moments), side="right")
        fresh_E = 0.5 ** ((end_S[moment_E] - 1 - np.arange(E)) / half_life)
        keys, weights = [], []
        path_E, base = np.zeros(E, np.int64), 1
        for level, width in enumerate(widths):
            path_E, base = path_E * width + codes_EL[:, level], base * width
            taken_P, at_E = np.unique(path_E, return_inverse=True)
            count_P = np.zeros(len(taken_P))
            level_keys, level_weights = [], []
            for moment in range(moments):
                block = slice(end_S[moment - 1] if moment else 0, end_S[moment])
                count_P *= 0.5 ** ((block.stop - block.start) / half_life)
                count_P += np.bincount(at_E[block], fresh_E[block], minlength=len(taken_P))
                kept = count_P > _LEAST
                level_keys.append((moment + 1) * base + taken_P[kept])
                level_weights.append(count_P[kept].astype(np.float32))
            keys.append(np.concatenate(level_keys))
            weights.append(np.concatenate(level_weights))
        return BranchPrior(tuple(widths), tuple(keys), tuple(weights))

    @staticmethod
    def empty(widths: Sequence[int]) -> BranchPrior:
        """Knows nothing: all branches alike."""
        return BranchPrior.over_time(np.zeros((0, len(widths)), np.int64), widths, 1.0, 1)

    def at(self, moment: int) -> BranchPrior:
        """One moment only, as moment 0."""
        keys, weights, base = [], [], 1
        for width, keys_P, weight_P in zip(self.widths, self.keys, self.weights, strict=True):
            base *= width
            here = slice(*np.searchsorted(keys_P, [moment * base, (moment + 1) * base]))
            keys.append(keys_P[here] - moment * base)
            weights.append(weight_P[here])
        return BranchPrior(self.widths, tuple(keys), tuple(weights))

    def branches(self, level: int, key_N: np.ndarray) -> np.ndarray:
        """Logits (N) of single branches."""
        taken_P, weight_P = self.keys[level], self.weights[level]
        if len(taken_P) == 0:
            return np.zeros(len(key_N), np.float32)
        at_N = np.minimum(np.searchsorted(taken_P, key_N), len(taken_P) - 1)
        found_N = np.where(taken_P[at_N] == key_N, weight_P[at_N], np.float32(0.0))
        logits_N: np.ndarray = np.log1p(found_N / SMOOTHING)
        return logits_N

    def rows(self, level: int, prefix_N: np.ndarray) -> np.ndarray:
        """Logits (N V, float32) of all codes after each prefix. An untaken branch has 0: only differences matter."""
        width = self.widths[level]
        taken_P, weight_P = self.keys[level], self.weights[level]
        begin_N = np.searchsorted(taken_P, prefix_N * width)
        size_N = np.searchsorted(taken_P, (prefix_N + 1) * width) - begin_N
        row_M = np.repeat(np.arange(len(prefix_N)), size_N)
        at_M = begin_N[row_M] + np.arange(len(row_M)) - np.repeat(np.cumsum(size_N) - size_N, size_N)
        logits_NV = np.zeros((len(prefix_N), width), np.float32)
        logits_NV[row_M, taken_P[at_M] % width] = np.log1p(weight_P[at_M] / SMOOTHING)
        return logits_NV

    def items(self, codes_IL: np.ndarray, moments: int) -> np.ndarray:
        """Logits (moments, I; float16) of whole items at each of the first `moments` moments."""
        path_I, base = np.zeros(len(codes_IL), np.int64), 1
        for level, width in enumerate(self.widths):
            path_I, base = path_I * width + codes_IL[:, level], base * width
        last = len(self.widths) - 1
        rows = [self.branches(last, moment * base + path_I).astype(np.float16) for moment in range(moments)]
        return np.stack(rows)

    def path_rows(self, codes_NL: np.ndarray, moment_N: np.ndarray) -> list[np.ndarray]:
        """`rows` along the paths of some items, each at its moment: one array (N V) for each level."""
        prefix_N = moment_N.astype(np.int64)
        found = []
        for level, width in enumerate(self.widths):
            found.append(self.rows(level, prefix_N))
            prefix_N = prefix_N * width + codes_NL[:, level]
        return found

    def save(self, folder: Path) -> None:
        tensors = {f"keys.{level}": keys for level, keys in enumerate(self.keys)}
        tensors |= {f"weights.{level}": weights for level, weights in enumerate(self.weights)}
        save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, folder / PRIOR_FILE)

    @staticmethod
    def load(folder: Path, widths: Sequence[int]) -> BranchPrior:
        tensors = load_file(folder / PRIOR_FILE)
        levels = range(len(widths))
        keys, weights = (tuple(tensors[f"{name}.{level}"] for level in levels) for name in ("keys", "weights"))
        return BranchPrior(tuple(widths), keys, weights)
