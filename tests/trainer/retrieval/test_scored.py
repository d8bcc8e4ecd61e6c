"""Scored items: sums by item, looked up for any handles; the same as over an array of all items."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.retrieval.scored import silent, summed

SIZE = 20


@settings(max_examples=50)
@given(
    edges=st.lists(st.tuples(st.integers(0, SIZE - 1), st.sampled_from([0.5, 1.0, 2.0]))),
    asked=st.lists(st.integers(0, SIZE - 1), unique=True),
)
def test_sums_are_those_over_all_items(edges: list[tuple[int, float]], asked: list[int]) -> None:
    item_E = np.array([item for item, _ in edges], np.int64)
    weight_E = np.array([weight for _, weight in edges])
    scored = summed(item_E, SIZE, {"one": weight_E, "two": 2 * weight_E})
    dense_N = np.bincount(item_E, weight_E, SIZE)
    assert scored.handles_M.tolist() == np.flatnonzero(dense_N).tolist()
    handles_B = np.array(asked, np.int64)
    for _ in range(2):  # places are remembered for the array that was asked for
        np.testing.assert_array_equal(scored.of("one", handles_B), dense_N[handles_B])
        np.testing.assert_array_equal(scored.of("two", handles_B), 2 * dense_N[handles_B])
    np.testing.assert_array_equal(scored.of("one", np.arange(SIZE)), dense_N)


def test_who_says_nothing_says_it_of_all() -> None:
    assert silent("a", "b").of("b", np.arange(3)).tolist() == [0, 0, 0]
