"""Compaction keeps the newest value of every key, in its place, through crashes and further runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.broker.storage import compaction
from stream.broker.storage.configs import TopicConfig
from stream.broker.storage.logs import Log
from tests.stream.broker.batches import Row, batch, rows

NOW_MS = 10**9
DAY_MS = 24 * 3600 * 1000
CONFIG = TopicConfig({"cleanup.policy": "compact", "segment.bytes": "500"}, {})


def opened(folder: Path) -> Log:
    return Log(folder, CONFIG, NOW_MS)


def read_all(log: Log) -> list[Row]:
    out: list[Row] = []
    at = log.start
    while data := log.read(at, 10_000):
        found = [row for row in rows(data) if row.offset >= at]
        out += found
        at = found[-1].offset + 1
    return out


def compact(log: Log, now_ms: int = NOW_MS) -> None:
    log.seal_closed()
    compaction.swap(log, compaction.plan(log, now_ms))


def table(found: list[Row]) -> dict[bytes | None, Row]:
    """What a reader that goes through the whole log ends with: the last row of each key."""
    return {row.key: row for row in found}


records = st.tuples(
    st.sampled_from([b"a", b"b", b"a key of more than sixteen bytes"]), st.one_of(st.none(), st.binary(max_size=80))
)


@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(st.tuples(st.lists(records, min_size=1, max_size=4), st.booleans()), min_size=4, max_size=25),
    data=st.data(),
)
def test_the_newest_of_each_key_survives_in_its_place(
    batches: list[tuple[list[tuple[bytes, bytes | None]], bool]],
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    log = opened(tmp_path_factory.mktemp("log"))
    before: list[Row] = []
    for sent, gzip in batches:
        log.append(batch(sent, NOW_MS, gzip=gzip), NOW_MS)
        before = before + [Row(len(before) + i, NOW_MS + i, key, value) for i, (key, value) in enumerate(sent)]
        if data.draw(st.booleans(), label="compact now"):
            compact(log)
    end = log.end
    compact(log)
    after = read_all(log)
    assert table(after) == table(before)
    assert set(after) <= set(before)
    assert log.end == end
    closed_to = log.segments[-1].base_offset
    closed = [row.key for row in after if row.offset < closed_to]
    assert len(set(closed)) == len(closed)
    for segment in log.segments:
        segment.close()
    assert read_all(opened(log.folder)) == after


def fill(log: Log, versions: int) -> None:
    for version in range(versions):
        log.append(batch([(b"k%d" % number, b"v%d" % version * 10) for number in range(5)], NOW_MS), NOW_MS)


def test_small_segments_are_merged(tmp_path: Path) -> None:
    log = opened(tmp_path)
    fill(log, 40)
    segments = len(log.segments)
    compact(log)
    assert segments > 10
    assert len(log.segments) <= 3
    assert not compaction.due(log)


def test_a_tombstone_goes_once_it_is_old_enough(tmp_path: Path) -> None:
    log = opened(tmp_path)
    fill(log, 1)
    log.append(batch([(b"k0", None)], NOW_MS), NOW_MS)
    fill_other = [(b"other", b"x" * 300)]
    for _ in range(3):
        log.append(batch(fill_other, NOW_MS), NOW_MS)
    compact(log)
    assert table(read_all(log))[b"k0"].value is None
    compact(log, NOW_MS + 2 * DAY_MS)
    assert b"k0" not in table(read_all(log))
    assert b"k1" in table(read_all(log))


def test_nothing_is_superseded_before_it_is_old_enough(tmp_path: Path) -> None:
    config = TopicConfig({**CONFIG.overrides, "min.compaction.lag.ms": "60000"}, {})
    log = Log(tmp_path, config, NOW_MS)
    for at_ms in (NOW_MS, NOW_MS + 50_000):
        for _ in range(20):
            log.append(batch([(b"k", b"x" * 100)], at_ms), at_ms)
    before = read_all(log)
    compact(log, NOW_MS + 59_000)
    assert read_all(log) == before
    assert not compaction.due(log, NOW_MS + 59_000)
    compact(log, NOW_MS + 61_000)
    left = [row.timestamp_ms for row in read_all(log)]
    assert left.count(NOW_MS + 50_000) == 20
    assert left.count(NOW_MS) < 5
    compact(log, NOW_MS + 120_000)
    assert len(read_all(log)) < 5


@pytest.mark.parametrize("crashed_after", range(8))
def test_a_crash_during_the_swap_brings_nothing_back(tmp_path: Path, crashed_after: int) -> None:
    log = opened(tmp_path / "log")
    fill(log, 12)
    log.append(batch([(b"k0", None)], NOW_MS), NOW_MS)
    fill_other = [(b"other", b"x" * 300)]
    for _ in range(4):
        log.append(batch(fill_other, NOW_MS), NOW_MS)
    log.seal_closed()
    planned = compaction.plan(log, NOW_MS + 2 * DAY_MS)
    steps = 0

    class CrashError(Exception):
        pass

    def step(original):  # type: ignore[no-untyped-def]
        def stepped(*args, **kwargs):  # type: ignore[no-untyped-def]
            nonlocal steps
            if steps == crashed_after:
                raise CrashError
            steps += 1
            return original(*args, **kwargs)

        return stepped

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "rename", step(Path.rename))
        patched.setattr(Path, "unlink", step(Path.unlink))
        with pytest.raises(CrashError):
            compaction.swap(log, planned)
    for segment in log.segments:
        segment.close()
    shutil.copytree(tmp_path / "log", tmp_path / "copy")
    again = opened(tmp_path / "copy")
    found = table(read_all(again))
    assert found.get(b"k0") is None or found[b"k0"].value is None
    assert found[b"k1"].value == b"v11" * 10
    assert again.end == log.end


def test_idempotence_survives_compaction_and_a_crash_before_sealing(tmp_path: Path) -> None:
    log = opened(tmp_path)

    def send(sequence: int) -> int:
        return log.append(batch([(b"k", b"x" * 60)], NOW_MS, producer=(3, 0, sequence)), NOW_MS)[0]

    for sequence in range(20):
        assert send(sequence) == sequence
    for segment in log.segments:
        segment.close()
    log = opened(tmp_path)  # nothing was sealed
    compact(log)
    for segment in log.segments:
        segment.close()
    log = opened(tmp_path)
    assert [send(sequence) for sequence in range(15, 20)] == [15, 16, 17, 18, 19]
    assert send(20) == 20
    assert [row.offset for row in read_all(log)] == [
        log.segments[-2].end_offset - 1,
        *range(log.segments[-1].base_offset, 21),
    ]


def test_offsets_are_not_used_again_when_compaction_leaves_nothing(tmp_path: Path) -> None:
    log = opened(tmp_path)
    for _ in range(3):
        log.append(batch([(b"k", None)], NOW_MS), NOW_MS)
    log.roll(NOW_MS)
    compact(log, NOW_MS + 2 * DAY_MS)
    assert read_all(log) == []
    for segment in log.segments:
        segment.close()
    assert opened(tmp_path).append(batch([(b"k", b"v")], NOW_MS), NOW_MS) == (3, -1)
