"""Ragged lists in flat memory: each owner has a block of a shared pool, read for many owners in one call.

An owner's span (where its block starts and how many entries it has) is one 64-bit number, so that one store changes
both. A block that is full moves to one of twice the room; blocks given back are used again for others of their size.

Invariant: the blocks of different owners do not overlap. Not safe for threads by itself: see
`store.memory.prefix_tree`.
"""

from __future__ import annotations

import numpy as np

_BITS = 28
_MASK = (1 << _BITS) - 1
_NO_BLOCK = -1


class BlockPool:
    """Lists of int32 entries by owner (0, 1, …; call `grow` before using new ones)."""

    def __init__(self) -> None:
        self._span = np.zeros(16, np.int64)  # start << _BITS | entries
        self._room = np.full(16, _NO_BLOCK, np.int8)  # log2 of the block's room
        self._pool = np.zeros(64, np.int32)
        self._pooled = 0
        self._free: list[list[int]] = [[] for _ in range(_BITS + 1)]

    def grow(self, owners: int) -> None:
        """Makes room for so many owners; new ones have no entries."""
        self._span = grown(self._span, owners, 0)
        self._room = grown(self._room, owners, _NO_BLOCK)

    def entries(self, owner: int) -> np.ndarray:
        """The owner's entries, as a view that is good until the next write."""
        start, size = divmod(int(self._span[owner]), _MASK + 1)
        return self._pool[start : start + size]

    def append(self, owner: int, entry: int) -> bool:
        """Adds an entry; False when the block has no room (then `move` first)."""
        span, room = int(self._span[owner]), int(self._room[owner])
        if room == _NO_BLOCK or span & _MASK == 1 << room:
            return False
        self._pool[(span >> _BITS) + (span & _MASK)] = entry
        self._span[owner] = span + 1
        return True

    def move(self, owner: int, kept: np.ndarray) -> None:
        """Puts the owner's entries into a block that has room for at least one more than `kept`."""
        kept = kept.copy()
        room = len(kept).bit_length()
        start = self._free[room].pop() if self._free[room] else self._new(1 << room)
        self._pool[start : start + len(kept)] = kept
        self.release(owner)
        self._span[owner], self._room[owner] = start << _BITS | len(kept), room

    def discard(self, owner: int, entry: int) -> None:
        """Takes an entry out: the last one takes its place."""
        entries = self.entries(owner)
        entries[0 if len(entries) == 1 else int(np.flatnonzero(entries == entry)[0])] = entries[-1]
        self._span[owner] -= 1

    def release(self, owner: int) -> None:
        """Gives the owner's block back; it has no entries then."""
        if self._room[owner] != _NO_BLOCK:
            self._free[int(self._room[owner])].append(int(self._span[owner]) >> _BITS)
        self._span[owner], self._room[owner] = 0, _NO_BLOCK

    def lay(self, owner_M: np.ndarray, entry_M: np.ndarray) -> None:
        """Blocks for many entries at once, grouped by their owners, none of which has any yet."""
        owners_P, first_P, size_P = np.unique(owner_M, return_index=True, return_counts=True)
        room_P = np.ceil(np.log2(size_P)).astype(np.int64)
        end_P = self._pooled + np.cumsum(1 << room_P)
        start_P = end_P - (1 << room_P)
        self._pooled = int(end_P[-1])
        self._pool = grown(self._pool, self._pooled, 0)
        within_M = np.arange(len(owner_M)) - np.repeat(first_P, size_P)
        self._pool[np.repeat(start_P, size_P) + within_M] = entry_M
        self._span[owners_P] = start_P << _BITS | size_P
        self._room[owners_P] = room_P

    def gather(self, owners_B: np.ndarray, wanted_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All entries of the wanted owners: (index into `owners_B`, entry), each of shape M, owners in order."""
        span_B = self._span[owners_B]
        size_B = np.where(wanted_B, span_B & _MASK, 0)
        index_M = np.repeat(np.arange(len(owners_B)), size_B)
        offset_M = np.arange(len(index_M)) - np.repeat(np.cumsum(size_B) - size_B, size_B)
        return index_M, self._pool[(span_B >> _BITS)[index_M] + offset_M]

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return self._span.nbytes + self._room.nbytes + self._pool.nbytes

    def _new(self, room: int) -> int:
        start = self._pooled
        self._pooled += room
        self._pool = grown(self._pool, self._pooled, 0)
        return start


def grown(array: np.ndarray, need: int, fill: int) -> np.ndarray:
    """`array` with room for `need`, a quarter more than that when it has to move."""
    if need <= len(array):
        return array
    bigger = np.full(need + need // 4 + 16, fill, array.dtype)
    bigger[: len(array)] = array
    return bigger
