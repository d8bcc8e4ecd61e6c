"""One segment: any batch is found by offset and by time, and a seal is believed only while it fits its file."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.broker.storage.batches import Batch, accept, place
from stream.broker.storage.segments import Segment
from tests.stream.broker.batches import Row, batch, rows

BASE = 100


def filled(folder: Path, batches: list[tuple[int, int]], value: bytes = b"v" * 40) -> Segment:
    """A segment of batches of (records, timestamp)."""
    segment = Segment(folder, BASE)
    for count, timestamp_ms in batches:
        data = bytearray(batch([(b"k", value)] * count, timestamp_ms))
        segment.append(data, place(data, accept(data, 1 << 20), segment.end_offset))
    return segment


def reopened(folder: Path) -> tuple[Segment, bool, list[Batch]]:
    """The segment as the next start finds it, whether by its seal, and the batches that were read for it."""
    scanned: list[Batch] = []
    segment = Segment(folder, BASE)
    return segment, segment.recover(lambda producers: None, scanned.append), scanned


laid_out = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 50)), min_size=1, max_size=8)


@settings(max_examples=40)
@given(batches=laid_out, large=st.booleans())
def test_every_record_is_found_by_its_offset_and_by_its_time(
    batches: list[tuple[int, int]], large: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("segment")
    made = filled(folder, batches, b"v" * 10_000 if large else b"v")
    ends = [BASE, *accumulate((count for count, _ in batches), initial=BASE)][1:]
    for segment in (made, reopened(folder)[0]):
        assert segment.end_offset == ends[-1]
        for offset in range(BASE, ends[-1]):
            data = segment.read(offset, 1, whole=True)
            assert data is not None
            found = rows(data)
            assert found[0].offset <= offset <= found[-1].offset, "the batch that holds it, and no more"
            assert segment.read(offset, 1, whole=False) == b""
        assert segment.read(ends[-1], 1 << 20, whole=True) is None
        for timestamp_ms in range(0, 56, 5):
            holding = [n for n, (count, first) in enumerate(batches) if first + count - 1 >= timestamp_ms]
            at_time = segment.batch_at_time(timestamp_ms)
            assert (at_time and at_time[0].base_offset) == (ends[holding[0]] if holding else None)
    made.close()


def test_reading_on_gives_all_that_fits(tmp_path: Path) -> None:
    segment = filled(tmp_path, [(2, 0), (1, 5), (3, 9)])
    whole = segment.read(BASE, segment.size, whole=False)
    assert whole is not None
    assert [row.offset for row in rows(whole)] == list(range(BASE, BASE + 6))
    assert b"".join(data for _, data in segment.batches()) == whole
    cut = segment.read(BASE, segment.size - 1, whole=False)
    assert cut == whole[:-1], "the last may be cut short, as in Kafka"


def test_a_seal_spares_the_scan_and_tells_of_producers(tmp_path: Path) -> None:
    segment = filled(tmp_path, [(1, 5), (2, 9)])
    segment.clean = True
    segment.seal([])
    segment.close()
    again, by_seal, scanned = reopened(tmp_path)
    assert (by_seal, scanned, again.clean) == (True, [], True)
    assert (again.size, again.end_offset, again.max_timestamp) == (segment.size, BASE + 3, 10)


@pytest.mark.parametrize("seal", [b"", b"{}", b"not json", b'{"\xff": 1}', b"[" * 50_000])
def test_without_a_seal_that_can_be_read_each_batch_is(tmp_path: Path, seal: bytes) -> None:
    filled(tmp_path, [(1, 5), (2, 9)]).close()
    Segment(tmp_path, BASE).seal_path.write_bytes(seal)
    again, by_seal, scanned = reopened(tmp_path)
    assert (by_seal, [one.base_offset for one in scanned]) == (False, [BASE, BASE + 1])
    assert again.producers() == []


def test_what_was_written_after_the_seal_is_found(tmp_path: Path) -> None:
    segment = filled(tmp_path, [(1, 5)])
    segment.seal([])
    data = bytearray(batch([(b"later", b"v")], 7))
    segment.append(data, place(data, accept(data, 1 << 20), segment.end_offset))
    segment.close()
    again, by_seal, _ = reopened(tmp_path)
    assert not by_seal
    assert again.end_offset == BASE + 2


def test_a_batch_that_repeats_offsets_ends_the_log(tmp_path: Path) -> None:
    segment = filled(tmp_path, [(2, 5)])
    segment.close()
    content = segment.path.read_bytes()
    segment.path.write_bytes(content * 2)
    again, _, scanned = reopened(tmp_path)
    assert (len(scanned), again.size) == (1, len(content))
    assert segment.path.with_suffix(".cut").read_bytes() == content


def test_removing_leaves_nothing(tmp_path: Path) -> None:
    segment = filled(tmp_path, [(1, 5)])
    segment.seal([])
    segment.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_row_is_read_as_it_was_written(tmp_path: Path) -> None:
    data = filled(tmp_path, [(1, 5)], b"value").read(BASE, 1 << 10, whole=False)
    assert data is not None
    assert rows(data) == [Row(BASE, 5, b"k", b"value")]
