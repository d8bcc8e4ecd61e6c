"""Lexical likeness: the cosine between items' words and word pairs, those that few items have counting most (TF-IDF,
Salton and Buckley 1988).

Terms are kept by a hash below `BUCKETS`, so the vocabulary cannot grow without bound; an item has at most 64 words and
as many pairs of them. Lengths of items follow the rarity of terms with a little delay, as embeddings follow the
transitions.

Most terms are of one item only, which nothing can share: they cost no posting of their own.

Invariant: after items are added and removed the postings are those of the items it holds; a reader may ask meanwhile.
"""

from __future__ import annotations

import zlib
from array import array
from itertools import pairwise

import numpy as np

from store.items import ItemCard
from trainer.content.words import terms, terms_of
from trainer.retrieval.scored import Scored, silent, summed

BUCKETS = 1 << 20
CHANGED = 0.1
"""Lengths are computed anew when so great a share of the items has come, changed or gone since."""
COMMON, COMMON_ITEMS = 0.02, 2000
"""A term that more than this share of the items have, and more than so many, is passed over: it says little and costs
most."""
_NONE = np.zeros(0, np.int32)


class LexicalIndex:
    """Hashed term → handles of the items that have it (`_alone`: the only one), and each item's terms, packed."""

    def __init__(self) -> None:
        self._postings: dict[int, array[int]] = {}
        self._alone: dict[int, int] = {}
        self._items_T = np.zeros(BUCKETS, np.int32)
        self._terms: list[bytes] = []
        self._length_N = np.ones(0, np.float32)
        self._items = 0
        self._changed = 0

    def replace(self, handle: int, card: ItemCard | None) -> None:
        """An item's card has changed; None: it has none any more. Equal terms cost little."""
        self._terms += [b""] * (handle + 1 - len(self._terms))
        if handle >= len(self._length_N):
            more = np.ones(max(1024, handle + 1), np.float32)
            self._length_N = np.concatenate([self._length_N, more])
        before, after = self._terms_of(handle), terms_hashed(card)
        if np.array_equal(before, after):
            return
        for term in before.tolist():
            self._drop(term, handle)
        for term in after.tolist():
            self._put(term, handle)
        self._items_T[before] -= 1
        self._items_T[after] += 1
        self._items += (len(after) > 0) - (len(before) > 0)
        self._terms[handle] = after.tobytes()
        self._length_N[handle] = self._length(after)
        self._changed += 1
        if self._changed > CHANGED * self._items:
            self._measure()

    def likeness(self, name: str, handles_L: np.ndarray, weights_L: np.ndarray, size: int) -> Scored:
        """Cosine of each of the first `size` handles to each of the given ones, summed by weight, as the source `name`:
        of those that share a term that is not too common."""
        asked: dict[int, float] = {}
        for handle, weight in zip(handles_L.tolist(), weights_L.tolist(), strict=True):
            if len(terms_E := self._terms_of(handle)):
                part_E = self._rarity(terms_E) ** 2 * (weight / float(self._length_N[handle]))
                for term, part in zip(terms_E.tolist(), part_E.tolist(), strict=True):
                    asked[term] = asked.get(term, 0.0) + part
        found, parts, counts = [], [], []
        most = max(COMMON_ITEMS, int(COMMON * self._items))
        for term, part in asked.items():
            posting = self._postings.get(term)
            if posting is not None and len(posting) <= most:
                handles = np.frombuffer(posting.tobytes(), np.int32)
                found.append(handles)
                parts.append(part)
                counts.append(len(handles))
        if not found:
            return silent(name)
        every_E, part_E = np.concatenate(found), np.repeat(parts, counts)
        here_E = every_E < size
        sums = summed(every_E[here_E], size, {name: part_E[here_E]})
        score_M = (sums.columns[name] / self._length_N[sums.handles_M]).astype(np.float32)
        return Scored(sums.handles_M, {name: score_M})

    def alike(self, handle: int, handles_L: np.ndarray) -> np.ndarray:
        """The same cosine of one item to each of some (L), without a look at any other."""
        terms_E = self._terms_of(handle)
        count_E = self._items_T[terms_E]
        counted_E = (count_E > 1) & (count_E <= max(COMMON_ITEMS, int(COMMON * self._items)))
        weights = dict(zip(terms_E[counted_E].tolist(), (self._rarity(terms_E[counted_E]) ** 2).tolist(), strict=True))
        found = [
            sum(weights.get(term, 0.0) for term in self._terms_of(other).tolist()) / self._length_of(other)
            for other in handles_L.tolist()
        ]
        return np.asarray(np.array(found) / self._length_of(handle), np.float32)

    def _put(self, term: int, handle: int) -> None:
        posting = self._postings.get(term)
        if posting is not None:
            posting.append(handle)
        elif term in self._alone:
            self._postings[term] = array("i", [self._alone.pop(term), handle])
        else:
            self._alone[term] = handle

    def _drop(self, term: int, handle: int) -> None:
        posting = self._postings.get(term)
        if posting is None:
            del self._alone[term]
            return
        posting.remove(handle)
        if len(posting) == 1:
            self._alone[term] = self._postings.pop(term)[0]

    def _terms_of(self, handle: int) -> np.ndarray:
        return np.frombuffer(self._terms[handle], np.int32) if handle < len(self._terms) else _NONE

    def _length_of(self, handle: int) -> float:
        return float(self._length_N[handle]) if handle < len(self._length_N) else 1.0

    def _rarity(self, terms_E: np.ndarray) -> np.ndarray:
        return np.asarray(np.log((1.0 + self._items) / np.maximum(1, self._items_T[terms_E])))

    def _length(self, terms_E: np.ndarray) -> float:
        return float(np.linalg.norm(self._rarity(terms_E))) + 1e-6

    def _measure(self) -> None:
        """All lengths anew: rarities have moved."""
        count_N = np.array([len(packed) for packed in self._terms]) // _NONE.itemsize
        square_E = self._rarity(np.frombuffer(b"".join(self._terms), np.int32)) ** 2
        at_E = np.repeat(np.arange(len(count_N)), count_N)
        length_N = np.sqrt(np.bincount(at_E, square_E, len(count_N))) + 1e-6
        self._length_N[: len(length_N)] = length_N
        self._changed = 0


def terms_hashed(card: ItemCard | None) -> np.ndarray:
    """An item's words, and pairs of words that follow each other in its title, as different hashes below `BUCKETS`."""
    if card is None:
        return _NONE
    pairs = (f"{one} {other}" for one, other in pairwise(terms(card.title)))
    return np.unique(np.array([zlib.crc32(term.encode()) % BUCKETS for term in (*terms_of(card), *pairs)], np.int32))
