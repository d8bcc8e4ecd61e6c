"""The live prefix tree against a dictionary, and under readers in other threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import store.memory.prefix_tree
from store.memory.prefix_tree import PrefixTree
from tests.lengths import examples

WIDTHS = (3, 4, 2)
codes = strategies.tuples(*(strategies.integers(0, width - 1) for width in WIDTHS))
handles = strategies.integers(0, 40)


class TreeAgainstDictionary(RuleBasedStateMachine):
    """Every operation, compared with a plain dictionary item → codes."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = PrefixTree(WIDTHS)
        self.known: dict[int, tuple[int, ...]] = {}

    @rule(item=handles, path=codes)
    def insert(self, item: int, path: tuple[int, ...]) -> None:
        self.tree.insert(item, path)
        self.known[item] = path

    @rule(item=handles)
    def remove(self, item: int) -> None:
        assert self.tree.remove(item) == (self.known.pop(item, None) is not None)

    @rule(items=strategies.dictionaries(handles, codes, min_size=1))
    def insert_many(self, items: dict[int, tuple[int, ...]]) -> None:
        self.tree.insert_many(np.array(list(items)), np.array(list(items.values())))
        self.known |= items

    @invariant()
    def holds_what_the_dictionary_holds(self) -> None:
        assert len(self.tree) == len(self.known)
        for item in range(42):
            assert self.tree.codes_of(item) == self.known.get(item)
            assert (item in self.tree) == (item in self.known)

    @invariant()
    def every_prefix_has_its_children_and_items(self) -> None:
        for depth in range(len(WIDTHS) + 1):
            for prefix in {path[:depth] for path in self.known.values()}:
                below = {item: path for item, path in self.known.items() if path[:depth] == prefix}
                node = self.tree.find(prefix)
                assert self.tree.live_count([node]).tolist() == [len(below)]
                assert sorted(self.tree.items(node).tolist()) == sorted(below)
                _, child_codes, children = self.tree.children([node])
                following = {path[depth] for path in below.values()} if depth < len(WIDTHS) else set()
                assert sorted(child_codes.tolist()) == sorted(following)
                assert np.flatnonzero(self.tree.mask([node])[0]).tolist() == sorted(following)
                assert children.tolist() == [self.tree.find((*prefix, code)) for code in child_codes.tolist()]

    @invariant()
    def what_does_not_live_is_not_found(self) -> None:
        live = {path[:2] for path in self.known.values()}
        for first in range(WIDTHS[0]):
            for second in range(WIDTHS[1]):
                assert (self.tree.find((first, second)) >= 0) == ((first, second) in live)


TestTreeAgainstDictionary = TreeAgainstDictionary.TestCase
TestTreeAgainstDictionary.settings = settings(max_examples=examples(25, 100), stateful_step_count=25, deadline=None)


def test_dead_nodes_are_used_again_after_their_quarantine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items that come and go for ever do not make the tree grow for ever."""
    monkeypatch.setattr(store.memory.prefix_tree, "QUARANTINE_S", 0.0)
    random = np.random.default_rng(0)
    tree = PrefixTree((64, 64, 64))
    sizes = []
    for item in range(12_000):
        tree.insert(item % 50, random.integers(0, 64, 3))
        sizes.append(tree.nbytes)
    assert sizes[-1] <= 1.5 * sizes[6_000]


def test_a_dead_prefix_is_empty_not_another_one_while_it_may_be_stood_upon() -> None:
    tree = PrefixTree((4, 64))
    tree.insert(0, (1, 1))
    stood_upon = tree.find((1,))
    tree.remove(0)
    for code in range(64):
        tree.insert(code, (2 + code % 2, code))
        tree.insert(100 + code, (0, code))
    assert len(tree.children([stood_upon])[0]) == 0
    assert tree.live_count([stood_upon]).tolist() == [0]


def test_many_parents_in_one_call_keep_their_order() -> None:
    tree = PrefixTree((8, 8))
    for item in range(64):
        tree.insert(item, divmod(item, 8))
    parents = [tree.find((first,)) for first in (5, 0, 5)]
    index, code, child = tree.children(parents)
    assert index.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    prefixes = [((5, 0, 5)[i], c) for i, c in zip(index.tolist(), code.tolist(), strict=True)]
    assert child.tolist() == [tree.find(prefix) for prefix in prefixes]
    index, items = tree.items_of(parents)
    assert sorted(items[index == 1].tolist()) == list(range(8))


@pytest.mark.parametrize("path", [(1,), (1, 9), (-1, 0), (1, 2, 3)])
def test_codes_that_do_not_fit_are_refused_and_change_nothing(path: tuple[int, ...]) -> None:
    tree = PrefixTree((4, 4))
    with pytest.raises(ValueError, match="below"):
        tree.insert(0, path)
    assert len(tree) == 0


def test_readers_never_see_a_torn_tree() -> None:
    """Each item moves between two places while readers look: all items are always there, each in exactly one."""
    tree = PrefixTree((2, 16, 16))
    items = 200
    for item in range(items):
        tree.insert(item, (0, item % 16, item // 16))
    stop = threading.Event()
    faults: list[str] = []

    def look() -> None:
        while not stop.is_set():
            seen = np.sort(tree.items())
            if seen.tolist() != list(range(items)):
                faults.append(f"items {len(seen)} of {items}")
            if tree.codes_of(7) not in {(0, 7, 0), (1, 0, 7)}:
                faults.append(f"codes {tree.codes_of(7)}")

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    for turn in range(6_000):
        item = turn % items
        place = (1, item // 16, item % 16) if (turn // items) % 2 == 0 else (0, item % 16, item // 16)
        tree.insert(item, place)
    stop.set()
    for reader in readers:
        reader.join()
    assert not faults


def test_a_million_items_take_less_than_100_bytes_each() -> None:
    random = np.random.default_rng(0)
    tree = PrefixTree((256, 256, 256))
    for start in range(0, 40_000, 20_000):
        tree.insert_many(np.arange(start, start + 20_000), random.integers(0, 256, (20_000, 3)))
    assert tree.nbytes / len(tree) < 100  # grown one by one from half its size on: the dearest way
    full = PrefixTree((256, 256, 256))
    full.insert_many(np.arange(1_000_000), random.integers(0, 256, (1_000_000, 3)))
    assert full.nbytes / len(full) < 100
