"""The embedded broker on a full disk: it refuses what it cannot keep, says why and what to do, keeps all that it has
acknowledged, and goes on by itself when there is room."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from stream.broker.errors import RefusedError
from stream.broker.storage.configs import TopicConfig
from stream.broker.storage.logs import Log
from stream.broker.storage.offsets import Committed, Offsets
from stream.broker.storage.producers import ProducerIds
from tests.clusters import EmbeddedCluster
from tests.stream.broker.batches import batch, rows
from tests.tiny_disk import TinyDisk, tiny_disk
from tests.waiting import eventually

NOW_MS = 10**9


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[TinyDisk]:
    with tiny_disk(tmp_path / "disk", 8) as disk:
        yield disk


def test_a_log_keeps_what_it_acknowledged_and_goes_on(disk: TinyDisk) -> None:
    config = TopicConfig({"segment.bytes": "30000"}, {})
    log = Log(disk.folder / "log", config, NOW_MS)
    refusals: list[tuple[int, int, bool]] = []
    for number in range(100):
        if number == 50:
            disk.fill()
        while True:
            try:
                log.append(batch([(b"k", b"%d" % number * 500)], NOW_MS), NOW_MS)
                break
            except RefusedError as refused:
                refusals.append((number, log.end, "No space left" in str(refused)))
                disk.make_room()
    assert refusals == [(refusals[0][0], refusals[0][0], True)]
    assert refusals[0][0] >= 50
    for segment in log.segments:
        segment.close()
    again = Log(disk.folder / "log", config, NOW_MS)
    found: list[bytes | None] = []
    while len(found) < again.end:
        found += [row.value for row in rows(again.read(len(found), 1 << 20))]
    assert found == [b"%d" % number * 500 for number in range(100)]


def test_a_log_that_cannot_begin_a_segment_goes_on(disk: TinyDisk) -> None:
    """Full exactly when a segment is full: not even an empty file can be made."""
    log = Log(disk.folder / "log", TopicConfig({"segment.bytes": "20000"}, {}), NOW_MS)
    sent = batch([(b"k", b"x" * 15_000)], NOW_MS)
    log.append(sent, NOW_MS)
    while True:  # no name is left for a file
        try:
            (disk.folder / f"file-{time.monotonic_ns()}").touch()
        except OSError:
            break
    with pytest.raises(RefusedError):
        log.append(sent, NOW_MS)
    for file in disk.folder.glob("file-*"):
        file.unlink()
    assert log.append(sent, NOW_MS)[0] == 1


def test_commits_that_could_not_be_kept_do_not_take_others_with_them(disk: TinyDisk) -> None:
    offsets = Offsets(disk.folder / "journal")
    offsets.commit("g", {("t", 0): Committed(1)})
    disk.fill()
    refused = 0
    for number in range(2, 500):  # what is left of the last page, until a line does not go whole
        try:
            offsets.commit("g", {("t", 0): Committed(number, "x" * 100)})
        except OSError:
            refused += 1
    offsets.begin("g", 7)  # a group must go on
    disk.make_room()
    offsets.commit("g", {("t", 1): Committed(1000)})
    assert refused
    again = Offsets(disk.folder / "journal")
    assert again.of("g")["t", 1].offset == 1000
    assert again.of("g") == offsets.of("g")
    assert again.generation("g") == offsets.generation("g") == 7


def test_a_journal_that_cannot_be_rewritten_is_gone_on_with(disk: TinyDisk) -> None:
    offsets = Offsets(disk.folder / "journal")
    for number in range(10_004):
        offsets.commit("g", {("t", 0): Committed(number)})
    disk.fill()
    refused: list[int | None] = []
    for number in range(10_004, 10_200):
        try:
            offsets.commit("g", {("t", 0): Committed(number)})
        except OSError as error:
            refused.append(error.errno)
    disk.make_room()
    for number in range(20_000, 20_100):
        offsets.commit("g", {("t", 0): Committed(number)})
    assert set(refused) == {errno.ENOSPC}
    assert Offsets(disk.folder / "journal").of("g")["t", 0].offset == 20_099


def test_a_producer_id_that_could_not_be_reserved_is_not_given(disk: TinyDisk) -> None:
    given = {ProducerIds(disk.folder / "ids").new()}
    disk.fill()
    ids = ProducerIds(disk.folder / "ids")
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            ids.new()
    disk.make_room()
    given |= {ids.new()}
    assert ProducerIds(disk.folder / "ids").new() not in given
    assert len(given) == 2


class Writer(threading.Thread):
    """Sends numbered records until told to end, and keeps the numbers that were acknowledged."""

    def __init__(self, cluster: EmbeddedCluster) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[int] = []
        self.failures: list[str] = []
        self._producer = Producer(
            {"bootstrap.servers": cluster.bootstrap_servers, "enable.idempotence": True, "linger.ms": 2, "log_level": 0}
        )
        self._ended = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._ended.is_set():
            if len(self._producer) < 50:
                self._producer.produce("load", f"{number}".rjust(200), on_delivery=self._note(number))
                number += 1
            self._producer.poll(0.005)
        assert self._producer.flush(60) == 0

    def end(self) -> None:
        self._ended.set()
        self.join(90)

    def _note(self, number: int):  # type: ignore[no-untyped-def]
        def delivered(error: KafkaError | None, _: Message) -> None:
            self.failures.append(str(error)) if error else self.acknowledged.append(number)

        return delivered


def read_all(cluster: EmbeddedCluster) -> list[int]:
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap_servers, "group.id": "audit"})
    end = consumer.get_watermark_offsets(TopicPartition("load", 0), 10)[1]
    consumer.assign([TopicPartition("load", 0, 0)])
    found: list[int] = []
    while len(found) < end:
        found += [int(message.value()) for message in consumer.consume(1000, 5.0)]
    consumer.close()
    return found


def test_a_broker_says_what_is_wrong_and_goes_on_when_there_is_room(disk: TinyDisk) -> None:
    cluster = EmbeddedCluster(disk.folder / "broker", "--maintain-every-s", "0.5")
    cluster.start()
    try:
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers})
        admin.create_topics([NewTopic("load", 1, 1, config={"segment.bytes": "50000"})])["load"].result(10)
        consumer = Consumer({"bootstrap.servers": cluster.bootstrap_servers, "group.id": "g", "log_level": 0})
        writer = Writer(cluster)
        writer.start()
        eventually(lambda: len(writer.acknowledged) > 500)
        disk.fill()
        kept = eventually(lambda: "no room" in cluster.log and len(writer.acknowledged))
        for position in range(1, 200):
            try:
                consumer.commit(offsets=[TopicPartition("load", 0, position)], asynchronous=False)
            except KafkaException:
                break
        time.sleep(3.0)
        told = cluster.log.count("no room")  # a small record may still have found a place between two that did not
        assert told <= 1 + cluster.log.count("room again") < 10, "said once, not with every record"
        assert "Traceback" not in cluster.log
        assert "make room" in cluster.log
        disk.make_room()
        eventually(lambda: len(writer.acknowledged) > kept + 500)
        eventually(lambda: "there is room again" in cluster.log)
        writer.end()
        consumer.commit(offsets=[TopicPartition("load", 0, 300)], asynchronous=False)
        assert writer.failures == []
        assert read_all(cluster) == writer.acknowledged
        cluster.kill()
        cluster.start()
        assert read_all(cluster) == writer.acknowledged
        assert consumer.committed([TopicPartition("load", 0)], 10)[0].offset == 300
    finally:
        cluster.stop()
