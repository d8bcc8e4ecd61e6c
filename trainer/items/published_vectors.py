"""Published vectors: every item's learned vector as its owner published it, and where one without is expected.

The expectation stands in until an item has been engaged with, and is where its learner starts: a ridge regression of
the learned vectors on content, and the mean of what that misses among the items that share the semantic ID's longest
known prefix, shrunk by how few they are. So its length tells how much is known: a cosine with it is an expected one.
It is fitted whenever the spectral embedding is, on the same content projection.

Invariant: an item's vector is what its newest row holds, of length 1, or the expectation by the newest fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from math import sqrt

import numpy as np

from store.items import ItemRow
from store.row_blocks.item_block import ItemBlock
from trainer.items.byte_vectors import ByteVectors
from trainer.items.content_vectors import ContentVectors
from trainer.items.spectral_embedding import content_map, predicted, unit

SEARCHED = 2048
"""Hard negatives are looked for among so many items: what they cost does not grow with the catalogue."""

Prefixes = dict[tuple[int, ...], tuple[np.ndarray, int]]
"""Codes of a prefix → the sum of what content did not predict of the vectors under it, and how many they are."""


_STRIDE = 4096


class Rests:
    """What content did not predict of the vectors of items (handles ascending: T)."""

    def __init__(self, handles: np.ndarray, rest_TD: np.ndarray) -> None:
        self.handles, self.rest_TD = handles, rest_TD

    def of(self, handle: int) -> np.ndarray | None:
        """None for an item that is not one of these."""
        place = int(self.handles.searchsorted(handle))
        inside = place < len(self.handles) and self.handles[place] == handle
        return np.asarray(self.rest_TD[place]) if inside else None


class PublishedVectors:
    """Vectors by handle of `catalog`: `x_ND` as they are, `expected_ND` from content and prefix alone; `changes_N`
    counts how often each was published."""

    def __init__(
        self, content: ContentVectors, width: int = 64, ridge: float = 10.0, prefix_prior: float = 5.0
    ) -> None:
        self.content, self.catalog = content, content.catalog
        capacity = len(self.catalog.live_N)
        self.width = width
        self.x_ND = ByteVectors(capacity, width)
        self.expected_ND = ByteVectors(capacity, width)
        self._ridge, self._prefix_prior = ridge, prefix_prior
        self._known_N = np.zeros(capacity, bool)
        self.changes_N = np.zeros(capacity, np.int32)
        self._map_CD = np.zeros((content.width + 1, width), np.float32)
        self._prefixes: Prefixes = {}

    def place(self, handle: int, row: ItemRow) -> None:
        """Takes over the vector of an item's newest row."""
        self._reserve()
        vector_D = row.vector_D()
        if len(vector_D) == self.width:
            self._known_N[handle] = True
            self.changes_N[handle] += 1
            wide_D = vector_D.astype(np.float32)
            self.x_ND[handle] = wide_D / max(sqrt(float(wide_D @ wide_D)), 1e-30)

    def place_many(self, handle_R: np.ndarray, block: ItemBlock) -> None:
        """Takes over the vectors of the newest rows of some items, each once."""
        self.place_vectors(handle_R, block.vector_RD)

    def place_vectors(self, handle_R: np.ndarray, vector_RD: np.ndarray) -> None:
        """The same of the vectors alone, zeros for a row that has none."""
        self._reserve()
        if vector_RD.shape[1] != self.width:
            return
        has_R = vector_RD.any(axis=1)
        handle_V = handle_R[has_R]
        self._known_N[handle_V] = True
        self.changes_N[handle_V] += 1
        self.x_ND[handle_V] = unit(vector_RD[has_R].astype(np.float32))

    def forget(self, handle: int) -> None:
        """An item has no vector any more: it is expected again where its card says."""
        self._reserve()
        self._known_N[handle] = False
        self.changes_N[handle] += 1
        self.describe(handle)

    def describe(self, handle: int) -> None:
        """Expects an item where its new card says."""
        self._reserve()
        self._expect(np.array([handle]), predicted(self.content.x_NC[handle][None], self._map_CD))

    def refit(self) -> None:
        """Fits the expectation anew and places every item that has no vector. May run in another thread."""
        self._reserve()
        size = len(self.catalog)
        known_N = self._known_N[:size].copy()
        evidence_N = np.where(known_N, self.catalog.positives_N[:size], 0.0)
        self._map_CD, mapped_ND = content_map(self.content.x_NC, self.x_ND, evidence_N, self._ridge)
        telling = np.flatnonzero(evidence_N >= 3)
        rests = Rests(telling, self.x_ND[telling] - mapped_ND[telling])
        self._prefixes = self._gather_prefixes(rests)
        for start in range(0, size, _STRIDE):
            some = np.arange(start, min(size, start + _STRIDE))
            self._expect(some, mapped_ND[some], rests)
        for handle in range(size, len(self.catalog)):
            self.describe(handle)

    def of(self, item_ids: Sequence[str]) -> np.ndarray:
        """Vectors of these items (N × D, float32, a copy); zeros for one that is unknown."""
        handles = np.fromiter(map(self.catalog.handles.get, item_ids, repeat(-1)), np.int64, len(item_ids))
        x_ND = self.x_ND
        handles[handles >= len(x_ND)] = -1
        found_ND = x_ND[handles]
        found_ND[handles < 0] = 0.0
        return found_ND

    def known(self, handles: np.ndarray) -> np.ndarray:
        """Published vectors of some handles (N × D, float32, a copy); zeros for one that has none yet."""
        x_ND, known_N = self.x_ND, self._known_N
        inside = handles < min(len(x_ND), len(known_N))
        at = np.where(inside, handles, 0)
        return np.asarray(np.where((inside & known_N[at])[:, None], x_ND[at], np.float32(0.0)))

    def nearest(self, users_UD: np.ndarray, k: int, draw: int) -> list[str]:
        """Of the k items nearest to each user those that were published, each once, in no order: of all items, or in a
        catalogue of more than `SEARCHED` of so many beside each other, from the place that `draw` chooses."""
        size = min(len(self.catalog), len(self.x_ND))
        first = draw % max(1, size - SEARCHED + 1)
        cosine_UN = users_UD @ self.x_ND[first : min(size, first + SEARCHED)].T
        count = cosine_UN.shape[1]
        found = np.unique(np.argpartition(cosine_UN, -k, axis=1)[:, -k:]) if count > k else np.arange(count)
        found = found[self._known_N[first + found]]
        return [self.catalog.ids[first + place] for place in found.tolist()]

    def _expect(self, handles: np.ndarray, mapped_HD: np.ndarray, rests: Rests | None = None) -> None:
        """`rests`: what items themselves have put under their prefixes. An item must not expect itself."""
        expected_HD = mapped_HD.copy()
        if self._prefixes:
            for place, handle in enumerate(handles.tolist()):
                expected_HD[place] += self._prefix_mean(handle, None if rests is None else rests.of(handle))
        length_H = np.sqrt(np.einsum("hd,hd->h", expected_HD, expected_HD))
        expected_HD /= np.maximum(1.0, length_H)[:, None]
        self.expected_ND[handles] = expected_HD
        new_H = ~self._known_N[handles]
        self.x_ND[handles[new_H]] = expected_HD[new_H]

    def _gather_prefixes(self, rests: Rests) -> Prefixes:
        found: Prefixes = {}
        for handle, rest_D in zip(rests.handles.tolist(), rests.rest_TD, strict=True):
            for prefix in self._prefixes_of(handle):
                total_D, count = found.get(prefix, (np.zeros(self.width, np.float32), 0))
                found[prefix] = (total_D + rest_D, count + 1)
        return found

    def _prefix_mean(self, handle: int, own_D: np.ndarray | None) -> np.ndarray | float:
        """The mean under the longest prefix that has other items, shrunk by how few they are."""
        inside = own_D is not None and bool(own_D.any())
        for prefix in self._prefixes_of(handle):
            total_D, count = self._prefixes.get(prefix, (0.0, 0))
            if count > inside:
                others_D = total_D - own_D if own_D is not None and inside else total_D
                return np.asarray(others_D / (count - inside + self._prefix_prior))
        return 0.0

    def _prefixes_of(self, handle: int) -> list[tuple[int, ...]]:
        """The prefixes of an item's semantic ID, the longest first."""
        card = self.catalog.cards[handle]
        codes = tuple(card.codes) if card is not None else ()
        return [codes[:length] for length in range(len(codes), 0, -1)]

    def _reserve(self) -> None:
        self.content.reserve()
        capacity = len(self.catalog.live_N)
        self.x_ND.reserve(capacity)
        self.expected_ND.reserve(capacity)
        lack = capacity - len(self._known_N)
        if lack > 0:
            self.changes_N = np.concatenate([self.changes_N, np.zeros(lack, np.int32)])
            self._known_N = np.concatenate([self._known_N, np.zeros(lack, bool)])
