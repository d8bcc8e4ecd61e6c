"""Words of a prefix: what the items below it are about, in the words of their own titles and tags.

Read from the cards of a sample when somebody asks, so that no item costs memory for it. A word's score is like TF-IDF:
the share of the prefix's items that have it, times the logarithm of how much rarer it is among all.

Invariant: the same cards give the same words, whatever was there before.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

import numpy as np

from store.items import ItemCard
from store.memory.prefix_tree import PrefixTree

_WORD = re.compile(r"[^\W\d_][\w'’-]*", re.UNICODE)
_MOST_WORDS = 24
"""Words of one item that are counted: its first ones, so that a long title costs no more."""
_CONSIDERED = 200
SAMPLE = 64
"""Items that tell what is below a prefix: reading them takes a millisecond or two."""
SAMPLE_OF_ALL = 512


class CardsByHandle(Protocol):
    """Cards as a catalogue keeps them."""

    def __len__(self) -> int: ...

    def __getitem__(self, handle: int, /) -> ItemCard | None: ...


class WordCounts:
    """Of some items (`items`), how many have each word."""

    def __init__(self, worded: Iterable[tuple[str, ...]]) -> None:
        self.items = 0
        self._having: Counter[str] = Counter()
        for words in worded:
            self.items += 1
            self._having.update(words)

    def telling(self, everywhere: WordCounts, count: int = 3) -> list[str]:
        """The `count` words that say most about these items, of what all have, best first; fewer where there are no
        more."""
        scored = [
            (having / self.items * math.log(1 + everywhere.items / max(1, everywhere._having[word])), word)
            for word, having in self._having.most_common(_CONSIDERED)
        ]
        scored.sort(key=lambda pair: (-pair[0], pair[1]))
        return [word for _, word in islice(scored, count)]


class PrefixWords:
    """Words of the prefixes of a tree."""

    def __init__(self, tree: PrefixTree) -> None:
        self._tree = tree
        self._all = WordCounts(())
        self._size = 0

    def below(self, prefix: Sequence[int], cards: CardsByHandle, count: int = 3) -> list[str]:
        """Words that tell what the items below a prefix are about, by the cards of some; empty where none is live."""
        node = self._tree.find(prefix)
        if node < 0:
            return []
        below = WordCounts(words_in(cards, sample_of(self._tree.items(node), SAMPLE)))
        return below.telling(self._everywhere(cards), count)

    def _everywhere(self, cards: CardsByHandle) -> WordCounts:
        """Of some of all items; others are asked when there is an eighth more or less of them."""
        size = len(self._tree)
        if not self._all.items or abs(size - self._size) > self._size / 8:
            self._all = WordCounts(words_in(cards, sample_of(self._tree.items(), SAMPLE_OF_ALL)))
            self._size = size
        return self._all


def words_in(cards: CardsByHandle, handles: np.ndarray) -> Iterator[tuple[str, ...]]:
    """The words of each live item among some."""
    for handle in handles.tolist():
        card = cards[handle] if handle < len(cards) else None
        if card is not None:
            yield words_of(card.title, card.tags)


def sample_of(handles: np.ndarray, most: int) -> np.ndarray:
    """At most so many of some items, evenly spread over them by handle: old and new."""
    handles = np.sort(handles)
    return handles[np.linspace(0, len(handles) - 1, most).astype(np.int64)] if len(handles) > most else handles


def words_of(title: str, tags: Iterable[str] = ()) -> tuple[str, ...]:
    """The different words of an item, lower case: its tags whole, then its title's words of two letters or more.

    >>> words_of("The Return of the King (2003)", ["Fantasy"])
    ('fantasy', 'the', 'return', 'of', 'king')
    """
    tagged = [tag.strip().lower() for tag in tags]
    worded = [word.lower() for word in _WORD.findall(title) if len(word) > 1 or not word.isascii()]
    return tuple(islice(dict.fromkeys(word for word in (*tagged, *worded) if word), _MOST_WORDS))
