"""The system that `bench.bounces` bounces: workers on three brokers, what is sent to them, and the faults."""

from __future__ import annotations

import random
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from store.settings import Settings, settings_from
from store.topics import ENGAGEMENTS, ITEM_SIGNALS
from stream.client.publisher import Publisher
from stream.kafka.topics import create_topics
from tests.chaos.workers import WorkerProcess, await_committed
from tests.clusters import KafkaCluster

USERS, ITEMS = 1000, 200
KINDS = ("click", "watch", "like", "hide", "impression")
AGAIN = 0.05
"""This part of the engagements is published twice, as a sender does that has not heard of its success."""
BATCH = 50
PATIENCE_S = 300.0

Answer = TypeVar("Answer")
Ends = dict[int, int]
"""Partition → offset behind the last record."""


class Fault(NamedTuple):
    """Who is hit, by what, and for how long. `wipe`: killed, and its disk is gone."""

    whom: Literal["broker", "worker"]
    how: Literal["kill", "stop", "pause", "wipe"]
    down_s: float


class Sending(threading.Thread):
    """Publishes a number of engagements at a steady rate; a broker that is away makes it late, not lossy."""

    def __init__(self, settings: Settings, engagements: int, rate_per_s: float) -> None:
        super().__init__(daemon=True)
        self.sent: list[dict[str, object]] = []
        self.again = 0
        self._settings = settings
        self._engagements = engagements
        self._rate_per_s = rate_per_s
        self._chance = random.Random(7)
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            with Publisher(settings=self._settings, delivery_timeout_s=PATIENCE_S, block_s=PATIENCE_S) as publisher:
                for number in range(ITEMS):
                    publisher.upload({"item_id": f"item-{number}", "uploaded_at": 1.6e9, "title": f"Item {number}"})
                self._send(publisher)
        except BaseException as error:
            self._error = error

    def check(self) -> None:
        """Raises what kept it from sending everything."""
        if self._error is not None:
            raise self._error

    def _send(self, publisher: Publisher) -> None:
        began = time.monotonic()
        for number in range(self._engagements):
            event = self._event(number)
            self.sent.append(event)
            publisher.engagement(event)
            if self._chance.random() < AGAIN:
                publisher.engagement(event)
                self.again += 1
            if number % BATCH == 0:
                time.sleep(max(0.0, began + number / self._rate_per_s - time.monotonic()))

    def _event(self, number: int) -> dict[str, object]:
        return {
            "event_id": f"event-{number}",
            "user_id": f"user-{self._chance.randrange(USERS)}",
            "item_id": f"item-{self._chance.randrange(ITEMS)}",
            "kind": self._chance.choice(KINDS),
            "occurred_at": 1_700_000_000.0 + number,
        }


