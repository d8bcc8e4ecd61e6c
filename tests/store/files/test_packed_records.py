"""Packed records: whole and newest whatever is put anew, little of them in memory, and where nothing can be written."""

from __future__ import annotations

import logging
import random
import threading
from pathlib import Path

import pytest

from store.files.packed_records import WRITTEN_AT_ONCE, PackedRecords


def test_what_is_read_is_what_was_last_put(tmp_path: Path) -> None:
    records, known, rng = PackedRecords(tmp_path), {}, random.Random(0)
    for turn in range(6000):
        number = rng.randrange(700)
        if rng.random() < 0.1:
            records.remove(number)
            known.pop(number, None)
        else:
            known[number] = rng.randbytes(rng.choice([0, 1, 64, 300, 900]))
            records.put(number, known[number])
        if turn % 500 == 0:
            assert {place: records.get(place) for place in range(700)} == {
                place: known.get(place) for place in range(700)
            }
    assert records.get(-1) is records.get(10_000) is None
    assert all((place in records) == (place in known) for place in range(700))
    assert not list(tmp_path.iterdir()), "a file without a name is gone with its process"
    records.close()


def test_memory_holds_what_is_not_written_yet_only_and_gaps_are_filled(tmp_path: Path) -> None:
    records = PackedRecords(tmp_path)
    for turn in range(20):
        for number in range(1000):
            records.put(number, bytes([turn]) * 900)
    first, tail = records._tail
    assert len(tail) < WRITTEN_AT_ONCE + 1000
    assert first + len(tail) < 2 * 1000 * 960, "twenty times as much was put"
    assert records.get(999) == bytes([19]) * 900
    records.close()


def test_a_version_tells_that_a_record_was_put_anew() -> None:
    records = PackedRecords()
    records.put(2, b"one")
    before = records.versions()
    assert before.tolist()[:2] == [-1, -1]
    records.put(2, b"two")
    assert records.versions()[2] not in (-1, before[2])
    records.remove(2)
    assert records.version(2) == -1


def test_where_nothing_can_be_written_all_stays_in_memory_until_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = PackedRecords(tmp_path / "later")
    with caplog.at_level(logging.WARNING):
        for number in range(1000):
            records.put(number, bytes(900))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert records.get(0) == bytes(900)
    (tmp_path / "later").mkdir()
    for number in range(1000):
        records.put(number, bytes([1]) * 900)
    assert len(records._tail[1]) < WRITTEN_AT_ONCE
    assert records.get(0) == records.get(999) == bytes([1]) * 900
    records.close()


def test_a_reader_beside_the_writer_sees_whole_records(tmp_path: Path) -> None:
    records, ended = PackedRecords(tmp_path), threading.Event()
    for number in range(50):
        records.put(number, bytes([0]) * 900)

    def write() -> None:
        for turn in range(4000):
            records.put(turn % 50, bytes([turn % 251]) * 900)
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    number = 0
    while not ended.is_set():
        number = (number + 1) % 50
        found = records.get(number)
        assert found is not None
        assert found == found[:1] * 900
    writer.join()
    records.close()


def test_a_record_without_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="the most"):
        PackedRecords().put(0, bytes(1 << 24))
