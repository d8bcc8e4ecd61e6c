"""Rows: what was written is there, across reopenings and SIGKILL; a folder has one owner."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from store.rows import Position, RowStore, RowStoreError
from tests.folders import memory_folder

ROOT = Path(__file__).parents[2]


class Sample(msgspec.Struct, array_like=True):
    number: int = 0
    text: str = ""


keys = st.sampled_from(["", "a", "b", "position", "ж", "\U0001f600", "z" * 300]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=3
)
samples = st.builds(Sample, st.integers(-(2**40), 2**40), st.text(st.characters(exclude_categories=["Cs"]), max_size=4))


class RowsAgainstADictionary(RuleBasedStateMachine):
    """Any sequence of writes, removals and reopenings leaves what a dictionary holds."""

    @initialize(cached=st.sampled_from([1, 3, 1000]))
    def open(self, cached: int) -> None:
        self.folder = memory_folder()
        self.cached = cached
        self.rows = RowStore(self.folder / "rows", Sample, cached_rows=cached)
        self.model: dict[str, Sample] = {}
        self.position = Position()

    @rule(rows=st.dictionaries(keys, samples, max_size=4), gone=st.lists(keys, max_size=2))
    def write(self, rows: dict[str, Sample], gone: list[str]) -> None:
        encoded = self.rows.write({key: msgspec.structs.replace(row) for key, row in rows.items()}, gone)
        assert {key: self.rows.decode(value) for key, value in encoded.items()} == rows
        self.model.update(rows)
        for key in gone:
            self.model.pop(key, None)

    @rule(key=keys)
    def get(self, key: str) -> None:
        assert self.rows.get(key) == self.model.get(key)

    @rule(key=keys, number=st.integers(0, 9))
    def change_in_place(self, key: str, number: int) -> None:
        row = self.rows.get(key)
        if row is not None:
            row.number = number
            self.rows.write({key: row})
            self.model[key] = Sample(number, self.model[key].text)

    @rule(absorbed=st.integers(-1, 99), passed=st.dictionaries(st.integers(0, 3), st.tuples(st.just(5), st.just(6))))
    def move(self, absorbed: int, passed: dict[int, tuple[int, int]]) -> None:
        self.rows.position.absorbed, self.rows.position.passed = absorbed, passed
        self.rows.write({})
        self.position.absorbed, self.position.passed = absorbed, passed

    @rule(some=st.lists(keys, max_size=3))
    def remove(self, some: list[str]) -> None:
        self.rows.remove(some)
        for key in some:
            self.model.pop(key, None)

    @rule(after=st.none() | keys, limit=st.integers(1, 4))
    def read_on(self, after: str | None, limit: int) -> None:
        wanted = sorted((key for key in self.model if after is None or key.encode() > after.encode()), key=str.encode)
        assert self.rows.keys_after(after, limit) == wanted[:limit]
        found = self.rows.encoded_after(after, limit)
        assert [(key, self.rows.decode(value)) for key, value in found] == [(k, self.model[k]) for k in wanted[:limit]]

    @rule()
    def reopen(self) -> None:
        self.rows.close()
        self.rows = RowStore(self.folder / "rows", Sample, cached_rows=self.cached)

    @rule(key=keys, row=samples)
    def scan_is_as_of_the_call(self, key: str, row: Sample) -> None:
        scan = self.rows.scan()
        before = {name: msgspec.structs.replace(kept) for name, kept in self.model.items()}
        self.write({key: row}, [])
        assert dict(scan) == before

    @invariant()
    def everything_is_there(self) -> None:
        if hasattr(self, "rows"):
            found = list(self.rows.scan())
            assert dict(found) == self.model
            assert [key.encode() for key, _ in found] == sorted(key.encode() for key in self.model)
            assert self.rows.position == self.position

    def teardown(self) -> None:
        if hasattr(self, "rows"):
            self.rows.close()
            shutil.rmtree(self.folder)


TestRowsAgainstADictionary = RowsAgainstADictionary.TestCase
TestRowsAgainstADictionary.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_the_cache_is_bounded_and_names_the_recent_ones(tmp_path: Path) -> None:
    rows = RowStore(tmp_path / "rows", Sample, cached_rows=3)
    for number in range(5):
        rows.write({str(number): Sample(number)})
    assert rows.recent(9) == ["4", "3", "2"]
    assert rows.get("0") == Sample(0)
    assert rows.recent(2) == ["0", "4"]
    rows.close()


def test_the_cache_is_bounded_by_the_bytes_of_its_rows_and_keeps_what_is_worth_it(tmp_path: Path) -> None:
    rows = RowStore(tmp_path / "rows", Sample, cached_bytes=1000, worth_caching=lambda _, row: row.number != 9)
    for number in range(10):
        rows.write({str(number): Sample(number, "x" * 300)})
    assert rows.recent(9) == ["8", "7", "6"]
    rows.write({"7": Sample(7)})
    assert [rows.get(str(number)) for number in (0, 7, 9)] == [Sample(0, "x" * 300), Sample(7), Sample(9, "x" * 300)]
    assert rows.recent(9) == ["7", "0", "8", "6"]
    rows.write({}, gone=["0", "8", "6"])
    rows.write({"5": Sample(5, "x" * 300), "4": Sample(4, "x" * 300), "3": Sample(3, "x" * 300)})
    assert rows.recent(9) == ["3", "4", "5", "7"]
    rows.close()


def test_who_makes_something_of_a_kept_row_hears_when_it_is_kept_no_longer(tmp_path: Path) -> None:
    rows = RowStore(tmp_path / "rows", Sample, cached_rows=2, worth_caching=lambda _, row: row.number < 9)
    left: list[str] = []
    rows.left = left.append
    rows.write({"a": Sample(1), "b": Sample(2)})
    rows.write({"a": Sample(3)})
    assert left == []
    rows.write({"c": Sample(4)})
    assert left == ["b"]
    rows.write({"a": Sample(9)})
    assert left == ["b", "a"]
    rows.write({}, gone=["c"])
    assert (left, rows.recent(9)) == (["b", "a", "c"], [])
    rows.close()


WRITER = """
import sys
from pathlib import Path
from store.rows import RowStore
from tests.store.test_rows import Sample
rows = RowStore(Path(sys.argv[1]), Sample)
for number in range(1_000_000):
    rows.position.absorbed = number
    rows.write({f"k{number % 50}": Sample(number, "x" * 200), f"last": Sample(number)})
    print(number, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 37, 400])
def test_what_write_returned_from_survives_sigkill(tmp_path: Path, lines: int) -> None:
    folder = tmp_path / "rows"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, cwd=ROOT, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert writer.stdout is not None
    with writer.stdout:
        for _ in range(lines):
            returned = int(writer.stdout.readline())
        with pytest.raises(RowStoreError, match="another worker"):
            RowStore(folder, Sample)
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().rpartition("\n")[0].split()  # a last line may be cut
    writer.wait()
    returned = int(rest[-1]) if rest else returned
    rows = RowStore(folder, Sample)
    last = rows.get("last")
    assert last is not None
    assert last.number == rows.position.absorbed  # rows and position come together
    assert last.number in (returned, returned + 1)  # the newest may be written, and not yet said
    for number in range(max(0, last.number - 49), last.number + 1):
        assert rows.get(f"k{number % 50}") == Sample(number, "x" * 200)
    rows.close()


def test_a_folder_that_cannot_be_a_store_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RowStoreError, match="cannot open"):
        RowStore(tmp_path / "file", Sample)
