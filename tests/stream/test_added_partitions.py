"""Partitions added under a running system: the worker ends, and what its message says brings all back."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from store.histories import UserRow
from store.keys import partition_of
from store.rows import POSITION_KEY
from store.settings import Settings, settings_from
from stream.client.publisher import Publisher
from stream.kafka.connections import admin_client
from stream.kafka.topics import TOPICS, create_topics
from tests.chaos.workers import WorkerProcess, await_committed, published_counters, read_topic
from tests.clusters import ON_KAFKA
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(600)
DELETED = ("user-states", "item-states", "upload-states", "item-signals", "semantic-ids")


def settings_on(cluster: Any, partitions: int, name: str, group: str) -> Settings:
    kafka = {
        "bootstrap_servers": cluster.bootstrap_servers,
        "topic_prefix": f"{name}.",
        "group": group,
        "partitions": partitions,
    }
    return settings_from({"kafka": kafka, "store": {"user_publish_interval_s": 0.1}})


def publish(settings: Settings, begin: int, end: int) -> None:
    """Clicks of twenty users on seven items."""
    with Publisher(settings=settings, framing=None) as publisher:
        for n in range(begin, end):
            event = {"event_id": f"e{n}", "user_id": f"u{n % 20}", "item_id": f"i{n % 7}", "kind": "click"}
            publisher.engagement({**event, "occurred_at": time.time()})


def grow(settings: Settings) -> None:
    with admin_client(settings) as admin:
        admin.create_partitions({settings.topic(topic.name): 3 for topic in TOPICS if topic.co_partitioned})


def delete(settings: Settings) -> None:
    names = [settings.topic(name) for name in DELETED]
    with admin_client(settings) as admin:
        admin.delete_topics(names)
        eventually(lambda: not set(names) & set(admin.list_topics()))


def all_of(settings: Settings) -> dict[str, set[str]]:
    """The events of each user as the state topic ends."""
    last: dict[bytes, bytes | None] = {}
    for number in range(settings.kafka.partitions):
        last.update((key, value) for key, value in read_topic(settings, "user-states", number) if key)
    rows = {
        key.decode(): msgspec.msgpack.decode(value, type=UserRow)
        for key, value in last.items()
        if value and key != POSITION_KEY
    }
    return {user: {entry.event_id for entry in row.entries} for user, row in rows.items()}


def counts(settings: Settings) -> dict[str, int]:
    return {item: sum(each.values()) for item, each in published_counters(settings).items()}


def every_click(forgotten: str) -> dict[str, int]:
    """Clicks by item, without those of a user before it was forgotten."""
    kept = [n for n in range(80) if n >= 60 or f"u{n % 20}" != forgotten]
    return dict(Counter(f"i{n % 7}" for n in kept))


@ON_KAFKA
def test_what_the_message_says_brings_everything_back(cluster: Any, tmp_path: Path) -> None:
    name = f"grown-{uuid.uuid4().hex[:8]}"
    settings = settings_on(cluster, 2, name, name)
    create_topics(settings)
    worker = WorkerProcess(settings, tmp_path / "before")
    worker.start()
    try:
        worker.await_ready()
        with Publisher(settings=settings, framing=None) as publisher:
            for n in range(7):
                publisher.upload({"item_id": f"i{n}", "uploaded_at": time.time(), "title": f"item {n}"})
        publish(settings, 0, 60)
        await_committed(settings)
        moved = next(f"u{n}" for n in range(20) if partition_of(f"u{n}", 2) != partition_of(f"u{n}", 3))
        with Publisher(settings=settings, framing=None) as publisher:
            publisher.forget(moved)
        eventually(lambda: moved not in all_of(settings) and len(all_of(settings)) == 19)
        expected = all_of(settings)
        grow(settings)
        assert worker.process is not None
        assert worker.process.wait(60) == 1
        assert "partitions, and rows lie where 2 put them" in worker.log.read_text()
    finally:
        worker.stop()
    delete(settings)
    grown = settings_on(cluster, 3, name, f"{name}-again")
    create_topics(grown)
    after = WorkerProcess(grown, tmp_path / "after")
    after.start()
    try:
        after.await_ready()
        eventually(lambda: all_of(grown) == expected)
        publish(grown, 60, 80)
        expected = {
            user: events | {f"e{n}" for n in range(60, 80) if f"u{n % 20}" == user} for user, events in expected.items()
        }
        expected.setdefault(moved, set()).update(f"e{n}" for n in range(60, 80) if f"u{n % 20}" == moved)
        eventually(lambda: all_of(grown) == expected)
        eventually(lambda: counts(grown) in (every_click(moved), every_click("")))  # what came of u0 may be counted
    finally:
        after.stop()
