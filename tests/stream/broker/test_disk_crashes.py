"""The embedded broker's disk, at each of its crash points: a process is killed there, and what the next one reads is
whole: each record once, of each key the newest, in order, and new records follow."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.broker.storage.configs import TopicConfig
from stream.broker.storage.logs import Log
from stream.broker.storage.offsets import Committed, Offsets
from stream.broker.storage.producers import ProducerIds
from stream.broker.storage.topics import Topics
from tests.killed import killed_at
from tests.stream.broker.batches import Row, batch, rows

POINTS = [
    *("compaction_planned", "compaction_unsealed", "compaction_replaced", "compaction_sealed", "segment_unlinked"),
    *("file_written", "topic_named"),
]
NOW_MS = 10**9
CONFIG = {"cleanup.policy": "compact", "segment.bytes": "120000", "delete.retention.ms": "1000"}

COMPACTING = """
import sys
from pathlib import Path
from stream.broker.storage import compaction
from tests.stream.broker.test_disk_crashes import NOW_MS, filled
log = filled(Path(sys.argv[1]))
log.seal_closed()
compaction.swap(log, compaction.plan(log, NOW_MS + 5_000))
"""
"""Values are chosen so that the merged segment is as long as the one that it replaces, with its batches elsewhere."""

FIRST = [(b"a", b"1" * 40_000), (b"b", b"1" * 30_000), (b"c", b"1" * 20_000)]
SECOND = [(b"a", b"2" * 40_000)]
GONE = [(b"gone", b"1" * 100_000), (b"gone", None)]


def filled(folder: Path) -> Log:
    """A log of closed segments: two that compaction merges, one that it empties, and an open one."""
    log = Log(folder, TopicConfig(CONFIG, {}), NOW_MS)
    for segment in (FIRST, SECOND, GONE):
        for record in segment:
            log.append(batch([record], NOW_MS), NOW_MS)
        log.roll(NOW_MS)
    log.append(batch([(b"d", b"2")], NOW_MS), NOW_MS)
    return log


def every_read(log: Log) -> dict[int, Row]:
    """Each offset asked for by itself, as a client does that goes on from there; each answer must be sound."""
    found: dict[int, Row] = {}
    for offset in range(log.start, log.end):
        answer = [row for row in rows(log.read(offset, 1 << 20)) if row.offset >= offset]
        assert answer, f"nothing from {offset} on, although the last record is newer"
        assert [row.offset for row in answer] == sorted({row.offset for row in answer})
        found |= {row.offset: row for row in answer}
    return found


def newest(found: dict[int, Row]) -> dict[bytes | None, bytes | None]:
    return {found[offset].key: found[offset].value for offset in sorted(found)}


@pytest.mark.parametrize(
    "point",
    [
        *("compaction_planned", "compaction_unsealed", "compaction_replaced", "compaction_sealed"),
        *("segment_unlinked:1", "segment_unlinked:2"),
    ],
)
def test_compaction_that_was_killed_leaves_the_newest_of_each_key(tmp_path: Path, point: str) -> None:
    killed_at(point, COMPACTING, tmp_path)
    log = Log(tmp_path, TopicConfig(CONFIG, {}), NOW_MS)
    found = every_read(log)
    wanted = {record[0]: record[1] for record in (*FIRST, *SECOND, (b"d", b"2"))}
    assert {key: value for key, value in newest(found).items() if value is not None} == wanted
    assert log.end == 7
    assert log.append(batch([(b"e", b"3")], NOW_MS), NOW_MS)[0] == 7
    assert newest(every_read(log))[b"e"] == b"3"


REPLACING = """
import sys
from pathlib import Path
from stream.broker.storage.offsets import Committed, Offsets
from stream.broker.storage.producers import ProducerIds
folder = Path(sys.argv[1])
if sys.argv[2] == "offsets":
    Offsets(folder / "offsets")
else:
    ids = ProducerIds(folder / "ids")
    for _ in range(3000):
        print(ids.new(), flush=True)
"""


@pytest.mark.parametrize("count", [1, 2])
def test_a_small_file_that_was_being_replaced_has_its_old_content_or_its_new(tmp_path: Path, count: int) -> None:
    offsets = Offsets(tmp_path / "offsets")
    offsets.commit("group", {("topic", 0): Committed(7)})
    offsets.begin("group", 3)
    offsets.close()
    killed_at("file_written", REPLACING, tmp_path, "offsets")
    again = Offsets(tmp_path / "offsets")
    assert (again.of("group")["topic", 0].offset, again.generation("group")) == (7, 3)
    again.close()
    given = ProducerIds(tmp_path / "ids").new()
    killed_at(f"file_written:{count}", REPLACING, tmp_path, "ids")
    assert ProducerIds(tmp_path / "ids").new() > given


CREATING = """
import sys
from pathlib import Path
from stream.broker.storage.topics import Topics
topics = Topics(Path(sys.argv[1]), {}, 0)
topics.create("made", 3, {"cleanup.policy": "compact"}, 0)
"""


@pytest.mark.parametrize("point", ["file_written", "topic_named"])
def test_a_topic_that_was_being_made_is_whole_or_is_not(tmp_path: Path, point: str) -> None:
    killed_at(point, CREATING, tmp_path)
    topics = Topics(tmp_path, {}, NOW_MS)
    assert topics.names() == (["made"] if point == "topic_named" else [])
    if point == "file_written":
        topics.create("made", 3, {"cleanup.policy": "compact"}, NOW_MS)
    assert len(topics.get("made").logs) == 3
    assert topics.get("made").config.compacted
    topics.close(NOW_MS)
