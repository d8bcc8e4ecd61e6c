"""Hash index: finds all that was added, and nothing else, however hashes fall."""

from __future__ import annotations

import numpy as np
import pytest

from store.memory.hash_index import ABSENT, HashIndex


@pytest.mark.parametrize("shift", [0, 40])
def test_what_was_added_is_found_and_nothing_else(shift: int) -> None:
    """Shifted hashes all want the same slots."""
    index, rng = HashIndex(16), np.random.default_rng(0)
    hashes = np.unique(rng.integers(1 << 24, size=3000, dtype=np.uint64)) << np.uint64(shift)
    added, others = hashes[::2], hashes[1::2]
    for number, found in enumerate(added.tolist()):
        index.add(found, number)
    assert len(index) == len(added)
    assert index.find(added).tolist() == list(range(len(added)))
    assert (index.find(others) == ABSENT).all()


def test_a_number_may_change_and_hashes_may_be_asked_for_twice() -> None:
    index = HashIndex()
    index.add(7, 1)
    index.add(7, 2)
    index.add(0, 3)
    assert index.find(np.array([7, 0, 7, 9], np.uint64)).tolist() == [2, 3, 2, ABSENT]
    assert len(index.find(np.zeros(0, np.uint64))) == 0
