"""Vectors of an item partition: each signal is learned from once, whatever was written before a crash and what not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from store.items import ItemRow
from store.rows import RowStore
from store.signals import Signal
from stream.ingest.item_vectors import MICRO_BATCH, ItemVectors
from tests.folders import memory_folder
from tests.item_vectors import WIDTH, item_vectors


@pytest.fixture
def folder() -> Iterator[Path]:
    made = memory_folder()
    yield made
    shutil.rmtree(made)


@pytest.fixture
def rows(folder: Path) -> Iterator[RowStore[ItemRow]]:
    opened = RowStore(folder / "rows", ItemRow)
    opened.write({name: ItemRow(offset=0) for name in ("a", "b", "c")})
    yield opened
    opened.close()


def signal(number: int) -> Signal:
    """People go round a, b and c."""
    return Signal("abc"[number % 3], f"e{number}", 1, 1.0 + number, 1.0, None, ["abc"[(number - 1) % 3]])


def learned(vectors: ItemVectors, rows: RowStore[ItemRow], offsets: range, upto: int) -> np.ndarray:
    """The row's vector after the signals of these records, flushed at `upto`."""
    for offset in offsets:
        vectors.absorb(signal(offset), offset)
    vectors.flush(upto, rows)
    row = rows.get("a")
    assert row is not None
    return row.vector_D().astype(np.float32)


def test_what_is_flushed_is_in_the_row_and_on_the_disk(folder: Path, rows: RowStore[ItemRow]) -> None:
    vectors = item_vectors(folder / "v")
    vector_D = learned(vectors, rows, range(6), 5)
    assert np.linalg.norm(vector_D) == pytest.approx(1.0, abs=1e-2)
    vectors.close()
    again = item_vectors(folder / "v")
    assert again.store.position.absorbed == 5
    np.testing.assert_allclose(again.store.read(["a"]).vectors_BD[0], vector_D, atol=1e-2)
    again.close()


def test_a_record_that_comes_again_is_not_learned_from_and_its_row_gets_the_vector(
    folder: Path, rows: RowStore[ItemRow]
) -> None:
    """The crash came after the vectors were written and before the rows were."""
    vectors = item_vectors(folder / "v")
    vector_D = learned(vectors, rows, range(6), 5)
    before = vectors.store.read(["a"])
    vectors.close()
    rows.write({"a": ItemRow(offset=0)})
    vectors = item_vectors(folder / "v")
    np.testing.assert_array_equal(learned(vectors, rows, range(6), 5), vector_D)
    after = vectors.store.read(["a"])
    np.testing.assert_array_equal(after.vectors_BD, before.vectors_BD)
    assert (after.sights_B[0], after.steps_B[0]) == (before.sights_B[0], before.steps_B[0])
    learned(vectors, rows, range(6, 12), 11)
    assert vectors.store.read(["a"]).steps_B[0] > after.steps_B[0], "what is new is learned from"
    vectors.close()


def test_what_was_not_flushed_is_learned_from_again(folder: Path, rows: RowStore[ItemRow]) -> None:
    vectors = item_vectors(folder / "v")
    for offset in range(6):
        vectors.absorb(signal(offset), offset)
    vectors.learn()
    vectors.close()  # without a flush: as after a kill
    vectors = item_vectors(folder / "v")
    assert vectors.store.position.absorbed < 0
    vector_D = learned(vectors, rows, range(6), 5)
    vectors.close()
    other = item_vectors(folder / "other")
    np.testing.assert_array_equal(learned(other, rows, range(6), 5), vector_D)
    other.close()


def test_learning_is_due_when_enough_has_gathered(folder: Path) -> None:
    vectors = item_vectors(folder / "v")
    for offset in range(MICRO_BATCH - 1):
        vectors.absorb(signal(offset), offset)
    assert not vectors.due
    vectors.absorb(signal(MICRO_BATCH), MICRO_BATCH)
    assert vectors.due
    vectors.learn()
    assert not vectors.due
    vectors.close()


def test_rows_of_the_state_topic_bring_their_vectors_if_they_have_the_width(folder: Path) -> None:
    vectors = item_vectors(folder / "v")
    unit_D = np.full(WIDTH, WIDTH**-0.5)
    widths = {"none": 0, "narrow": 4, "whole": WIDTH}
    packed = {name: np.resize(unit_D, width).astype("<f2").tobytes() for name, width in widths.items()}
    vectors.restore({name: ItemRow(vector=vector, step=2.0, positives=7) for name, vector in packed.items()})
    block = vectors.store.read(["none", "narrow", "whole"])
    assert block.admitted_B.tolist() == [False, False, True]
    np.testing.assert_allclose(block.vectors_BD[2], unit_D, atol=1e-3)
    assert (block.steps_B[2], block.sights_B[2]) == (2.0, 7)
    vectors.restore({})
    vectors.close()
