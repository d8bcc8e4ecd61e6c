"""Prefix sums: of vectors that lie in a tree of codes, the sum under each prefix, and how many they are.

Asked for the mean under the longest prefix that holds others, for many codes at once. A prefix under which lies all
that lies under the one above it is not kept: the one above says the same.

Prefixes are told apart by a hash of 64 bits. Invariant: a mean never holds the vector that asks for it.
"""

from __future__ import annotations

import numpy as np

NO_CODE = -1
"""What stands behind the last code of an item."""

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)
_NO_KEY = np.uint64(0)


class PrefixSums:
    """Of vectors (T × D) with codes (T × L, `NO_CODE` behind the last of each). Sums are kept in half precision."""

    def __init__(self, codes_TL: np.ndarray, x_TD: np.ndarray) -> None:
        key_TL = _keys(codes_TL)
        parts = [_sums(key_TL[:, level], x_TD, _above(key_TL, level)) for level in range(key_TL.shape[1])]
        key_P = np.concatenate([np.zeros(0, np.uint64), *(keys for keys, _, _ in parts)])
        order = key_P.argsort()
        self._key_P = key_P[order]
        self._count_P = np.concatenate([np.zeros(0, np.int64), *(counts for _, counts, _ in parts)])[order]
        self._sum_PD = np.concatenate([np.zeros((0, x_TD.shape[1]), np.float16), *(sums for _, _, sums in parts)])[
            order
        ]

    def __len__(self) -> int:
        return len(self._key_P)

    def means(self, codes_HL: np.ndarray, own_HD: np.ndarray, inside_H: np.ndarray, prior: float) -> np.ndarray:
        """For each row of codes the mean of the others under its longest prefix that holds any, shrunk as if `prior`
        vectors of zero were among them; zero where none does (H × D). `own_HD` is what a row itself has put in, where
        it is `inside_H`."""
        if not len(self._key_P) or not codes_HL.shape[1]:
            return np.zeros((len(codes_HL), self._sum_PD.shape[1]), np.float32)
        key_HL = _keys(codes_HL)
        place_HL = np.minimum(self._key_P.searchsorted(key_HL), len(self._key_P) - 1)
        tells_HL = (self._key_P[place_HL] == key_HL) & (self._count_P[place_HL] > inside_H[:, None])
        tells_HL &= key_HL != _NO_KEY
        row_H = np.arange(len(codes_HL))
        level_H = tells_HL.shape[1] - 1 - tells_HL[:, ::-1].argmax(axis=1)
        place_H = place_HL[row_H, level_H]
        count_H = self._count_P[place_H] - inside_H + prior
        others_HD = self._sum_PD[place_H] - own_HD * inside_H[:, None]
        return np.asarray(others_HD * (tells_HL[row_H, level_H] / count_H)[:, None], np.float32)


def _keys(codes_TL: np.ndarray) -> np.ndarray:
    """A hash of each prefix (T × L); `_NO_KEY` where there is no code."""
    key_TL = np.zeros(codes_TL.shape, np.uint64)
    key_T = np.full(len(codes_TL), _FACTOR)
    for level, code_T in enumerate(codes_TL.T):
        key_T = (key_T ^ (code_T + 2).astype(np.uint64)) * _FACTOR
        key_T ^= key_T >> _SHIFT
        key_TL[:, level] = np.where(code_T == NO_CODE, _NO_KEY, key_T | np.uint64(1))
    return key_TL


def _above(key_TL: np.ndarray, level: int) -> np.ndarray:
    """How many lie under the prefix above each (T); none above the first."""
    if level == 0:
        return np.full(len(key_TL), -1)
    _, place_T, count_U = np.unique(key_TL[:, level - 1], return_inverse=True, return_counts=True)
    return np.asarray(count_U[place_T])


def _sums(key_T: np.ndarray, x_TD: np.ndarray, above_T: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Different keys of one level, how often each is there, and the sum of its vectors, but for those that hold as many
    as the prefix above."""
    key_U, first_U, place_T, count_U = np.unique(key_T, return_index=True, return_inverse=True, return_counts=True)
    kept_U = (key_U != _NO_KEY) & (count_U != above_T[first_U])
    kept_T = np.flatnonzero(kept_U[place_T])
    kept_T = kept_T[place_T[kept_T].argsort(kind="stable")]
    starts = np.flatnonzero(np.diff(place_T[kept_T], prepend=-1))
    sum_KD = np.add.reduceat(x_TD[kept_T], starts, axis=0) if len(starts) else np.zeros((0, x_TD.shape[1]))
    return key_U[kept_U], count_U[kept_U], sum_KD.astype(np.float16)
