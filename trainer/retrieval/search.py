"""Search: how well each item answers a query, by the words that it has and by what the words mean.

Words count by how rare they are among the items: an item that has all of the query's has 1. Meaning is the likeness of
content, which finds what is about the query in other words; it adds at most a half, so that words decide and meaning
orders the rest.

Invariant: after items are added and removed the index is that of the items it holds; a reader may match meanwhile.
"""

from __future__ import annotations

from array import array

import numpy as np

from store.items import ItemCard
from trainer.content.words import terms, terms_of
from trainer.items.byte_vectors import ByteVectors
from trainer.retrieval.scored import Scored, silent, summed

MEANING = 0.5
"""What likeness of content counts beside words."""
WEIGHT = 4.0
"""What relevance, in parts of the best answer's, counts beside the place (0 to 1) that the ranker gives: a quarter of
that relevance outweighs any place."""


class WordIndex:
    """Word → handles of the items that have it: four bytes for each word of an item."""

    def __init__(self) -> None:
        self._handles: dict[str, array[int]] = {}
        self._items = 0

    def replace(self, handle: int, old: ItemCard | None, new: ItemCard | None) -> None:
        """An item's card has changed; None: it had none, or has none any more. Equal words cost nothing."""
        before, after = terms_of(old), terms_of(new)
        self._items += (new is not None) - (old is not None)
        if before == after:
            return
        for word in before:
            self._handles[word].remove(handle)
            if not self._handles[word]:
                del self._handles[word]
        for word in after:
            self._handles.setdefault(word, array("i")).append(handle)

    def match(self, text: str, size: int) -> Scored:
        """The share of the query's words, by rarity, that each of the first `size` handles has (0 to 1), as the source
        `words`: of those that have any."""
        found, rarities = [], []
        for word in terms(text):
            handles = np.frombuffer(self._handles.get(word, _NONE).tobytes(), np.int32)
            rarities.append(float(np.log1p(self._items / (1 + len(handles)))))
            found.append(handles[handles < size])
        if not found:
            return silent("words")
        share_E = np.repeat(np.array(rarities) / max(sum(rarities), 1e-9), [len(handles) for handles in found])
        return summed(np.concatenate(found), size, {"words": share_E})


_NONE: array[int] = array("i")


class Query:
    """What is searched for among the first `size` handles: the items that have its words, and its content vector (C) in
    the catalogue's projection."""

    def __init__(self, index: WordIndex, text: str, vector_C: np.ndarray, size: int) -> None:
        self.vector_C = vector_C
        self._matched = index.match(text, size)

    @property
    def handles_M(self) -> np.ndarray:
        """The items that have any of its words."""
        return self._matched.handles_M

    def relevance(self, content_NC: ByteVectors, handles_B: np.ndarray) -> np.ndarray:
        """How well each item answers: 0 not at all, 1 all of its words, up to 1.5 with the same meaning (B)."""
        meaning_B = np.clip(content_NC[handles_B] @ self.vector_C, 0.0, 1.0)
        return np.asarray(self._matched.of("words", handles_B) + MEANING * meaning_B, np.float32)


def by_relevance(relevance_B: np.ndarray, score_B: np.ndarray) -> np.ndarray:
    """Scores for a search: relevance first, whatever the ranker's scale, and the ranker's order among the equally
    relevant. A ranker that has never seen a search would else answer it with what is popular. Relevance is measured by
    the best answer's: where no word is found, likenesses are all small, and their differences tell all the same."""
    place_B = np.argsort(np.argsort(score_B, kind="stable"), kind="stable") / max(1, len(score_B) - 1)
    best = max(float(relevance_B.max(initial=0.0)), 1e-9)
    return np.asarray(WEIGHT * relevance_B / best + place_B)
