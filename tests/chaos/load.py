"""What the chaos suite shares: settings whose sessions are short, a load that never rests, and the judge."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

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
from tests.clusters import EmbeddedCluster, KafkaCluster
from tests.oracle import Oracle

GROUPS = 4
ITEMS = 40
SESSION_S = 6.0
BOUNDARIES = ["restored", "absorbed", "vectors_written", "written", "sent", "published", "kept"]


def settings_on(cluster: EmbeddedCluster | KafkaCluster, **store: object) -> Settings:
    """A system of its own on the cluster: its topics exist."""
    name = f"chaos-{uuid.uuid4().hex[:8]}"
    settings = settings_from(
        {
            "kafka": {
                "bootstrap_servers": cluster.bootstrap_servers,
                "topic_prefix": f"{name}.",
                "group": name,
                "partitions": 4,
                "session_timeout_s": SESSION_S,
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

    def __init__(self, settings: Settings, rate_per_s: int = 600, delivery_timeout_s: float = 30.0) -> None:
        super().__init__(daemon=True)
        self.sent = 0
        self._delivery_timeout_s = delivery_timeout_s
        self._settings = settings
        self._rate_per_s = rate_per_s
        self._ended = threading.Event()
        self._random = random.Random(7)

    def run(self) -> None:
        with Publisher(settings=self._settings, delivery_timeout_s=self._delivery_timeout_s) as publisher:
            for number in range(ITEMS):  # vectors are learned from items of other partitions once these have cards
                publisher.upload({"item_id": f"item-{number}", "uploaded_at": 1.6e9, "title": f"Item {number}"})
                time.sleep(1 / self._rate_per_s)
            while not self._ended.is_set():
                for _ in range(50):
                    event = self._event()
                    publisher.engagement(event)
                    if self._random.random() < 0.05:
                        publisher.engagement(event)
                time.sleep(50 / self._rate_per_s)
            publisher.flush(self._delivery_timeout_s)

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


@contextmanager
def under_load(
    settings: Settings, workers: Sequence[WorkerProcess], rate_per_s: int = 600, delivery_timeout_s: float = 30.0
) -> Iterator[Load]:
    """Load for as long as the block runs; all workers are gone afterwards, those that stand still, too."""
    load = Load(settings, rate_per_s, delivery_timeout_s)
    load.start()
    try:
        yield load
    finally:
        load.end()
        for worker in workers:
            worker.remove()


def await_exact(settings: Settings, load: Load, workers: Sequence[WorkerProcess], **judged: bool) -> int:
    """Ends the load, waits until the workers have absorbed all of it, and has it judged (see `assert_exact`)."""
    load.end()
    for worker in workers:
        worker.await_ready()
    await_committed(settings)
    return assert_exact(settings, **judged)


def assert_exact(settings: Settings, learned: bool = True) -> int:
    """Compares the state topics with the oracle, and with `learned` asks what vectors are worth, which takes some
    thousand engagements in peace; returns how many engagements there were."""
    oracle = oracle_of(settings)
    length = settings.store.history_length
    histories = {user: events[-length:] for user, events in published_histories(settings).items()}
    assert histories == {user: events[-length:] for user, events in oracle.histories.items()}
    assert published_counters(settings) == dict(oracle.counters)
    if learned:
        assert_learned(settings)
    return sum(sum(counts.values()) for counts in oracle.counters.values())


def oracle_of(settings: Settings) -> Oracle:
    """The oracle, after it has read the log."""
    oracle = Oracle(window=settings.store.history_length)
    for partition in range(settings.kafka.partitions):
        oracle.read(value for _, value in read_topic(settings, "engagements", partition) if value)
    return oracle


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
