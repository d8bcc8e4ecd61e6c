"""The scorer's catalogue: every item as a row of numpy columns, and the graph of transitions between them.

An item gets a dense int handle when it is first named, by a card, a row or another item's row; it can be recommended
while it is live. Popularity is kept as log2 of its forward-decayed weight: that number does not change while time
passes, and the decayed weight at any time is one subtraction away. Transitions are kept from both ends
(`trainer.items.transitions`).

Invariant: the catalogue is a function of the newest card and the newest row of each item, in any order of arrival
(handles differ, answers do not).
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from itertools import repeat
from math import log2
from pathlib import Path

import numpy as np

from store.items import ItemCard, ItemRow
from store.keys import hash64
from store.memory.hash_index import HashIndex
from store.row_blocks.item_block import ItemBlock
from trainer.items.cards import Cards
from trainer.items.item_learning import ItemRules
from trainer.items.labels import Labels
from trainer.items.transitions import Transitions

NEWEST = 2000
"""So many of the newest uploads are kept in order."""

NEVER = -1e30
"""log2 of no weight at all, finite so that differences stay finite."""


CONVERSION_HALF_LIVES = (2, 4)
"""The half-lives (places in the ladder) for which impressions are kept beside popularity."""


_UNKNOWN = {"heat_NW": NEVER, "shown_NV": NEVER, "value_N": np.nan}
"""Columns of which 0 says something."""


class HotLists:
    """The hottest items for each half-life, without looking at all: heat never falls, so an item can only come in by a
    new row that lifts it over the bar."""

    DEPTH = 400

    def __init__(self, windows: int) -> None:
        self._bars = [NEVER] * windows
        self._inside: list[set[int]] = [set() for _ in range(windows)]
        self._entries = [0] * windows
        self._sorted = [(-1, np.zeros(0, np.int64))] * windows

    def rise(self, handle: int, heat_NW: np.ndarray) -> None:
        """Hears of an item's new heat. Only the writer calls this, so that no item is lost between two threads."""
        for window, heat in enumerate(heat_NW[handle].tolist()):
            if heat <= self._bars[window]:
                continue
            inside = self._inside[window]
            if handle not in inside:
                inside.add(handle)
                self._entries[window] += 1  # after it: who counted before sorts again
            if len(inside) > 2 * self.DEPTH:
                handles = np.array(sorted(inside))
                keep = np.argpartition(heat_NW[handles, window], -self.DEPTH)[-self.DEPTH :]
                self._bars[window] = float(heat_NW[handles[keep], window].min())
                self._inside[window] = set(handles[keep].tolist())

    def rise_many(self, handles: np.ndarray, heat_NW: np.ndarray) -> None:
        """Hears of the new heat of many items: of those that may lift one over the bar."""
        over_RW = heat_NW[handles] > np.array(self._bars)
        for handle in handles[over_RW.any(axis=1)].tolist():
            self.rise(handle, heat_NW)

    def hottest(self, window: int) -> np.ndarray:
        """At least the `DEPTH` hottest handles, ascending; sorted anew only after another has come in."""
        entries, (made, handles) = self._entries[window], self._sorted[window]
        if made != entries:
            handles = np.array(sorted(self._inside[window]), np.int64)
            self._sorted[window] = (entries, handles)
        return handles


