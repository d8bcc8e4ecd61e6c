"""Rows as columns say what the rows said, all of them or some."""

from __future__ import annotations

import msgspec
import numpy as np

from store.items import ItemRow
from store.row_blocks.item_block import block_of

VECTOR = np.array([0.6, 0.8], "<f2").tobytes()
ROWS = {
    "a": ItemRow(
        offset=7,
        counters={1: 3, 11: 1},
        positives=3,
        negatives=1,
        first_at=1.0,
        last_at=9.0,
        value_sum=1.5,
        value_count=2,
        decayed_at=9.0,
        popularity=[1.0, 2.0],
        neighbours={"b": 0.5, "stranger": 2.0},
        landmark=1.0,
        vector=VECTOR,
        shown=[3.0, 4.0],
        shown_at=5.0,
    ),
    "b": ItemRow(offset=8, counters={0: 1}),
    "c": ItemRow(offset=9, positives=1, popularity=[0.5, 0.25], neighbours={"a": 1.0, "c": 4.0}),
}


def test_a_block_says_what_the_rows_said() -> None:
    block = block_of(list(ROWS), list(ROWS.values()), [5, 0, 6])
    assert (len(block), block.ids) == (3, ["a", "b", "c", "stranger"])
    assert [block.row(place) for place in range(3)] == list(ROWS.values())
    assert block.caused_at_ms_R.tolist() == [5, 0, 6]


def test_some_rows_and_some_neighbours() -> None:
    block = block_of(list(ROWS), list(ROWS.values()))
    some = block.only(np.array([True, False, True]), np.array([True, False, True, True]))
    assert some.row(0) == msgspec.structs.replace(ROWS["a"], neighbours={"b": 0.5})
    assert (len(some), some.row(1)) == (2, ROWS["c"])


def test_no_rows_and_rows_that_know_nothing() -> None:
    assert len(block_of([], [])) == 0
    assert block_of(["a"], [ItemRow()]).row(0) == ItemRow()


def test_a_vector_of_another_width_than_most_is_left_out() -> None:
    rows = [ItemRow(vector=VECTOR), ItemRow(vector=VECTOR), ItemRow(vector=VECTOR * 2)]
    block = block_of(["a", "b", "c"], rows)
    assert [block.row(place).vector for place in range(3)] == [VECTOR, VECTOR, b""]
