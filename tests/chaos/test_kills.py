"""Kills: workers die by SIGKILL under load, at random and at every boundary of the protocol, and nothing is lost or
counted twice. The judge is an oracle that reads the log once."""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from store.settings import Settings, settings_from
from stream.client.publisher import Publisher
from stream.kafka.topics import create_topics
from tests.chaos.workers import (
    WorkerProcess,
    await_committed,
    published_counters,
    published_histories,
    published_vectors,
    read_topic,
)
from tests.oracle import Oracle

GROUPS = 4
ITEMS = 40
KILLS = int(os.environ.get("SIDESTREAM_CHAOS_KILLS", "10"))
pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


def settings_on(cluster, **store) -> Settings:
    name = f"chaos-{uuid.uuid4().hex[:8]}"
    settings = settings_from(
        {
            "kafka": {
                "bootstrap_servers": cluster.bootstrap_servers,
                "topic_prefix": f"{name}.",
                "group": name,
                "partitions": 4,
                "session_timeout_s": 6.0,
                "heartbeat_s": 0.5,
                "commit_interval_s": 0.5,
            },
            "store": {"user_publish_interval_s": 0.5, **store},
        }
    )
    create_topics(settings)
    return settings


class Load(threading.Thread):
    """Publishes engagements until told to end: frames and single events, some of them twice."""

    def __init__(self, settings: Settings, rate_per_s: int = 600) -> None:
        super().__init__(daemon=True)
        self.sent = 0
        self._settings = settings
        self._pause_s = 50 / rate_per_s
        self._ended = threading.Event()
        self._random = random.Random(7)

    def run(self) -> None:
        with Publisher(settings=self._settings) as publisher:
            for number in range(ITEMS):  # vectors are learned from items of other partitions once these have cards
                publisher.upload({"item_id": f"item-{number}", "uploaded_at": 1.6e9, "title": f"Item {number}"})
            while not self._ended.is_set():
                for _ in range(50):
                    event = self._event()
                    publisher.engagement(event)
                    if self._random.random() < 0.05:
                        publisher.engagement(event)
                time.sleep(self._pause_s)
            publisher.flush(30)

    def end(self) -> None:
        self._ended.set()
        self.join(60)

    def _event(self) -> dict[str, object]:
        self.sent += 1
        user = self._random.randrange(60)
        return {
            "event_id": f"event-{self.sent}",
            "user_id": f"user-{user}",
            "item_id": f"item-{GROUPS * self._random.randrange(ITEMS // GROUPS) + user % GROUPS}",
            "kind": self._random.choice(["click", "watch", "like", "hide", "impression"]),
            "occurred_at": 1_700_000_000.0 + self.sent,
        }


def assert_exact(settings: Settings, learned: bool = True) -> int:
    """Compares the state topics with the oracle, and with `learned` asks what vectors are worth, which takes some
    thousand engagements in peace; returns how many engagements there were."""
    oracle = Oracle(window=settings.store.history_length)
    for partition in range(settings.kafka.partitions):
        oracle.read(value for _, value in read_topic(settings, "engagements", partition) if value)
    length = settings.store.history_length
    histories = {user: events[-length:] for user, events in published_histories(settings).items()}
    assert histories == {user: events[-length:] for user, events in oracle.histories.items()}
    assert published_counters(settings) == dict(oracle.counters)
    if learned:
        assert_learned(settings)
    return sum(sum(counts.values()) for counts in oracle.counters.values())


def assert_learned(settings: Settings) -> None:
    """Vectors are of length 1 and as one undisturbed pass would have them up to their tolerance: items that the same
    users chose lie together."""
    vectors = published_vectors(settings)
    group_N = np.array([int(item.removeprefix("item-")) % GROUPS for item in vectors])
    x_ND = np.stack(list(vectors.values()))
    assert np.allclose(np.linalg.norm(x_ND, axis=1), 1.0, atol=1e-2)
    cosine_NN = x_ND @ x_ND.T
    same_NN = group_N[:, None] == group_N
    np.fill_diagonal(cosine_NN, np.nan)
    assert np.nanmean(cosine_NN[same_NN]) > np.nanmean(cosine_NN[~same_NN]) + 0.3


def test_two_workers_killed_at_random_lose_and_double_nothing(cluster, tmp_path: Path) -> None:
    settings = settings_on(cluster)
    chance = random.Random(11)
    workers = [WorkerProcess(settings, tmp_path / f"worker-{n}") for n in range(2)]
    for worker in workers:
        worker.start()
    workers[0].await_ready()
    load = Load(settings)
    load.start()
    try:
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.2, 2.0))
            victim = chance.choice(workers)
            victim.kill()
            victim.start()
        load.end()
        for worker in workers:
            worker.await_ready()
        await_committed(settings)
        assert assert_exact(settings) > 1000
    finally:
        for worker in workers:
            worker.kill()


@pytest.mark.parametrize("boundary", ["restored", "absorbed", "written", "sent", "published", "kept"])
def test_a_worker_killed_at_each_boundary_is_exact(embedded_broker, tmp_path: Path, boundary: str) -> None:
    settings = settings_on(embedded_broker)
    worker = WorkerProcess(settings, tmp_path / "worker")
    load = Load(settings, rate_per_s=1500)
    load.start()
    try:
        for count in (1, 4):
            worker.start(SIDESTREAM_FAULT=f"{boundary}:{count}")
            assert worker.process is not None
            assert worker.process.wait(60) == -9
        load.end()
        worker.start()
        worker.await_ready()
        await_committed(settings)
        # Killed before it absorbs anything, it gets everything in one burst: vectors are then learned apart.
        assert assert_exact(settings, learned=boundary != "restored") > 500
    finally:
        worker.kill()


def test_an_empty_disk_comes_back_from_the_log(cluster, tmp_path: Path) -> None:
    settings = settings_on(cluster)
    first = WorkerProcess(settings, tmp_path / "first")
    first.start()
    first.await_ready()
    load = Load(settings, rate_per_s=2000)
    load.start()
    time.sleep(3)
    first.kill()
    second = WorkerProcess(settings, tmp_path / "second")
    second.start()
    time.sleep(2)
    load.end()
    try:
        second.await_ready()
        await_committed(settings)
        assert assert_exact(settings) > 1000
    finally:
        second.kill()
