"""Hash index: 64-bit hashes and the small number of each, in flat memory, looked up many at once.

Open addressing with linear probing: 12 bytes a slot, at most three fifths of them taken.

Invariant: what was added is found, under the number that was last given to it; nothing is ever taken out. One thread
adds; others may look meanwhile.
"""

from __future__ import annotations

import numpy as np

ABSENT = -1
_FULL = 0.6


class HashIndex:
    """Unsigned 64-bit hash → number (int32, 0 or more)."""

    def __init__(self, slots: int = 1024) -> None:
        self._table = np.zeros(slots, np.uint64), np.full(slots, ABSENT, np.int32)
        self._taken = 0

    def __len__(self) -> int:
        return self._taken

    def add(self, found: int, number: int) -> None:
        if self._taken + 1 > _FULL * len(self._table[1]):
            self._grow()
        hash_S, number_S = self._table
        mask = len(hash_S) - 1
        slot = found & mask
        while number_S[slot] != ABSENT and int(hash_S[slot]) != found:
            slot = slot + 1 & mask
        self._taken += int(number_S[slot] == ABSENT)
        hash_S[slot] = found  # before the number: a reader passes over a slot that has none
        number_S[slot] = number

    def find(self, hashes_M: np.ndarray) -> np.ndarray:
        """The number of each hash (M, int32), `ABSENT` for one that was not added."""
        hash_S, number_S = self._table
        mask = np.uint64(len(hash_S) - 1)
        hashes_M = np.asarray(hashes_M, np.uint64)
        found_M = np.full(len(hashes_M), ABSENT, np.int32)
        open_M = np.arange(len(hashes_M))
        slot_M = hashes_M & mask
        while len(open_M):
            number_M = number_S[slot_M]
            here_M = hash_S[slot_M] == hashes_M[open_M]
            found_M[open_M[here_M]] = number_M[here_M]
            on_M = (number_M != ABSENT) & ~here_M
            open_M, slot_M = open_M[on_M], (slot_M[on_M] + np.uint64(1)) & mask
        return found_M

    def _grow(self) -> None:
        hash_S, number_S = self._table
        taken = np.flatnonzero(number_S != ABSENT)
        self._table = _laid(hash_S[taken], number_S[taken], 2 * len(hash_S))


def _laid(hashes_M: np.ndarray, number_M: np.ndarray, slots: int) -> tuple[np.ndarray, np.ndarray]:
    """A table of different hashes with different numbers."""
    hash_S, number_S, mask = np.zeros(slots, np.uint64), np.full(slots, ABSENT, np.int32), np.uint64(slots - 1)
    slot_M = hashes_M & mask
    while len(number_M):
        free_M = number_S[slot_M] == ABSENT
        number_S[slot_M[free_M]] = number_M[free_M]  # of several that want a slot the last has it
        has_M = free_M & (number_S[slot_M] == number_M)
        hash_S[slot_M[has_M]] = hashes_M[has_M]
        hashes_M, number_M, slot_M = hashes_M[~has_M], number_M[~has_M], (slot_M[~has_M] + np.uint64(1)) & mask
    return hash_S, number_S
