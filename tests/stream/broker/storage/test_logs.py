"""The broker's log against a plain list, through rolls, restarts, cuts and damage."""

from __future__ import annotations

import gzip
import resource
import signal
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import kafka.codec
import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.broker.errors import Code, RefusedError
from stream.broker.storage.configs import TopicConfig
from stream.broker.storage.logs import Log
from tests.stream.broker.batches import Row, batch, rows

NOW_MS = 1_000_000


def opened(folder: Path, now_ms: int = NOW_MS, **configs: str) -> Log:
    named = {name.replace("_", "."): value for name, value in configs.items()}
    return Log(folder, TopicConfig(named, {}), now_ms)


def read_all(log: Log, max_bytes: int = 1 << 20) -> list[Row]:
    """What a consumer sees that starts at the beginning and asks for `max_bytes` at a time."""
    out: list[Row] = []
    at = log.start
    while data := log.read(at, max_bytes):
        found = [row for row in rows(data) if row.offset >= at]
        out += found
        at = found[-1].offset + 1
    return out


def crash(log: Log) -> None:
    """The process is gone: descriptors closed, nothing else."""
    for segment in log.segments:
        segment.close()


batches = st.lists(
    st.tuples(st.lists(st.binary(max_size=60), min_size=1, max_size=5), st.integers(0, 5_000), st.booleans()),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(batches=batches, segment_bytes=st.sampled_from(["200", "700", "100000"]), max_bytes=st.integers(1, 2_000))
def test_reads_back_what_was_appended(
    batches: list[tuple[list[bytes], int, bool]], segment_bytes: str, max_bytes: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = opened(Path(folder), segment_bytes=segment_bytes)
        expected: list[Row] = []
        for values, timestamp_ms, gzip in batches:
            sent = batch([(b"k", value) for value in values], timestamp_ms, gzip=gzip)
            assert log.append(sent, NOW_MS) == (len(expected), -1)
            expected += [Row(len(expected) + i, timestamp_ms + i, b"k", v) for i, v in enumerate(values)]
        for again in (log, opened(Path(folder), segment_bytes=segment_bytes)):
            assert read_all(again, max_bytes) == expected
            assert again.end == len(expected)
            for timestamp_ms in range(0, 5_010, 499):
                first = next((row for row in expected if row.timestamp_ms >= timestamp_ms), None)
                assert again.first_at(timestamp_ms) == (first and (first.offset, first.timestamp_ms))
            crash(again)


@settings(max_examples=80, deadline=None)
@given(batches=batches, data=st.data())
def test_a_tail_torn_at_any_byte_loses_only_what_it_tore(
    batches: list[tuple[list[bytes], int, bool]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = opened(Path(folder))
        ends = [0]
        for values, timestamp_ms, gzip in batches:
            log.append(batch([(None, value) for value in values], timestamp_ms, gzip=gzip), NOW_MS)
            ends.append(log.size)
        before = read_all(log)
        crash(log)
        path = next(Path(folder).glob("*.log"))
        torn_at = data.draw(st.integers(0, ends[-1]))
        path.write_bytes(path.read_bytes()[:torn_at])
        again = opened(Path(folder))
        whole = max(i for i, end in enumerate(ends) if end <= torn_at)
        kept = sum(len(values) for values, _, _ in batches[:whole])
        assert read_all(again) == before[:kept]
        assert again.append(batch([(None, b"next")]), NOW_MS) == (kept, -1)
        crash(again)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_damage_at_any_byte_is_found_at_the_next_start(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = opened(Path(folder))
        for number in range(6):
            log.append(batch([(b"k", b"v" * number)]), NOW_MS)
        before = read_all(log)
        crash(log)
        path = next(Path(folder).glob("*.log"))
        content = bytearray(path.read_bytes())
        starts = [0]
        while starts[-1] < len(content):
            starts.append(starts[-1] + 12 + int.from_bytes(content[starts[-1] + 8 : starts[-1] + 12], "big"))
        victim = data.draw(st.integers(0, 5))
        # The base offset and the leader epoch are the broker's own, and outside the checksum as in Kafka.
        checked = st.integers(8, starts[victim + 1] - starts[victim] - 1).filter(lambda at: not 12 <= at < 16)
        at = starts[victim] + data.draw(checked)
        content[at] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        again = opened(Path(folder))
        assert read_all(again) == before[:victim]
        assert path.with_suffix(".cut").read_bytes() == content[starts[victim] :]
        crash(again)


def test_a_clean_close_saves_the_next_start_the_scan(tmp_path: Path) -> None:
    log = opened(tmp_path)
    for _ in range(300):
        log.append(batch([(b"k", b"v" * 500)]), NOW_MS)
    log.close(NOW_MS)
    path = next(tmp_path.glob("*.log"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # a scan would find this; the seal says that none is needed
    path.write_bytes(content)
    assert opened(tmp_path).end == 300
    path.with_suffix(".seal").unlink()
    assert opened(tmp_path).end == 299


def test_a_seal_older_than_its_file_is_not_believed(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.append(batch([(b"a", b"1")]), NOW_MS)
    log.close(NOW_MS)
    log = opened(tmp_path)
    log.append(batch([(b"b", b"2")]), NOW_MS)
    crash(log)
    assert [row.key for row in read_all(opened(tmp_path))] == [b"a", b"b"]


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda sent: sent[:-1], Code.CORRUPT_MESSAGE),
        (lambda sent: sent[:-1] + b"?", Code.CORRUPT_MESSAGE),
        (lambda sent: b"", Code.CORRUPT_MESSAGE),
        (lambda sent: sent + sent, Code.INVALID_RECORD),
        (lambda sent: sent[:16] + b"\x01" + sent[17:], Code.INVALID_RECORD),
        (lambda sent: sent + b"x" * 300, Code.MESSAGE_TOO_LARGE),
    ],
)
def test_refuses_what_is_not_one_intact_batch(tmp_path: Path, damage: object, code: Code) -> None:
    assert callable(damage)
    log = opened(tmp_path, max_message_bytes="256")
    with pytest.raises(RefusedError) as refused:
        log.append(damage(batch([(b"k", b"v" * 20)])), NOW_MS)
    assert (refused.value.code, log.end) == (code, 0)


def rewritten(sent: bytes, codec: int, body: bytes) -> bytes:
    """The batch with another codec and body; its length and checksum are right again."""
    out = bytearray(sent[:61]) + body
    struct.pack_into(">i", out, 8, len(out) - 12)
    struct.pack_into(">h", out, 21, codec)
    struct.pack_into(">I", out, 17, crc32c(bytes(out[21:])))
    return bytes(out)


@pytest.mark.parametrize(
    ("codec", "body_of"),
    [
        (0, lambda body: body[:-1]),
        (0, lambda body: body + b"x"),
        (0, lambda body: b"\xff" * len(body)),
        (1, lambda body: gzip.compress(body)[:-9]),
        (1, lambda body: gzip.compress(body[:-1])),
        (1, lambda body: gzip.compress(bytes(65 << 20))),
        (2, lambda body: b"no snappy"),
        (2, lambda body: kafka.codec.snappy_encode(body)[:-1]),
        (2, lambda body: kafka.codec.snappy_encode(bytes(65 << 20))),
        (3, lambda body: kafka.codec.lz4_encode(body)[:-5]),
        (3, lambda body: kafka.codec.lz4_encode(bytes(65 << 20))),
        (4, lambda body: kafka.codec.zstd_encode(body)[:-1]),
        (4, lambda body: kafka.codec.zstd_encode(bytes(65 << 20))),
        (5, lambda body: body),
    ],
    ids=lambda given: given if isinstance(given, int) else "",
)
def test_refuses_a_batch_that_no_consumer_could_read(
    tmp_path: Path, codec: int, body_of: Callable[[bytes], bytes]
) -> None:
    log = opened(tmp_path)
    sent = batch([(b"k", b"v" * 20), (b"l", None)])
    log.append(rewritten(sent, 0, sent[61:]), NOW_MS)  # the damage is what is refused, not the rewriting
    with pytest.raises(RefusedError, match="cannot be") as refused:
        log.append(rewritten(sent, codec, body_of(sent[61:])), NOW_MS)
    assert (refused.value.code, log.end) == (Code.INVALID_RECORD, 2)


@pytest.mark.parametrize("java", [False, True])
def test_reads_snappy_as_librdkafka_and_as_java_write_it(tmp_path: Path, java: bool) -> None:
    log = opened(tmp_path)
    sent = batch([(b"k", b"v" * 50_000), (b"l", b"w" * 20)])
    log.append(rewritten(sent, 2, kafka.codec.snappy_encode(sent[61:], xerial_compatible=java)), NOW_MS)
    assert [row.key for row in read_all(log)] == [b"k", b"l"]


def test_a_compacted_topic_refuses_records_without_a_key(tmp_path: Path) -> None:
    log = opened(tmp_path, cleanup_policy="compact")
    with pytest.raises(RefusedError, match="without a key") as refused:
        log.append(batch([(b"k", b"v"), (None, b"v")]), NOW_MS)
    assert refused.value.code is Code.INVALID_RECORD


def test_log_append_time_stamps_every_record(tmp_path: Path) -> None:
    log = opened(tmp_path, message_timestamp_type="LogAppendTime")
    assert log.append(batch([(b"a", b"1"), (b"b", b"2")], 5), NOW_MS) == (0, NOW_MS)
    assert [row.timestamp_ms for row in read_all(log)] == [NOW_MS, NOW_MS]
    assert log.first_at(NOW_MS - 10) == (0, NOW_MS)


def test_retention_by_time_drops_whole_segments_and_stays_dropped(tmp_path: Path) -> None:
    log = opened(tmp_path, segment_bytes="150", retention_ms="1000")
    for second in range(5):
        log.append(batch([(b"k", b"v" * 40)], second * 1000), NOW_MS)
    log.retain(now_ms=3_500)
    assert [row.offset for row in read_all(log)] == [3, 4]
    with pytest.raises(RefusedError) as refused:
        log.read(2, 1000)
    assert refused.value.code is Code.OFFSET_OUT_OF_RANGE
    log.retain(now_ms=99_000)
    assert (log.start, log.end, read_all(log)) == (5, 5, [])
    again = opened(tmp_path, segment_bytes="150")
    assert (again.start, again.end) == (5, 5)
    assert again.append(batch([(b"k", b"v")]), NOW_MS) == (5, -1)


def test_retention_by_size_keeps_the_newest(tmp_path: Path) -> None:
    log = opened(tmp_path, segment_bytes="150", retention_bytes="300")
    for _ in range(10):
        log.append(batch([(b"k", b"v" * 40)]), NOW_MS)
    log.retain(NOW_MS)
    assert 300 <= log.size < 450
    assert read_all(log)[-1].offset == 9


def test_deleted_records_stay_deleted(tmp_path: Path) -> None:
    log = opened(tmp_path, segment_bytes="150")
    for _ in range(6):
        log.append(batch([(b"k", b"v" * 40)]), NOW_MS)
    assert log.delete_before(4) == 4
    crash(log)
    again = opened(tmp_path)
    assert [row.offset for row in read_all(again)] == [4, 5]
    assert again.delete_before(-1) == 6
    with pytest.raises(RefusedError):
        again.delete_before(7)


def test_a_write_that_fails_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = opened(tmp_path)
    log.append(batch([(b"k", b"v")]), NOW_MS)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead, after a part of it
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.size + 100, hard))
    try:
        with pytest.raises(RefusedError) as refused:
            log.append(batch([(b"k", b"v" * 500)]), NOW_MS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert refused.value.code is Code.STORAGE_ERROR
    assert log.append(batch([(b"k", b"w")]), NOW_MS) == (1, -1)
    assert [row.value for row in read_all(opened(tmp_path))] == [b"v", b"w"]
