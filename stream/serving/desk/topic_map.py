"""The map of topics: a prefix of semantic IDs with what lies below it, as the live tree has it now.

Invariant: counts are the tree's own; at most `MOST_TOPICS` prefixes are told, the largest, and how many are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from store.items import ItemCard
from store.memory.prefix_tree import PrefixTree
from trainer.model_bundle import ModelBundle
from trainer.semantic_ids.prefix_words import CardsByHandle

MOST_TOPICS = 60
MOST_MEMBERS = 60
TITLES = 3
MOST_CHARS = 200
"""Of a title."""


def look(bundle: ModelBundle, cards: CardsByHandle, prefix: Sequence[int]) -> dict[str, Any] | None:
    """What lies below a prefix; None when no live item has it. Takes some milliseconds: call it in a thread."""
    tree = bundle.tree
    node = tree.find(prefix)
    if node < 0:
        return None
    _, code_M, child_M = tree.children([node])
    count_M = tree.live_count(child_M)
    order = np.argsort(-count_M, kind="stable")[:MOST_TOPICS]
    shown = child_M[order]
    titles = _titles(tree, shown, cards)
    topics = [
        {
            "code": int(code_M[place]),
            "items": int(count_M[place]),
            "words": bundle.words.below([*prefix, int(code_M[place])], cards),
            "titles": titles[number],
        }
        for number, place in enumerate(order.tolist())
        if count_M[place] > 0
    ]
    whole, told = int(tree.live_count([node])[0]), int(count_M[order].sum())
    is_leaf = len(prefix) == tree.levels
    return {
        "codebook": bundle.codebook.version,
        "levels": tree.levels,
        "prefix": list(prefix),
        "items": whole,
        "words": bundle.words.below(prefix, cards) if prefix else [],
        "topics": topics,
        "others": {"topics": max(0, len(child_M) - len(topics)), "items": 0 if is_leaf else max(0, whole - told)},
        "members": _members(tree, node, cards) if is_leaf else [],
    }


def _titles(tree: PrefixTree, nodes_B: np.ndarray, cards: CardsByHandle) -> list[list[str]]:
    """Some titles below each node: of items of its largest sub-topics, which stand for it best."""
    index_M, node_M = np.arange(len(nodes_B)), nodes_B
    while len(node_M):
        up_M, _, child_M = tree.children(node_M)
        if not len(child_M):
            break
        kept = _largest(index_M[up_M], tree.live_count(child_M))
        index_M, node_M = index_M[up_M][kept], child_M[kept]
    place_M, item_M = tree.items_of(node_M) if len(node_M) else (index_M, node_M)
    found: list[list[str]] = [[] for _ in range(len(nodes_B))]
    for index, handle in zip(index_M[place_M].tolist(), item_M.tolist(), strict=True):
        if len(found[index]) < TITLES and (card := _card(cards, handle)) is not None:
            found[index].append((card.title or card.item_id)[:MOST_CHARS])
    return found


def _largest(index_M: np.ndarray, count_M: np.ndarray) -> np.ndarray:
    """The places of the `TITLES` largest of each index."""
    order = np.lexsort((-count_M, index_M))
    begins = np.flatnonzero(np.diff(index_M[order], prepend=-1))
    nth = np.arange(len(order)) - np.repeat(begins, np.diff(begins, append=len(order)))
    return order[nth < TITLES]


def _members(tree: PrefixTree, node: int, cards: CardsByHandle) -> list[dict[str, str]]:
    found = [_card(cards, handle) for handle in tree.items(node)[:MOST_MEMBERS].tolist()]
    return [{"item_id": card.item_id, "title": card.title[:MOST_CHARS]} for card in found if card is not None]


def _card(cards: CardsByHandle, handle: int) -> ItemCard | None:
    return cards[handle] if handle < len(cards) else None
