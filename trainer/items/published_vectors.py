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
from store.memory.prefix_sums import NO_CODE, PrefixSums
from store.row_blocks.item_block import ItemBlock
from trainer.items.byte_vectors import ByteVectors
from trainer.items.content_vectors import ContentVectors
from trainer.items.spectral_embedding import content_map, predicted, unit

SEARCHED = 2048
"""Hard negatives are looked for among so many items: what they cost does not grow with the catalogue."""
TELLING = 3
"""From so many engagements on an item's vector tells what to expect of those beside it."""

_STRIDE = 4096


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
        self._codes_NL = np.full((capacity, 0), NO_CODE, np.int32)
        self._sums = PrefixSums(self._codes_NL[:0], np.zeros((0, width), np.float32))

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
        card = self.catalog.cards[handle]
        self._codes_NL[handle] = NO_CODE
        if card is not None:
            self._widen(len(card.codes))
            self._codes_NL[handle, : len(card.codes)] = card.codes
        mapped_HD = predicted(self.content.x_NC[handle][None], self._map_CD)
        self._expect(np.array([handle]), mapped_HD, np.zeros_like(mapped_HD), np.zeros(1, bool))

    def refit(self) -> None:
        """Fits the expectation anew and places every item that has no vector. May run in another thread."""
        self._reserve()
        size = len(self.catalog)
        known_N = self._known_N[:size].copy()
        evidence_N = np.where(known_N, self.catalog.positives_N[:size], 0.0)
        self._map_CD, mapped_ND = content_map(self.content.x_NC, self.x_ND, evidence_N, self._ridge)
        telling_N = (evidence_N >= TELLING) & self.catalog.live_N[:size]
        telling = np.flatnonzero(telling_N)
        rest_TD = self.x_ND[telling] - mapped_ND[telling]
        self._sums = PrefixSums(self._codes_NL[telling], rest_TD)
        for start in range(0, size, _STRIDE):
            some = np.arange(start, min(size, start + _STRIDE))
            own_HD, inside_H = np.zeros((len(some), self.width), np.float32), telling_N[some]
            own_HD[inside_H] = rest_TD[slice(*telling.searchsorted([start, start + _STRIDE]))]
            self._expect(some, mapped_ND[some], own_HD, inside_H)
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

    def _expect(self, handles: np.ndarray, mapped_HD: np.ndarray, own_HD: np.ndarray, inside_H: np.ndarray) -> None:
        """`own_HD`: what those `inside_H` have put under their prefixes. An item must not expect itself."""
        expected_HD = mapped_HD + self._sums.means(self._codes_NL[handles], own_HD, inside_H, self._prefix_prior)
        length_H = np.sqrt(np.einsum("hd,hd->h", expected_HD, expected_HD))
        expected_HD /= np.maximum(1.0, length_H)[:, None]
        self.expected_ND[handles] = expected_HD
        new_H = ~self._known_N[handles]
        self.x_ND[handles[new_H]] = expected_HD[new_H]

    def _widen(self, levels: int) -> None:
        lack = levels - self._codes_NL.shape[1]
        if lack > 0:
            more_NL = np.full((len(self._codes_NL), lack), NO_CODE, np.int32)
            self._codes_NL = np.concatenate([self._codes_NL, more_NL], axis=1)

    def _reserve(self) -> None:
        self.content.reserve()
        capacity = len(self.catalog.live_N)
        self.x_ND.reserve(capacity)
        self.expected_ND.reserve(capacity)
        lack = capacity - len(self._known_N)
        if lack > 0:
            self.changes_N = np.concatenate([self.changes_N, np.zeros(lack, np.int32)])
            self._known_N = np.concatenate([self._known_N, np.zeros(lack, bool)])
            more_NL = np.full((lack, self._codes_NL.shape[1]), NO_CODE, np.int32)
            self._codes_NL = np.concatenate([self._codes_NL, more_NL])
