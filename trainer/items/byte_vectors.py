"""Byte vectors: a vector for each item, a byte for each of its numbers and one scale for all of them.

A number is off by at most 1/254 of its row's greatest; the products of unit vectors, which have some dozens of numbers,
by about a thousandth. A quarter of the memory of float32, and a quarter of what a look at all items has to read.

Invariant: a row reads as what was last put into it, rounded; its product with a vector is the same number whichever
other rows and vectors are asked for with it, for it is a sum of integers. One thread puts; another that reads a row
meanwhile may see it in its new direction at its old length.
"""

from __future__ import annotations

import numkong
import numpy as np

MOST = 127
"""The greatest number of a row, in bytes."""

_TOGETHER = 4
"""So many vectors are asked for at a time: one alone costs numkong's kernel more than four do."""
_BLOCK = 8192
"""Rows whose sums stay in the processor's cache until they are scaled."""

Index = int | slice | np.ndarray


class ByteVectors:
    """Rows (N × D) that read and are written as float32. New ones are zero."""

    def __init__(self, capacity: int, width: int) -> None:
        self.code_ND = np.zeros((capacity, width), np.int8)
        self.scale_N = np.zeros(capacity, np.float32)

    @classmethod
    def of(cls, x_ND: np.ndarray, capacity: int) -> ByteVectors:
        """These rows, and room for `capacity` in all."""
        made = cls(capacity, x_ND.shape[1])
        made[: len(x_ND)] = x_ND
        return made

    def __len__(self) -> int:
        return len(self.scale_N)

    @property
    def shape(self) -> tuple[int, int]:
        return self.code_ND.shape[0], self.code_ND.shape[1]

    @property
    def nbytes(self) -> int:
        return self.code_ND.nbytes + self.scale_N.nbytes

    def __getitem__(self, index: Index) -> np.ndarray:
        return np.asarray(self.code_ND[index] * np.asarray(self.scale_N[index])[..., None])

    def __setitem__(self, index: Index, x_ND: np.ndarray) -> None:
        code_ND, scale_N = packed(x_ND)
        self.code_ND[index] = code_ND
        self.scale_N[index] = scale_N

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def products(self, to_KD: np.ndarray, size: int) -> np.ndarray:
        """The products of the first `size` rows with each of some vectors, which are rounded as rows are (K × N,
        float32)."""
        code_KD, scale_K = packed(to_KD)
        room_KD = np.zeros((-(-len(code_KD) // _TOGETHER) * _TOGETHER, code_KD.shape[1]), np.int8)
        room_KD[: len(code_KD)] = code_KD
        asked = numkong.dots_pack(room_KD, "int8")
        found_KN = np.empty((len(to_KD), size), np.float32)
        for start in range(0, size, _BLOCK):
            here = slice(start, min(size, start + _BLOCK))
            sum_KB = np.asarray(numkong.dots_packed(self.code_ND[here], asked)).T[: len(code_KD)]
            np.multiply(sum_KB, self.scale_N[here], out=found_KN[:, here], casting="unsafe", dtype=np.float32)
            found_KN[:, here] *= scale_K[:, None]
        return found_KN

    def reserve(self, capacity: int) -> None:
        """Makes room for so many rows."""
        lack = capacity - len(self)
        if lack > 0:
            code_ND, scale_N = np.zeros((capacity, self.shape[1]), np.int8), np.zeros(capacity, np.float32)
            code_ND[: len(self)], scale_N[: len(self)] = self.code_ND, self.scale_N
            self.code_ND, self.scale_N = code_ND, scale_N


def packed(x_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows as bytes (int8) and their scales (float32): such that a row keeps its length, and only its direction is
    rounded."""
    most_N = np.maximum(np.abs(x_ND).max(axis=-1), 1e-30)
    code_ND = np.rint(x_ND * (MOST / most_N)[..., None])
    square_N, coded_N = (np.einsum("...d,...d->...", rows_ND, rows_ND) for rows_ND in (x_ND, code_ND))
    return code_ND.astype(np.int8), np.asarray(np.sqrt(square_N / np.maximum(coded_N, 1.0)), np.float32)
