"""A state topic that lost what it held is filled again from the disks, by running workers, on both brokers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource
from kafka.errors import KafkaError

from store.settings import Settings, settings_from
from stream.client.publisher import Publisher
from stream.client.republication import OwnersSilentError, Republishing
from stream.kafka.connections import admin_client
from stream.kafka.topics import create_topics
from tests.chaos.workers import WorkerProcess, await_committed, published_counters, published_histories
from tests.clusters import ON_KAFKA, EmbeddedCluster
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(600)
LOST = ("user-states", "item-states")


def settings_on(cluster: Any) -> Settings:
    name = f"republish-{uuid.uuid4().hex[:8]}"
    kafka = {"bootstrap_servers": cluster.bootstrap_servers, "topic_prefix": f"{name}.", "group": name, "partitions": 2}
    settings = settings_from({"kafka": kafka, "store": {"user_publish_interval_s": 0.1}})
    create_topics(settings)
    return settings


def fill(settings: Settings) -> None:
    with Publisher(settings=settings, framing=None) as publisher:
        for n in range(60):
            event = {"event_id": f"e{n}", "user_id": f"u{n % 20}", "item_id": f"i{n % 7}", "kind": "click"}
            publisher.engagement({**event, "occurred_at": time.time()})


def cut(settings: Settings) -> None:
    """Everything on the state topics goes; the topics stay: what no start can tell from compaction."""
    places = [TopicPartition(settings.topic(name), number) for name in LOST for number in range(2)]
    with admin_client(settings) as admin:
        _keep(admin, settings, "delete")  # real Kafka cuts no topic that is compacted only
        eventually(lambda: _is_cut(admin, places))
        _keep(admin, settings, "compact")


def _is_cut(admin: KafkaAdminClient, places: list[TopicPartition]) -> bool:
    try:
        admin.delete_records(dict.fromkeys(places, -1))
    except KafkaError:
        return False
    return True


def _keep(admin: KafkaAdminClient, settings: Settings, policy: str) -> None:
    names = [settings.topic(name) for name in LOST]
    admin.alter_configs([ConfigResource("topic", name, {"cleanup.policy": policy}) for name in names])


@ON_KAFKA
def test_running_workers_publish_every_row_again(cluster: Any, tmp_path: Path) -> None:
    settings = settings_on(cluster)
    worker = WorkerProcess(settings, tmp_path / "worker")
    worker.start()
    try:
        worker.await_ready()
        fill(settings)
        await_committed(settings)
        eventually(lambda: sum(map(len, published_histories(settings).values())) == 60)
        eventually(lambda: sum(sum(each.values()) for each in published_counters(settings).values()) == 60)
        histories, counters = published_histories(settings), published_counters(settings)
        cut(settings)
        assert published_histories(settings) == {}
        command = [sys.executable, "-m", "stream.cli", "republish", "--settings", str(worker.file), "--json"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        told = json.loads(ran.stdout)
        assert (told["complete"], told["rows"]) == (True, 27)
        assert len(told["partitions"]) == 6
        assert (published_histories(settings), published_counters(settings)) == (histories, counters)
    finally:
        worker.stop()


def test_without_workers_it_says_so(embedded_broker: EmbeddedCluster) -> None:
    settings = settings_on(embedded_broker)
    with pytest.raises(OwnersSilentError, match="start workers"):
        list(Republishing(settings).follow(timeout_s=3.0))
