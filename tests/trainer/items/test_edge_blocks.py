"""Blocks of flat memory: nobody's entries lie in another's, and what was left waits for the next change."""

from __future__ import annotations

import numpy as np

from trainer.items.edge_blocks import LEAST_ROOM, EdgeBlocks, grown, ranges


def test_blocks_do_not_overlap_however_they_move() -> None:
    blocks, rng = EdgeBlocks(), np.random.default_rng(0)
    blocks.reserve(30)
    for _ in range(60):
        blocks.begin()
        handles = rng.permutation(30)[:7]
        counts = rng.integers(0, 200, 7)
        starts = blocks.move(handles, counts)
        blocks.tell(handles, starts, counts)
        assert blocks.of(handles)[1].tolist() == counts.tolist()
        assert (blocks.room(handles) >= np.maximum(counts, LEAST_ROOM)).all()
        every = np.arange(30)
        taken = ranges(blocks.of(every)[0], blocks.room(every))[1]
        assert len(set(taken.tolist())) == len(taken)
        assert taken.max(initial=0) < blocks.pooled


def test_what_was_left_is_given_to_nobody_before_the_next_change() -> None:
    blocks = EdgeBlocks()
    blocks.reserve(2)
    first = int(blocks.move(np.array([0]), np.array([8]))[0])
    assert int(blocks.move(np.array([0]), np.array([8]))[0]) != first
    assert int(blocks.move(np.array([1]), np.array([8]))[0]) != first
    blocks.begin()
    assert int(blocks.move(np.array([1]), np.array([8]))[0]) == first


def test_ranges_and_grown() -> None:
    blocks, entries = ranges(np.array([5, 0, 9]), np.array([2, 0, 3]))
    assert (blocks.tolist(), entries.tolist()) == ([0, 0, 2, 2, 2], [5, 6, 9, 10, 11])
    column = np.arange(4)
    assert grown(column, 4) is column
    assert grown(column, 5)[:4].tolist() == [0, 1, 2, 3]
