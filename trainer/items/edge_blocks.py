"""Edge blocks: which part of flat memory belongs to each handle, for entries that grow one by one.

A handle's entries lie side by side, in a block with room for some more; one that is full moves to a wider one. Start
and count are one number, so that a reader in another thread never sees those of different times; and a block that was
left is given to nobody before the next change begins, so that who has just read where it is still finds it as it was.

Invariant: no two handles have a common entry.
"""

from __future__ import annotations

import numpy as np

_COUNT_BITS = 24
_COUNT_MASK = (1 << _COUNT_BITS) - 1
LEAST_ROOM = 8
MOST_COUNT = _COUNT_MASK
"""Entries of one handle."""


class EdgeBlocks:
    """Blocks of handles below the number that `reserve` was last told. `pooled`: entries that the memory must have."""

    def __init__(self) -> None:
        self.pooled = 0
        self.span_N = np.zeros(0, np.int64)
        self._room_N = np.zeros(0, np.int64)
        self._free: dict[int, list[int]] = {}
        self._left: list[tuple[int, int]] = []

    def reserve(self, handles: int) -> None:
        """Makes room for handles below this number."""
        if handles > len(self.span_N):
            more_N = np.zeros(max(handles, 2 * len(self.span_N)) - len(self.span_N), np.int64)
            self.span_N = np.concatenate([self.span_N, more_N])
            self._room_N = np.concatenate([self._room_N, more_N])

    def at(self, handle: int) -> tuple[int, int]:
        """Start and count of one handle."""
        span = int(self.span_N[handle])
        return span >> _COUNT_BITS, span & _COUNT_MASK

    def of(self, handles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Starts and counts of some handles."""
        span_H = self.span_N[handles]
        return span_H >> _COUNT_BITS, span_H & _COUNT_MASK

    def room(self, handles: np.ndarray) -> np.ndarray:
        """How many entries fit where some handles are."""
        return np.asarray(self._room_N[handles])

    def room_of(self, handle: int) -> int:
        """The same of one."""
        return int(self._room_N[handle])

    def tell_one(self, handle: int, start: int, count: int) -> None:
        """`tell` of one."""
        self.span_N[handle] = (start << _COUNT_BITS) | count

    def move_one(self, handle: int, count: int) -> int:
        """`move` of one."""
        if room := int(self._room_N[handle]):
            self._left.append((self.at(handle)[0], room))
        wanted = max(count + (count >> 2), LEAST_ROOM)
        power = 1 << (wanted.bit_length() - 1)
        wider = next(size for size in (power, power + (power >> 1), power << 1) if size >= wanted)
        self._room_N[handle] = wider
        return self._block(wider)

    def tell(self, handles: np.ndarray, start_H: np.ndarray, count_H: np.ndarray) -> None:
        """From now on readers see so many entries from there on."""
        self.span_N[handles] = (start_H << _COUNT_BITS) | count_H

    def begin(self) -> None:
        """A change begins: blocks that were left before it can be given away."""
        for start, room in self._left:
            self._free.setdefault(room, []).append(start)
        self._left = []

    def move(self, handles: np.ndarray, count_H: np.ndarray) -> np.ndarray:
        """Starts of wider blocks for some handles, with room for so many entries and some more. Readers see the old
        ones until they are told."""
        start_H = np.empty(len(handles), np.int64)
        old_H, room_H = self.span_N[handles] >> _COUNT_BITS, self._room_N[handles]
        wider_H = _wider(count_H)
        for place, (old, room, wider) in enumerate(zip(old_H.tolist(), room_H.tolist(), wider_H.tolist(), strict=True)):
            if room:
                self._left.append((old, room))
            start_H[place] = self._block(wider)
        self._room_N[handles] = wider_H
        return start_H

    def _block(self, room: int) -> int:
        if self._free.get(room):
            return self._free[room].pop()
        start, self.pooled = self.pooled, self.pooled + room
        return start


def _wider(count_H: np.ndarray) -> np.ndarray:
    """A quarter more than the counts at least: of few sizes (8, 12, 16, 24, …), so that what one left fits another."""
    wanted_H = np.maximum(count_H + (count_H >> 2), LEAST_ROOM)
    power_H = np.int64(1) << np.floor(np.log2(wanted_H)).astype(np.int64)
    half_H = power_H + (power_H >> 1)
    return np.asarray(np.where(wanted_H <= power_H, power_H, np.where(wanted_H <= half_H, half_H, power_H << 1)))


def ranges(start_H: np.ndarray, count_H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The entries of blocks one after the other: for each the block's place among them, and where it lies."""
    block_E = np.repeat(np.arange(len(count_H)), count_H)
    first_H = np.cumsum(count_H) - count_H
    return block_E, np.arange(len(block_E)) + (start_H - first_H)[block_E]


def grown(column_S: np.ndarray, size: int) -> np.ndarray:
    """The column with at least so many entries."""
    if size <= len(column_S):
        return column_S
    more = max(size, len(column_S) + len(column_S) // 2) - len(column_S)
    return np.concatenate([column_S, np.zeros(more, column_S.dtype)])