class Catalog:
    """Items by handle. Columns end in their shape: N handles (capacity), W half-lives, V those for conversion.
    `uploads` counts the cards that made an item live, or newer."""

    def __init__(self, rules: ItemRules = ItemRules(), capacity: int = 1024, cards_folder: Path | None = None) -> None:
        self.rules = rules
        self.half_lives_s_W = np.array(rules.half_lives_s)
        self.handles: dict[str, int] = {}
        self.ids: list[str] = []
        self.cards = Cards(cards_folder)
        self.transitions = Transitions()
        self.labels = Labels()
        self.hot = HotLists(len(rules.half_lives_s))
        self._newest: list[tuple[float, int]] = []
        self.uploads = 0
        self._newest_handles = (-1, np.zeros(0, np.int64))
        self.live_count = 0
        self.positives = 0.0
        self.heaviest = -np.inf
        self.by_hash = HashIndex()
        self.live_N = np.zeros(capacity, bool)
        self.uploaded_at_N = np.zeros(capacity)
        self.first_at_N = np.zeros(capacity)
        self.last_at_N = np.zeros(capacity)
        self.positives_N = np.zeros(capacity, np.float32)
        self.negatives_N = np.zeros(capacity, np.float32)
        self.value_N = np.full(capacity, np.nan, np.float32)
        self.heat_NW = np.full((capacity, len(rules.half_lives_s)), NEVER)
        self.shown_NV = np.full((capacity, len(CONVERSION_HALF_LIVES)), NEVER)

    def __len__(self) -> int:
        return len(self.ids)

    def handle(self, item_id: str) -> int:
        """The item's handle; a new one on sight."""
        handle = self.handles.get(item_id)
        return self._add(item_id) if handle is None else handle

    def insert(self, card: ItemCard) -> int:
        """Makes an item live, or moves it to what its new card says."""
        handle = self.handle(card.item_id)
        if not self.live_N[handle]:
            self.live_N[handle] = True
            self.live_count += 1
        if handle not in self.cards or self.uploaded_at_N[handle] != card.uploaded_at:
            insort(self._newest, (card.uploaded_at, handle))
            del self._newest[:-NEWEST]
            self.uploads += 1
        self.cards[handle] = card
        self.labels.replace(handle, card)
        self.uploaded_at_N[handle] = card.uploaded_at
        return handle

    def remove(self, item_id: str) -> None:
        """Takes an item down. What behaviour taught stays: others are its neighbours still."""
        handle = self.handles.get(item_id)
        if handle is not None and self.live_N[handle]:
            self.live_N[handle] = False
            self.live_count -= 1
            self.cards[handle] = None
            self.labels.replace(handle, None)

    def update(self, item_id: str, row: ItemRow) -> int:
        """Takes over the newest row of an item."""
        handle = self.handle(item_id)
        self.positives += row.positives - float(self.positives_N[handle])
        self.positives_N[handle] = row.positives
        self.negatives_N[handle] = row.negatives
        if row.value_count:
            self.value_N[handle] = row.value_sum / row.value_count
        if row.shown:
            shown = self._heat(row.shown, row.shown_at)
            self.shown_NV[handle] = [shown[window] for window in CONVERSION_HALF_LIVES]
        if row.positives:
            self.first_at_N[handle] = row.first_at
            self.last_at_N[handle] = row.last_at
            self.heat_NW[handle] = self._heat(row.popularity, row.decayed_at)
            self.hot.rise(handle, self.heat_NW)
        if row.neighbours:
            self._connect(handle, row)
        return handle

    def update_many(self, handle_R: np.ndarray, block: ItemBlock, source_E: np.ndarray) -> None:
        """Takes over the newest rows of some items, each once. `source_E`: handles of the block's neighbours."""
        self.count(handle_R, block.positives_R)
        self.negatives_N[handle_R] = block.negatives_R
        valued_R, shown_R, liked_R = block.value_count_R > 0, block.shown_RW.any(axis=1), block.positives_R > 0
        self.value_N[handle_R[valued_R]] = block.value_sum_R[valued_R] / block.value_count_R[valued_R]
        if shown_R.any():
            shown_SW = self._heats(block.shown_RW[shown_R], block.shown_at_R[shown_R])
            self.shown_NV[handle_R[shown_R]] = shown_SW[:, CONVERSION_HALF_LIVES]
        if liked_R.any():
            liked = handle_R[liked_R]
            self.first_at_N[liked], self.last_at_N[liked] = block.first_at_R[liked_R], block.last_at_R[liked_R]
            self.heat_NW[liked] = self._heats(block.popularity_RW[liked_R], block.decayed_at_R[liked_R])
            self.hot.rise_many(liked, self.heat_NW)
        self._connect_many(handle_R, block, source_E)

    def count(self, handle_R: np.ndarray, positives_R: np.ndarray) -> None:
        """So many positive engagements speak for some items, each named once."""
        self.positives += float(positives_R.sum()) - float(self.positives_N[handle_R].sum(dtype=np.float64))
        self.positives_N[handle_R] = positives_R

    def _heats(self, decayed_RW: np.ndarray, at_s_R: np.ndarray) -> np.ndarray:
        """`_heat` of many rows."""
        return np.asarray(np.log2(np.maximum(decayed_RW, 1e-300)) + at_s_R[:, None] / self.half_lives_s_W)

    def _heat(self, decayed: list[float], at_s: float) -> list[float]:
        """log2 of decayed sums as of a time, by half-life, in units that stay while time goes on. Of few numbers, for
        which an array costs more than what it does."""
        return [
            log2(max(one, 1e-300)) + at_s / life for one, life in zip(decayed, self.rules.half_lives_s, strict=True)
        ]

    def forget(self, handle: int) -> None:
        """The row of an item has gone, and with it the transitions into the item."""
        self.positives -= float(self.positives_N[handle])
        for column_N in (self.positives_N, self.negatives_N, self.first_at_N, self.last_at_N):
            column_N[handle] = 0
        self.value_N[handle] = np.nan
        self.heat_NW[handle] = self.shown_NV[handle] = NEVER
        self.transitions.replace(handle, np.zeros(0, np.int32), np.zeros(0))

    def newest_handles(self) -> np.ndarray:
        """Handles of the `NEWEST` newest uploads, ascending, made anew after an upload only."""
        uploads, (made, handles) = self.uploads, self._newest_handles
        if made != uploads:
            handles = np.unique([handle for _, handle in self._newest[:]]).astype(np.int64)
            self._newest_handles = (uploads, handles)
        return handles

    def known(self, item_ids: Iterable[str]) -> list[int]:
        """Handles of those items that have one, in order."""
        handles = self.handles
        return [handles[item_id] for item_id in item_ids if item_id in handles]

    def _add(self, item_id: str) -> int:
        handle = len(self.ids)
        if handle == len(self.live_N):
            self._grow()
        self.handles[item_id] = handle
        self.ids.append(item_id)
        self.transitions.reserve(handle + 1)
        self.by_hash.add(hash64(item_id), handle)
        return handle

    def _grow(self) -> None:
        size = len(self.live_N)
        for name, column in list(vars(self).items()):
            if name.split("_")[-1].startswith("N") and isinstance(column, np.ndarray):
                wider = np.zeros((size + max(1024, size // 4), *column.shape[1:]), column.dtype)
                wider[:size] = column
                if unknown := _UNKNOWN.get(name, 0.0):
                    wider[size:] = unknown
                setattr(self, name, wider)

    def _connect(self, handle: int, row: ItemRow) -> None:
        """Takes over the transitions into an item."""
        half_life_s, count = self.rules.neighbour_half_life_s, len(row.neighbours)
        source_E = np.fromiter(map(self.handles.get, row.neighbours, repeat(-1)), np.int32, count)
        if (source_E < 0).any():
            source_E = np.fromiter(map(self.handle, row.neighbours), np.int32, count)
        weight_E = np.fromiter(row.neighbours.values(), np.float64, count)
        self.heaviest = max(self.heaviest, row.decayed_at / half_life_s)
        self.transitions.replace(handle, source_E, np.log2(weight_E) + row.landmark / half_life_s)

    def _connect_many(self, handle_R: np.ndarray, block: ItemBlock, source_E: np.ndarray) -> None:
        """Takes over the transitions into some items."""
        told_R, half_life_s = block.count_R > 0, self.rules.neighbour_half_life_s
        if not told_R.any():
            return
        self.heaviest = max(self.heaviest, float(block.decayed_at_R[told_R].max()) / half_life_s)
        landmark_E = np.repeat(block.landmark_R / half_life_s, block.count_R)
        log_E = np.log2(np.maximum(block.weight_E, 1e-300)) + landmark_E
        self.transitions.replace_many(handle_R[told_R], block.count_R[told_R], source_E, log_E)
