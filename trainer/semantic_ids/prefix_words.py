"""Words of a prefix: what the items below it are about, in the words of their own titles and tags.

Counts of how many items of a prefix have a word, kept while items come and go. A word's score is like TF-IDF: the share
of the prefix's items that have it, times the logarithm of how much rarer it is among all items.

Invariant: after adding and removing the same items the state is that of never having seen them.
"""

from __future__ import annotations

import math
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice

Prefix = tuple[int, ...]

_WORD = re.compile(r"[^\W\d_][\w'’-]*", re.UNICODE)
_MOST_WORDS = 24
"""Words of one item that are counted: its first ones, so that a long title costs no more."""
_CONSIDERED = 200


class PrefixWords:
    """Words per prefix, down to `depth` codes (deeper ones hold too few items to say more than their titles)."""

    def __init__(self, depth: int = 2) -> None:
        self.depth = depth
        self._lock = threading.Lock()
        self._counts: dict[Prefix, Counter[str]] = {}
        self._items: Counter[Prefix] = Counter()
        self._known: dict[int, tuple[Prefix, tuple[str, ...]]] = {}

    def add(self, item: int, codes: Sequence[int], title: str = "", tags: Iterable[str] = ()) -> None:
        """Counts an item (by its handle); one that is known already is counted anew."""
        path = tuple(int(code) for code in codes[: self.depth])
        words = words_of(title, tags)
        with self._lock:
            self._forget(item)
            self._known[item] = (path, words)
            self._count(path, words, 1)

    def remove(self, item: int) -> None:
        """Forgets an item; one that is not known changes nothing."""
        with self._lock:
            self._forget(item)

    def of(self, prefix: Sequence[int], count: int = 3) -> list[str]:
        """The `count` words that say most about a prefix, best first; fewer where there are no more."""
        path = tuple(int(code) for code in prefix[: self.depth])
        with self._lock:
            items, total = self._items[path], self._items[()]
            own = self._counts.get(path)
            if not own or not items:
                return []
            everywhere = self._counts[()]
            scored = [
                (found / items * math.log(1 + total / everywhere[word]), word)
                for word, found in own.most_common(_CONSIDERED)
            ]
        scored.sort(key=lambda pair: (-pair[0], pair[1]))
        return [word for _, word in islice(scored, count)]

    def _forget(self, item: int) -> None:
        known = self._known.pop(item, None)
        if known is not None:
            self._count(*known, -1)

    def _count(self, path: Prefix, words: tuple[str, ...], by: int) -> None:
        for depth in range(len(path) + 1):
            prefix = path[:depth]
            counts = self._counts.setdefault(prefix, Counter())
            for word in words:
                counts[word] += by
                if not counts[word]:
                    del counts[word]
            self._items[prefix] += by
            if not self._items[prefix]:
                del self._items[prefix], self._counts[prefix]


def words_of(title: str, tags: Iterable[str] = ()) -> tuple[str, ...]:
    """The different words of an item, lower case: its tags whole, then its title's words of two letters or more.

    >>> words_of("The Return of the King (2003)", ["Fantasy"])
    ('fantasy', 'the', 'return', 'of', 'king')
    """
    tagged = [tag.strip().lower() for tag in tags]
    worded = [word.lower() for word in _WORD.findall(title) if len(word) > 1 or not word.isascii()]
    named = islice(dict.fromkeys(word for word in (*tagged, *worded) if word), _MOST_WORDS)
    return tuple(map(sys.intern, named))  # one string for a word, not one for each item that has it
