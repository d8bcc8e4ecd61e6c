"""Transitions: the directed graph of items (earlier → later), read from both ends.

The transitions into an item lie in slots of a block of its own in flat memory: source, log2 weight, and the place in
the list of its source. A transition keeps its slot as long as it lives, so that a new row costs a few array operations
and what has changed. From the source's end they are plain arrays, quick to copy: popular items have thousands.

Invariants: a source is at most once among the transitions into a target; both ends tell the same transitions. One
writer; a reader in another thread sees each transition as it was or as it is.
"""

from __future__ import annotations

from array import array

import numpy as np

_NONE = -1


class _Out:
    """The transitions out of one item: targets, log2 weights, slots."""

    __slots__ = ("logs", "slots", "targets")

    def __init__(self) -> None:
        self.targets, self.logs, self.slots = array("i"), array("f"), array("i")


_EMPTY = np.zeros(0, np.int32), np.zeros(0, np.float32)


class Transitions:
    """Transitions between handles below the number that `reserve` was last told. Slots (S) without one: source -1."""

    def __init__(self) -> None:
        self._source_S = np.full(1024, _NONE, np.int32)
        self._log_S = np.zeros(1024, np.float32)
        self._place_S = np.zeros(1024, np.int32)
        self._pooled = 0
        self._free: dict[int, list[int]] = {}
        self._spans: list[tuple[int, int, int]] = []  # start, slots in use or once used, room
        self._outs: list[_Out | None] = []
        self._among_N = np.zeros(0, np.int32)  # scratch: where a source is among the transitions at hand

    def reserve(self, handles: int) -> None:
        """Makes room for handles below this number."""
        lack = handles - len(self._spans)
        if lack > 0:
            self._spans += [(0, 0, 0)] * lack
            self._outs += [None] * lack
        if handles > len(self._among_N):
            self._among_N = np.zeros(2 * handles, np.int32)

    def into(self, target: int) -> tuple[np.ndarray, np.ndarray]:
        """Sources and log2 weights of the transitions into an item, copied."""
        start, used, _ = self._spans[target]
        source_E = self._source_S[start : start + used]
        here = source_E >= 0
        return source_E[here], self._log_S[start : start + used][here]

    def out_of(self, source: int) -> tuple[np.ndarray, np.ndarray]:
        """Targets and log2 weights of the transitions out of an item, copied: `tobytes` is one step of the interpreter,
        where a view would keep the writer from growing the array."""
        out = self._outs[source]
        if out is None:
            return _EMPTY
        target_E = np.frombuffer(out.targets.tobytes(), np.int32)
        log_E = np.frombuffer(out.logs.tobytes(), np.float32)
        count = min(len(target_E), len(log_E))
        return target_E[:count], log_E[:count]

    def all(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sources, targets and log2 weights of all transitions."""
        start_N, used_N = np.array([span[:2] for span in self._spans], np.int64).reshape(-1, 2).T
        target_E = np.repeat(np.arange(len(start_N)), used_N)
        slot_E = np.arange(len(target_E)) + np.repeat(start_N - np.cumsum(used_N) + used_N, used_N)
        source_E, log_E = self._source_S[slot_E], self._log_S[slot_E]
        here = source_E >= 0
        return source_E[here], target_E[here], log_E[here]

    def replace(self, target: int, source_E: np.ndarray, log_E: np.ndarray) -> None:
        """These are the transitions into an item from now on; each source is named once."""
        log_E = np.asarray(log_E, np.float32)
        if len(source_E) > self._spans[target][2]:
            self._move(target, len(source_E))
        start, used, room = self._spans[target]
        old_U = self._source_S[start : start + used]
        if used <= len(source_E) and (old_U == source_E[:used]).all():
            return self._extend(target, source_E, log_E)
        slot_E = np.full(len(source_E), start, np.int32)
        kept_E = np.zeros(len(source_E), bool)
        if used:
            self._among_N[old_U] = np.arange(used, dtype=np.int32)
            among_E = self._among_N[source_E]
            among_E[among_E >= used] = 0
            kept_E = old_U[among_E] == source_E  # else the place was left there by another item, or is a hole
            slot_E += among_E
        fresh_F = (~kept_E).nonzero()[0]
        if len(fresh_F) or len(source_E) < used:
            free = np.ones(used + len(fresh_F), bool)
            free[slot_E[kept_E] - start] = False
            free_slots = free.nonzero()[0] + start
            self._disconnect(free_slots[free_slots < start + used])
            slot_E[fresh_F] = free_slots[: len(fresh_F)]
        changed_E = self._log_S[slot_E] != log_E
        changed_E &= kept_E
        self._log_S[slot_E] = log_E
        self._tell(source_E[changed_E], self._place_S[slot_E[changed_E]], log_E[changed_E])
        self._connect(target, source_E[fresh_F], slot_E[fresh_F], log_E[fresh_F])
        self._spans[target] = (start, max(used, int(slot_E.max(initial=start - 1)) + 1 - start), room)

    def _extend(self, target: int, source_E: np.ndarray, log_E: np.ndarray) -> None:
        """Most rows: none has gone, and what is new lies behind."""
        start, used, room = self._spans[target]
        end = start + len(source_E)
        changed_C = (self._log_S[start : start + used] != log_E[:used]).nonzero()[0]
        self._log_S[start:end] = log_E
        if len(changed_C):
            self._tell(source_E[changed_C], self._place_S[start + changed_C], log_E[changed_C])
        if start + used < end:
            self._connect(target, source_E[used:], np.arange(start + used, end), log_E[used:])
            self._spans[target] = (start, len(source_E), room)

    def _tell(self, source_E: np.ndarray, place_E: np.ndarray, log_E: np.ndarray) -> None:
        """New weights at the sources' ends."""
        outs = self._outs
        for source, place, weight in zip(source_E.tolist(), place_E.tolist(), log_E.tolist(), strict=True):
            outs[source].logs[place] = weight

    def _connect(self, target: int, source_F: np.ndarray, slot_F: np.ndarray, log_F: np.ndarray) -> None:
        outs = self._outs
        places = []
        for source, slot, weight in zip(source_F.tolist(), slot_F.tolist(), log_F.tolist(), strict=True):
            out = outs[source]
            if out is None:
                out = outs[source] = _Out()
            places.append(len(out.targets))
            out.targets.append(target)
            out.logs.append(weight)
            out.slots.append(slot)
        self._place_S[slot_F] = places
        self._source_S[slot_F] = source_F

    def _disconnect(self, slots: np.ndarray) -> None:
        """Takes the transitions in these slots of one item out: the last of a source's fills the gap."""
        slots = slots[self._source_S[slots] >= 0]
        moved, places = [], []
        for source, place in zip(self._source_S[slots].tolist(), self._place_S[slots].tolist(), strict=True):
            out = self._outs[source]
            assert out is not None
            target, weight, slot = out.targets.pop(), out.logs.pop(), out.slots.pop()
            if place < len(out.targets):
                out.targets[place], out.logs[place], out.slots[place] = target, weight, slot
                moved.append(slot)
                places.append(place)
        self._place_S[moved] = places
        self._source_S[slots] = _NONE

    def _move(self, target: int, count: int) -> None:
        """Into a block with room for `count` and some more."""
        start, used, room = self._spans[target]
        wider = max(16, 1 << (3 * count // 2 - 1).bit_length())
        begin = self._block(wider)
        for column in (self._source_S, self._log_S, self._place_S):
            column[begin : begin + used] = column[start : start + used]
        self._spans[target] = (begin, used, wider)
        if not room:
            return
        self._source_S[start : start + room] = _NONE
        self._free.setdefault(room, []).append(start)
        here = np.flatnonzero(self._source_S[begin : begin + used] >= 0) + begin
        for slot, source, place in zip(
            here.tolist(), self._source_S[here].tolist(), self._place_S[here].tolist(), strict=True
        ):
            self._outs[source].slots[place] = slot

    def _block(self, room: int) -> int:
        if self._free.get(room):
            return self._free[room].pop()
        start, self._pooled = self._pooled, self._pooled + room
        lack = self._pooled - len(self._source_S)
        if lack > 0:
            more = max(lack, len(self._source_S) // 2)
            self._log_S = np.concatenate([self._log_S, np.zeros(more, np.float32)])
            self._place_S = np.concatenate([self._place_S, np.zeros(more, np.int32)])
            self._source_S = np.concatenate([self._source_S, np.full(more, _NONE, np.int32)])
        return start
