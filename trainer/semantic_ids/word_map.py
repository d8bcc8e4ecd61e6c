"""Words as behaviour knows them: what an item's title, tags and category say of its audience.

A text vector says what a text means. Who will take an item hangs on single words too: a brand, a series, a genre. So a
version that is aligned with behaviour has a vector for each of a few thousand buckets of hashed words, learned with the
map of the text vector (`trainer.semantic_ids.rqvae`); an item's is their sum, each weighed by how rare its word is.
Words are read from the item's card, so that whoever has the card assigns alike.

Invariant: a row is a function of its own words (exact arithmetic); a word that no trained item had adds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from store.items import ItemCard
from store.keys import hash64
from trainer.content.exact_sums import on_grid
from trainer.content.words import terms_of

WORDS = "\0words"
"""The part of an item that holds its words: sorted buckets (uint16). Not a modality (none is named so): it has no
content block."""
BUCKETS = 8192


@dataclass(frozen=True, slots=True, eq=False)
class WordMap:
    """Rarity of each bucket (V) and what it says of the audience (V, A), on the grid."""

    rarity_V: np.ndarray
    meaning_VA: np.ndarray

    def __call__(self, parts: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        """The items' words as aligned vectors (N, A), exact; zeros without known words."""
        return on_grid(weighted(parts, self.rarity_V) @ self.meaning_VA)


def parts_of(card: ItemCard) -> dict[str, np.ndarray]:
    """All of a card that a codebook looks at: its vectors and its words."""
    return {**card.parts(), WORDS: buckets_of(card)}


def buckets_of(card: ItemCard) -> np.ndarray:
    """Buckets of a card's words, each once."""
    return np.array(sorted({hash64(word) % BUCKETS for word in terms_of(card)}), np.uint16)


def weighted(parts: Sequence[Mapping[str, np.ndarray]], rarity_V: np.ndarray) -> csr_matrix:
    """Items by buckets: rarity, each row scaled to length 1, on the grid (a sum of its squares is exact)."""
    rows = [part.get(WORDS, _NO_WORDS) for part in parts]
    ends = np.cumsum([0, *map(len, rows)])
    bucket_M = np.concatenate(rows).astype(np.int64) if rows else np.zeros(0, np.int64)
    row_M = np.repeat(np.arange(len(rows)), np.diff(ends))
    weight_M = rarity_V[bucket_M]
    length_N = np.sqrt(np.bincount(row_M, np.square(weight_M), len(rows)))
    weight_M = on_grid(weight_M / np.maximum(length_N, 2.0**-14)[row_M])
    return csr_matrix((weight_M, bucket_M, ends), shape=(len(rows), len(rarity_V)))


def rarity(parts: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """Logarithm of how many times more items there are than have a word of the bucket (V); 0 for one nobody has."""
    count_V = np.bincount(
        np.concatenate([_NO_WORDS, *(part.get(WORDS, _NO_WORDS) for part in parts)]), minlength=BUCKETS
    )
    return on_grid(np.where(count_V > 0, np.log((1 + len(parts)) / np.maximum(count_V, 1)), 0.0))


_NO_WORDS = np.zeros(0, np.uint16)
