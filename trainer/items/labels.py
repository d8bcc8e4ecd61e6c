"""Labels: which items bear which category, language, creator or tag, so that a request may ask for some only.

Pairs of (label, item) lie in two flat arrays, in the order in which they came: whom a label holds for is one look at
them, some milliseconds for a million items, and an item costs 8 bytes for each of its labels and 12 of its own. A pair
that no longer holds is overwritten, and the arrays are made anew when half of them are such.

Invariant: an item bears what its newest card says, and nothing once it is taken down. One thread writes; others may
look meanwhile, and see each item's labels as they were before, or after, or none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from store.items import ItemCard

GONE = -1
"""The code of a pair that no longer holds."""
LEAST_PAIRS = 1024


class _Pairs(NamedTuple):
    """`code_E[:size]` and `item_E[:size]` are the pairs (E: capacity)."""

    code_E: np.ndarray
    item_E: np.ndarray
    size: int


def labels_of(card: ItemCard) -> list[tuple[str, str]]:
    """The labels of an item as (field, value), each once."""
    single = (("categories", card.category), ("languages", card.language), ("creator_ids", card.creator_id))
    named = [(field, value) for field, value in single if value is not None]
    return list(dict.fromkeys([*named, *(("tags", tag) for tag in card.tags)]))


class Labels:
    """The labels of the items of one catalogue, by handle."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], int] = {}
        self._pairs = _empty_pairs(LEAST_PAIRS)
        self._gone = 0
        self._begin_N = np.zeros(LEAST_PAIRS, np.int64)
        self._length_N = np.zeros(LEAST_PAIRS, np.int32)

    @property
    def pairs(self) -> int:
        """Pairs that are held, with those that hold no more."""
        return self._pairs.size

    def replace(self, handle: int, card: ItemCard | None) -> None:
        """The item bears what its card says from now on; without a card nothing."""
        named = labels_of(card) if card is not None else []
        codes = [self._codes.setdefault(label, len(self._codes)) for label in named]
        self._reserve(handle)
        begin, length = int(self._begin_N[handle]), int(self._length_N[handle])
        if self._pairs.code_E[begin : begin + length].tolist() == codes:
            return
        self._pairs.code_E[begin : begin + length] = GONE
        self._gone += length
        self._append(handle, codes)
        if self._gone > max(LEAST_PAIRS, self._pairs.size // 2):
            self._compact()

    def bearers(self, field: str, values: Iterable[str], size: int) -> np.ndarray:
        """Which of the first `size` items bear any of these values in a field (N, bool)."""
        found_N = np.zeros(size, bool)
        pairs = self._pairs
        code_E = pairs.code_E[: pairs.size]
        codes = [self._codes[field, value] for value in values if (field, value) in self._codes]
        for code in codes:
            items = pairs.item_E[: pairs.size][code_E == code]
            found_N[items[items < size]] = True
        return found_N

    def _append(self, handle: int, codes: list[int]) -> None:
        code_E, item_E, count = self._pairs
        if count + len(codes) > len(code_E):
            grown = _empty_pairs(2 * len(code_E) + len(codes))
            grown.code_E[:count], grown.item_E[:count] = code_E[:count], item_E[:count]
            code_E, item_E = grown.code_E, grown.item_E
        code_E[count : count + len(codes)], item_E[count : count + len(codes)] = codes, handle
        self._begin_N[handle], self._length_N[handle] = count, len(codes)
        self._pairs = _Pairs(code_E, item_E, count + len(codes))

    def _compact(self) -> None:
        """Makes arrays without the pairs that no longer hold; the pairs of an item stay together."""
        old = self._pairs
        kept_K = np.flatnonzero(old.code_E[: old.size] != GONE)
        made = _empty_pairs(2 * len(kept_K) + LEAST_PAIRS)
        made.code_E[: len(kept_K)], made.item_E[: len(kept_K)] = old.code_E[kept_K], old.item_E[kept_K]
        bearing, first = np.unique(old.item_E[kept_K], return_index=True)
        self._begin_N[bearing] = first
        self._pairs, self._gone = _Pairs(made.code_E, made.item_E, len(kept_K)), 0

    def _reserve(self, handle: int) -> None:
        if handle >= len(self._begin_N):
            more = max(handle + 1 - len(self._begin_N), len(self._begin_N))
            self._begin_N = np.concatenate([self._begin_N, np.zeros(more, np.int64)])
            self._length_N = np.concatenate([self._length_N, np.zeros(more, np.int32)])


def _empty_pairs(capacity: int) -> _Pairs:
    return _Pairs(np.full(capacity, GONE, np.int32), np.zeros(capacity, np.int32), 0)
