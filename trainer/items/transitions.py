"""Transitions: the directed graph of items (earlier → later), read from both ends.

The transitions into an item lie side by side in the order of its row: source and log2 weight, a slot each. Of those out
of an item its block tells the slots and the targets; weights are read in the slots, so a row whose weights have changed
costs nothing at the other end. A batch of rows is taken as arrays of all its transitions
(`trainer.items.edge_blocks` has the memory).

Invariants: a source is at most once among the transitions into a target; both ends tell the same transitions. One
writer; a reader in another thread sees each transition as it was or as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.items.edge_blocks import EdgeBlocks, grown, ranges

_GONE = -1
_CELLS = 256
"""Of the table in which the transitions of one row are looked for: a few times as many as a row has."""
_EDGE = np.dtype([("source", np.int32), ("log", np.float32)])
_OUT = np.dtype([("slot", np.int32), ("target", np.int32)])


class Transitions:
    """Transitions between handles below the number that `reserve` was last told. Slots are S, places out of items P; a
    place whose transition has gone has slot -1 until its block moves."""

    def __init__(self) -> None:
        self._into, self._out = EdgeBlocks(), EdgeBlocks()
        self._edge_S, self._place_S = np.zeros(1024, _EDGE), np.zeros(1024, np.int32)
        self._out_P = np.zeros(1024, _OUT)

    def reserve(self, handles: int) -> None:
        """Makes room for handles below this number."""
        self._into.reserve(handles)
        self._out.reserve(handles)

    def into(self, target: int) -> tuple[np.ndarray, np.ndarray]:
        """Sources and log2 weights of the transitions into an item, copied."""
        start, count = self._into.at(target)
        edge_E = self._edge_S[start : start + count].copy()
        return edge_E["source"], edge_E["log"]

    def out_of(self, source: int) -> tuple[np.ndarray, np.ndarray]:
        """Targets and log2 weights of the transitions out of an item, copied."""
        start, count = self._out.at(source)
        out_E = self._out_P[start : start + count].copy()
        edge_E = self._edge_S[out_E["slot"]]
        here = (out_E["slot"] >= 0) & (edge_E["source"] == source)  # else it has gone, or goes just now
        return out_E["target"][here], edge_E["log"][here]

    def all(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sources, targets and log2 weights of all transitions."""
        target_E, slot_E = ranges(*self._into.of(np.arange(len(self._into.span_N))))
        edge_E = self._edge_S[slot_E]
        return edge_E["source"], target_E, edge_E["log"]

    def ends_of(self, handles: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """The transitions into some items, then those out of them: how many each has, and, item after item, the item at
        the other end and log2 weight."""
        start_H, count_H = self._into.of(handles)
        edge_E = self._edge_S[ranges(start_H, count_H)[1]]
        block_O, place_O = ranges(*self._out.of(handles))
        out_O = self._out_P[place_O]
        here = out_O["slot"] >= 0
        left_H = np.bincount(block_O[here], minlength=len(handles))
        out_O = out_O[here]
        return [
            (count_H, edge_E["source"], edge_E["log"]),
            (left_H, out_O["target"], self._edge_S["log"][out_O["slot"]]),
        ]

    def replace(self, target: int, source_E: np.ndarray, log_E: np.ndarray) -> None:
        """These are the transitions into an item from now on; each source is named once. For one row this is a third of
        the cost of `replace_many`."""
        (start, used), count = self._into.at(target), len(source_E)
        before_U = self._edge_S["source"][start : start + used]
        if not used <= count <= self._into.room_of(target) or (before_U != source_E[:used]).any():
            return self._rearrange(target, source_E, log_E)
        self._edge_S["log"][start : start + count] = log_E  # most rows: none has gone, and what is new lies behind
        if count > used:
            self._edge_S["source"][start + used : start + count] = source_E[used:]
            self._into.tell_one(target, start, count)
            self._append(target, range(start + used, start + count), source_E[used:].tolist())
        return None

    def _rearrange(self, target: int, source_E: np.ndarray, log_E: np.ndarray) -> None:
        """One row in which something has gone or has another slot, or that needs more room."""
        self._into.begin()
        (start, used), count = self._into.at(target), len(source_E)
        old_sources = self._edge_S["source"][start : start + used].tolist()
        place_of = dict(zip(old_sources, self._place_S[start : start + used].tolist(), strict=True))
        begin = self._into.move_one(target, count)
        self._edge_S = grown(self._edge_S, self._into.pooled)
        self._place_S = grown(self._place_S, self._into.pooled)
        self._edge_S["source"][begin : begin + count], self._edge_S["log"][begin : begin + count] = source_E, log_E
        sources = source_E.tolist()
        place_E = np.array([place_of.pop(source, _GONE) for source in sources], np.int32)
        self._place_S[begin : begin + count] = place_E
        stays = (place_E >= 0).nonzero()[0]
        self._out_P["slot"][place_E[stays]] = begin + stays
        self._out_P["slot"][list(place_of.values())] = _GONE
        self._into.tell_one(target, begin, count)
        fresh = (place_E < 0).nonzero()[0].tolist()
        self._append(target, [begin + place for place in fresh], [sources[place] for place in fresh])

    def _append(self, target: int, slots: Sequence[int], sources: list[int]) -> None:
        """`_connect` for the few of one row: arrays would cost more than what they do."""
        self._out.begin()
        for slot, source in zip(slots, sources, strict=True):
            start, used = self._out.at(source)
            if used == self._out.room_of(source):
                start, used = self._widen(source, start, used)
            self._out_P[start + used] = (slot, target)
            self._place_S[slot] = start + used
            self._out.tell_one(source, start, used + 1)

    def _widen(self, source: int, start: int, used: int) -> tuple[int, int]:
        """`_make_room` for one more of one item; where it begins then, and how many it has."""
        out_E = self._out_P[start : start + used]
        out_E = out_E[out_E["slot"] >= 0]
        begin, live = self._out.move_one(source, len(out_E) + 1), len(out_E)
        self._out_P = grown(self._out_P, self._out.pooled)
        self._out_P[begin : begin + live] = out_E
        self._place_S[out_E["slot"]] = np.arange(begin, begin + live)
        return begin, live

    def replace_many(self, target_R: np.ndarray, count_R: np.ndarray, source_E: np.ndarray, log_E: np.ndarray) -> None:
        """These are the transitions into some items from now on, `count_R` of each, row after row. Each item is named
        once, and so is each source in a row."""
        self._into.begin()
        self._out.begin()
        start_R, used_R = self._into.of(target_R)
        row_E, slot_E = ranges(start_R, count_R)
        fresh_E = slot_E - start_R[row_E] >= used_R[row_E]
        moving_R = count_R > self._into.room(target_R)
        fits_E = ~(fresh_E | moving_R[row_E])
        same_E = self._edge_S["source"][slot_E[fits_E]] == source_E[fits_E]
        moving_R |= np.bincount(row_E[fits_E][same_E], minlength=len(target_R)) != used_R
        if moving_R.any():
            slot_E = self._find_room(target_R, count_R, moving_R, start_R)
        edge_E = np.empty(len(slot_E), _EDGE)
        edge_E["source"], edge_E["log"] = source_E, log_E
        self._edge_S[slot_E] = edge_E
        if moving_R.any():
            fresh_E[moving_R[row_E]] = self._move(target_R, moving_R, row_E, source_E, slot_E)
        self._into.tell(target_R, start_R, count_R)
        self._connect(source_E[fresh_E], target_R[row_E[fresh_E]], slot_E[fresh_E])

    def _find_room(
        self, target_R: np.ndarray, count_R: np.ndarray, moving_R: np.ndarray, start_R: np.ndarray
    ) -> np.ndarray:
        """Slots of all transitions, in blocks of their own for the rows that move; `start_R` is told where these begin.
        What readers see stays as it was."""
        start_R[moving_R] = self._into.move(target_R[moving_R], count_R[moving_R])
        self._edge_S = grown(self._edge_S, self._into.pooled)
        self._place_S = grown(self._place_S, self._into.pooled)
        return ranges(start_R, count_R)[1]

    def _move(
        self, target_R: np.ndarray, moving_R: np.ndarray, row_E: np.ndarray, source_E: np.ndarray, slot_E: np.ndarray
    ) -> np.ndarray:
        """Tells the sources of rows in which something has gone or has another slot. Returns which of the transitions
        of these rows (M) are new."""
        moving_E, rows = moving_R[row_E], np.flatnonzero(moving_R)
        row_M, slot_M = row_E[moving_E], slot_E[moving_E]
        block_U, slot_U = ranges(*self._into.of(target_R[rows]))
        at_U = _found(rows[block_U], self._edge_S["source"][slot_U], row_M, source_E[moving_E], len(target_R))
        place_U, stays_U = self._place_S[slot_U], at_U >= 0
        to_U = slot_M[at_U[stays_U]]
        self._place_S[to_U] = place_U[stays_U]
        self._out_P["slot"][place_U[stays_U]] = to_U
        self._out_P["slot"][place_U[~stays_U]] = _GONE
        fresh_M = np.ones(len(row_M), bool)
        fresh_M[at_U[stays_U]] = False
        return fresh_M

    def _connect(self, source_F: np.ndarray, target_F: np.ndarray, slot_F: np.ndarray) -> None:
        """Tells the sources of new transitions."""
        if not len(source_F):
            return
        order = np.argsort(source_F, kind="stable")
        sorted_F = source_F[order]
        first_G = np.flatnonzero(np.concatenate([[True], sorted_F[1:] != sorted_F[:-1]]))
        source_G, count_G = sorted_F[first_G], np.diff(np.append(first_G, len(sorted_F)))
        self._make_room(source_G, count_G)
        start_G, used_G = self._out.of(source_G)
        _, place_F = ranges(start_G + used_G, count_G)
        out_F = np.empty(len(place_F), _OUT)
        out_F["slot"], out_F["target"] = slot_F[order], target_F[order]
        self._out_P[place_F] = out_F
        self._place_S[out_F["slot"]] = place_F
        self._out.tell(source_G, start_G, used_G + count_G)

    def _make_room(self, source_G: np.ndarray, count_G: np.ndarray) -> None:
        """Sources that have no room for so many more move to other blocks, without what has gone."""
        used_G = self._out.of(source_G)[1]
        crowded_G = used_G + count_G > self._out.room(source_G)
        if not crowded_G.any():
            return
        source_C = source_G[crowded_G]
        block_E, place_E = ranges(*self._out.of(source_C))
        here = self._out_P["slot"][place_E] >= 0
        block_E, out_E = block_E[here], self._out_P[place_E[here]]
        live_C = np.bincount(block_E, minlength=len(source_C))
        start_C = self._out.move(source_C, live_C + count_G[crowded_G])
        self._out_P = grown(self._out_P, self._out.pooled)
        _, to_E = ranges(start_C, live_C)
        self._out_P[to_E] = out_E
        self._place_S[out_E["slot"]] = to_E
        self._out.tell(source_C, start_C, live_C)


def _found(row_U: np.ndarray, source_U: np.ndarray, row_M: np.ndarray, source_M: np.ndarray, rows: int) -> np.ndarray:
    """For each old transition (U) its place among the new ones (M) of the same row, or -1. Each row has a table of some
    cells; what another has written over there is looked for by sorting."""
    cell_M = row_M * _CELLS + _cell(source_M)
    among_M = np.arange(len(row_M))
    table = np.zeros(rows * _CELLS, np.int32)
    table[cell_M] = among_M
    at_U = table[row_U * _CELLS + _cell(source_U)] if len(row_M) else np.zeros(len(row_U), np.int32)
    hit_U = (row_M[at_U] == row_U) & (source_M[at_U] == source_U) if len(row_M) else np.zeros(len(row_U), bool)
    lost_L, missed_K = np.flatnonzero(table[cell_M] != among_M), np.flatnonzero(~hit_U)
    at_U = np.where(hit_U, at_U, _GONE)
    if len(lost_L) and len(missed_K):
        at_U[missed_K] = _by_sorting(
            row_U[missed_K] << 32 | source_U[missed_K], row_M[lost_L] << 32 | source_M[lost_L], lost_L
        )
    return at_U


def _by_sorting(key_K: np.ndarray, key_L: np.ndarray, told_L: np.ndarray) -> np.ndarray:
    order = np.argsort(key_L)
    at_K = np.minimum(np.searchsorted(key_L[order], key_K), len(key_L) - 1)
    found_K = order[at_K]
    return np.where(key_L[found_K] == key_K, told_L[found_K], _GONE)


def _cell(source_E: np.ndarray) -> np.ndarray:
    """The cell of a source: Fibonacci hashing."""
    return np.asarray((source_E.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(56)).astype(np.int64)
