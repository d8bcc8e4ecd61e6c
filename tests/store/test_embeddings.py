"""Embeddings: blocks against a plain dictionary, crashes between any two steps, and each documented error."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from rocksdict import Options, Rdict

from store.embeddings import Block, EmbeddingRules, EmbeddingStore, EmbeddingStoreError
from store.rows import Position
from tests.folders import memory_folder

WIDTH = 3
RULES = EmbeddingRules(width=WIDTH, admit_after=2, horizon_s=10.0, cached_rows=4)


def block(*rows: tuple[list[float], float, int, float]) -> Block:
    """A block of (vector, step, sights, last event time)."""
    vectors, steps, sights, times = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Block(
        np.array(vectors, np.float32).reshape(len(rows), WIDTH),
        np.array(steps, np.float32),
        np.array(sights, np.int64),
        np.array(times, float),
        np.ones(len(rows), bool),
    )


@dataclass
class Kept:
    """A row as the dictionary keeps it."""

    vector: list[float]
    step: float
    sights: int
    at_s: float


keys = st.sampled_from(["", "a", "b", "c", "d", "e", "f", "ж", "meta", "z" * 300])
numbers = st.integers(-32, 32).map(lambda eighths: eighths / 8)
rows = st.tuples(st.lists(numbers, min_size=WIDTH, max_size=WIDTH), numbers, st.integers(0, 4), st.integers(0, 40))


class EmbeddingsAgainstADictionary(RuleBasedStateMachine):
    """Any sequence of writes, observed times, sweeps, crashes and reopenings leaves what a dictionary holds; what is
    staged is read, and lost with the process."""

    @initialize(cached=st.sampled_from([0, 1, 3, 1000]), horizon_s=st.sampled_from([10.0, np.inf]))
    def open(self, cached: int, horizon_s: float) -> None:
        self.folder = memory_folder()
        self.copies = 0
        self.rules = replace(RULES, cached_rows=cached, horizon_s=horizon_s)
        self.store = EmbeddingStore(self.folder / "0", self.rules)
        self.model: dict[str, Kept] = {}
        self.disk: dict[str, Kept] = {}
        self.position, self.now_s, self.written_s = Position(), 0.0, 0.0

    @rule(some=st.lists(st.tuples(keys, rows), max_size=6), absorbed=st.integers(-1, 99))
    def write(self, some: list[tuple[str, tuple[list[float], float, int, int]]], absorbed: int) -> None:
        self.store.position.absorbed = absorbed
        self.store.position.passed[absorbed % 3] = (absorbed, 1)
        self.store.write([key for key, _ in some], block(*(row for _, row in some)))
        self._change(some)
        self._written()

    @rule(some=st.lists(st.tuples(keys, rows), max_size=6))
    def stage(self, some: list[tuple[str, tuple[list[float], float, int, int]]]) -> None:
        self.store.stage([key for key, _ in some], block(*(row for _, row in some)))
        self._change(some)

    @rule(absorbed=st.integers(-1, 99))
    def flush(self, absorbed: int) -> None:
        self.store.position.absorbed = absorbed
        self.store.flush()
        self._written()

    def _change(self, some: list[tuple[str, tuple[list[float], float, int, int]]]) -> None:
        self.model.update((key, Kept(list(row[0]), *row[1:])) for key, row in some)
        self.now_s = max([self.now_s, *(float(row[3]) for _, row in some)])

    def _written(self) -> None:
        self.disk = dict(self.model)
        self.position = Position(absorbed=self.store.position.absorbed, passed=dict(self.store.position.passed))
        self.written_s = self.now_s

    @rule(now_s=st.integers(0, 60))
    def observe(self, now_s: int) -> None:
        self.store.observe(float(now_s))
        self.now_s = max(self.now_s, float(now_s))

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self._begin(self.folder / str(self.copies))

    @rule()
    def crash(self) -> None:
        """The folder as a killed process leaves it: copied while the store is open."""
        self.copies += 1
        shutil.copytree(self.folder / str(self.copies - 1), self.folder / str(self.copies))
        self.store.close()
        self._begin(self.folder / str(self.copies))

    @rule()
    def sweep(self) -> None:
        dead = {key for key, row in self.disk.items() if not self._lives(row)}
        assert self.store.sweep() == len(dead)
        for key in dead:
            gone = self.disk.pop(key)
            if self.model[key] is gone:  # else a newer one is staged
                del self.model[key]

    @rule(some=st.lists(keys, max_size=3))
    def remove(self, some: list[str]) -> None:
        self.store.remove(some)
        for key in some:
            gone = self.disk.pop(key, None)
            if gone is not None and self.model[key] is gone:  # else a newer one is staged
                del self.model[key]

    @rule(wanted=st.lists(keys, max_size=8))
    def read(self, wanted: list[str]) -> None:
        found = self.store.read(wanted)
        for place, key in enumerate(wanted):
            row = self.model.get(key)
            alive = row is not None and row.sights > 0 and self._lives(row)
            admitted = alive and row is not None and row.sights >= self.rules.admit_after
            assert found.sights_B[place] == (row.sights if alive and row else 0)
            assert found.at_s_B[place] == (row.at_s if alive and row else 0.0)
            assert found.admitted_B[place] == admitted
            assert found.vectors_BD[place].tolist() == (row.vector if admitted and row else [0.0] * WIDTH)
            assert found.steps_B[place] == (row.step if admitted and row else 0.0)

    @invariant()
    def all_is_there(self) -> None:
        if hasattr(self, "store"):
            found = [key for some, _ in self.store.scan() for key in some]
            assert found == sorted((key for key, row in self.disk.items() if self._lives(row)), key=str.encode)

    def _lives(self, row: Kept) -> bool:
        return row.at_s >= self.now_s - self.rules.horizon_s

    def _begin(self, folder: Path) -> None:
        self.store = EmbeddingStore(folder, self.rules)
        assert self.store.position == self.position
        self.now_s, self.model = self.written_s, dict(self.disk)  # what was only observed or staged is not kept

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder)


TestEmbeddingsAgainstADictionary = EmbeddingsAgainstADictionary.TestCase
TestEmbeddingsAgainstADictionary.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


@pytest.fixture
def store() -> Iterator[EmbeddingStore]:
    folder = memory_folder()
    opened = EmbeddingStore(folder / "vectors", RULES)
    yield opened
    opened.close()
    shutil.rmtree(folder)


def test_what_is_not_worth_memory_is_read_from_disk_as_it_was_written_last(tmp_path: Path) -> None:
    lasting = {"a", "b"}
    store = EmbeddingStore(tmp_path, RULES, worth_caching=lasting.__contains__)
    store.write(["a", "url-1", "b"], block(([1, 2, 3], 1, 2, 5), ([4, 5, 6], 1, 2, 5), ([7, 8, 9], 1, 2, 5)))
    assert store.cached == 2
    assert store.read(["url-1", "a"]).vectors_BD.tolist() == [[4, 5, 6], [1, 2, 3]]
    assert store.cached == 2
    lasting.clear()
    lasting.add("url-1")
    store.write(["a", "url-1"], block(([1, 1, 1], 1, 3, 6), ([2, 2, 2], 1, 3, 6)))
    assert store.read(["url-1", "a", "b"]).vectors_BD.tolist() == [[2, 2, 2], [1, 1, 1], [7, 8, 9]]
    store.close()


def test_below_its_sights_a_row_counts_but_has_no_vector(store: EmbeddingStore) -> None:
    store.write(["a"], block(([1, 2, 3], 0.5, 1, 7.0)))
    found = store.read(["a"])
    assert (found.sights_B[0], found.at_s_B[0], found.admitted_B[0]) == (1, 7.0, False)
    assert not found.vectors_BD.any()
    store.write(["a"], block(([1, 2, 3], 0.5, 2, 7.0)))
    assert store.read(["a"]).vectors_BD.tolist() == [[1, 2, 3]]


def test_a_row_beyond_the_horizon_is_absent_before_it_is_swept(store: EmbeddingStore) -> None:
    store.write(["old", "new"], block(([1, 0, 0], 0.5, 5, 1.0), ([1, 1, 0], 0.5, 5, 9.0)))
    store.observe(11.5)
    assert store.read(["old", "new"]).sights_B.tolist() == [0, 5]
    assert store.sweep() == 1
    assert store.sweep() == 0
    assert store.read(["old", "new"]).sights_B.tolist() == [0, 5]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_written(store: EmbeddingStore, bad: float) -> None:
    store.write(["a"], block(([1, 2, 3], 0.5, 2, 1.0)))
    store.position.absorbed = 8
    with pytest.raises(ValueError, match="lower the learning rate"):
        store.write(["a"], block(([1, bad, 3], 0.5, 2, 1.0)))
    with pytest.raises(ValueError, match="lower the learning rate"):
        store.write(["a"], block(([1, 2, 3], bad, 2, 1.0)))
    assert store.read(["a"]).vectors_BD.tolist() == [[1, 2, 3]]


def test_a_block_of_another_shape_is_refused(store: EmbeddingStore) -> None:
    with pytest.raises(ValueError, match="one row of the width for each key"):
        store.write(["a", "b"], block(([1, 2, 3], 0.5, 2, 1.0)))


def test_a_folder_has_one_owner_and_one_width(store: EmbeddingStore, tmp_path: Path) -> None:
    EmbeddingStore(tmp_path / "vectors", RULES).close()
    held = EmbeddingStore(tmp_path / "vectors", RULES)
    with pytest.raises(EmbeddingStoreError, match="another worker"):
        EmbeddingStore(tmp_path / "vectors", RULES)
    held.write(["a"], block(([1, 2, 3], 0.5, 2, 1.0)))
    held.close()
    with pytest.raises(EmbeddingStoreError, match="width 3, not 5"):
        EmbeddingStore(tmp_path / "vectors", replace(RULES, width=5))
    EmbeddingStore(tmp_path / "vectors", RULES).close()  # the refused one has let go of it


def test_a_row_of_another_length_is_said(tmp_path: Path) -> None:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    db = Rdict(str(tmp_path / "vectors"), options)
    db[b"va"] = b"short"
    db.close()
    store = EmbeddingStore(tmp_path / "vectors", RULES)
    with pytest.raises(EmbeddingStoreError, match="delete the folder"):
        store.read(["a"])
    store.close()


def test_a_batch_larger_than_the_cache_is_read_whole(store: EmbeddingStore) -> None:
    names = [f"k{n}" for n in range(50)]
    store.write(names, block(*(([n, 0, 1], 0.5, 2, 1.0) for n in range(50))))
    assert store.read(names).vectors_BD[:, 0].tolist() == list(range(50))
    assert store.read(names[::-1]).vectors_BD[:, 0].tolist() == list(range(50))[::-1]
