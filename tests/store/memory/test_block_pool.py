"""Ragged lists in flat memory behave as lists, whatever happens to their neighbours."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from store.memory.block_pool import BlockPool, grown

OWNERS = 5


def append(pool: BlockPool, owner: int, entry: int) -> None:
    """As its users do: a full block moves first."""
    if not pool.append(owner, entry):
        pool.move(owner, pool.entries(owner))
        assert pool.append(owner, entry)


@given(st.lists(st.tuples(st.sampled_from(["add", "add", "take", "release"]), st.integers(0, OWNERS - 1))))
def test_a_pool_is_as_many_lists(steps: list[tuple[str, int]]) -> None:
    pool = BlockPool()
    pool.grow(OWNERS)
    lists: list[list[int]] = [[] for _ in range(OWNERS)]
    for entry, (act, owner) in enumerate(steps):
        if act == "add":
            append(pool, owner, entry)
            lists[owner].append(entry)
        elif act == "release":
            pool.release(owner)
            lists[owner] = []
        elif lists[owner]:
            gone = lists[owner][entry % len(lists[owner])]
            pool.discard(owner, gone)
            lists[owner].remove(gone)
        assert [sorted(pool.entries(each).tolist()) for each in range(OWNERS)] == [sorted(each) for each in lists]


@given(st.lists(st.integers(0, OWNERS - 1), max_size=60).map(sorted), st.sets(st.integers(0, OWNERS - 1)))
def test_what_is_laid_at_once_is_gathered_again(owners: list[int], wanted: set[int]) -> None:
    pool = BlockPool()
    pool.grow(OWNERS)
    if owners:
        pool.lay(np.array(owners), np.arange(len(owners)))
    asked = np.arange(OWNERS)
    index_M, entry_M = pool.gather(asked, np.isin(asked, list(wanted)))
    expected = [(owner, entry) for entry, owner in enumerate(owners) if owner in wanted]
    assert list(zip(index_M.tolist(), entry_M.tolist(), strict=True)) == expected


def test_a_block_that_was_given_back_is_used_again() -> None:
    pool = BlockPool()
    pool.grow(2)
    for _ in range(1000):
        for owner in (0, 1):
            for entry in range(10):
                append(pool, owner, entry)
        for owner in (0, 1):
            pool.release(owner)
    assert pool.nbytes < 2000


def test_memory_that_must_grow_grows_by_more_than_is_needed() -> None:
    few = np.arange(3)
    assert grown(few, 3, -1) is few
    more = grown(few, 4, -1)
    assert more[:4].tolist() == [0, 1, 2, -1]
    assert len(more) > 20