class Bounced:
    """Workers with a system of their own on a cluster that is already there."""

    def __init__(self, cluster: KafkaCluster, folder: Path, workers: int) -> None:
        self.ended = 0
        self._hit_now: WorkerProcess | None = None
        self.settings = _settings(cluster.bootstrap_servers)
        self._cluster = cluster
        quick = {"socket.timeout.ms": 2000, "reconnect.backoff.max.ms": 200, "log_level": 0}
        self._quick = {"bootstrap.servers": cluster.bootstrap_servers, **quick}
        self._admin = AdminClient(self._quick)
        create_topics(self.settings)
        self._workers = [WorkerProcess(self.settings, folder / f"worker-{n}") for n in range(workers)]
        for worker in self._workers:
            worker.start()
        for worker in self._workers:
            worker.await_ready(PATIENCE_S)

    def in_peace(self) -> float:
        """Seconds until what is on the log now is safe."""
        return self._until_safe(time.monotonic())

    def bounce(self, fault: Fault, number: int) -> float:
        """Injects it, in turn to each, and waits until the whole system is back; the recovery time in seconds."""
        began = time.monotonic()
        back = threading.Thread(target=self._hit, args=(fault, number))
        back.start()
        recovery_s = self._until_safe(began)
        back.join()
        self._await_whole()
        return recovery_s

    def coordinator(self) -> int:
        """The broker that coordinates the workers' group."""
        group = self.settings.kafka.group
        return int(self._admin.describe_consumer_groups([group])[group].result(10).coordinator.id)

    def start_what_ended(self) -> None:
        """As a supervisor would."""
        for worker in self._workers:
            if worker is not self._hit_now and worker.process is not None and worker.process.poll() is not None:
                self.ended += 1
                worker.start()

    def await_end(self) -> None:
        for worker in self._workers:
            worker.await_ready(PATIENCE_S)
        await_committed(self.settings, PATIENCE_S)

    def close(self) -> None:
        for worker in self._workers:
            worker.remove()

    def _hit(self, fault: Fault, number: int) -> None:
        if fault.whom == "broker":
            self._hit_broker(fault, 1 + number % 3)
        else:
            self._hit_now = self._workers[number % len(self._workers)]
            self._hit_worker(fault, self._hit_now)
            self._hit_now = None

    def _hit_broker(self, fault: Fault, node: int) -> None:
        {"kill": self._cluster.kill, "stop": self._cluster.stop_one, "pause": self._cluster.pause}[fault.how](node)
        time.sleep(fault.down_s)
        (self._cluster.resume if fault.how == "pause" else self._cluster.restart)(node)

    def _hit_worker(self, fault: Fault, worker: WorkerProcess) -> None:
        {"kill": worker.kill, "wipe": worker.kill, "stop": worker.stop, "pause": worker.pause}[fault.how]()
        time.sleep(fault.down_s)
        if fault.how == "pause":
            worker.resume()
            return
        if fault.how == "wipe":
            shutil.rmtree(worker.folder / "data")
        worker.start()
        worker.await_ready(PATIENCE_S)

    def _until_safe(self, began: float) -> float:
        """Users first, then what these have told the items."""
        for name in (ENGAGEMENTS, ITEM_SIGNALS):
            ends = self._ends(name)
            while not self._is_safe(name, ends):
                if time.monotonic() > began + PATIENCE_S:
                    raise SystemExit(f"{name} not safe up to {ends} within {PATIENCE_S:g} s: see the workers' logs")
                self.start_what_ended()
                time.sleep(0.1)
        return time.monotonic() - began

    def _ends(self, name: str) -> Ends:
        places = [TopicPartition(self.settings.topic(name), n) for n in range(self.settings.kafka.partitions)]
        return self._asked(
            lambda asking: {place.partition: asking.get_watermark_offsets(place, 2.0)[1] for place in places}
        )

    def _is_safe(self, name: str, ends: Ends) -> bool:
        places = [TopicPartition(self.settings.topic(name), number) for number, end in ends.items() if end]
        committed = self._asked(lambda asking: asking.committed(places, 2.0))
        return all(place.offset >= ends[place.partition] for place in committed)

    def _asked(self, ask: Callable[[Consumer], Answer]) -> Answer:
        """The answer of a consumer that asks and never joins the group; a new one each time, for one that has seen a
        leader go does not look for the next."""
        end = time.monotonic() + PATIENCE_S
        while True:
            asking = Consumer({**self._quick, "group.id": self.settings.kafka.group})
            try:
                return ask(asking)
            except KafkaException:
                if time.monotonic() > end:
                    raise
            finally:
                asking.close()
            time.sleep(0.1)

    def _await_whole(self) -> None:
        """Until every partition has all its copies again: two brokers away at once is another fault."""
        end = time.monotonic() + PATIENCE_S
        while not self._is_whole():
            if time.monotonic() > end:
                raise SystemExit(f"copies are missing after {PATIENCE_S:g} s: see the brokers' logs")
            time.sleep(0.2)

    def _is_whole(self) -> bool:
        try:
            topics = self._admin.list_topics(timeout=2.0).topics.values()
        except KafkaException:
            return False
        return all(len(each.isrs) == len(each.replicas) for topic in topics for each in topic.partitions.values())


def _settings(bootstrap_servers: str) -> Settings:
    name = f"bounces-{uuid.uuid4().hex[:8]}"
    kafka = {"bootstrap_servers": bootstrap_servers, "topic_prefix": f"{name}.", "group": name, "partitions": 4}
    pace = {"session_timeout_s": 6.0, "heartbeat_s": 0.5, "commit_interval_s": 0.5}
    return settings_from({"kafka": {**kafka, **pace}, "store": {"user_publish_interval_s": 0.5}})
