"""The live prefix tree: which semantic IDs exist right now, as flat arrays that a beam search reads in one call.

A node is a prefix of codes (the root, 0, is the empty one); its children, or in a leaf its items, are a block of a
shared pool (`store.memory.block_pool`). A node whose last item left stays in its block, hidden by
its count of zero, until the block moves: then it is dropped. Dropped nodes are used again only after `QUARANTINE_S`, so
that a beam search that stands on one finds it empty rather than another prefix.

Invariant: after each operation the tree holds exactly the items inserted and not removed, under their codes.
Threads: one lock for writers. Readers take none: a counter is odd while a write is under way, and a reader that saw
it change reads again (a seqlock), so it never returns a torn state.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from store.memory.block_pool import BlockPool, grown

ROOT = 0
QUARANTINE_S = 60.0
_Answer = TypeVar("_Answer")


class PrefixTree:
    """Items (int handles ≥ 0, best dense) under their codes, one level of children per code."""

    def __init__(self, widths: Sequence[int]) -> None:
        self.widths = tuple(int(width) for width in widths)
        self.levels = len(self.widths)
        self._lock = threading.Lock()
        self._sequence = 0
        self._empty()

    def _empty(self) -> None:
        self._parent = np.zeros(16, np.int32)
        self._code = np.zeros(16, np.int32)
        self._depth = np.zeros(16, np.int8)
        self._count = np.zeros(16, np.int32)
        self._blocks = BlockPool()
        self._leaf_of = np.full(16, -1, np.int32)
        self._nodes = 1
        self._dropped: deque[tuple[float, int]] = deque()

    # writing

    def insert(self, item: int, codes: Sequence[int] | np.ndarray) -> None:
        """Puts `item` under `codes`; one that is already in moves there."""
        path = self._checked(item, codes)
        with self._lock:
            self._sequence += 1
            try:
                if item < len(self._leaf_of) and self._leaf_of[item] >= 0:
                    self._take_out(item)
                self._put_in(item, path)
            finally:
                self._sequence += 1

    move = insert

    def remove(self, item: int) -> bool:
        """Takes `item` out; False when it was not in."""
        if not 0 <= item < len(self._leaf_of):
            return False
        with self._lock:
            if self._leaf_of[item] < 0:
                return False
            self._sequence += 1
            try:
                self._take_out(item)
            finally:
                self._sequence += 1
            return True

    def insert_many(self, items_N: np.ndarray, codes_NL: np.ndarray) -> None:
        """Many distinct items at once. Into an empty tree this is a sort, about a microsecond an item."""
        items_N, codes_NL = np.asarray(items_N, np.int64), np.asarray(codes_NL, np.int64)
        if len(self) or not len(items_N):
            for item, codes in zip(items_N.tolist(), codes_NL.tolist(), strict=True):
                self.insert(item, codes)
            return
        bad = (codes_NL < 0) | (codes_NL >= np.array(self.widths))
        if codes_NL.shape[1] != self.levels or bad.any() or items_N.min() < 0 or len(np.unique(items_N)) < len(items_N):
            raise ValueError(f"items must be distinct and codes (N, {self.levels}) below {self.widths}")
        with self._lock:
            self._sequence += 1
            try:
                self._build(items_N, codes_NL)
            finally:
                self._sequence += 1

    def _checked(self, item: int, codes: Sequence[int] | np.ndarray) -> list[int]:
        path = [int(code) for code in codes]
        fits = len(path) == self.levels and all(0 <= c < w for c, w in zip(path, self.widths, strict=True))
        if item < 0 or not fits:
            raise ValueError(f"item {item} with codes {path}: codes must be {self.levels}, below {self.widths}")
        return path

    def _put_in(self, item: int, path: list[int]) -> None:
        node = ROOT
        nodes = [ROOT]
        for code in path:
            child = self._child(node, code)
            if child < 0:
                child = self._new_node(node, code)
                self._append(node, child)
            node = child
            nodes.append(node)
        self._append(node, item)
        self._count[nodes] += 1
        if item >= len(self._leaf_of):
            self._leaf_of = grown(self._leaf_of, item + 1, -1)
        self._leaf_of[item] = node

    def _take_out(self, item: int) -> None:
        leaf = int(self._leaf_of[item])
        self._blocks.discard(leaf, item)
        self._leaf_of[item] = -1
        for _ in range(self.levels):
            self._count[leaf] -= 1
            leaf = int(self._parent[leaf])
        self._count[ROOT] -= 1

    def _child(self, node: int, code: int) -> int:
        children = self._blocks.entries(node)
        if not len(children):
            return -1
        place = int((self._code[children] == code).argmax())
        return int(children[place]) if self._code[children[place]] == code else -1

    def _new_node(self, parent: int, code: int) -> int:
        if self._dropped and self._dropped[0][0] <= time.monotonic():
            node = self._dropped.popleft()[1]
        else:
            node = self._nodes
            self._nodes += 1
            if node >= len(self._parent):
                self._grow_nodes(node + 1)
        self._parent[node], self._code[node] = parent, code
        self._depth[node] = self._depth[parent] + 1
        return node

    def _grow_nodes(self, need: int) -> None:
        for name in ("_parent", "_code", "_depth", "_count"):
            setattr(self, name, grown(getattr(self, name), need, 0))
        self._blocks.grow(need)

    def _append(self, node: int, entry: int) -> None:
        """Adds a child or an item to a node; when its block has to move, the children that died are left behind."""
        if not self._blocks.append(node, entry):
            kept = self._blocks.entries(node).copy()
            if len(kept) and self._depth[node] < self.levels:
                for child in kept[self._count[kept] == 0].tolist():
                    self._drop(child)
                kept = kept[self._count[kept] > 0]
            self._blocks.move(node, kept)
            self._blocks.append(node, entry)

    def _drop(self, node: int) -> None:
        """Gives back a dead node, what is dead below it, and their blocks."""
        if self._depth[node] < self.levels:
            for child in self._blocks.entries(node).tolist():
                self._drop(child)
        self._blocks.release(node)
        self._dropped.append((time.monotonic() + QUARANTINE_S, node))

    def _build(self, items_N: np.ndarray, codes_NL: np.ndarray) -> None:
        """The whole tree at once: sort by codes; a node begins wherever a prefix differs from the row before."""
        self._empty()
        order_N = np.lexsort((items_N, *codes_NL.T[::-1]))
        items_N, codes_NL = items_N[order_N], codes_NL[order_N]
        node_N = np.zeros(len(items_N), np.int64)
        differs_N = np.zeros(len(items_N), bool)
        differs_N[0] = True
        self._count[ROOT] = len(items_N)
        for level in range(self.levels):
            differs_N[1:] |= codes_NL[1:, level] != codes_NL[:-1, level]
            first = np.flatnonzero(differs_N)
            nodes_M = self._nodes + np.arange(len(first))
            self._nodes += len(first)
            self._grow_nodes(self._nodes)
            self._parent[nodes_M], self._code[nodes_M] = node_N[first], codes_NL[first, level]
            self._depth[nodes_M] = level + 1
            self._count[nodes_M] = np.diff(first, append=len(items_N))
            self._blocks.lay(node_N[first], nodes_M)
            node_N = np.repeat(nodes_M, self._count[nodes_M])
        self._blocks.lay(node_N, items_N)
        self._leaf_of = grown(self._leaf_of, int(items_N.max()) + 1, -1)
        self._leaf_of[items_N] = node_N

    # reading

    def _read(self, look: Callable[[], _Answer]) -> _Answer:
        for _ in range(4):
            before = self._sequence
            if not before & 1:
                try:
                    answer = look()
                except IndexError:  # arrays of two moments
                    continue
                if self._sequence == before:
                    return answer
        with self._lock:
            return look()

    def __len__(self) -> int:
        return self._read(lambda: int(self._count[ROOT]))

    def __contains__(self, item: int) -> bool:
        return self._read(lambda: self._leaf(item) >= 0)

    def _leaf(self, item: int) -> int:
        return int(self._leaf_of[item]) if 0 <= item < len(self._leaf_of) else -1

    def codes_of(self, item: int) -> tuple[int, ...] | None:
        """The codes that `item` lives under; None when it is not in."""
        return self._read(lambda: self._path(leaf) if (leaf := self._leaf(item)) >= 0 else None)

    def _path(self, node: int) -> tuple[int, ...]:
        path: list[int] = []
        for _ in range(int(self._depth[node])):
            path.append(int(self._code[node]))
            node = int(self._parent[node])
        return tuple(reversed(path))

    def find(self, prefix: Sequence[int]) -> int:
        """The node of a prefix of codes, -1 when no live item has it."""
        return self._read(lambda: self._find(prefix))

    def _find(self, prefix: Sequence[int]) -> int:
        node = ROOT
        for code in prefix:
            node = self._child(node, int(code)) if self._depth[node] < self.levels else -1
            if node < 0 or self._count[node] == 0:
                return -1
        return node

    def children(self, nodes_B: np.ndarray | Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The live children of each node: (index into `nodes_B`, code, child node), each of shape M, parents in order.
        A leaf has none."""
        nodes_B = np.asarray(nodes_B, np.int64)
        return self._read(lambda: self._children(nodes_B))

    def _children(self, nodes_B: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        inner_B = self._depth[nodes_B] < self.levels
        index_M, child_M = self._blocks.gather(nodes_B, inner_B)
        live_M = self._count[child_M] > 0
        child_M = child_M[live_M]
        return index_M[live_M], self._code[child_M], child_M

    def mask(self, nodes_B: np.ndarray | Sequence[int]) -> np.ndarray:
        """Which next codes lead to a live item: bool of shape (B, widest level)."""
        index_M, code_M, _ = self.children(nodes_B)
        mask_BW = np.zeros((len(nodes_B), max(self.widths)), bool)
        mask_BW[index_M, code_M] = True
        return mask_BW

    def items(self, node: int = ROOT) -> np.ndarray:
        """The items of a leaf, or all below an inner node (int32, no order promised)."""
        return self.items_of(np.array([node]))[1]

    def items_of(self, nodes_B: np.ndarray | Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """The items below each node: (index into `nodes_B`, item), each of shape M. The nodes are of one level."""
        nodes_B = np.asarray(nodes_B, np.int64)
        return self._read(lambda: self._items_of(nodes_B))

    def _items_of(self, nodes_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        index_M = np.arange(len(nodes_B))
        while len(nodes_B) and self._depth[nodes_B[0]] < self.levels:
            up_M, _, nodes_B = self._children(nodes_B)
            index_M = index_M[up_M]
        up_M, items_M = self._blocks.gather(nodes_B, np.ones(len(nodes_B), bool))
        return index_M[up_M], items_M

    def live_count(self, nodes_B: np.ndarray | Sequence[int]) -> np.ndarray:
        """How many live items each node has below it."""
        nodes_B = np.asarray(nodes_B, np.int64)
        return self._read(lambda: self._count[nodes_B])

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        arrays = (self._parent, self._code, self._depth, self._count, self._leaf_of)
        return sum(array.nbytes for array in arrays) + self._blocks.nbytes
