"""What is known of rows, by handle."""

from __future__ import annotations

import numpy as np

from store.events import KINDS
from stream.serving.reading.known_rows import KnownRows


def test_rows_are_known_until_they_are_dropped_however_many_handles_there_are() -> None:
    known = KnownRows()
    counters = np.zeros((2, len(KINDS)), np.int64)
    counters[:, 1] = [4, 5]
    known.put(np.array([3, 5000]), np.array([7, 8]), counters)
    assert known.offsets(np.array([3, 4, 5000, 9000])).tolist() == [7, -1, 8, -1]
    assert (known.offset(5000), known.offset(1 << 20), known.counters(1 << 20)) == (8, -1, {})
    assert (known.counters(3), known.counters(4)) == ({1: 4}, {})
    assert (known.drop(3), known.drop(3), known.drop(1 << 20)) == (True, False, False)
    assert (known.offset(3), known.counters(3)) == (-1, {})
