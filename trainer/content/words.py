"""Words: the terms by which an item can be found, and a query asks for it.

Invariant: an item and a query are cut into terms by the same function.
"""

from __future__ import annotations

import re

from store.items import ItemCard

_WORD = re.compile(r"\w+")
_MOST_TERMS = 64


def terms(text: str) -> tuple[str, ...]:
    """The different words of a text, lower case, plurals folded; its first 64.

    >>> terms("The cats, THE cat")
    ('the', 'cat')
    """
    words = (word[:-1] if word.endswith("s") and len(word) > 3 else word for word in _WORD.findall(text.lower()))
    return tuple(dict.fromkeys(words))[:_MOST_TERMS]


def terms_of(card: ItemCard | None) -> tuple[str, ...]:
    """What an item can be found by: its title, tags and category."""
    return () if card is None else terms(f"{card.title} {' '.join(card.tags)} {card.category or ''}")
