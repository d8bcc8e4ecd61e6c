"""The brokers that tests run on come up, survive a kill and end."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.clusters import EmbeddedCluster, KafkaCluster, why_no_kafka


def create(bootstrap_servers: str, topic: str, partitions: int, replicas: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.create_topics([NewTopic(topic, partitions, replicas)])[topic].result(20)


def publish(bootstrap_servers: str, topic: str, count: int) -> None:
    producer = Producer({"bootstrap.servers": bootstrap_servers, "acks": "all"})
    failures: list[object] = []
    for number in range(count):
        producer.produce(topic, str(number), on_delivery=lambda error, _: failures.append(error) if error else None)
    assert producer.flush(30) == 0
    assert failures == []


def test_cluster_accepts_records(cluster: EmbeddedCluster | KafkaCluster) -> None:
    create(cluster.bootstrap_servers, "clusters-accept", 2, 1)
    publish(cluster.bootstrap_servers, "clusters-accept", 10)


def test_embedded_broker_comes_back_after_a_kill(tmp_path: Path) -> None:
    cluster = EmbeddedCluster(tmp_path)
    cluster.start()
    create(cluster.bootstrap_servers, "again", 1, 1)
    cluster.kill()
    cluster.start()
    publish(cluster.bootstrap_servers, "again", 10)
    assert cluster.stop() == 0


@pytest.mark.kafka
@pytest.mark.long
def test_three_brokers_keep_accepting_when_one_is_killed(tmp_path: Path) -> None:
    reason = why_no_kafka()
    if reason:
        pytest.skip(reason)
    cluster = KafkaCluster(tmp_path, brokers=3)
    try:
        cluster.start()
        create(cluster.bootstrap_servers, "replicated", 3, 3)
        cluster.kill(2)
        publish(cluster.bootstrap_servers, "replicated", 100)
        cluster.restart(2)
    finally:
        cluster.stop()
