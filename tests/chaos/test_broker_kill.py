"""The embedded broker is killed under load again and again: what it acknowledged is there, once and in order."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.clusters import EmbeddedCluster

KILLS = int(os.environ.get("SIDESTREAM_CHAOS_KILLS", "3"))
PARTITIONS = 3
TOPIC = "load"

pytestmark = pytest.mark.chaos


class Writer(threading.Thread):
    """An idempotent producer that writes numbered records until told to stop, and notes which were acknowledged."""

    def __init__(self, bootstrap_servers: str, name: str, stopping: threading.Event) -> None:
        super().__init__(name=name)
        settings = {"bootstrap.servers": bootstrap_servers, "enable.idempotence": True, "linger.ms": 2}
        self._producer = Producer({**settings, "retry.backoff.ms": 20, "reconnect.backoff.max.ms": 100, "log_level": 0})
        self._stopping = stopping
        self.acknowledged: set[tuple[int, int]] = set()  # partition, number
        self.failures: list[str] = []

    def run(self) -> None:
        number = 0
        while not self._stopping.is_set():
            if len(self._producer) < 5_000:
                for partition in range(PARTITIONS):
                    note = self._note(partition, number)
                    self._producer.produce(TOPIC, f"{self.name} {number}", partition=partition, on_delivery=note)
                number += 1
            self._producer.poll(0.0005)
        assert self._producer.flush(60) == 0

    def _note(self, partition: int, number: int) -> Any:
        def delivered(error: KafkaError | None, _: Message) -> None:
            if error:
                self.failures.append(str(error))
            else:
                self.acknowledged.add((partition, number))

        return delivered


class Committer(threading.Thread):
    """Commits ever higher positions, and notes the last that was acknowledged."""

    def __init__(self, bootstrap_servers: str, stopping: threading.Event) -> None:
        super().__init__()
        settings = {"bootstrap.servers": bootstrap_servers, "group.id": "kept", "reconnect.backoff.max.ms": 100}
        self._consumer = Consumer({**settings, "socket.timeout.ms": 2_000, "log_level": 0})
        self._stopping = stopping
        self.acknowledged = 0

    def run(self) -> None:
        position = 0
        while not self._stopping.is_set():
            position += 1
            try:
                self._consumer.commit(offsets=[TopicPartition(TOPIC, 0, position)], asynchronous=False)
            except KafkaException:
                time.sleep(0.05)  # the broker is away; this position may or may not be kept
            else:
                self.acknowledged = position
            time.sleep(0.002)

    def kept(self) -> int:
        return int(self._consumer.committed([TopicPartition(TOPIC, 0)], 10)[0].offset)


def read_everything(bootstrap_servers: str) -> dict[tuple[str, int], list[int]]:
    """The numbers by writer and partition, in the log's order."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "audit", "fetch.queue.backoff.ms": 1})
    ends = {p: consumer.get_watermark_offsets(TopicPartition(TOPIC, p), 10)[1] for p in range(PARTITIONS)}
    consumer.assign([TopicPartition(TOPIC, partition, 0) for partition in ends])
    found: dict[tuple[str, int], list[int]] = defaultdict(list)
    left = sum(ends.values())
    while left > 0:
        for message in consumer.consume(1_000, 5.0):
            assert message.error() is None, message.error()
            writer, number = message.value().decode().split()
            found[writer, message.partition()].append(int(number))
            left -= 1
    consumer.close()
    return found


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[EmbeddedCluster]:
    cluster = EmbeddedCluster(tmp_path)
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.mark.timeout(120 + 5 * KILLS)
def test_no_acknowledged_record_is_lost_or_doubled_by_kills(cluster: EmbeddedCluster) -> None:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers})
    made = NewTopic(TOPIC, PARTITIONS, 1, config={"segment.bytes": "200000"})  # so that kills hit rolls too
    admin.create_topics([made])[TOPIC].result(10)
    stopping = threading.Event()
    writers = [Writer(cluster.bootstrap_servers, f"w{number}", stopping) for number in range(3)]
    committer = Committer(cluster.bootstrap_servers, stopping)
    for thread in (*writers, committer):
        thread.start()
    schedule = random.Random(7)
    for _ in range(KILLS):
        time.sleep(schedule.uniform(0.1, 1.0))
        cluster.kill()
        cluster.restart()
    time.sleep(0.5)
    stopping.set()
    for thread in (*writers, committer):
        thread.join()
    found = read_everything(cluster.bootstrap_servers)
    for writer in writers:
        assert writer.failures == []
        assert len(writer.acknowledged) > 100 * KILLS
        for partition in range(PARTITIONS):
            numbers = found[writer.name, partition]
            assert numbers == sorted(set(numbers)), "a record is doubled or out of order"
            assert {number for at, number in writer.acknowledged if at == partition} <= set(numbers)
    assert committer.acknowledged > KILLS
    assert committer.kept() >= committer.acknowledged
