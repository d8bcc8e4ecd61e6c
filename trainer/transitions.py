"""Transitions: the directed graph of items (earlier → later), read from both ends, in flat memory.

The transitions into an item lie in slots of a block of its own: source, log2 weight, target. A transition keeps its
slot as long as it lives, so that a new row costs what has changed, and the rest is a few array operations. From the
source's end there is a list of slots. A slot that another transition has taken since is told by its source, so nothing
is taken out of these lists when transitions go; they are swept when they have doubled.

Invariants: a source is at most once among the transitions into a target; both ends tell the same transitions. One
writer; a reader in another thread sees each transition as it was or as it is.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_NONE = -1


class _Pool(NamedTuple):
    """Slots (S); `source_S` is -1 where there is no transition."""

    source_S: np.ndarray
    log_S: np.ndarray
    target_S: np.ndarray


@dataclass(frozen=True, slots=True)
class Edges:
    """The transitions at one end of an item."""

    transitions: Transitions
    handle: int
    into: bool

    def copied(self) -> tuple[np.ndarray, np.ndarray]:
        """The items at the other ends (int32) and log2 of the forward-decayed weights since time 0 (float32)."""
        return self.transitions.into(self.handle) if self.into else self.transitions.out_of(self.handle)


@dataclass(frozen=True, slots=True)
class End:
    """One end of all items, by handle."""

    transitions: Transitions
    into: bool

    def __getitem__(self, handle: int) -> Edges:
        return Edges(self.transitions, handle, self.into)


class Transitions:
    """Transitions between handles below the number that `reserve` was last told."""

    def __init__(self) -> None:
        self._pool = _Pool(np.full(1024, _NONE, np.int32), np.zeros(1024, np.float32), np.zeros(1024, np.int32))
        self._pooled = 0
        self._free: dict[int, list[int]] = {}
        self._spans: list[tuple[int, int, int]] = []  # start, slots in use or once used, room
        self._lists: list[array[int] | None] = []
        self._sweep_at: list[int] = []
        self._place_N = np.zeros(0, np.int32)  # scratch: where a source is among the transitions at hand

    def reserve(self, handles: int) -> None:
        """Makes room for handles below this number."""
        lack = handles - len(self._spans)
        if lack > 0:
            self._spans += [(0, 0, 0)] * lack
            self._lists += [None] * lack
            self._sweep_at += [16] * lack
        if handles > len(self._place_N):
            self._place_N = np.zeros(2 * handles, np.int32)

    def into(self, target: int) -> tuple[np.ndarray, np.ndarray]:
        """Sources and log2 weights of the transitions into an item, copied."""
        start, used, _ = self._spans[target]
        pool = self._pool
        source_E = pool.source_S[start : start + used]
        here = source_E >= 0
        return source_E[here], pool.log_S[start : start + used][here]

    def out_of(self, source: int) -> tuple[np.ndarray, np.ndarray]:
        """Targets and log2 weights of the transitions out of an item, copied."""
        pool, slot_E = self._pool, self._living(source)
        return pool.target_S[slot_E], pool.log_S[slot_E]

    def all(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sources, targets and log2 weights of all transitions."""
        pool, size = self._pool, self._pooled
        slot_E = np.flatnonzero(pool.source_S[:size] >= 0)
        return pool.source_S[slot_E], pool.target_S[slot_E], pool.log_S[slot_E]

    def replace(self, target: int, source_E: np.ndarray, log_E: np.ndarray) -> None:
        """These are the transitions into an item from now on; each source is named once."""
        start, used, room = self._spans[target]
        if len(source_E) > room:
            return self._move(target, source_E, log_E)
        old_U, place_E = self._pool.source_S[start : start + used], np.zeros(len(source_E), np.int32)
        kept_E = np.zeros(len(source_E), bool)
        if used:
            self._place_N[old_U] = np.arange(used, dtype=np.int32)
            place_E = self._place_N[source_E]
            place_E[place_E >= used] = 0
            kept_E = old_U[place_E] == source_E  # else the place was left there by another item, or is a hole
        fresh_F = np.flatnonzero(~kept_E)
        if len(fresh_F) or len(source_E) < used:
            free_U = np.ones(used, bool)
            free_U[place_E[kept_E]] = False
            free = np.flatnonzero(free_U)
            if len(free) < len(fresh_F):
                free = np.concatenate([free, np.arange(used, used + len(fresh_F) - len(free))])
            place_E[fresh_F] = free[: len(fresh_F)]
            self._pool.source_S[start + free[len(fresh_F) :]] = _NONE
        slot_E = place_E + start
        self._put(target, slot_E, source_E, log_E)
        self._spans[target] = (start, max(used, int(place_E.max(initial=-1)) + 1), room)
        self._list(source_E[fresh_F], slot_E[fresh_F])
        return None

    def _move(self, target: int, source_E: np.ndarray, log_E: np.ndarray) -> None:
        """Into a block with more room."""
        start, _, room = self._spans[target]
        wider = max(16, 1 << (3 * len(source_E) // 2 - 1).bit_length())
        begin = self._block(wider)
        slot_E = np.arange(begin, begin + len(source_E), dtype=np.int32)
        self._put(target, slot_E, source_E, log_E)
        self._spans[target] = (begin, len(source_E), wider)
        if room:
            self._pool.source_S[start : start + room] = _NONE
            self._free.setdefault(room, []).append(start)
        self._list(source_E, slot_E)

    def _put(self, target: int, slot_E: np.ndarray, source_E: np.ndarray, log_E: np.ndarray) -> None:
        pool = self._pool
        pool.log_S[slot_E], pool.target_S[slot_E], pool.source_S[slot_E] = log_E, target, source_E

    def _block(self, room: int) -> int:
        if self._free.get(room):
            return self._free[room].pop()
        start, self._pooled = self._pooled, self._pooled + room
        lack = self._pooled - len(self._pool.source_S)
        if lack > 0:
            more = max(lack, len(self._pool.source_S) // 2)
            self._pool = _Pool(
                np.concatenate([self._pool.source_S, np.full(more, _NONE, np.int32)]),
                np.concatenate([self._pool.log_S, np.zeros(more, np.float32)]),
                np.concatenate([self._pool.target_S, np.zeros(more, np.int32)]),
            )
        return start

    def _list(self, source_F: np.ndarray, slot_F: np.ndarray) -> None:
        """Notes fresh transitions at their sources."""
        lists = self._lists
        for source, slot in zip(source_F.tolist(), slot_F.tolist(), strict=True):
            held = lists[source]
            if held is None:
                lists[source] = array("i", (slot,))
                continue
            held.append(slot)
            if len(held) >= self._sweep_at[source]:
                living = self._living(source)
                lists[source] = array("i", living.tobytes())
                self._sweep_at[source] = max(16, 2 * len(living))

    def _living(self, source: int) -> np.ndarray:
        """The slots of the transitions out of an item, ascending. One that came back to its slot is listed twice.
        `tobytes` is one step of the interpreter, where a view of the list would keep the writer from growing it."""
        held = self._lists[source]
        if held is None:
            return np.zeros(0, np.int32)
        slot_E = np.frombuffer(held.tobytes(), np.int32)
        slot_E = slot_E[self._pool.source_S[slot_E] == source]
        slot_E.sort()
        return np.unique(slot_E) if (slot_E[1:] == slot_E[:-1]).any() else slot_E
